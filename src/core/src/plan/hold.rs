//! What keeps volumes from going on: pods that use them, and a binder that has not come to them yet.

use crate::ids::{ClaimKey, ClusterId};
use crate::observed::{Holder, Managed};
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::view::{View, holders, names};

/// Says who still uses the volumes there.
pub(super) fn in_use(v: &View<'_>, on: &ClusterId) -> Option<Draft> {
    let all = &v.at(on).holders;
    let strangers: Vec<&Holder> = all.iter().filter(|h| h.managed == Managed::No).collect();
    if !strangers.is_empty() {
        let who = holders(&strangers);
        let message =
            format!("{who} on {on} uses the volumes and is not one of the placement's workloads");
        let blocker = Blocker::new(
            Reason::VolumeInUse,
            message,
            "stop it, or select its workload in spec.workload",
        );
        return Some(
            Draft::wait(format!("waits for {who} on {on} to let the volumes go")).blocked(blocker),
        );
    }
    let own: Vec<&Holder> = all.iter().collect();
    (!own.is_empty()).then(|| Draft::wait(format!("waits for {} on {on} to stop", holders(&own))))
}

/// Wakes the volume binder until it has done its work.
pub(super) fn binding(on: &ClusterId, claims: Vec<ClaimKey>) -> Draft {
    let text = format!("waits for {on} to bind {}", names(&claims));
    Draft::act(
        text,
        vec![Step::Nudge {
            cluster: on.clone(),
            claims,
        }],
    )
    .again(200)
}
