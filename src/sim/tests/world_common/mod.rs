//! What the tests of the world share.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::fmt::Debug;

use k8s_openapi::api::{
    core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use lifeboat_sim::{
    clock::SimClock,
    world::{App, World, WorldSpec},
};
use serde_json::{Value, json};

use lifeboat_sim::until::until;

/// A hub, and east and west with a storage class each.
pub fn world() -> World {
    world_of(|spec| spec)
}

/// As [`world`], changed.
pub fn world_of(change: impl FnOnce(WorldSpec) -> WorldSpec) -> World {
    let clock = SimClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World::new(&change(WorldSpec::new(clock, ["east", "west"]))).unwrap();
    for site in world.sites() {
        world.install_storage_class(&site.name).unwrap();
    }
    world
}

/// One site's objects of one application.
pub struct Shop {
    pub app: App,
    pub client: Client,
}

impl Shop {
    pub fn install(world: &World, site: &str, app: App) -> Self {
        world.install_app(site, &app).unwrap();
        Self {
            client: world.admin(site).unwrap(),
            app,
        }
    }

    pub fn at(world: &World, site: &str, app: App) -> Self {
        Self {
            client: world.admin(site).unwrap(),
            app,
        }
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.app.namespace)
    }

    pub fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), &self.app.namespace)
    }

    pub fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    pub fn attachments(&self) -> Api<VolumeAttachment> {
        Api::all(self.client.clone())
    }

    pub async fn ready_pods(&self) -> Vec<Pod> {
        let ready = |p: &Pod| {
            let conditions = p.status.iter().flat_map(|s| s.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        self.pods()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .filter(ready)
            .collect()
    }

    pub async fn wait_ready(&self, pods: usize) {
        until("ready pods", || async {
            (self.ready_pods().await.len() == pods).then_some(())
        })
        .await;
    }

    pub async fn wait_no_pods(&self) {
        let none = || async {
            self.pods()
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
                .then_some(())
        };
        until("the pods to go", none).await;
    }

    pub async fn scale(&self, replicas: u32) {
        use k8s_openapi::api::apps::v1::Deployment;
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.app.namespace);
        patch(
            &api,
            &self.app.name,
            json!({"spec": {"replicas": replicas}}),
        )
        .await;
    }

    /// The volume of the application's n-th claim, when it is bound.
    pub async fn volume(&self, n: usize) -> PersistentVolume {
        let claim = self.app.claims()[n].clone();
        let bound = || async {
            let claim = self.claims().get(&claim).await.unwrap();
            let phase = claim.status.and_then(|s| s.phase);
            (phase.as_deref() == Some("Bound")).then(|| claim.spec.unwrap().volume_name.unwrap())
        };
        let name = until("the claim to be bound", bound).await;
        self.volumes().get(&name).await.unwrap()
    }

    pub async fn handle(&self, n: usize) -> String {
        self.volume(n)
            .await
            .spec
            .unwrap()
            .csi
            .unwrap()
            .volume_handle
    }

    pub async fn reasons(&self) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.app.namespace);
        let events = api.list(&ListParams::default()).await.unwrap();
        events.items.into_iter().filter_map(|e| e.reason).collect()
    }

    pub async fn wait_reason(&self, reason: &str) {
        until(reason, || async {
            self.reasons()
                .await
                .iter()
                .any(|r| r == reason)
                .then_some(())
        })
        .await;
    }
}

pub async fn patch<K>(api: &Api<K>, name: &str, change: Value) -> K
where
    K: Clone + Debug + serde::de::DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap()
}

pub async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + serde::de::DeserializeOwned,
{
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

pub async fn wait_gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + serde::de::DeserializeOwned,
{
    until(&format!("{name} to go"), || async {
        api.get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
}

/// Copies a bound volume to another site, as a DR program would: for the claim by name, by the same handle.
pub async fn import(world: &World, from: &Shop, to: &str, n: usize) -> String {
    let volume = from.volume(n).await;
    let mut spec = serde_json::to_value(volume.spec.as_ref().unwrap()).unwrap();
    let claim_ref = spec["claimRef"].as_object_mut().unwrap();
    claim_ref.retain(|k, _| matches!(k.as_str(), "apiVersion" | "kind" | "namespace" | "name"));
    spec["persistentVolumeReclaimPolicy"] = "Retain".into();
    let pv = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume.name_any()}, "spec": spec});
    world.install(to, &pv.to_string()).unwrap();
    volume.name_any()
}
