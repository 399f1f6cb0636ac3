//! Fences: from a `NetworkFence` to one call of its driver.

use lifeboat_kit::Next;
use tracing::{instrument, warn};

use crate::agent::Agent;
use crate::run::{REST, STEPS};

mod act;
mod decide;
mod gather;
mod view;

/// Works on one fence until it comes to rest.
#[instrument(name = "reconcile", parent = None, skip_all, fields(fence = %name))]
pub(crate) async fn pass(agent: &Agent, name: String) -> Next {
    for _ in 0..STEPS {
        let Some(view) = gather::gather(agent, &name).await else {
            agent.settled(&crate::cache::Work::Fence(name));
            return Next::Wait;
        };
        let decision = decide::decide(&view, agent.clock.now());
        match act::act(agent, &view, decision).await {
            crate::act::Step::Again => {}
            crate::act::Step::Rest(next) => return next,
        }
    }
    warn!(fence = %name, "a fence does not come to rest; it waits a second");
    Next::After(REST)
}
