//! Volumes: their phase, and what becomes of them and their image when the claim is gone.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use super::{
    cache::Key,
    claims::{Finalizer, finalizers},
    cluster::{Cluster, claim_of},
    events::Say,
};

pub(super) const PROTECTION: &str = "kubernetes.io/pv-protection";

/// Where a volume is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Available,
    Bound,
    Released,
}

impl Phase {
    fn text(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Bound => "Bound",
            Self::Released => "Released",
        }
    }
}

impl Cluster {
    pub(super) async fn clean_volume(&mut self, key: &Key) -> kube::Result<()> {
        let Some(volume) = self.volumes.get(key) else {
            return Ok(());
        };
        let phase = self.phase_of(&volume);
        if volume.metadata.deletion_timestamp.is_some() {
            return self.release_volume(&volume, phase).await;
        }
        if !volume.finalizers().iter().any(|f| f == PROTECTION) {
            let changed =
                finalizers(&self.global(), volume.as_ref(), PROTECTION, Finalizer::Add).await?;
            self.wrote_volume(changed);
            return Ok(());
        }
        let known = volume.status.as_ref().and_then(|s| s.phase.as_deref());
        if known != Some(phase.text()) {
            let status = json!({"status": {"phase": phase.text()}});
            let name = volume.name_any();
            let changed = self
                .global()
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
                .await?;
            self.wrote_volume(changed);
        }
        if phase == Phase::Released && deletes(&volume) {
            return self.reclaim(&volume).await;
        }
        Ok(())
    }

    fn phase_of(&self, volume: &PersistentVolume) -> Phase {
        let Some(key) = claim_of(volume) else {
            return Phase::Available;
        };
        let uid = volume
            .spec
            .as_ref()
            .and_then(|s| s.claim_ref.as_ref()?.uid.clone())
            .unwrap_or_default();
        if uid.is_empty() {
            return Phase::Available;
        }
        match self
            .claims
            .get(&key)
            .filter(|c| c.uid().as_deref() == Some(uid.as_str()))
        {
            None => Phase::Released,
            Some(_) => Phase::Bound,
        }
    }

    /// Policy `Delete`: the image goes for real, then the volume.
    async fn reclaim(&mut self, volume: &PersistentVolume) -> kube::Result<()> {
        if !self.delete_image(volume).await? {
            return Ok(());
        }
        let preconditions = Preconditions {
            uid: volume.uid(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match self
            .global::<PersistentVolume>()
            .delete(&volume.name_any(), &params)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    /// A volume that is being deleted goes when it is not bound; with policy `Delete` not without its image.
    async fn release_volume(
        &mut self,
        volume: &PersistentVolume,
        phase: Phase,
    ) -> kube::Result<()> {
        if phase == Phase::Bound || !volume.finalizers().iter().any(|f| f == PROTECTION) {
            return Ok(());
        }
        if deletes(volume) && phase == Phase::Released && !self.delete_image(volume).await? {
            return Ok(());
        }
        let changed = finalizers(&self.global(), volume, PROTECTION, Finalizer::Remove).await?;
        self.wrote_volume(changed);
        Ok(())
    }

    /// Whether the image is gone; the images of other drivers are not ours to delete.
    async fn delete_image(&mut self, volume: &PersistentVolume) -> kube::Result<bool> {
        let Some(handle) = self.handle(volume) else {
            return Ok(false);
        };
        match self.with.array.delete(&handle) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.again(
                    super::cluster::Kind::Volume,
                    (String::new(), volume.name_any()),
                    super::RETRY,
                );
                let message = format!("failed to delete image: {error}");
                self.say(
                    volume,
                    Say {
                        kind: "Warning",
                        reason: "VolumeFailedDelete",
                        message: &message,
                    },
                )
                .await?;
                Ok(false)
            }
        }
    }
}

fn deletes(volume: &PersistentVolume) -> bool {
    volume
        .spec
        .as_ref()
        .and_then(|s| s.persistent_volume_reclaim_policy.as_deref())
        == Some("Delete")
}
