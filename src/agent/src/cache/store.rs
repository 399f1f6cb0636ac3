//! Objects at the newest version seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use lifeboat_kit::WatchEvent;

use crate::view::Key;

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A watch told it.
    Watch,
    /// It is the answer to our own write. Who removes the last finalizer of an object that is being deleted gets it back
    /// without that finalizer, at the version that it had before: what was known of that version is out of date.
    Write,
}

/// Objects by key, each at the newest version seen: a watch that lags never takes back what our own write returned.
#[derive(Debug)]
pub(super) struct Store<K, V> {
    pub(super) items: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V> Store<K, V> {
    pub(super) fn new() -> Self {
        Self {
            items: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.items.get(key).map(|(_, value)| value)
    }

    /// Whether it was news.
    pub(super) fn put(&mut self, key: K, version: u64, value: V) -> bool {
        self.put_from(Origin::Watch, key, version, value)
    }

    /// Whether it was news.
    pub(super) fn put_from(&mut self, origin: Origin, key: K, version: u64, value: V) -> bool {
        let is_old = |known: u64| match origin {
            Origin::Watch => known >= version,
            Origin::Write => known > version,
        };
        match self.items.get(&key) {
            Some((known, _)) if is_old(*known) && version != 0 => false,
            _ => {
                self.items.insert(key, (version, value));
                true
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.items.remove(key).map(|(_, value)| value)
    }

    pub(super) fn without(&self, kept: &BTreeSet<K>) -> Vec<K> {
        self.items
            .keys()
            .filter(|key| !kept.contains(key))
            .cloned()
            .collect()
    }
}

/// Versions are opaque by the letter of the API, but they are numbers that grow, and since Kubernetes 1.35 promised so.
pub(super) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

pub(super) fn key_of(meta: &ObjectMeta) -> Key {
    Key::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// Takes news of one kind into its store; answers the keys that changed.
pub(super) fn take<K: Ord + Clone, O>(
    store: &mut Store<K, Arc<O>>,
    event: WatchEvent<O>,
    key: impl Fn(&ObjectMeta) -> K,
) -> Vec<K>
where
    O: Resource,
{
    match event {
        WatchEvent::Synced(all) => {
            let kept = all.iter().map(|o| key(o.meta())).collect();
            let mut changed = store.without(&kept);
            for gone in &changed {
                store.remove(gone);
            }
            for object in all {
                let key = key(object.meta());
                store.put(key.clone(), version(object.meta()), Arc::new(object));
                changed.push(key);
            }
            changed
        }
        WatchEvent::Apply(object) => {
            let key = key(object.meta());
            let news = store.put(key.clone(), version(object.meta()), Arc::new(object));
            if news { vec![key] } else { Vec::new() }
        }
        WatchEvent::Delete(object) => {
            let key = key(object.meta());
            store.remove(&key);
            vec![key]
        }
        WatchEvent::Lost(_) => Vec::new(),
    }
}

/// Takes what our own write returned, if the object is still known. Answers whether it brings what somebody else changed:
/// the watch tells of that too, but of no newer version, so whoever waits for it must be woken now.
pub(super) fn wrote<K: Ord + Clone, O: Resource>(
    store: &mut Store<K, Arc<O>>,
    key: K,
    object: O,
) -> bool {
    let Some(known) = store.get(&key).cloned() else {
        return false;
    };
    let more = brings_more(known.meta(), object.meta());
    let version = version(object.meta());
    store.put_from(Origin::Write, key, version, Arc::new(object)) && more
}

/// Whether an object that we wrote has changed in more than what we write: status and finalizers. An annotation may be ours;
/// to look once more for it does no harm.
pub(super) fn brings_more(known: &ObjectMeta, written: &ObjectMeta) -> bool {
    let asked = |meta: &ObjectMeta| (meta.generation, meta.deletion_timestamp.clone());
    asked(known) != asked(written)
        || known.uid != written.uid
        || known.labels != written.labels
        || known.annotations != written.annotations
}

/// Whether nothing holds an object any more that is being deleted: it is gone, though its end was not told yet.
pub(super) fn is_gone(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.as_deref().unwrap_or_default().is_empty()
}

pub(super) fn name_of(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_write_replaces_what_was_known_of_the_same_version_and_a_watch_does_not() {
        let mut store = Store::new();
        assert!(store.put("a", 7, "marked"));
        assert!(!store.put("a", 7, "told again"));
        assert!(store.put_from(Origin::Write, "a", 7, "let go"));
        assert!(!store.put("a", 7, "marked"));
        assert!(!store.put_from(Origin::Write, "a", 6, "older"));
        assert_eq!(store.get(&"a"), Some(&"let go"));
    }
}
