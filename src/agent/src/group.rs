//! Groups: from a `VolumeGroupReplication` to a group at the driver, its content object, and one `VolumeReplication`
//! that gives the group its role.

use lifeboat_kit::Next;
use tracing::{instrument, warn};

use crate::agent::Agent;
use crate::cache::Work;
use crate::run::{REST, STEPS};
use crate::view::Key;

mod act;
mod decide;
mod gather;
mod members;
mod status;
mod view;
mod writes;

/// Works on one group until it comes to rest.
#[instrument(name = "reconcile", parent = None, skip_all, fields(group = %key))]
pub(crate) async fn pass(agent: &Agent, key: Key) -> Next {
    if !agent.caches.groups_synced() {
        // Every group is woken when the rest is read.
        return Next::Wait;
    }
    for _ in 0..STEPS {
        let Some(view) = gather::gather(agent, &key).await else {
            agent.settled(&Work::Group(key));
            return Next::Wait;
        };
        let decision = decide::decide(&view, agent.clock.now());
        match act::act(agent, &view, decision).await {
            crate::act::Step::Again => {}
            crate::act::Step::Rest(next) => return next,
        }
    }
    warn!(group = %key, "a group does not come to rest; it waits a second");
    Next::After(REST)
}
