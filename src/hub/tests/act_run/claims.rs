//! A placement with a claim: captured, fought over, and beside a cluster that takes no writes.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lifeboat_api::{DRPlacement, names};
use serde_json::{Value, json};

use crate::world::{SPOKE, World};

/// A claim on a cluster that can be protected.
pub(crate) async fn claim(world: &World, on: &str) {
    let member = &world.members[on];
    let apply = |object: Value| member.apply_yaml(&object.to_string()).unwrap();
    let driver = "disk.example.com";
    apply(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": driver}),
    );
    apply(
        json!({"apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplicationClass",
        "metadata": {"name": "gold"}, "spec": {"provisioner": driver}}),
    );
    apply(
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-db"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "default", "name": "db"},
            "csi": {"driver": driver, "volumeHandle": "h-db"}}}),
    );
    apply(
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "db", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast", "volumeName": "pv-db"}}),
    );
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(member.admin(), "default");
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims
        .patch_status("db", &PatchParams::default(), &bound)
        .await
        .unwrap();
}

/// Both clusters healthy, and an application on dr1 that is to be protected.
pub(crate) async fn placed() -> World {
    let world = World::new();
    world.both_healthy().await;
    claim(&world, "dr1").await;
    world.policy();
    world.placement("gold");
    world
}

/// The same, and the application was captured.
pub(crate) async fn captured() -> World {
    let world = placed().await;
    world.until("it is captured", World::captures).await;
    world
}

#[tokio::test(start_paused = true)]
async fn somebody_who_undoes_what_the_hub_does_is_named_and_not_fought_at_full_speed() {
    let world = placed().await;
    let volumes: Api<PersistentVolume> = Api::all(world.members["dr1"].admin());
    let undo = async |w: &World| {
        let delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
        let (name, params) = ("pv-db", PatchParams::default());
        volumes
            .patch(name, &params, &Patch::Merge(delete))
            .await
            .unwrap();
        let placements: Api<DRPlacement> = Api::namespaced(w.hub.admin(), "default");
        let status = placements.get("web").await.ok()?.status?;
        let mut told = status.blockers.into_iter();
        told.find(|b| b.message.contains("nothing came of it"))
    };
    let told = world.until("the duel is told", undo).await;
    assert!(told.remedy.contains("Look who undoes it"), "{told:?}");
    world.members["dr1"].reset_request_counts();
    for _ in 0..300 {
        undo(&world).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let counts = world.members["dr1"].request_counts();
    let writes = counts.iter().filter(|((user, verb, what), _)| {
        user.ends_with("lifeboat-hub") && verb == "patch" && what.contains("persistentvolumes")
    });
    let writes: u64 = writes.map(|(_, n)| n).sum();
    assert!((2..=15).contains(&writes), "{counts:?}");
}

impl World {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.hub.admin(), "lifeboat-system")
    }

    /// The names of the Secrets that hold captures, if there are any.
    async fn captures(&self) -> Option<Vec<String>> {
        let ours = ListParams::default().labels("lifeboat.dev/capture");
        let all = self.secrets().list(&ours).await.unwrap();
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        (!names.is_empty()).then_some(names)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_to_act_again_reads_the_archive_anew() {
    let world = captured().await;
    let leases: Api<Lease> = Api::namespaced(world.hub.admin(), "lifeboat-system");
    let held = async |_: &World, by: &str| {
        let lease = leases.get(names::HUB_LEASE).await.ok()?.spec?;
        (lease.holder_identity.as_deref() == Some(by)).then_some(lease.lease_transitions)
    };
    let before = world
        .until("it leads", async |w| held(w, "hub-0").await)
        .await;
    // Another hub takes over, loses the captures, and dies.
    let another = json!({"spec": {"holderIdentity": "hub-1", "leaseDurationSeconds": 15}});
    let params = PatchParams::default();
    leases
        .patch(names::HUB_LEASE, &params, &Patch::Merge(another))
        .await
        .unwrap();
    let (secrets, params) = (world.secrets(), DeleteParams::default());
    for name in world.captures().await.unwrap() {
        secrets.delete(&name, &params).await.unwrap();
    }
    let after = world
        .until("it leads again", async |w| held(w, "hub-0").await)
        .await;
    assert_ne!(before, after);
    world
        .until("what is lost is captured again", World::captures)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_returned_cluster_that_takes_no_writes_does_not_keep_the_owner_from_being_protected() {
    let world = captured().await;
    // dr1 answers all questions from now on, and takes no more orders.
    let deaf = SPOKE[2]
        .replace("create, patch, delete]", "]")
        .replace("watch, ]", "watch]");
    assert_ne!(deaf, SPOKE[2]);
    world.members["dr1"].apply_yaml(&deaf).unwrap();
    claim(&world, "dr2").await;
    let placements: Api<DRPlacement> = Api::namespaced(world.hub.admin(), "default");
    // It was failed over from dr1 to dr2, and dr1 has returned.
    let moved = json!({"status": {"journal": {"owner": "dr2", "epoch": 2, "capture": 1,
        "phase": {"CleaningUp": {"from": "dr1", "to": "dr2", "kind": "Failover"}},
        "served": {"preferred": "dr1"}}}});
    let params = PatchParams::default();
    placements
        .patch_status("web", &params, &Patch::Merge(moved))
        .await
        .unwrap();
    let volumes: Api<PersistentVolume> = Api::all(world.members["dr2"].admin());
    let retained = async |_: &World| {
        let pv = volumes.get("pv-db").await.ok()?.spec?;
        (pv.persistent_volume_reclaim_policy.as_deref() == Some("Retain")).then_some(())
    };
    world
        .until("the owner's volume is retained", retained)
        .await;
    let told = async |_: &World| {
        let status = placements.get("web").await.ok()?.status?;
        let mut all = status.blockers.into_iter();
        all.find(|b| b.message.contains("dr1") && b.message.contains("forbidden"))
    };
    world.until("dr1 is named", told).await;
}
