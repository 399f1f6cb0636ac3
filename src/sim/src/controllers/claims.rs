//! Claims: bound to the volume they name, to one that names them, to one that fits, or to a new one.

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
};
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    cache::Key,
    cluster::{Cluster, claim_of},
    events::Say,
    pods,
};

const PROTECTION: &str = "kubernetes.io/pvc-protection";
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(super) const BOUND_BY: &str = "pv.kubernetes.io/bound-by-controller";

impl Cluster {
    pub(super) async fn clean_claim(&mut self, key: &Key) -> kube::Result<()> {
        let Some(claim) = self.claims.get(key) else {
            return Ok(());
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return self.release_claim(key, &claim).await;
        }
        if !claim.finalizers().iter().any(|f| f == PROTECTION) {
            let changed = finalizers(
                &self.api(&key.0),
                claim.as_ref(),
                PROTECTION,
                Finalizer::Add,
            )
            .await?;
            self.wrote_claim(changed);
            return Ok(());
        }
        let named = claim
            .spec
            .as_ref()
            .and_then(|s| s.volume_name.clone())
            .filter(|v| !v.is_empty());
        match named {
            Some(volume) => self.bind_to_named(key, &claim, &volume).await,
            None => match self.volume_for(key, &claim) {
                Some(volume) => self.name_volume(key, &volume).await,
                None => self.provision(key, &claim).await,
            },
        }
    }

    /// A claim that is being deleted goes when no pod uses it.
    async fn release_claim(
        &mut self,
        key: &Key,
        claim: &PersistentVolumeClaim,
    ) -> kube::Result<()> {
        let users = self.users.get(key).into_iter().flatten();
        let in_use = users
            .filter_map(|pod| self.pods.get(pod))
            .any(|pod| !pods::is_over(&pod));
        if in_use || !claim.finalizers().iter().any(|f| f == PROTECTION) {
            return Ok(());
        }
        let changed = finalizers(&self.api(&key.0), claim, PROTECTION, Finalizer::Remove).await?;
        self.wrote_claim(changed);
        Ok(())
    }

    /// The claim names its volume: it is bound if the volume is free or for it, and waits otherwise.
    async fn bind_to_named(
        &mut self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        name: &str,
    ) -> kube::Result<()> {
        let Some(volume) = self.volumes.get(&(String::new(), name.to_owned())) else {
            if phase(claim) == "Bound" {
                self.set_phase(key, "Lost").await?;
                return self
                    .warn(claim, "ClaimLost", "bound claim has lost its volume")
                    .await;
            }
            return self
                .warn(
                    claim,
                    "FailedBinding",
                    &format!("volume \"{name}\" not found"),
                )
                .await;
        };
        let uid = claim.uid().unwrap_or_default();
        let owner = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        let bound_uid = owner.and_then(|o| o.uid.clone()).unwrap_or_default();
        let free = owner.is_none();
        let ours =
            claim_of(&volume).as_ref() == Some(key) && (bound_uid.is_empty() || bound_uid == uid);
        if !free && !ours {
            let text = format!("volume \"{name}\" already bound to a different claim.");
            return self.warn(claim, "FailedBinding", &text).await;
        }
        if volume.metadata.deletion_timestamp.is_some() && phase(claim) != "Bound" {
            return self
                .warn(
                    claim,
                    "FailedBinding",
                    &format!("volume \"{name}\" is being deleted"),
                )
                .await;
        }
        if free && let Err(why) = fits(claim, &volume) {
            let text = format!("Cannot bind to requested volume \"{name}\": {why}");
            return self.warn(claim, "VolumeMismatch", &text).await;
        }
        if bound_uid != uid {
            self.fill_claim_ref(key, &uid, &volume, free).await?;
        }
        self.complete_binding(key, claim, &volume).await
    }

