//! VolumeReplications and their classes, and what each refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lifeboat_api::{VolumeReplication, VolumeReplicationClass};
use lifeboat_kit::WatchEvent;

use super::refs::refers_to;
use super::store::{Origin, brings_more, key_of, name_of, take, version};
use super::{Caches, Inner, Kind, Work};
use crate::view::Key;

impl Caches {
    pub(crate) fn volume(&self, key: &Key) -> Option<Arc<VolumeReplication>> {
        self.inner.read().volumes.get(key).cloned()
    }

    pub(crate) fn class(&self, name: &str) -> Option<Arc<VolumeReplicationClass>> {
        self.inner.read().classes.get(&name.to_owned()).cloned()
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
        inner.note_synced(Kind::Classes, &event);
        let changed = take(&mut inner.classes, event, name_of);
        let users = changed
            .iter()
            .flat_map(|name| inner.by_class.get(name).cloned().unwrap_or_default());
        users.map(Work::Volume).collect()
    }
}

impl Inner {
    pub(super) fn volumes_of_driver(&self, driver: &str) -> Vec<Work> {
        let classes = self.classes.items.iter();
        let ours = classes.filter(|(_, (_, class))| class.spec.provisioner == driver);
        ours.flat_map(|(name, _)| self.by_class.get(name).cloned().unwrap_or_default())
            .map(Work::Volume)
            .collect()
    }

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
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
