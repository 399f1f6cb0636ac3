//! What the watches told, and which volumes each thing bears on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lifeboat_api::{
    DROwnership, NetworkFence, NetworkFenceClass, VolumeGroupReplication,
    VolumeGroupReplicationClass, VolumeGroupReplicationContent, VolumeReplication,
    VolumeReplicationClass,
};
use parking_lot::RwLock;

use crate::view::Key;

mod claims;
mod facts;
mod fences;
mod groups;
mod ownerships;
mod refs;
mod store;
mod volumes;

use facts::PvFacts;
use store::Store;

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
        let mut work = inner.volumes_of_driver(driver);
        work.extend(inner.groups_of_driver(driver));
        work.extend(inner.fences_of_driver(driver));
        work
    }
}

#[cfg(test)]
mod tests;
