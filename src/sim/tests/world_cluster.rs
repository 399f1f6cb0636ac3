//! The controllers of a cluster: applications come up, claims are bound, volumes are kept or reclaimed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod world_common;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    coordination::v1::Lease,
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, ServiceAccount},
};
use kube::{Api, ResourceExt, api::ListParams};
use lifeboat_sim::until::until;
use lifeboat_sim::{
    controllers::{NODE, Stopping},
    storage::{Loss, Promotion, Role},
    world::{App, Shape},
};
use serde_json::json;
use std::time::Duration;
use world_common::{Shop, delete, import, patch, wait_gone, world};

#[tokio::test(start_paused = true)]
async fn a_deployment_with_new_volumes_comes_up_and_writes() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop"));
    shop.wait_ready(1).await;
    let handle = shop.handle(0).await;
    assert_eq!(
        world.site("east").unwrap().array.role(&handle),
        Some(Role::Primary)
    );

    let volume = shop.volume(0).await;
    let spec = volume.spec.as_ref().unwrap();
    assert_eq!(
        spec.persistent_volume_reclaim_policy.as_deref(),
        Some("Delete")
    );
    assert!(
        volume
            .finalizers()
            .contains(&"kubernetes.io/pv-protection".to_owned())
    );
    let claim = shop.claims().get("shop-data-0").await.unwrap();
    assert_eq!(spec.claim_ref.as_ref().unwrap().uid, claim.uid());
    assert!(
        claim
            .finalizers()
            .contains(&"kubernetes.io/pvc-protection".to_owned())
    );

    let attached = shop
        .attachments()
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(attached.items.len(), 2);
    assert!(
        attached
            .items
            .iter()
            .all(|a| a.spec.node_name == NODE && a.status.as_ref().unwrap().attached)
    );
    let deployments: Api<Deployment> = Api::namespaced(shop.client.clone(), "shop");
    let told = || async {
        let status = deployments.get("shop").await.unwrap().status?;
        (status.available_replicas == Some(1) && status.replicas == Some(1)).then_some(status)
    };
    assert_eq!(
        until("the deployment's status", told)
            .await
            .observed_generation,
        Some(1)
    );
    until("records", || async {
        (world.ledger().report(&handle).present > 3).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_and_the_node_have_what_they_always_have() {
    let world = world();
    let client = world.admin("east").unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    until("the default account", || async {
        accounts.get_opt("default").await.unwrap()
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    until("the root CA", || async {
        maps.get_opt("kube-root-ca.crt").await.unwrap()
    })
    .await;
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let beat = || async { leases.get_opt(NODE).await.unwrap()?.spec?.renew_time };
    let first = until("a heartbeat", beat).await;
    until("another heartbeat", || async {
        beat().await.filter(|t| t.0 > first.0)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_has_numbered_pods_with_their_own_claims() {
    let world = world();
    let shop = Shop::install(
        &world,
        "east",
        App::new("db").shape(Shape::StatefulSet).volumes(3),
    );
    shop.wait_ready(3).await;
    let names: Vec<String> = shop
        .ready_pods()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    let api: Api<StatefulSet> = Api::namespaced(shop.client.clone(), "db");
    patch(&api, "db", json!({"spec": {"replicas": 0}})).await;
    shop.wait_no_pods().await;
    let told = || async {
        api.get("db")
            .await
            .unwrap()
            .status
            .filter(|s| s.replicas == 0)
            .map(drop)
    };
    until("the status", told).await;
    assert_eq!(
        shop.claims()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        3
    );
    let detached = || async {
        shop.attachments()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
            .then_some(())
    };
    until("the volumes to be detached", detached).await;
}

#[tokio::test(start_paused = true)]
async fn scaling_to_zero_stops_the_writes_and_back_goes_on_where_they_stopped() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop"));
    shop.wait_ready(1).await;
    let handle = shop.handle(0).await;
    until("records", || async {
        (world.ledger().report(&handle).present > 3).then_some(())
    })
    .await;
    shop.scale(0).await;
    shop.wait_no_pods().await;
    let still = world.ledger().report(&handle);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.ledger().report(&handle), still);
    let sets: Api<ReplicaSet> = Api::namespaced(shop.client.clone(), "shop");
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    shop.scale(1).await;
    until("more records", || async {
        (world.ledger().report(&handle).present > still.present).then_some(())
    })
    .await;
    let report = world.ledger().report(&handle);
    assert_eq!((report.lost, report.doubled, report.forked), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn policy_delete_destroys_the_image_and_retain_keeps_it() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop"));
    shop.wait_ready(1).await;
    let (kept, lost) = (shop.volume(0).await, shop.volume(1).await);
    let (kept_handle, lost_handle) = (shop.handle(0).await, shop.handle(1).await);
    patch(
        &shop.volumes(),
        &kept.name_any(),
        json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}),
    )
    .await;
    shop.scale(0).await;
    shop.wait_no_pods().await;
    for claim in shop.app.claims() {
        delete(&shop.claims(), &claim).await;
    }
    wait_gone(&shop.volumes(), &lost.name_any()).await;
    let phase = || async {
        shop.volumes()
            .get(&kept.name_any())
            .await
            .unwrap()
            .status?
            .phase
            .filter(|p| p == "Released")
    };
    until("the volume to be released", phase).await;
    let array = &world.site("east").unwrap().array;
    assert_eq!(
        (array.role(&kept_handle), array.role(&lost_handle)),
        (Some(Role::Primary), None)
    );
    let destroyed: Vec<_> = world
        .fabric()
        .destroyed()
        .into_iter()
        .map(|d| (d.handle, d.how))
        .collect();
    assert_eq!(destroyed, [(lost_handle, Loss::Deleted)]);
    // The volume object can go without its image.
    delete(&shop.volumes(), &kept.name_any()).await;
    wait_gone(&shop.volumes(), &kept.name_any()).await;
    assert_eq!(array.role(&kept_handle), Some(Role::Primary));
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_use_stays_until_its_pods_are_gone() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop").volumes(1));
    shop.wait_ready(1).await;
    let volume = shop.volume(0).await.name_any();
    delete(&shop.claims(), "shop-data-0").await;
    delete(&shop.volumes(), &volume).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        shop.claims()
            .get("shop-data-0")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    assert!(shop.volumes().get_opt(&volume).await.unwrap().is_some());
    shop.scale(0).await;
    wait_gone(&shop.claims(), "shop-data-0").await;
    wait_gone(&shop.volumes(), &volume).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_made_for_a_claim_is_bound_to_it_and_to_no_other() {
    let world = world();
    let east = Shop::install(&world, "east", App::new("shop").volumes(1));
    east.wait_ready(1).await;
    let name = import(&world, &east, "west", 0).await;
    let west = Shop::at(&world, "west", east.app.clone());
    let claim = |claim: &str| {
        format!(
            "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {claim}, namespace: shop}}, \
             spec: {{storageClassName: fast, volumeName: {name}, accessModes: [ReadWriteOnce], \
             resources: {{requests: {{storage: 1Gi}}}}}}}}"
        )
    };
    world
        .install(
            "west",
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
        )
        .unwrap();
    world.install("west", &claim("another")).unwrap();
    west.wait_reason("FailedBinding").await;
    world.install("west", &claim("shop-data-0")).unwrap();
    let volume = west.volume(0).await;
    let (pv, pvc) = (
        volume.spec.unwrap().claim_ref.unwrap(),
        west.claims().get("shop-data-0").await.unwrap(),
    );
    assert_eq!(pv.uid, pvc.uid());
    let status = west.claims().get("another").await.unwrap().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_does_not_fit_stays_pending_and_says_so() {
    let world = world();
    let pv = "{apiVersion: v1, kind: PersistentVolume, metadata: {name: small}, spec: {storageClassName: fast, \
              capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], csi: {driver: sim.csi.lifeboat.dev, volumeHandle: s}}}";
    let pvc = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: big, namespace: default}, \
               spec: {storageClassName: fast, volumeName: small, accessModes: [ReadWriteOnce], \
               resources: {requests: {storage: 2Gi}}}}";
    world.install("east", pv).unwrap();
    world.install("east", pvc).unwrap();
    let app = App {
        namespace: "default".into(),
        ..App::new("big")
    };
    let shop = Shop::at(&world, "east", app);
    shop.wait_reason("VolumeMismatch").await;
    let volumes: Api<PersistentVolume> = shop.volumes();
    let phase = || async {
        volumes
            .get("small")
            .await
            .unwrap()
            .status?
            .phase
            .filter(|p| p == "Available")
    };
    until("the volume to be available", phase).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_volume_is_told() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop").volumes(1));
    shop.wait_ready(1).await;
    let volume = shop.volume(0).await.name_any();
    delete(&shop.volumes(), &volume).await;
    patch(
        &shop.volumes(),
        &volume,
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    let claims: Api<PersistentVolumeClaim> = shop.claims();
    let lost = || async {
        claims
            .get("shop-data-0")
            .await
            .unwrap()
            .status?
            .phase
            .filter(|p| p == "Lost")
    };
    until("the claim to be lost", lost).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_secondary_waits_for_its_promotion() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop").volumes(1));
    shop.wait_ready(1).await;
    let handle = shop.handle(0).await;
    let array = world.site("east").unwrap().array.clone();
    array.enable(&handle).unwrap();
    shop.scale(0).await;
    shop.wait_no_pods().await;
    array.demote(&handle).unwrap();
    shop.scale(1).await;
    shop.wait_reason("FailedMount").await;
    assert!(shop.ready_pods().await.is_empty());
    array.promote(&handle, Promotion::Plain).unwrap();
    shop.wait_ready(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_refuses_to_stop_goes_on_writing() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop").volumes(1));
    shop.wait_ready(1).await;
    let handle = shop.handle(0).await;
    let east = world.site("east").unwrap();
    east.habits.stop("shop/", Stopping::Never);
    shop.scale(0).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        shop.pods()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(world.ledger().report(&handle).present > 500);
    assert_eq!(
        shop.attachments()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // A replacement beside it: two writers on one image.
    shop.scale(1).await;
    until("doubled records", || async {
        (world.ledger().report(&handle).doubled > 0).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_takes_its_time_is_gone_after_it() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop").volumes(1));
    shop.wait_ready(1).await;
    world
        .site("east")
        .unwrap()
        .habits
        .stop("shop/", Stopping::After(Duration::from_secs(20)));
    let asked = world.clock().now();
    shop.scale(0).await;
    shop.wait_no_pods().await;
    let took = world.clock().now().duration_since(asked);
    assert!((20..22).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn deleting_the_namespace_takes_everything_along() {
    let world = world();
    let shop = Shop::install(&world, "east", App::new("shop"));
    shop.wait_ready(1).await;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(shop.client.clone());
    delete(&namespaces, "shop").await;
    wait_gone(&namespaces, "shop").await;
    assert!(world.site("east").unwrap().workload.running().is_empty());
    let reclaimed = || async {
        shop.volumes()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
            .then_some(())
    };
    until("the volumes to be reclaimed", reclaimed).await;
}
