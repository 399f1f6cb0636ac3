//! What a VolumeReplication tells of its present spec, in one line: what other tools than the hub wait for.

use lifeboat_api::VolumeReplication;
use lifeboat_api::common::condition;

/// It may be written here.
pub const PRIMARY: &str =
    "Primary, Completed True Promoted, Degraded False Healthy, Resyncing False NotResyncing";
/// Handed over: all that was written is on both sides, and nobody writes.
pub const DRAINED: &str =
    "Secondary, Completed True Demoted, Degraded False Healthy, Resyncing False NotResyncing";
/// A copy that follows a primary, or waits for one.
pub const COPY: &str = "Secondary, Completed True Demoted, Degraded True VolumeDegraded, Resyncing True ResyncTriggered";

/// State, Completed, Degraded and Resyncing, as far as they are of the present spec.
pub fn told(vr: &VolumeReplication) -> String {
    let current = |g: Option<i64>| g.is_some() && g == vr.metadata.generation;
    let Some(status) = vr
        .status
        .as_ref()
        .filter(|s| current(s.observed_generation))
    else {
        return "nothing of this spec".to_owned();
    };
    let mut words = vec![status.state.clone().unwrap_or_default()];
    for kind in ["Completed", "Degraded", "Resyncing"] {
        words.push(match condition(&status.conditions, kind) {
            Some(c) if current(c.observed_generation) => {
                format!("{kind} {} {}", c.status, c.reason)
            }
            Some(_) | None => format!("{kind} not told"),
        });
    }
    words.join(", ")
}
