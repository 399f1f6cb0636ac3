//! The objects of one kind as last seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{Resource, ResourceExt, runtime::watcher::Event};

/// Namespace (empty for cluster-scoped kinds) and name.
pub(super) type Key = (String, String);

/// Namespace and name of an object.
pub(super) fn key_of<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// One thing that changed: the object before and after, as far as there was one.
pub(super) struct Step<K> {
    pub(super) key: Key,
    pub(super) before: Option<Arc<K>>,
    pub(super) after: Option<Arc<K>>,
}

/// The objects of one kind as last seen, by watch or by the answer to an own write.
pub(super) struct Cache<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Not listed again yet, during a relist.
    unlisted: BTreeSet<Key>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            unlisted: BTreeSet::new(),
        }
    }
}

impl<K: Resource> Cache<K> {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<K>)> {
        self.objects.iter()
    }

    /// Takes in what a watch told; answers with what that changed.
    pub(super) fn take(&mut self, event: Event<K>) -> Vec<Step<K>> {
        match event {
            Event::Apply(object) => self.put(object).into_iter().collect(),
            Event::Delete(object) => self.remove(&object).into_iter().collect(),
            Event::Init => {
                self.unlisted = self.objects.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.unlisted.remove(&key_of(&object));
                self.put(object).into_iter().collect()
            }
            Event::InitDone => {
                let gone = std::mem::take(&mut self.unlisted);
                let gone = gone.into_iter().filter_map(|key| {
                    self.objects.remove(&key).map(|old| Step {
                        key,
                        before: Some(old),
                        after: None,
                    })
                });
                gone.collect()
            }
        }
    }

    /// Takes in an object unless the one known is as new: a watch tells what an own write has told already.
    pub(super) fn put(&mut self, object: K) -> Option<Step<K>> {
        let key = key_of(&object);
        if self
            .objects
            .get(&key)
            .is_some_and(|known| version(known.as_ref()) >= version(&object))
        {
            return None;
        }
        let after = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&after));
        Some(Step {
            key,
            before,
            after: Some(after),
        })
    }

    fn remove(&mut self, object: &K) -> Option<Step<K>> {
        let key = key_of(object);
        // A newer object of the same name is not the one that was deleted.
        let same = self
            .objects
            .get(&key)
            .is_some_and(|known| known.meta().uid == object.meta().uid);
        let before = if same {
            self.objects.remove(&key)
        } else {
            None
        };
        before.map(|old| Step {
            key,
            before: Some(old),
            after: None,
        })
    }
}

/// The simulated API server counts its versions, so that they compare as numbers.
fn version<K: Resource>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or_default()
}
