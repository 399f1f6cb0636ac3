//! What is read from the hub's objects again and again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::{DRCluster, DRPlacement, common::condition};

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Whether the hub calls a cluster, its agent and its drivers ready.
pub fn ready(cluster: &DRCluster) -> bool {
    let status = cluster.status.as_ref();
    status.is_some_and(|s| {
        let all = ["Reachable", "AgentAlive", "DriversReady"];
        all.iter().all(|kind| is_true(&s.conditions, kind))
    })
}

/// Whether a condition of the placement is True.
pub fn has(placement: &DRPlacement, kind: &str) -> bool {
    let status = placement.status.as_ref();
    status.is_some_and(|s| is_true(&s.conditions, kind))
}

/// Whether the status speaks of the present spec, and says that the application runs on this cluster.
pub fn on(placement: &DRPlacement, cluster: &str) -> bool {
    let status = placement.status.as_ref();
    let current = status.and_then(|s| s.observed_generation) == placement.metadata.generation;
    let there = status.and_then(|s| s.cluster.as_deref()) == Some(cluster);
    current && there && has(placement, "Available")
}

/// Whether it has come to rest on this cluster: available, and protected on the other one.
pub fn at_rest(placement: &DRPlacement, cluster: &str) -> bool {
    let rests = phase(placement) == "Steady" && has(placement, "Protected");
    on(placement, cluster) && rests && has(placement, "PeerReady")
}

/// The phase of a placement.
pub fn phase(placement: &DRPlacement) -> &str {
    let status = placement.status.as_ref();
    status.and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The epoch of a placement.
pub fn epoch(placement: &DRPlacement) -> i64 {
    let status = placement.status.as_ref();
    status.and_then(|s| s.epoch).unwrap_or_default()
}
