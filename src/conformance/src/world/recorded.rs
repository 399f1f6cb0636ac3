//! Objects as the controllers of the CSI-Addons project leave them, and a stand-in for those controllers themselves.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use lifeboat_api::VolumeReplication;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_sim::upstream::{Kind, Upstream};
use serde_json::{Value, json};

use super::{DRIVER, World};
use crate::driver::Said;

const FILES: [&str; 2] = [
    include_str!("../../fixtures/volume-replication-operator.yaml"),
    include_str!("../../fixtures/kubernetes-csi-addons.yaml"),
];

const GROUP: &str = include_str!("../../fixtures/kubernetes-csi-addons-group.yaml");

impl World {
    /// Puts the recorded group there, with its claims, its content and its VolumeReplication.
    pub(crate) async fn recorded_group(&self) {
        let text = GROUP.replace("NAMESPACE", &self.ns);
        let text = text.replace("SUFFIX", &self.named(""));
        // What is named after the group's uid comes after it.
        let bare = text.replace("GENERATION", "1").replace("-UID", "-later");
        let bare = serde_saphyr::from_multiple::<Value>(&bare).unwrap();
        for mut object in bare {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            match object["kind"].as_str() {
                Some("PersistentVolumeClaim") => {
                    self.claim(&name).await;
                    self.patch_claim(&name, &object["metadata"]).await;
                }
                Some("VolumeGroupReplication") => {
                    for later in ["volumeReplicationName", "volumeGroupReplicationContentName"] {
                        object["spec"].as_object_mut().unwrap().remove(later);
                    }
                    object["status"].take();
                    self.apply(&object).await;
                }
                _ => {}
            }
        }
        let uid = self.group().await.metadata.uid.unwrap();
        let text = text.replace("UID", &uid);
        for generation in [1, 2] {
            let text = text.replace("GENERATION", &generation.to_string());
            for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
                let is_group = object["kind"] == "VolumeGroupReplication";
                if object["kind"] != "PersistentVolumeClaim" && is_group == (generation == 2) {
                    self.recorded_part(object, generation).await;
                }
            }
        }
        self.driver
            .did_before("g-1", &["Create", "E", "P"], Said::Yes);
    }

    async fn recorded_part(&self, mut object: Value, generation: i64) {
        let status = object.as_object_mut().unwrap().remove("status").unwrap();
        self.apply(&object).await;
        let kind = object["kind"].as_str().unwrap();
        let kind = GroupVersionKind::gvk("replication.storage.openshift.io", "v1alpha1", kind);
        let kind = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), namespace, &kind),
            None => Api::all_with(self.admin.clone(), &kind),
        };
        let name = object["metadata"]["name"].as_str().unwrap();
        let patch = Patch::Merge(json!({ "status": status }));
        let stored = api
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        let stored = stored.unwrap();
        assert_eq!(stored.data["status"], status, "{name}");
        assert_eq!(stored.metadata.generation, Some(generation), "{name}");
    }

    /// Puts there what was recorded under these names: claims with their volumes, VolumeReplications with status and generation.
    /// Those that were being deleted are being deleted; the driver is in the role that their status tells.
    pub(crate) async fn recorded(&self, names: &[&str]) {
        let all = FILES.iter().flat_map(|file| {
            let file = file.replace("NAMESPACE", &self.ns);
            serde_saphyr::from_multiple::<Value>(&file).unwrap()
        });
        let mut found = Vec::new();
        for object in all.filter(|o| names.iter().any(|n| o["metadata"]["name"] == *n)) {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            if object["kind"] == "PersistentVolumeClaim" {
                self.claim(&name).await;
                self.patch_claim(&name, &object["metadata"]).await;
            } else {
                self.recorded_volume(&name, object).await;
                found.push(name);
            }
        }
        found.sort();
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(found, names);
    }

    async fn recorded_volume(&self, name: &str, mut object: Value) {
        object["apiVersion"] = json!("replication.storage.openshift.io/v1alpha1");
        self.name_field(&mut object["spec"], "volumeReplicationClass");
        let mut wanted: VolumeReplication = serde_json::from_value(object).unwrap();
        let meta = &mut wanted.metadata;
        let (status, generation) = (wanted.status.take(), meta.generation.take().unwrap());
        let is_ending = meta.deletion_timestamp.take().is_some();
        let edits = generation - 1 - i64::from(is_ending);
        let handle = wanted.spec.replication_handle.clone();
        wanted.spec.replication_handle =
            (edits > 0).then(|| "before".to_owned()).or(handle.clone());
        let created = self.volumes().create(&PostParams::default(), &wanted).await;
        created.unwrap();
        for edit in 1..=edits {
            let interim = format!("before {edit}");
            let handle = (edit < edits).then_some(interim).or(handle.clone());
            self.patch_volume(name, &json!({"spec": {"replicationHandle": handle}}))
                .await;
        }
        if let Some(status) = &status {
            let patch = Patch::Merge(json!({ "status": status }));
            let params = PatchParams::default();
            let stored = self.volumes().patch_status(name, &params, &patch).await;
            assert_eq!(stored.unwrap().status.as_ref(), Some(status));
        }
        if is_ending {
            self.delete_volume(name).await;
        }
        let stored = self.volume(name).await.metadata;
        assert_eq!(stored.generation, Some(generation), "{name}");
        assert_eq!(stored.deletion_timestamp.is_some(), is_ending);
        let Some(status) = status else { return };
        let is_behind = status
            .conditions
            .iter()
            .any(|c| c.type_ == "Degraded" && c.status == "True");
        let said: &[&str] = match (status.state.as_deref(), is_behind) {
            (Some("Primary"), _) => &["E", "P"],
            (Some("Secondary"), true) => &["E", "M"],
            (Some("Secondary"), false) => &["E", "M", "R"],
            _ => &[],
        };
        let handle = format!("h-{}", wanted.spec.data_source.name);
        self.driver.did_before(&handle, said, Said::Yes);
    }

    /// A controller of this kind beside the driver, until the answer is dropped.
    pub(crate) async fn upstream(&self, kind: Kind) -> Task<()> {
        let channel = self.driver.endpoint().connect().await.unwrap();
        let (client, clock) = (self.admin.clone(), self.ground.clock());
        let upstream = Upstream::new(kind, DRIVER, client, channel, clock).within(&self.ns);
        spawn("upstream", upstream.run())
    }
}
