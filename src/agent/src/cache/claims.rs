//! Claims and their persistent volumes, and which volumes and groups each bears on.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use lifeboat_api::names;
use lifeboat_kit::WatchEvent;

use super::facts::PvFacts;
use super::store::{Origin, key_of, version};
use super::{Caches, ClaimFacts, Inner, Kind, Work};
use crate::view::Key;

impl Caches {
    pub(crate) fn claim(&self, key: &Key) -> Option<ClaimFacts> {
        self.inner.read().claims.get(key).cloned()
    }

    /// Another VolumeReplication of the same claim that is worked on and stays.
    pub(crate) fn heir(&self, key: &Key, claim: &Key) -> Option<String> {
        let inner = self.inner.read();
        let stays = |other: &&Key| {
            let volume = inner.volumes.get(other);
            *other != key
                && volume.is_some_and(|v| {
                    let meta = &v.metadata;
                    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
                    meta.deletion_timestamp.is_none()
                        && finalizers.iter().any(|f| f == names::VR_FINALIZER)
                })
        };
        let heir = inner.by_claim.get(claim)?.iter().find(stays)?;
        Some(heir.name.clone())
    }

    pub(crate) fn pv(&self, name: &str) -> Option<PvFacts> {
        self.inner.read().pvs.get(&name.to_owned()).cloned()
    }

    /// Takes what our own write returned, if the object is still known.
    pub(crate) fn wrote_claim(&self, claim: &PersistentVolumeClaim) {
        let mut inner = self.inner.write();
        let key = key_of(&claim.metadata);
        if inner.claims.get(&key).is_some() {
            let facts = ClaimFacts::of(claim);
            let version = version(&claim.metadata);
            inner.claims.put_from(Origin::Write, key, version, facts);
        }
    }

    /// Takes news of claims; answers what to work on.
    pub(crate) fn claims_changed(&self, event: WatchEvent<PersistentVolumeClaim>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let mut changed: Vec<Key> = Vec::new();
        // A claim that changes its labels bears on the group it leaves and on the one it joins.
        let mut work = BTreeSet::new();
        match event {
            WatchEvent::Synced(all) => {
                let kept = all.iter().map(|c| key_of(&c.metadata)).collect();
                for gone in inner.claims.without(&kept) {
                    work.extend(inner.groups_of_claim(&gone));
                    inner.claims.remove(&gone);
                    changed.push(gone);
                }
                for claim in &all {
                    let key = key_of(&claim.metadata);
                    work.extend(inner.groups_of_claim(&key));
                    inner
                        .claims
                        .put(key.clone(), version(&claim.metadata), ClaimFacts::of(claim));
                    changed.push(key);
                }
                inner.synced.insert(Kind::Claims);
            }
            WatchEvent::Apply(claim) => {
                let key = key_of(&claim.metadata);
                work.extend(inner.groups_of_claim(&key));
                let news = inner.claims.put(
                    key.clone(),
                    version(&claim.metadata),
                    ClaimFacts::of(&claim),
                );
                if news {
                    changed.push(key);
                } else {
                    work.clear();
                }
            }
            WatchEvent::Delete(claim) => {
                let key = key_of(&claim.metadata);
                work.extend(inner.groups_of_claim(&key));
                inner.claims.remove(&key);
                changed.push(key);
            }
            WatchEvent::Lost(_) => {}
        }
        for key in &changed {
            work.extend(inner.groups_of_claim(key));
        }
        work.extend(inner.users_of(&changed));
        work.into_iter().collect()
    }

    /// Takes news of persistent volumes; answers what to work on.
    pub(crate) fn pvs_changed(&self, event: WatchEvent<PersistentVolume>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let name = |pv: &PersistentVolume| pv.metadata.name.clone().unwrap_or_default();
        let mut claims: Vec<Key> = Vec::new();
        match event {
            WatchEvent::Synced(all) => {
                let kept = all.iter().map(name).collect();
                for gone in inner.pvs.without(&kept) {
                    claims.extend(inner.pvs.remove(&gone).and_then(|pv| pv.claim));
                }
                for pv in &all {
                    let facts = PvFacts::of(pv);
                    claims.extend(facts.claim.clone());
                    inner.pvs.put(name(pv), version(&pv.metadata), facts);
                }
                inner.synced.insert(Kind::PersistentVolumes);
            }
            WatchEvent::Apply(pv) => {
                let facts = PvFacts::of(&pv);
                claims.extend(facts.claim.clone());
                inner.pvs.put(name(&pv), version(&pv.metadata), facts);
            }
            WatchEvent::Delete(pv) => {
                claims.extend(inner.pvs.remove(&name(&pv)).and_then(|pv| pv.claim));
            }
            WatchEvent::Lost(_) => {}
        }
        let mut work = inner.users_of(&claims);
        let groups: BTreeSet<Work> = claims
            .iter()
            .flat_map(|claim| inner.groups_of_claim(claim))
            .collect();
        work.extend(groups);
        work
    }
}

impl Inner {
    pub(super) fn users_of(&self, claims: &[Key]) -> Vec<Work> {
        let users: BTreeSet<Key> = claims
            .iter()
            .flat_map(|claim| self.by_claim.get(claim).cloned().unwrap_or_default())
            .collect();
        users.into_iter().map(Work::Volume).collect()
    }
}
