//! A backup of one cluster that somebody restores on another.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_lab::{Lab, LabSpec, script};
use serde_json::json;

use crate::support::paused;

/// Writes what `from` has of a kind over what `to` has of it.
async fn restore<K: kube::Resource<DynamicType = ()>>(lab: &Lab, from: &str, to: &str) {
    let kind = ApiResource::erase::<K>(&());
    let at = |place: &str| -> Api<DynamicObject> {
        Api::namespaced_with(lab.world().admin(place).unwrap(), "shop", &kind)
    };
    let all = at(from).list(&ListParams::default()).await.unwrap().items;
    assert!(!all.is_empty());
    for object in all {
        let name = object.name_any();
        let copy = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": name, "labels": object.labels(), "annotations": object.annotations()},
            "spec": object.data["spec"],
        });
        let params = PatchParams::apply("backup").force();
        let done = at(to).patch(&name, &params, &Patch::Apply(&copy)).await;
        done.unwrap();
    }
}

#[test]
fn what_a_backup_of_the_owner_brings_to_another_cluster_promotes_nothing_there() {
    paused(async {
        let lab = Lab::start(LabSpec::paused(2)).await.unwrap();
        let play = async |lines: &str| {
            let lines = script::parse(lines).unwrap();
            let played = script::play_in(&lab, &lines).await;
            played.unwrap_or_else(|e| panic!("{e}"));
        };
        play("relocate to west\nwait settled on west within 2m\nrelocate to east\nwait settled on east within 2m").await;
        // Nobody is there to put it right.
        lab.kill_hub();
        restore::<DROwnership>(&lab, "east", "west").await;
        restore::<VolumeReplication>(&lab, "east", "west").await;
        let west = lab.world().admin("west").unwrap();
        let volumes: Api<VolumeReplication> = Api::namespaced(west, "shop");
        let refused = || async {
            let all = volumes.list(&ListParams::default()).await.unwrap().items;
            Ok(!all.is_empty()
                && all.iter().all(|volume| {
                    let status = volume.status.as_ref();
                    let message = status.and_then(|status| status.message.as_ref());
                    message.is_some_and(|text| text.contains("it was written for east"))
                }))
        };
        let seen = lab.poll("it is refused", Duration::from_secs(60), refused);
        seen.await.unwrap_or_else(|e| panic!("{}", e.full()));
        play("pass 30s\nexpect primary only on east").await;
    });
}
