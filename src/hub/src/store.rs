//! The hub's own objects, as last seen or written.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource;
use lifeboat_kit::WatchEvent;
use parking_lot::RwLock;

/// Objects of one kind on the hub. What a write was answered with enters at once, and the watch never takes it back.
pub(crate) struct Store<Q, K> {
    key: fn(&K) -> Q,
    objects: RwLock<BTreeMap<Q, Arc<K>>>,
}

impl<Q: Ord + Clone, K: Resource> Store<Q, K> {
    pub(crate) fn new(key: fn(&K) -> Q) -> Self {
        Self {
            key,
            objects: RwLock::new(BTreeMap::new()),
        }
    }

    pub(crate) fn get(&self, key: &Q) -> Option<Arc<K>> {
        self.objects.read().get(key).cloned()
    }

    /// Every object, by key.
    pub(crate) fn all(&self) -> BTreeMap<Q, Arc<K>> {
        self.objects.read().clone()
    }

    /// Keys of the objects that `wanted` picks.
    pub(crate) fn keys(&self, wanted: impl Fn(&K) -> bool) -> Vec<Q> {
        self.objects
            .read()
            .iter()
            .filter(|(_, o)| wanted(o))
            .map(|(k, _)| k.clone())
            .collect()
    }

    /// Takes an object, unless a newer one is here. Gives its key if that changed anything.
    pub(crate) fn put(&self, object: K) -> Option<Q> {
        let key = (self.key)(&object);
        let mut objects = self.objects.write();
        if objects.get(&key).is_some_and(|old| !is_newer(&object, old)) {
            return None;
        }
        objects.insert(key.clone(), Arc::new(object));
        Some(key)
    }

    /// Takes an event of the watch. Gives the keys of what changed.
    pub(crate) fn take(&self, event: WatchEvent<K>) -> Vec<Q> {
        match event {
            WatchEvent::Apply(object) => self.put(object).into_iter().collect(),
            WatchEvent::Delete(object) => self.remove(&object).into_iter().collect(),
            WatchEvent::Synced(listed) => self.replace(listed),
            WatchEvent::Lost(_) => Vec::new(),
        }
    }

    /// Removes that very object; one of the same name made since stays.
    fn remove(&self, object: &K) -> Option<Q> {
        let key = (self.key)(object);
        let mut objects = self.objects.write();
        let same = objects
            .get(&key)
            .is_some_and(|old| old.meta().uid == object.meta().uid);
        (same && objects.remove(&key).is_some()).then_some(key)
    }

    fn replace(&self, listed: Vec<K>) -> Vec<Q> {
        let there: std::collections::BTreeSet<Q> = listed.iter().map(self.key).collect();
        let mut changed = Vec::new();
        self.objects.write().retain(|key, _| {
            let stays = there.contains(key);
            if !stays {
                changed.push(key.clone());
            }
            stays
        });
        changed.extend(listed.into_iter().filter_map(|object| self.put(object)));
        changed
    }
}

fn is_newer<K: Resource>(new: &K, old: &K) -> bool {
    let version = |o: &K| {
        o.meta()
            .resource_version
            .as_ref()
            .and_then(|v| v.parse::<u64>().ok())
    };
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new.meta().resource_version != old.meta().resource_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    fn object(uid: &str, version: &str) -> ConfigMap {
        let text = |t: &str| Some(t.to_owned());
        let metadata = ObjectMeta {
            name: text("a"),
            uid: text(uid),
            resource_version: text(version),
            ..ObjectMeta::default()
        };
        ConfigMap {
            metadata,
            ..ConfigMap::default()
        }
    }

    #[test]
    fn an_older_event_never_replaces_what_was_written() {
        let store = Store::new(|o: &ConfigMap| o.metadata.name.clone().unwrap_or_default());
        assert!(store.put(object("1", "9")).is_some());
        assert!(store.take(WatchEvent::Apply(object("1", "8"))).is_empty());
        assert!(store.take(WatchEvent::Delete(object("0", "7"))).is_empty());
        assert_eq!(store.take(WatchEvent::Apply(object("1", "10"))), ["a"]);
        assert_eq!(store.take(WatchEvent::Synced(Vec::new())), ["a"]);
        assert!(store.get(&"a".to_owned()).is_none());
    }
}
