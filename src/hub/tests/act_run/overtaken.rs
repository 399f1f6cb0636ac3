//! A hub whose steps take long, while another one goes on with the placement.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use lifeboat_api::{DROwnership, DRPlacement, names};
use serde_json::json;

use crate::claims::placed;
use crate::world::World;

/// An application on dr1 that is to be protected: dr1 is slow, and the first of the steps there has just begun.
async fn under_way() -> World {
    let world = placed().await;
    world.links["dr1"].set_latency(Duration::from_millis(2_500));
    let begun = async |w: &World| {
        let counts = w.members["dr1"].request_counts();
        let mut reads = counts.keys().filter(|(user, verb, what)| {
            user.ends_with("lifeboat-hub") && verb == "get" && what == "persistentvolumeclaims"
        });
        reads.next().map(drop)
    };
    world.until("the first step begins", begun).await;
    assert!(record(&world).await.is_none(), "it is the first of several");
    world
}

/// Owner and epoch that dr1 records: what the second of the steps writes.
async fn record(world: &World) -> Option<(String, i64)> {
    let records: Api<DROwnership> = Api::all(world.members["dr1"].admin());
    let all = records.list(&ListParams::default()).await.unwrap();
    let first = all.items.into_iter().next()?;
    Some((first.spec.owner, first.spec.epoch))
}

#[tokio::test(start_paused = true)]
async fn a_step_is_not_taken_when_the_journal_has_moved_on_since_the_one_before_it() {
    let world = under_way().await;
    let placements: Api<DRPlacement> = Api::namespaced(world.hub.admin(), "default");
    let moved = json!({"status": {"journal": {"owner": "dr2", "epoch": 5, "phase": "Steady",
        "served": {"preferred": "dr1"}}}});
    let moved = Patch::Merge(moved);
    let params = PatchParams::default();
    placements
        .patch_status("web", &params, &moved)
        .await
        .unwrap();
    let first = world.until("an owner is recorded", record).await;
    assert_eq!(first, ("dr2".to_owned(), 5));
}

#[tokio::test(start_paused = true)]
async fn a_step_is_not_taken_by_a_hub_that_has_lost_the_lease_since_the_one_before_it() {
    let world = under_way().await;
    let leases: Api<Lease> = Api::namespaced(world.hub.admin(), "lifeboat-system");
    let another = json!({"spec": {"holderIdentity": "hub-1", "leaseDurationSeconds": 60}});
    let params = PatchParams::default();
    leases
        .patch(names::HUB_LEASE, &params, &Patch::Merge(another))
        .await
        .unwrap();
    world.until("an owner is recorded", record).await;
    let lease = leases.get(names::HUB_LEASE).await.unwrap();
    let holder = lease.spec.and_then(|s| s.holder_identity);
    assert_eq!(
        holder.as_deref(),
        Some("hub-0"),
        "it had to lead again first"
    );
}
