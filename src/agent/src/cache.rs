//! What the watches told, and which volumes each thing bears on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use lifeboat_api::{
    DROwnership, NetworkFence, NetworkFenceClass, VolumeGroupReplication,
    VolumeGroupReplicationClass, VolumeGroupReplicationContent, VolumeReplication,
    VolumeReplicationClass, names,
};
use lifeboat_kit::WatchEvent;
use parking_lot::RwLock;

use crate::view::Key;

mod facts;
mod fences;
mod groups;
mod refs;
mod store;

use facts::PvFacts;
use refs::refers_to;
use store::{Origin, Store, brings_more, key_of, version};

pub(crate) use facts::ClaimFacts;
pub(crate) use groups::{content_name, names_it, selector, selects, volume_name};
pub(crate) use refs::SourceKind;

/// What the agent works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// A fence.
    Fence(String),
    /// A group of volumes.
    Group(Key),
    /// An ownership record: store its epoch.
    Ownership(Key),
    /// A volume.
    Volume(Key),
}

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Volumes,
    Classes,
    Claims,
    PersistentVolumes,
    Ownerships,
    Groups,
    GroupClasses,
    Contents,
    Fences,
    FenceClasses,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Volumes => "watch volumereplications",
            Self::Classes => "watch volumereplicationclasses",
            Self::Claims => "watch persistentvolumeclaims",
            Self::PersistentVolumes => "watch persistentvolumes",
            Self::Ownerships => "watch drownerships",
            Self::Groups => "watch volumegroupreplications",
            Self::GroupClasses => "watch volumegroupreplicationclasses",
            Self::Contents => "watch volumegroupreplicationcontents",
            Self::Fences => "watch networkfences",
            Self::FenceClasses => "watch networkfenceclasses",
        }
    }
}

#[derive(Debug)]
struct Inner {
    volumes: Store<Key, Arc<VolumeReplication>>,
    classes: Store<String, Arc<VolumeReplicationClass>>,
    claims: Store<Key, ClaimFacts>,
    pvs: Store<String, PvFacts>,
    ownerships: Store<Key, Arc<DROwnership>>,
    groups: Store<Key, Arc<VolumeGroupReplication>>,
    group_classes: Store<String, Arc<VolumeGroupReplicationClass>>,
    contents: Store<String, Arc<VolumeGroupReplicationContent>>,
    fences: Store<String, Arc<NetworkFence>>,
    fence_classes: Store<String, Arc<NetworkFenceClass>>,
    by_class: BTreeMap<String, BTreeSet<Key>>,
    by_claim: BTreeMap<Key, BTreeSet<Key>>,
    by_group: BTreeMap<Key, BTreeSet<Key>>,
    by_ownership: BTreeMap<Key, BTreeSet<Key>>,
    synced: BTreeSet<Kind>,
    /// Why the classes of fences could not be read yet.
    no_fence_classes: Option<String>,
    /// Highest epoch seen per record, whatever its object says now.
    epochs: BTreeMap<Key, i64>,
}

