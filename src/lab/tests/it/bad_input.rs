//! Input that cannot be followed: it is said what is wrong, why, and what to do; nothing is lost, and a second
//! application moves all the while as if nothing were the matter.
//!
//! | what is bad | where it is tested |
//! |---|---|
//! | kubeconfig Secret missing, without its key, not YAML, `exec`, `auth-provider`, file references, `insecure-skip-tls-verify`; one cluster registered twice; two kubeconfigs that changed places | [`clusters`]; texts also in hub `connect` |
//! | kubeconfig with the wrong CA, an unknown or expired token, an unreachable or a black-holed address | [`clusters`], over HTTPS |
//! | `DRPolicy` with an unknown cluster, a cluster twice, a class that is missing, a class of another driver | [`policies`] |
//! | `DRPlacement`: policy missing | `policy-missing.scenario` |
//! | … preferred cluster outside the policy | `preferred-outside-the-policy.scenario`; core `converge` |
//! | … selector that matches nothing | `selector-matches-nothing.scenario` |
//! | … PVC unbound | `claim-unbound.scenario` |
//! | … PVC without CSI | `claim-without-csi.scenario` |
//! | … PVC of another driver | `claim-of-another-driver.scenario` |
//! | … PVC claimed by another placement | [`rivals`] |
//! | … preferred cluster changed in the move | `target-changed-on-the-way.scenario`, `cancel-before-the-commit.scenario`; each moment in core `converge` |
//! | … deleted in the move | `removed-in-the-move.scenario`, `removed-after-the-commit.scenario`; each moment in core `converge` |
//! | … failover to where it runs | `failover-to-where-it-runs.scenario` |
//! | target: colliding PVC, colliding PV, namespace in deletion | `target-claim-collides`, `target-volume-collides`, `target-namespace-terminates` |
//! | driver: every gRPC code, a call that hangs, a socket that is gone | [`drivers`]; the agent's own rows in `src/conformance` |
//! | archive: any chunk missing, truncated or altered | [`archive`]; each part in hub `archive::tests`; core `older_capture` |
//!
//! The neighbour is moved by `expect the neighbour moves` in the scenarios and by [`Lab::neighbour_moves`] here.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lifeboat_api::common::condition;
use lifeboat_api::{DRCluster, DRPlacement, DRPolicy};
use lifeboat_lab::{
    Lab, LabSpec,
    lab::{Key, Start},
};
use lifeboat_sim::world::{App, HUB};
use serde_json::{Value, json};

use crate::support::play;

mod archive;
mod clusters;
mod drivers;
mod policies;
mod rivals;

/// An application of two volumes that is not placed yet, and the neighbour.
fn spec() -> LabSpec {
    LabSpec {
        start: Start::Unplaced,
        neighbour: Some(App::new("blog").volumes(1)),
        ..LabSpec::paused(2)
    }
}

/// Installs an object on the hub.
fn put(lab: &Lab, object: &Value) {
    lab.world().install(HUB, &object.to_string()).unwrap();
}

/// Whether any blocker of a placement has this reason, says all of this, and what to do.
fn blocked(p: &DRPlacement, reason: &str, says: &[&str]) -> bool {
    let mut all = p.status.iter().flat_map(|s| &s.blockers);
    all.any(|b| {
        b.reason == reason && says.iter().all(|w| b.message.contains(w)) && !b.remedy.is_empty()
    })
}

/// Waits until the application's placement is blocked so.
async fn until_blocked(lab: &Lab, row: &str, reason: &str, says: &[&str]) {
    let what = format!("{row}: a blocker {reason} that says {says:?}");
    let ok = |p: &DRPlacement| blocked(p, reason, says);
    let seen = lab.until(&what, Duration::from_secs(60), ok).await;
    seen.unwrap_or_else(|e| panic!("{}", e.full()));
}