    async fn fill_claim_ref(
        &mut self,
        key: &Key,
        uid: &str,
        volume: &PersistentVolume,
        free: bool,
    ) -> kube::Result<()> {
        let mut patch = json!({"metadata": {"resourceVersion": volume.resource_version()}, "spec": {"claimRef": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": key.0, "name": key.1, "uid": uid}}});
        if free && let Some(m) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
            m.insert("annotations".into(), json!({BOUND_BY: "yes"}));
        }
        let changed = self
            .global()
            .patch(
                &volume.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        self.wrote_volume(changed);
        Ok(())
    }

    async fn complete_binding(
        &mut self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> kube::Result<()> {
        if !claim.annotations().contains_key(BIND_COMPLETED) {
            let patch = json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}});
            let changed = self
                .api(&key.0)
                .patch(&key.1, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            self.wrote_claim(changed);
        }
        if phase(claim) == "Bound" {
            return Ok(());
        }
        let spec = volume.spec.as_ref();
        let status = json!({"status": {"phase": "Bound",
            "accessModes": spec.and_then(|s| s.access_modes.clone()), "capacity": spec.and_then(|s| s.capacity.clone())}});
        let changed = self
            .api(&key.0)
            .patch_status(&key.1, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        self.wrote_claim(changed);
        Ok(())
    }

    async fn set_phase(&mut self, key: &Key, phase: &str) -> kube::Result<()> {
        let status = json!({"status": {"phase": phase}});
        let changed = self
            .api(&key.0)
            .patch_status(&key.1, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        self.wrote_claim(changed);
        Ok(())
    }

    /// A volume that names the claim, or else a free one that fits.
    fn volume_for(&self, key: &Key, claim: &PersistentVolumeClaim) -> Option<String> {
        let uid = claim.uid().unwrap_or_default();
        let is_for = |v: &PersistentVolume| {
            let bound = v
                .spec
                .as_ref()
                .and_then(|s| s.claim_ref.as_ref()?.uid.as_deref());
            bound.is_none_or(|bound| bound.is_empty() || bound == uid)
        };
        let listed = |claim: Option<Key>| {
            let keys = self.for_claim.get(&claim).into_iter().flatten();
            let volumes = keys.filter_map(|key| self.volumes.get(key));
            volumes.filter(|v| v.metadata.deletion_timestamp.is_none())
        };
        let found = listed(Some(key.clone())).find(|v| is_for(v));
        let found = found.or_else(|| listed(None).find(|v| fits(claim, v).is_ok()));
        found.map(|v| v.name_any())
    }

    async fn name_volume(&mut self, key: &Key, volume: &str) -> kube::Result<()> {
        let patch = json!({"metadata": {"annotations": {BOUND_BY: "yes"}},
            "spec": {"volumeName": volume}});
        let changed = self
            .api(&key.0)
            .patch(&key.1, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        self.wrote_claim(changed);
        Ok(())
    }

    pub(super) async fn warn(
        &self,
        claim: &PersistentVolumeClaim,
        reason: &str,
        message: &str,
    ) -> kube::Result<()> {
        self.say(
            claim,
            Say {
                kind: "Warning",
                reason,
                message,
            },
        )
        .await
    }
}

pub(super) fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether a free volume may be bound to the claim, and if not, why.
fn fits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<(), &'static str> {
    let (Some(want), Some(have)) = (claim.spec.as_ref(), volume.spec.as_ref()) else {
        return Err("no spec");
    };
    let class = |name: Option<&String>| name.cloned().unwrap_or_default();
    if class(want.storage_class_name.as_ref()) != class(have.storage_class_name.as_ref()) {
        return Err("storageClassName does not match");
    }
    let modes = have.access_modes.clone().unwrap_or_default();
    if !want
        .access_modes
        .iter()
        .flatten()
        .all(|m| modes.contains(m))
    {
        return Err("incompatible accessMode");
    }
    if want.volume_mode.as_deref().unwrap_or("Filesystem")
        != have.volume_mode.as_deref().unwrap_or("Filesystem")
    {
        return Err("incompatible volumeMode");
    }
    let size = have
        .capacity
        .as_ref()
        .and_then(|c| c.get("storage"))
        .map_or(0, |q| bytes(&q.0));
    if requested(want) > size {
        Err("requested PV is too small")
    } else {
        Ok(())
    }
}

fn requested(spec: &PersistentVolumeClaimSpec) -> u128 {
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests
        .and_then(|r| r.get("storage"))
        .map_or(0, |q| bytes(&q.0))
}

/// The whole bytes of a quantity; fractions are not used here.
fn bytes(quantity: &str) -> u128 {
    const UNITS: [(&str, u128); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let unit = UNITS
        .iter()
        .find_map(|(unit, size)| quantity.strip_suffix(unit).map(|n| (n, *size)));
    let (number, size) = unit.unwrap_or((quantity, 1));
    number
        .parse::<u128>()
        .unwrap_or_default()
        .saturating_mul(size)
}

/// What to do with a finalizer.
#[derive(Clone, Copy)]
pub(super) enum Finalizer {
    Add,
    Remove,
}

/// Adds or removes a finalizer, unless the object has changed meanwhile.
pub(super) async fn finalizers<K>(
    api: &kube::Api<K>,
    object: &K,
    name: &str,
    what: Finalizer,
) -> kube::Result<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut all: Vec<String> = object
        .finalizers()
        .iter()
        .filter(|f| *f != name)
        .cloned()
        .collect();
    match what {
        Finalizer::Add => all.push(name.to_owned()),
        Finalizer::Remove => {}
    }
    let patch =
        json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": all}});
    api.patch(
        &object.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await
}
