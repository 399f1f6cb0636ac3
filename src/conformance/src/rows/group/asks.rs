//! What rows about groups write and wait for.

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::{VolumeGroupReplication, VolumeGroupReplicationContent};
use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::{Value, json};

use crate::on::On;
use crate::rows::promote::info;
use crate::world::{DRIVER, World};

pub(crate) const FINALIZER: &str = "replication.storage.openshift.io/vgr-protection";
pub(crate) const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const OWNER: &str = "replication.storage.openshift.io/volume-group-replication-name";

impl World {
    pub(crate) async fn group_class(&self, name: &str, driver: &str, parameters: &Value) {
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeGroupReplicationClass",
            "metadata": {"name": self.named(name)}, "spec": {"provisioner": driver, "parameters": parameters},
        })).await;
    }

    /// Claims with the label that the group `all` selects.
    pub(crate) async fn labelled(&self, names: &[&str]) {
        for name in names {
            self.claim(name).await;
            self.patch_claim(name, &json!({"labels": {"app": "shop"}}))
                .await;
        }
    }

    pub(crate) async fn group_with(&self, state: &str, spec: &Value) {
        let mut whole = json!({
            "volumeGroupReplicationClassName": "together", "volumeReplicationClassName": "gold",
            "replicationState": state, "source": {"selector": {"matchLabels": {"app": "shop"}}},
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.name_field(&mut whole, "volumeGroupReplicationClassName");
        self.name_field(&mut whole, "volumeReplicationClassName");
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeGroupReplication",
            "metadata": {"name": "all", "namespace": self.ns}, "spec": whole,
        })).await;
    }

    pub(crate) fn groups(&self) -> Api<VolumeGroupReplication> {
        Api::namespaced(self.admin.clone(), &self.ns)
    }

    pub(crate) async fn group(&self) -> VolumeGroupReplication {
        self.groups().get("all").await.unwrap()
    }

    pub(crate) async fn ask_group(&self, state: &str) {
        let patch = json!({"spec": {"replicationState": state}});
        self.groups()
            .patch("all", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn content(&self) -> Option<VolumeGroupReplicationContent> {
        let name = format!("vgrcontent-{}", self.group().await.metadata.uid.unwrap());
        Api::all(self.admin.clone()).get_opt(&name).await.unwrap()
    }

    pub(crate) async fn group_summary(&self) -> String {
        let status = self.group().await.status.unwrap_or_default().replication;
        let conditions = status.conditions.iter();
        let conditions = conditions.map(|c| format!("{}={}/{}", c.type_, c.status, c.reason));
        format!(
            "{} | {} | {}",
            status.state.unwrap_or_default(),
            status.message.unwrap_or_default(),
            conditions.collect::<Vec<_>>().join(" ")
        )
    }

    /// Waits until the group says `text`, of its present generation.
    pub(crate) async fn until_group(&self, text: &str) {
        self.until(&format!("group: {text}"), async |w| {
            let group = w.group().await;
            let status = group.status.unwrap_or_default().replication;
            w.group_summary().await.contains(text)
                && status.observed_generation == group.metadata.generation
        })
        .await;
    }

    pub(crate) async fn members(&self) -> Vec<String> {
        let status = self.group().await.status.unwrap_or_default();
        let list = status.persistent_volume_claims_ref_list;
        list.into_iter().map(|r| r.name).collect()
    }

    /// Whether a claim carries the marks of the group.
    pub(crate) async fn is_marked(&self, claim: &str) -> bool {
        let meta = self.claims().get(claim).await.unwrap().metadata;
        let owner = meta.annotations.unwrap_or_default().get(OWNER).cloned();
        let finalizer = meta
            .finalizers
            .unwrap_or_default()
            .contains(&FINALIZER.to_owned());
        assert_eq!(owner.as_deref() == Some("all"), finalizer, "{claim}");
        finalizer
    }
}

pub(crate) fn credentials(world: &World) -> Value {
    json!({
        "replication.storage.openshift.io/group-replication-secret-name": "creds",
        "replication.storage.openshift.io/group-replication-secret-namespace": world.ns,
        "consistency": "crash",
    })
}

pub(crate) async fn shop(on: &On) -> World {
    let world = World::new(on).await;
    world
        .group_class("together", DRIVER, &credentials(&world))
        .await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world
}

pub(crate) async fn primary(on: &On) -> World {
    let world = shop(on).await;
    world.labelled(&["a", "b", "c"]).await;
    world.group_with("primary", &json!({})).await;
    world.until_group(PROMOTED).await;
    world.until_group("Replicating=True/Replicating").await;
    world
}
