//! A backup of one cluster that somebody restores on another.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_lab::{Lab, LabSpec};
use serde_json::json;

use crate::support::{paused, play};

/// The objects of a kind, wherever they are kept.
struct Kept {
    kind: ApiResource,
    all: Vec<DynamicObject>,
}

fn objects(lab: &Lab, site: &str, kind: &ApiResource) -> Api<DynamicObject> {
    let admin = lab.world().admin(site).unwrap();
    match kind.kind.as_str() {
        "PersistentVolume" => Api::all_with(admin, kind),
        _ => Api::namespaced_with(admin, &lab.app().namespace, kind),
    }
}

/// What east has of a kind.
async fn back_up<K: Resource<DynamicType = ()>>(lab: &Lab) -> Kept {
    let kind = ApiResource::erase::<K>(&());
    let api = objects(lab, "east", &kind);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    assert!(!all.is_empty(), "{}", kind.kind);
    Kept { kind, all }
}

/// Writes it over what west has, as a backup tool does: what binds a volume to its claim on east is left out.
async fn restore(lab: &Lab, Kept { kind, all }: Kept) {
    let api = objects(lab, "west", &kind);
    for mut object in all {
        let name = object.name_any();
        object
            .annotations_mut()
            .retain(|key, _| !key.contains("kubernetes.io/"));
        let spec = &mut object.data["spec"];
        if let Some(claim) = spec.get_mut("claimRef") {
            *claim = json!({"namespace": claim["namespace"], "name": claim["name"]});
            spec["csi"]["driver"] = json!(lab.world().site("west").unwrap().driver.name());
        }
        let copy = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": name, "labels": object.labels(), "annotations": object.annotations()},
            "spec": object.data["spec"],
        });
        let params = PatchParams::apply("backup").force();
        let done = api.patch(&name, &params, &Patch::Apply(&copy)).await;
        done.unwrap();
    }
}

#[test]
fn what_a_backup_of_the_owner_brings_to_another_cluster_promotes_nothing_there() {
    paused(async {
        let lab = Lab::start(LabSpec::paused(2)).await.unwrap();
        let story = "wait settled on east within 2m\nrelocate to west\nwait settled on west within 2m\n\
                     kill site west\nfailover to east\nwait running on east within 2m";
        play(&lab, story).await;
        let mut backup = [
            back_up::<DROwnership>(&lab).await,
            back_up::<PersistentVolume>(&lab).await,
            back_up::<PersistentVolumeClaim>(&lab).await,
            back_up::<VolumeReplication>(&lab).await,
        ];
        // As it was while east was promoted: by force.
        let record = &mut backup[0].all[0].data["spec"];
        record["forceEpoch"] = record["epoch"].clone();
        play(
            &lab,
            "revive site west\nwait settled on east within 5m\nexpect epoch 3",
        )
        .await;
        // Nobody is there to put it right.
        lab.kill_hub();
        let driver = &lab.world().site("west").unwrap().driver;
        let before = driver.calls().len();
        for kept in backup {
            restore(&lab, kept).await;
        }
        let west = lab.world().admin("west").unwrap();
        let volumes: Api<VolumeReplication> = Api::namespaced(west, &lab.app().namespace);
        let told = || async {
            let all = volumes.list(&ListParams::default()).await.unwrap();
            let message = |volume: &VolumeReplication| volume.status.clone()?.message;
            all.iter().filter_map(message).collect::<Vec<_>>()
        };
        let refused = || async {
            let says = |text: &&String| text.contains("it was written for east");
            Ok(told().await.iter().filter(says).count() == lab.app().volumes)
        };
        let seen = lab.poll("it is refused", Duration::from_secs(60), refused);
        let seen = seen.await;
        assert!(
            seen.is_ok(),
            "{:#?}\n{}",
            told().await,
            lab.violations().join("\n")
        );
        play(&lab, "pass 2m\nexpect primary only on east").await;
        let calls = driver.calls().split_off(before);
        assert!(calls.is_empty(), "{calls:?}");
    });
}