/// The caches of all watched kinds.
#[derive(Debug)]
pub(crate) struct Caches {
    inner: RwLock<Inner>,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            inner: RwLock::new(Inner {
                volumes: Store::new(),
                classes: Store::new(),
                claims: Store::new(),
                pvs: Store::new(),
                ownerships: Store::new(),
                groups: Store::new(),
                group_classes: Store::new(),
                contents: Store::new(),
                fences: Store::new(),
                fence_classes: Store::new(),
                by_class: BTreeMap::new(),
                by_claim: BTreeMap::new(),
                by_group: BTreeMap::new(),
                by_ownership: BTreeMap::new(),
                synced: BTreeSet::new(),
                no_fence_classes: None,
                epochs: BTreeMap::new(),
            }),
        }
    }

    pub(crate) fn is_synced(&self, kind: Kind) -> bool {
        self.inner.read().synced.contains(&kind)
    }

    pub(crate) fn volume(&self, key: &Key) -> Option<Arc<VolumeReplication>> {
        self.inner.read().volumes.get(key).cloned()
    }

    pub(crate) fn class(&self, name: &str) -> Option<Arc<VolumeReplicationClass>> {
        self.inner.read().classes.get(&name.to_owned()).cloned()
    }

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

    /// The record, and the highest epoch ever seen in it.
    pub(crate) fn ownership(&self, key: &Key) -> Option<(Arc<DROwnership>, i64)> {
        let inner = self.inner.read();
        let record = inner.ownerships.get(key)?.clone();
        let highest = inner.epochs.get(key).copied().unwrap_or(record.spec.epoch);
        Some((record, highest))
    }

    /// Everything there is to work on.
    pub(crate) fn everything(&self) -> Vec<Work> {
        let inner = self.inner.read();
        let records = inner.ownerships.items.keys().cloned().map(Work::Ownership);
        records
            .chain(inner.volumes.items.keys().cloned().map(Work::Volume))
            .chain(inner.groups.items.keys().cloned().map(Work::Group))
            .chain(inner.fences.items.keys().cloned().map(Work::Fence))
            .collect()
    }

    /// Everything whose class names this driver.
    pub(crate) fn work_of(&self, driver: &str) -> Vec<Work> {
        let inner = self.inner.read();
        let ours = inner
            .classes
            .items
            .iter()
            .filter(|(_, (_, class))| class.spec.provisioner == driver);
        ours.flat_map(|(name, _)| inner.by_class.get(name).cloned().unwrap_or_default())
            .map(Work::Volume)
            .chain(inner.groups_of_driver(driver))
            .chain(inner.fences_of_driver(driver))
            .collect()
    }

    /// Takes what our own write returned, or what was read to write it, if the object is still known; answers what it is
    /// news for: its group, and itself if somebody else changed it meanwhile.
    pub(crate) fn wrote_volume(&self, volume: VolumeReplication) -> Vec<Work> {
        let mut inner = self.inner.write();
        let key = key_of(&volume.metadata);
        let Some(known) = inner.volumes.get(&key) else {
            return Vec::new();
        };
        let more = brings_more(&known.metadata, &volume.metadata);
        let group = refers_to(&key, &volume).group.map(Work::Group);
        let news = inner.put_volume(Origin::Write, volume) && more;
        let own = news.then_some(Work::Volume(key));
        group.into_iter().chain(own).collect()
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

    /// Takes what our own write returned, if the object is still known.
    pub(crate) fn wrote_ownership(&self, record: DROwnership) {
        let mut inner = self.inner.write();
        let key = key_of(&record.metadata);
        if inner.ownerships.get(&key).is_some() {
            inner
                .ownerships
                .put(key, version(&record.metadata), Arc::new(record));
        }
    }

    /// Takes news of volumes; answers what to work on.
    pub(crate) fn volumes_changed(&self, event: WatchEvent<VolumeReplication>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let mut woken = BTreeSet::new();
        match event {
            WatchEvent::Synced(all) => {
                let kept = all.iter().map(|v| key_of(&v.metadata)).collect();
                for gone in inner.volumes.without(&kept) {
                    woken.extend(inner.remove_volume(&gone));
                }
                for volume in all {
                    let key = key_of(&volume.metadata);
                    woken.extend(refers_to(&key, &volume).group.map(Work::Group));
                    inner.put_volume(Origin::Watch, volume);
                    woken.insert(Work::Volume(key));
                }
                inner.synced.insert(Kind::Volumes);
            }
            WatchEvent::Apply(volume) => {
                let key = key_of(&volume.metadata);
                let group = refers_to(&key, &volume).group;
                if inner.put_volume(Origin::Watch, volume) {
                    woken.insert(Work::Volume(key));
                    woken.extend(group.map(Work::Group));
                }
            }
            WatchEvent::Delete(volume) => {
                woken.extend(inner.remove_volume(&key_of(&volume.metadata)));
            }
            WatchEvent::Lost(_) => {}
        }
        woken.into_iter().collect()
    }

    /// Takes news of classes; answers what to work on.
    pub(crate) fn classes_changed(&self, event: WatchEvent<VolumeReplicationClass>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let name = |class: &VolumeReplicationClass| class.metadata.name.clone().unwrap_or_default();
        let changed: Vec<String> = match event {
            WatchEvent::Synced(all) => {
                let kept = all.iter().map(name).collect();
                let mut changed = inner.classes.without(&kept);
                for gone in &changed {
                    inner.classes.remove(gone);
                }
                for class in all {
                    changed.push(name(&class));
                    inner
                        .classes
                        .put(name(&class), version(&class.metadata), Arc::new(class));
                }
                inner.synced.insert(Kind::Classes);
                changed
            }
            WatchEvent::Apply(class) => {
                let name = name(&class);
                inner
                    .classes
                    .put(name.clone(), version(&class.metadata), Arc::new(class));
                vec![name]
            }
            WatchEvent::Delete(class) => {
                inner.classes.remove(&name(&class));
                vec![name(&class)]
            }
            WatchEvent::Lost(_) => Vec::new(),
        };
        let users = changed
            .iter()
            .flat_map(|name| inner.by_class.get(name).cloned().unwrap_or_default());
        users.map(Work::Volume).collect()
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

    /// Takes news of ownership records; answers what to work on.
    pub(crate) fn ownerships_changed(&self, event: WatchEvent<DROwnership>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let changed: Vec<Key> = match event {
            WatchEvent::Synced(all) => {
                let kept = all.iter().map(|o| key_of(&o.metadata)).collect();
                let mut changed = inner.ownerships.without(&kept);
                for gone in &changed {
                    inner.ownerships.remove(gone);
                }
                changed.extend(all.into_iter().map(|record| inner.put_ownership(record)));
                inner.synced.insert(Kind::Ownerships);
                // A volume whose record does not exist waits for this first answer too.
                let users: Vec<Key> = inner.by_ownership.keys().cloned().collect();
                changed.extend(users);
                changed
            }
            WatchEvent::Apply(record) => vec![inner.put_ownership(record)],
            WatchEvent::Delete(record) => {
                let key = key_of(&record.metadata);
                inner.ownerships.remove(&key);
                vec![key]
            }
            WatchEvent::Lost(_) => Vec::new(),
        };
        let mut work = Vec::new();
        for key in changed.into_iter().collect::<BTreeSet<_>>() {
            let users = inner.by_ownership.get(&key).cloned().unwrap_or_default();
            work.push(Work::Ownership(key));
            work.extend(users.into_iter().map(Work::Volume));
        }
        work
    }
}

impl Inner {
    fn put_volume(&mut self, origin: Origin, volume: VolumeReplication) -> bool {
        let key = key_of(&volume.metadata);
        let version = version(&volume.metadata);
        let refs = refers_to(&key, &volume);
        let old = self.volumes.get(&key).cloned();
        let volume = Arc::new(volume);
        if !(self.volumes).put_from(origin, key.clone(), version, volume) {
            return false;
        }
        if let Some(old) = old {
            self.unlink(&key, &old);
        }
        let link = |index: &mut BTreeMap<Key, BTreeSet<Key>>, at: Option<Key>| {
            if let Some(at) = at {
                index.entry(at).or_default().insert(key.clone());
            }
        };
        link(&mut self.by_claim, refs.claim);
        link(&mut self.by_group, refs.group);
        link(&mut self.by_ownership, refs.ownership);
        self.by_class.entry(refs.class).or_default().insert(key);
        true
    }

    /// Removes a volume; answers what to work on: itself, its group, and those that waited for its claim.
    fn remove_volume(&mut self, key: &Key) -> Vec<Work> {
        let Some(old) = self.volumes.remove(key) else {
            return Vec::new();
        };
        self.unlink(key, &old);
        let refs = refers_to(key, &old);
        let mut work = vec![Work::Volume(key.clone())];
        if let Some(claim) = refs.claim {
            work.extend(self.groups_of_claim(&claim));
            work.extend(self.users_of(&[claim]));
        }
        work.extend(refs.group.map(Work::Group));
        work
    }

    fn unlink(&mut self, key: &Key, old: &VolumeReplication) {
        let refs = refers_to(key, old);
        remove_from(&mut self.by_class, &refs.class, key);
        let unlink = |index: &mut BTreeMap<Key, BTreeSet<Key>>, at: Option<Key>| {
            if let Some(at) = at {
                remove_from(index, &at, key);
            }
        };
        unlink(&mut self.by_claim, refs.claim);
        unlink(&mut self.by_group, refs.group);
        unlink(&mut self.by_ownership, refs.ownership);
    }

    fn put_ownership(&mut self, record: DROwnership) -> Key {
        let key = key_of(&record.metadata);
        let stored = record
            .status
            .as_ref()
            .and_then(|s| s.observed_epoch)
            .unwrap_or(0);
        let seen = record.spec.epoch.max(stored);
        let highest = self.epochs.entry(key.clone()).or_insert(seen);
        *highest = (*highest).max(seen);
        self.ownerships
            .put(key.clone(), version(&record.metadata), Arc::new(record));
        key
    }

    fn users_of(&self, claims: &[Key]) -> Vec<Work> {
        let users: BTreeSet<Key> = claims
            .iter()
            .flat_map(|claim| self.by_claim.get(claim).cloned().unwrap_or_default())
            .collect();
        users.into_iter().map(Work::Volume).collect()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
