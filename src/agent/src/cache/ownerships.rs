//! Ownership records, and the highest epoch ever seen in each.

use std::collections::BTreeSet;
use std::sync::Arc;

use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_kit::WatchEvent;

use super::store::{key_of, version};
use super::{Caches, Inner, Kind, Work};
use crate::view::Key;

impl Caches {
    /// The record, and the highest epoch ever seen in it.
    pub(crate) fn ownership(&self, key: &Key) -> Option<(Arc<DROwnership>, i64)> {
        let inner = self.inner.read();
        let record = inner.ownerships.get(key)?.clone();
        let highest = inner.epochs.get(key).copied().unwrap_or(record.spec.epoch);
        Some((record, highest))
    }

    /// The volumes that go by a record.
    pub(crate) fn volumes_by(&self, ownership: &Key) -> Vec<Arc<VolumeReplication>> {
        let inner = self.inner.read();
        let users = inner.by_ownership.get(ownership).into_iter().flatten();
        users
            .filter_map(|key| inner.volumes.get(key).cloned())
            .collect()
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
}
