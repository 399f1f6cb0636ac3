//! Steps of a hub that was overtaken: the cluster holds what a later owner has written.

use std::collections::BTreeMap;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::{VolumeReplication, names};
use lifeboat_core::Step;
use lifeboat_core::observed::Role;
use lifeboat_core::step::Force;
use lifeboat_core::wait::Reason;
use serde_json::{Value, json};

use crate::world::*;

/// The steps on dr1 that stop, take away or start something.
fn steps() -> [Step; 7] {
    let cluster = || id("dr1");
    let workloads = || BTreeMap::from([(deployment(), 3)]);
    [
        Step::Quiesce {
            cluster: cluster(),
            workloads: workloads(),
        },
        Step::Resume {
            cluster: cluster(),
            workloads: workloads(),
        },
        Step::Start {
            cluster: cluster(),
            capture: 1,
            epoch: lifeboat_core::Epoch(1),
        },
        Step::RemoveWorkloads {
            cluster: cluster(),
            workloads: vec![deployment()],
        },
        Step::Release {
            cluster: cluster(),
            claims: vec![claim()],
        },
        Step::RemoveClaims {
            cluster: cluster(),
            claims: claims(),
        },
        Step::Unprotect {
            cluster: cluster(),
            claims: claims(),
        },
    ]
}

/// All of the application on dr1 but its record.
async fn there(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for (kind, name) in [
        ("Deployment", "web"),
        ("VolumeReplication", "db"),
        ("PersistentVolumeClaim", "db"),
        ("PersistentVolume", "pv-db"),
    ] {
        all.push(world.get("dr1", kind, name).await.unwrap());
    }
    all
}

async fn protected() -> World {
    let world = World::new();
    world.bind("dr1").await;
    for step in [retain(), replicate("dr1", Role::Primary, 1), capture()] {
        world.twice(step).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_away_where_a_newer_owner_is_recorded() {
    let world = protected().await;
    // The epoch of the scope: a record of the present owner, whoever that is, holds nothing back.
    world.twice(record("dr1", "dr2", 1, Force::Denied)).await;
    world.twice(steps()[0].clone()).await;
    world.twice(steps()[1].clone()).await;
    world.twice(record("dr1", "dr1", 2, Force::Granted)).await;
    let before = there(&world).await;
    for step in steps() {
        let name = step.name();
        assert_eq!(world.refused(step).await, Reason::StaleHub, "{name}");
    }
    assert_eq!(there(&world).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_replication_of_a_later_epoch_is_neither_let_go_nor_switched_off() {
    let world = protected().await;
    // The record was read before it was written; the replication is the newer owner's by now.
    let vr: Api<VolumeReplication> = Api::namespaced(world.servers[&id("dr1")].admin(), NS);
    let later = Patch::Merge(json!({"metadata": {"annotations": {names::EPOCH: "2"}}}));
    vr.patch("db", &PatchParams::default(), &later)
        .await
        .unwrap();
    let before = there(&world).await;
    for step in steps() {
        if let Step::Release { .. } | Step::Unprotect { .. } = step {
            assert_eq!(world.refused(step).await, Reason::StaleHub);
        }
    }
    assert_eq!(there(&world).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_was_started_at_a_later_epoch_is_left_alone() {
    let world = protected().await;
    let started = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": NS,
        "annotations": {names::RESTORED_EPOCH: "2"}}});
    let resource = kube::core::ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(world.servers[&id("dr1")].admin(), NS, &resource);
    let params = PatchParams::default();
    api.patch("web", &params, &Patch::Merge(started))
        .await
        .unwrap();
    let before = there(&world).await;
    for step in steps() {
        if let Step::Quiesce { .. } | Step::Resume { .. } | Step::RemoveWorkloads { .. } = step {
            assert_eq!(world.refused(step).await, Reason::StaleHub);
        }
    }
    assert_eq!(there(&world).await, before);
}
