//! New volumes for claims of our driver's storage classes.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{cache::Key, claims, cluster::Cluster, events::Say, volumes};
use crate::storage::{StorageError, fnv};

const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

impl Cluster {
    /// Makes an image and a volume for it, if the claim's class is served by our driver.
    pub(super) async fn provision(
        &mut self,
        key: &Key,
        claim: &PersistentVolumeClaim,
    ) -> kube::Result<()> {
        let Some(class) = self.class_of(claim) else {
            let text = "no persistent volumes available for this claim and no storage class is set";
            return self
                .say(
                    claim,
                    Say {
                        kind: "Normal",
                        reason: "FailedBinding",
                        message: text,
                    },
                )
                .await;
        };
        if class.provisioner != self.with.driver {
            return Ok(());
        }
        let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        if waits && self.users.get(key).is_none_or(BTreeSet::is_empty) {
            let text = "waiting for first consumer to be created before binding";
            return self
                .say(
                    claim,
                    Say {
                        kind: "Normal",
                        reason: "WaitForFirstConsumer",
                        message: text,
                    },
                )
                .await;
        }
        let uid = claim.uid().unwrap_or_default();
        // Objects of two clusters may share a uid here; images may not share a name.
        let image = format!(
            "csi-vol-{:016x}",
            fnv(format!("{}/{uid}", self.with.array.site()).bytes())
        );
        let handle = match self.with.array.create(&image) {
            Ok(handle) | Err(StorageError::Exists { handle }) => handle,
            Err(error) => {
                let text = format!("failed to provision volume: {error}");
                self.again(super::cluster::Kind::Claim, key.clone(), super::RETRY);
                return self.warn(claim, "ProvisioningFailed", &text).await;
            }
        };
        self.create_volume(key, claim, &class, &handle).await
    }

    fn class_of(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
        if let Some(name) = claim
            .spec
            .as_ref()
            .and_then(|s| s.storage_class_name.clone())
        {
            return self.classes.get(&(String::new(), name));
        }
        let is_default =
            |c: &StorageClass| c.annotations().get(DEFAULT).is_some_and(|v| v == "true");
        self.classes
            .iter()
            .map(|(_, c)| c)
            .find(|c| is_default(c))
            .cloned()
    }

    async fn create_volume(
        &mut self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        handle: &str,
    ) -> kube::Result<()> {
        let (driver, uid) = (self.with.driver.clone(), claim.uid().unwrap_or_default());
        let spec = claim.spec.as_ref();
        let name = format!("pvc-{uid}");
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "finalizers": [volumes::PROTECTION],
                "annotations": {"pv.kubernetes.io/provisioned-by": driver}},
            "spec": {
                "accessModes": spec.and_then(|s| s.access_modes.clone()),
                "capacity": spec.and_then(|s| s.resources.as_ref()?.requests.clone()),
                "volumeMode": spec.and_then(|s| s.volume_mode.clone()),
                "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
                "storageClassName": class.name_any(),
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "namespace": key.0, "name": key.1, "uid": uid},
                "csi": {"driver": driver, "volumeHandle": handle, "fsType": "ext4",
                    "volumeAttributes": {"pool": "replicapool", "imageName": handle}},
            },
        });
        let volume: PersistentVolume =
            serde_json::from_value(volume).map_err(kube::Error::SerdeError)?;
        match self.global().create(&PostParams::default(), &volume).await {
            Ok(made) => self.wrote_volume(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => return Err(other),
        }
        let annotations =
            json!({PROVISIONER: driver, claims::BIND_COMPLETED: "yes", claims::BOUND_BY: "yes"});
        let patch = json!({"metadata": {"annotations": annotations},
            "spec": {"volumeName": name, "storageClassName": class.name_any()}});
        let changed = self
            .api(&key.0)
            .patch(&key.1, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        self.wrote_claim(changed);
        Ok(())
    }
}
