//! What a row writes: classes, claims, what people and the hub ask for, and what the hub grants.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{DRIVER, SECRET, World};

impl World {
    pub(crate) async fn secret(&self) {
        self.secret_of(SECRET).await;
    }

    /// The Secret, with this in it.
    pub(crate) async fn secret_of(&self, value: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds", "namespace": self.ns},
            "stringData": {"userKey": value},
        }))
        .await;
    }

    /// A class whose Secret is `creds`, unless `extra` says otherwise.
    pub(crate) async fn class(&self, name: &str, driver: &str, extra: &Value) {
        let mut parameters = json!({
            "replication.storage.openshift.io/replication-secret-name": "creds",
            "replication.storage.openshift.io/replication-secret-namespace": self.ns,
            "mirroringMode": "snapshot",
        });
        for (key, value) in extra.as_object().unwrap() {
            if value.is_null() {
                parameters.as_object_mut().unwrap().remove(key);
            } else {
                parameters[key] = value.clone();
            }
        }
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplicationClass",
            "metadata": {"name": self.named(name)}, "spec": {"provisioner": driver, "parameters": parameters},
        })).await;
    }

    /// A bound claim `name` with a volume whose handle is `h-name`.
    pub(crate) async fn claim(&self, name: &str) {
        self.claim_of(name, DRIVER).await;
    }

    /// The same, with a volume of this driver.
    pub(crate) async fn claim_of(&self, name: &str, driver: &str) {
        self.pv(name, driver).await;
        self.unbound(name).await;
        self.bind(name).await;
    }

    pub(crate) async fn pv(&self, name: &str, driver: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.named(&format!("pv-{name}"))},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": self.ns, "name": name},
                "csi": {"driver": driver, "volumeHandle": format!("h-{name}")},
            },
        })).await;
    }

    pub(crate) async fn unbound(&self, name: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": self.ns},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": self.named(&format!("pv-{name}")),
            },
        })).await;
    }

    pub(crate) async fn bind(&self, name: &str) {
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        self.claims()
            .patch_status(name, &PatchParams::default(), &bound)
            .await
            .unwrap();
    }

    pub(crate) async fn patch_claim(&self, name: &str, metadata: &Value) {
        let patch = json!({"metadata": metadata});
        self.claims()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn ask(&self, name: &str, state: &str) {
        self.ask_with(name, state, &json!({}), &json!({})).await;
    }

    /// Writes a VolumeReplication; `spec` replaces fields, `annotations` are set.
    pub(crate) async fn ask_with(
        &self,
        name: &str,
        state: &str,
        spec: &Value,
        annotations: &Value,
    ) {
        let mut whole = json!({
            "volumeReplicationClass": "gold", "replicationState": state, "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": name},
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.name_field(&mut whole, "volumeReplicationClass");
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": name, "namespace": self.ns, "annotations": annotations}, "spec": whole,
        })).await;
    }

    /// Writes a hub-managed VolumeReplication at `epoch`.
    pub(crate) async fn ask_as_hub(&self, name: &str, state: &str, epoch: i64) {
        self.order_as_hub(name, state, epoch, Some(3_600)).await;
    }

    /// The same, for the `number`th time.
    pub(crate) async fn ask_again_as_hub(&self, name: &str, epoch: i64, number: u32) {
        let until = self.ground.clock().now() + jiff::SignedDuration::from_secs(300);
        let annotations = json!({
            "lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own",
            "lifeboat.dev/resync-until": until.to_string(), "lifeboat.dev/resync-request": number.to_string(),
        });
        self.ask_with(name, "resync", &json!({}), &annotations)
            .await;
    }

    /// The same; an order to resync holds for so many seconds.
    pub(crate) async fn order_as_hub(
        &self,
        name: &str,
        state: &str,
        epoch: i64,
        holds: Option<i64>,
    ) {
        let mut annotations =
            json!({"lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own"});
        if let Some(holds) = holds.filter(|_| state == "resync") {
            let until = self.ground.clock().now() + jiff::SignedDuration::from_secs(holds);
            annotations["lifeboat.dev/resync-until"] = json!(until.to_string());
        }
        self.ask_with(name, state, &json!({}), &annotations).await;
    }

    /// Orders a resync as the hub does, for the `number`th time and for hours; what is thrown away is to be kept for so long.
    pub(crate) async fn order_salvage(
        &self,
        name: &str,
        epoch: i64,
        number: u32,
        salvage: Option<&str>,
    ) {
        let until = self.ground.clock().now() + jiff::SignedDuration::from_hours(10);
        let mut annotations = json!({
            "lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own",
            "lifeboat.dev/resync-until": until.to_string(), "lifeboat.dev/resync-request": number.to_string(),
        });
        if let Some(salvage) = salvage {
            annotations["lifeboat.dev/salvage"] = json!(salvage);
        }
        self.ask_with(name, "resync", &json!({}), &annotations)
            .await;
    }

    pub(crate) async fn grant(&self, owner: &str, epoch: i64, force: Option<i64>) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let system = namespaces.get("kube-system").await.unwrap();
        let uid = system.metadata.uid.unwrap();
        self.grant_to(&uid, owner, epoch, force).await;
    }

    /// The same, written for the cluster with this uid.
    pub(crate) async fn grant_to(&self, uid: &str, owner: &str, epoch: i64, force: Option<i64>) {
        let mut spec = json!({
            "placementUID": "uid", "placement": "shop/app", "cluster": "east", "clusterUID": uid, "owner": owner,
            "epoch": epoch,
        });
        if let Some(force) = force {
            spec["forceEpoch"] = json!(force);
        }
        self.apply(&json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership",
            "metadata": {"name": "own", "namespace": self.ns}, "spec": spec,
        }))
        .await;
    }
}
