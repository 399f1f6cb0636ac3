//! Every step of the executor against a simulated API server that enforces the hub's role.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod newer;
mod world;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lifeboat_api::{VolumeReplication, names};
use lifeboat_core::observed::Role;
use lifeboat_core::step::Force;
use lifeboat_core::wait::Reason;
use lifeboat_core::{Outcome, Step};
use serde_json::json;

use world::*;

#[tokio::test(start_paused = true)]
async fn a_record_grants_force_for_one_epoch_and_never_goes_back() {
    let world = World::new();
    // dr2 has no namespace yet.
    world.twice(record("dr2", "dr2", 2, Force::Granted)).await;
    let name = world.scope.ownership.clone();
    let spec = world.get("dr2", "DROwnership", &name).await.unwrap()["spec"].clone();
    assert_eq!(
        (
            spec["owner"].as_str(),
            spec["epoch"].as_i64(),
            spec["forceEpoch"].as_i64()
        ),
        (Some("dr2"), Some(2), Some(2))
    );
    assert_eq!(spec["clusterUID"], "uid-of-dr2");
    world.twice(record("dr2", "dr1", 3, Force::Denied)).await;
    let spec = world.get("dr2", "DROwnership", &name).await.unwrap()["spec"].clone();
    assert!(
        spec.get("forceEpoch").is_none(),
        "the grant is taken back: {spec}"
    );
    assert_eq!(
        world.refused(record("dr2", "dr2", 2, Force::Denied)).await,
        Reason::StaleHub
    );
    assert_eq!(
        world.refused(record("dr2", "dr2", 3, Force::Denied)).await,
        Reason::StaleHub
    );
    world.twice(Step::Forget { cluster: id("dr2") }).await;
    assert!(world.get("dr2", "DROwnership", &name).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn protection_is_set_up_and_taken_away_again() {
    let world = World::new();
    world.bind("dr1").await;
    world.twice(retain()).await;
    let pv = world.get("dr1", "PersistentVolume", "pv-db").await.unwrap();
    assert_eq!(pv["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(
        pv["metadata"]["annotations"][names::RECLAIM_POLICY],
        "Delete"
    );
    world.twice(replicate("dr1", Role::Primary, 1)).await;
    world
        .twice(Step::Nudge {
            cluster: id("dr1"),
            claims: vec![claim()],
        })
        .await;
    world
        .twice(Step::Unprotect {
            cluster: id("dr1"),
            claims: claims(),
        })
        .await;
    let pv = world.get("dr1", "PersistentVolume", "pv-db").await.unwrap();
    assert_eq!(pv["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    for (kind, name) in [
        ("PersistentVolume", "pv-db"),
        ("PersistentVolumeClaim", "db"),
    ] {
        let meta = world.get("dr1", kind, name).await.unwrap()["metadata"].clone();
        assert!(
            !meta.to_string().contains("lifeboat.dev/placement"),
            "{meta}"
        );
    }
    assert!(world.get("dr1", "VolumeReplication", "db").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_no_claim_has_loses_our_mark_and_is_kept() {
    let world = World::new();
    world.bind("dr1").await;
    world.twice(retain()).await;
    let let_go = |names: &[&str]| Step::LetGo {
        cluster: id("dr1"),
        volumes: names.iter().map(|n| (*n).to_owned()).collect(),
    };
    let volumes: Api<PersistentVolume> = Api::all(world.servers[&id("dr1")].admin());
    let strange = json!({"metadata": {"labels": {names::PLACEMENT_UID: "another"}}});
    let ours = json!({"metadata": {"labels": {names::PLACEMENT_UID: UID}}});
    for (mark, marked) in [(strange, true), (ours, false)] {
        let mark = Patch::Merge(mark);
        let done = volumes.patch("pv-db", &PatchParams::default(), &mark).await;
        done.unwrap();
        world.twice(let_go(&["pv-db", "pv-gone"])).await;
        let pv = world.get("dr1", "PersistentVolume", "pv-db").await.unwrap();
        assert_eq!(pv["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        let left = pv["metadata"].to_string().contains("lifeboat.dev/");
        assert_eq!(left, marked, "{}", pv["metadata"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_protection_deletes_no_volume_whose_claim_is_gone() {
    let world = World::new();
    world.bind("dr1").await;
    world.twice(retain()).await;
    let claim_api: Api<PersistentVolumeClaim> =
        Api::namespaced(world.servers[&id("dr1")].admin(), NS);
    let delete = DeleteParams::default();
    drop(claim_api.delete("db", &delete).await.unwrap());
    let volumes = BTreeMap::from([(claim(), Some("pv-db".to_owned()))]);
    world
        .twice(Step::Unprotect {
            cluster: id("dr1"),
            claims: volumes,
        })
        .await;
    let pv = world.get("dr1", "PersistentVolume", "pv-db").await.unwrap();
    assert_eq!(pv["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    let left = pv["metadata"].to_string().contains("lifeboat.dev/");
    assert!(!left, "{}", pv["metadata"]);
}

#[tokio::test(start_paused = true)]
async fn replication_is_switched_off_by_a_word_that_is_stored_before_the_deletion() {
    let release = Step::Release {
        cluster: id("dr1"),
        claims: vec![claim()],
    };
    let unprotect = Step::Unprotect {
        cluster: id("dr1"),
        claims: claims(),
    };
    for (step, word) in [(release, None), (unprotect, Some("true"))] {
        let world = World::new();
        world.bind("dr1").await;
        world.twice(replicate("dr1", Role::Primary, 1)).await;
        // As the agent does: it goes only when that lets it go.
        let vr: Api<VolumeReplication> = Api::namespaced(world.servers[&id("dr1")].admin(), NS);
        let held = Patch::Merge(json!({"metadata": {"finalizers": [names::VR_FINALIZER]}}));
        vr.patch("db", &PatchParams::default(), &held)
            .await
            .unwrap();
        if word.is_some() {
            // Whether the word was stored is not known: nothing is deleted.
            world.link("dr1").lose_next_replies(2);
            let outcome = world.run(&step).await;
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
            world.link("dr1").lose_next_replies(0);
            let meta = vr.get("db").await.unwrap().metadata;
            assert!(meta.deletion_timestamp.is_none());
        }
        world.twice(step).await;
        let meta = vr.get("db").await.unwrap().metadata;
        assert!(meta.deletion_timestamp.is_some());
        let said = meta.annotations.unwrap_or_default();
        assert_eq!(said.get(names::DISABLE).map(String::as_str), word);
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_moves_and_leaves_only_its_image_behind() {
    let world = World::new();
    world.bind("dr1").await;
    for step in [retain(), replicate("dr1", Role::Primary, 1)] {
        world.twice(step).await;
    }
    let quiesce = Step::Quiesce {
        cluster: id("dr1"),
        workloads: BTreeMap::from([(deployment(), 3)]),
    };
    world.twice(quiesce).await;
    let web = world.get("dr1", "Deployment", "web").await.unwrap();
    assert_eq!(
        (
            web["spec"]["replicas"].as_i64(),
            web["metadata"]["annotations"][names::REPLICAS].as_str()
        ),
        (Some(0), Some("3"))
    );
    world.twice(capture()).await;
    world.twice(replicate("dr1", Role::Secondary, 1)).await;
    world.twice(restore()).await;
    let pv = world.get("dr2", "PersistentVolume", "pv-db").await.unwrap();
    assert_eq!(
        (
            pv["spec"]["csi"]["volumeHandle"].as_str(),
            pv["spec"]["persistentVolumeReclaimPolicy"].as_str()
        ),
        (Some("h-db"), Some("Retain"))
    );
    world.twice(replicate("dr2", Role::Primary, 2)).await;
    world.twice(start()).await;
    let web = world.get("dr2", "Deployment", "web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], 3);
    assert!(world.get("dr2", "ConfigMap", "settings").await.is_some());
    world
        .twice(Step::RemoveWorkloads {
            cluster: id("dr1"),
            workloads: vec![deployment()],
        })
        .await;
    assert!(world.get("dr1", "Deployment", "web").await.is_none());
    let left = world.get("dr1", "ConfigMap", "settings").await.unwrap();
    assert_eq!(
        left["metadata"]["labels"][names::PLACEMENT_UID],
        UID,
        "marked as left behind"
    );
    world
        .twice(Step::Release {
            cluster: id("dr1"),
            claims: vec![claim()],
        })
        .await;
    assert!(world.get("dr1", "VolumeReplication", "db").await.is_none());
    world
        .twice(Step::RemoveClaims {
            cluster: id("dr1"),
            claims: claims(),
        })
        .await;
    assert!(
        world
            .get("dr1", "PersistentVolumeClaim", "db")
            .await
            .is_none()
    );
    assert!(
        world
            .get("dr1", "PersistentVolume", "pv-db")
            .await
            .is_none()
    );
    assert!(
        world
            .sites
            .log
            .lock()
            .iter()
            .any(|l| l == "dr1 deleted PersistentVolumeClaim db"),
        "{:?}",
        world.sites.log.lock()
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_workload_gets_its_own_count_back() {
    let world = World::new();
    let workloads = BTreeMap::from([(deployment(), 3)]);
    world
        .twice(Step::Quiesce {
            cluster: id("dr1"),
            workloads: workloads.clone(),
        })
        .await;
    world
        .twice(Step::Resume {
            cluster: id("dr1"),
            workloads,
        })
        .await;
    let web = world.get("dr1", "Deployment", "web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], 3);
    assert!(
        web["metadata"]
            .get("annotations")
            .is_none_or(|a| a.get(names::REPLICAS).is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_never_touched() {
    let world = World::new();
    world.bind("dr1").await;
    for step in [retain(), replicate("dr1", Role::Primary, 1), capture()] {
        world.twice(step).await;
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}});
    world.apply("dr2", &namespace);
    let foreign = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-db"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": DRIVER, "volumeHandle": "other"}}});
    world.apply("dr2", &foreign);
    assert_eq!(world.refused(restore()).await, Reason::Collision);
    assert!(
        world
            .get("dr2", "PersistentVolumeClaim", "db")
            .await
            .is_none(),
        "nothing is made next to a collision"
    );

    world.apply("dr2", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NS}, "data": {"a": "other"}}));
    assert_eq!(world.refused(start()).await, Reason::Collision);
    assert!(
        world.get("dr2", "Deployment", "web").await.is_none(),
        "no workload starts next to a collision"
    );
    world.apply("dr2", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NS}, "data": {"a": "1"}}));
    world.twice(start()).await;
    let same = world.get("dr2", "ConfigMap", "settings").await.unwrap();
    assert!(
        same["metadata"].get("labels").is_none(),
        "the same content under another owner serves, and stays his: {same}"
    );

    let vr: Api<VolumeReplication> = Api::namespaced(world.servers[&id("dr1")].admin(), NS);
    let other = Patch::Merge(json!({"metadata": {"labels": {names::PLACEMENT_UID: "another"}}}));
    vr.patch("db", &PatchParams::default(), &other)
        .await
        .unwrap();
    assert_eq!(
        world.refused(replicate("dr1", Role::Secondary, 1)).await,
        Reason::ClaimedByOther
    );
    assert_eq!(
        world
            .refused(Step::Release {
                cluster: id("dr1"),
                claims: vec![claim()]
            })
            .await,
        Reason::Collision
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_to_resync_says_how_long_it_holds_is_renewed_and_is_taken_back_with_its_end() {
    let world = World::new();
    world.twice(replicate("dr1", Role::Secondary, 2)).await;
    let (first, second) = ("2026-01-01T00:05:00Z", "2026-01-01T00:07:30Z");
    for (number, until, salvage) in [(1, first, Some(3_600)), (2, second, None)] {
        let order = resync("dr1", 2, until, (number, salvage));
        world.twice(order).await;
        let vr = world.get("dr1", "VolumeReplication", "db").await.unwrap();
        assert_eq!(vr["spec"]["replicationState"], "resync");
        assert_eq!(vr["metadata"]["annotations"][names::RESYNC_UNTIL], until);
        let asked = &vr["metadata"]["annotations"][names::RESYNC_REQUEST];
        assert_eq!(*asked, number.to_string());
        let keep = &vr["metadata"]["annotations"][names::SALVAGE];
        assert_eq!(*keep, json!(salvage.map(|s| s.to_string())));
    }
    world.twice(replicate("dr1", Role::Secondary, 2)).await;
    let vr = world.get("dr1", "VolumeReplication", "db").await.unwrap();
    assert_eq!(vr["spec"]["replicationState"], "secondary");
    assert!(
        vr["metadata"]["annotations"]
            .get(names::RESYNC_UNTIL)
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_word_to_switch_off_that_was_left_behind_is_taken_back() {
    let world = World::new();
    world.twice(replicate("dr1", Role::Primary, 1)).await;
    let say = async || {
        let switch = json!({"metadata": {"annotations": {names::DISABLE: "true"}}});
        let params = kube::api::PatchParams {
            field_manager: Some(names::HUB_MANAGER.to_owned()),
            ..Default::default()
        };
        let api: kube::Api<lifeboat_api::VolumeReplication> =
            kube::Api::namespaced(world.servers[&id("dr1")].admin(), NS);
        let said = api
            .patch("db", &params, &kube::api::Patch::Merge(&switch))
            .await;
        said.unwrap();
        api
    };
    say().await;
    world.twice(replicate("dr1", Role::Primary, 1)).await;
    let vr = world.get("dr1", "VolumeReplication", "db").await.unwrap();
    assert!(vr["metadata"]["annotations"].get(names::DISABLE).is_none());

    // To let go does not switch off either: the agent holds the object, and reads no word on it.
    let api = say().await;
    let held = json!({"metadata": {"finalizers": ["lifeboat.dev/test"]}});
    let params = kube::api::PatchParams::default();
    let held = api
        .patch("db", &params, &kube::api::Patch::Merge(&held))
        .await;
    held.unwrap();
    let release = Step::Release {
        cluster: id("dr1"),
        claims: vec![claim()],
    };
    world.twice(release).await;
    let vr = world.get("dr1", "VolumeReplication", "db").await.unwrap();
    assert!(vr["metadata"]["deletionTimestamp"].is_string());
    assert!(vr["metadata"]["annotations"].get(names::DISABLE).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_replication_of_a_newer_epoch_is_not_overwritten() {
    let world = World::new();
    world.twice(replicate("dr1", Role::Secondary, 5)).await;
    assert_eq!(
        world.refused(replicate("dr1", Role::Primary, 4)).await,
        Reason::StaleHub
    );
    let vr = world.get("dr1", "VolumeReplication", "db").await.unwrap();
    assert_eq!(vr["spec"]["replicationState"], "secondary");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_unknown_and_the_next_try_is_fine() {
    let world = World::new();
    world.bind("dr1").await;
    let quiesce = Step::Quiesce {
        cluster: id("dr1"),
        workloads: BTreeMap::from([(deployment(), 3)]),
    };
    for step in [
        record("dr1", "dr1", 1, Force::Denied),
        retain(),
        replicate("dr1", Role::Primary, 1),
        quiesce,
    ] {
        world.link("dr1").lose_next_replies(1);
        assert!(
            matches!(world.run(&step).await, Outcome::Unknown { .. }),
            "{step:?}"
        );
        world.link("dr1").lose_next_replies(0);
        assert_eq!(world.run(&step).await, Outcome::Done, "{step:?}");
    }
    let web = world.get("dr1", "Deployment", "web").await.unwrap();
    assert_eq!(
        web["metadata"]["annotations"][names::REPLICAS],
        "3",
        "the count survives the lost reply"
    );
    world.link("dr1").cut();
    assert!(
        matches!(world.run(&retain()).await, Outcome::Unknown { .. }),
        "silence ends at the deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_on_its_way_out_is_named() {
    let world = World::new();
    let going = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}});
    world.apply("dr2", &going);
    world.apply(
        "dr2",
        &json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "sticky", "namespace": NS, "finalizers": ["example.com/hold"]}}),
    );
    let api: Api<k8s_openapi::api::core::v1::Namespace> =
        Api::all(world.servers[&id("dr2")].admin());
    api.delete(NS, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(
        world.refused(record("dr2", "dr1", 1, Force::Denied)).await,
        Reason::NamespaceTerminating
    );
}
