//! Rows of one kind on one cluster, found by name, by namespace, by placement and by one link to another object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use kube::Resource;
use lifeboat_kit::WatchEvent;
use serde::de::DeserializeOwned;

/// Namespace (empty for kinds without one) and name.
pub(crate) type Key = (String, String);

/// What is kept of one object.
pub(crate) trait Row: Sized + PartialEq + Send + Sync + 'static {
    /// The object itself.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;
    /// Reads an object; none: nothing here needs it.
    fn read(object: &Self::Object) -> Option<Self>;
    /// uid of the placement whose mark it carries.
    fn uid(&self) -> Option<&str> {
        None
    }
    /// The object it points to, if it is looked for by that.
    fn link(&self) -> Option<Key> {
        None
    }
}

/// A row that went, came or changed.
pub(crate) struct Change<R> {
    pub(crate) key: Key,
    pub(crate) rows: Vec<R>,
}

struct Entry<R> {
    version: Option<u64>,
    origin: Origin,
    row: R,
}

/// Where a row is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Watch,
    /// The answer to a write of ours, ahead of the watch.
    Write,
}

/// Rows of one kind.
pub(crate) struct Table<R> {
    rows: BTreeMap<Key, Entry<R>>,
    marked: BTreeMap<String, BTreeSet<Key>>,
    linked: BTreeMap<Key, BTreeSet<Key>>,
    /// The newest version that the watch has shown.
    horizon: Option<u64>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            marked: BTreeMap::new(),
            linked: BTreeMap::new(),
            horizon: None,
        }
    }
}

impl<R: Row + Clone> Table<R> {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&R> {
        let key = (namespace.to_owned(), name.to_owned());
        self.rows.get(&key).map(|entry| &entry.row)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &R)> {
        self.rows.iter().map(|(key, entry)| (key, &entry.row))
    }

    pub(crate) fn in_namespace<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Key, &'a R)> + use<'a, R> {
        let namespace = namespace.to_owned();
        self.rows
            .range((namespace.clone(), String::new())..)
            .take_while(move |((ns, _), _)| *ns == namespace)
            .map(|(key, entry)| (key, &entry.row))
    }

    pub(crate) fn marked(&self, uid: &str) -> impl Iterator<Item = (&Key, &R)> {
        self.rows_of(self.marked.get(uid))
    }

    pub(crate) fn linked(&self, to: &Key) -> impl Iterator<Item = (&Key, &R)> {
        self.rows_of(self.linked.get(to))
    }

    fn rows_of<'a>(
        &'a self,
        keys: Option<&'a BTreeSet<Key>>,
    ) -> impl Iterator<Item = (&'a Key, &'a R)> {
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.rows.get(key).map(|entry| (key, &entry.row)))
    }

    /// Takes what the watch tells; answers what changed.
    pub(crate) fn take(&mut self, event: WatchEvent<R::Object>) -> Vec<Change<R>> {
        match event {
            WatchEvent::Apply(object) => {
                let version = version(&object);
                self.horizon = self.horizon.max(version);
                self.put(&object, Origin::Watch).into_iter().collect()
            }
            WatchEvent::Delete(object) => {
                let version = version(&object);
                self.horizon = self.horizon.max(version);
                let key = key(&object);
                if self.is_newer(&key, version) {
                    return Vec::new(); // made anew meanwhile, by a write of ours
                }
                self.set(key, None).into_iter().collect()
            }
            WatchEvent::Synced(objects) => self.replace(objects),
            WatchEvent::Lost(_) => Vec::new(),
        }
    }

    /// Takes the answer to a write, unless the watch has already shown something newer.
    pub(crate) fn note(&mut self, object: &R::Object) -> Option<Change<R>> {
        let (version, key) = (version(object), key(object));
        let passed = matches!((version, self.horizon), (Some(v), Some(h)) if v <= h);
        if passed && !self.rows.contains_key(&key) {
            return None; // it came and went: what is gone is not brought back
        }
        self.put(object, Origin::Write)
    }

    fn is_newer(&self, key: &Key, than: Option<u64>) -> bool {
        let have = self.rows.get(key).and_then(|entry| entry.version);
        matches!((have, than), (Some(have), Some(than)) if have > than)
    }

    fn put(&mut self, object: &R::Object, origin: Origin) -> Option<Change<R>> {
        let (version, key) = (version(object), key(object));
        if self.is_newer(&key, version) {
            return None;
        }
        let entry = R::read(object).map(|row| Entry {
            version,
            origin,
            row,
        });
        self.set(key, entry)
    }

    fn replace(&mut self, objects: Vec<R::Object>) -> Vec<Change<R>> {
        let mut gone: BTreeSet<Key> = self.rows.keys().cloned().collect();
        let mut changes = Vec::new();
        self.horizon = None;
        for object in objects {
            let (key, version) = (key(&object), version(&object));
            gone.remove(&key);
            self.horizon = self.horizon.max(version);
            let ours = self
                .rows
                .get(&key)
                .is_some_and(|e| e.origin == Origin::Write);
            if ours && self.is_newer(&key, version) {
                continue; // the list is older than our write
            }
            let entry = R::read(&object).map(|row| Entry {
                version,
                origin: Origin::Watch,
                row,
            });
            changes.extend(self.set(key, entry));
        }
        for key in gone {
            changes.extend(self.set(key, None));
        }
        changes
    }

    fn set(&mut self, key: Key, entry: Option<Entry<R>>) -> Option<Change<R>> {
        let old = self.rows.remove(&key).map(|entry| entry.row);
        if let Some(old) = &old {
            unindex(
                &mut self.marked,
                old.uid().map(str::to_owned).as_ref(),
                &key,
            );
            unindex(&mut self.linked, old.link().as_ref(), &key);
        }
        let new = entry.as_ref().map(|entry| entry.row.clone());
        if let Some(entry) = entry {
            if let Some(uid) = entry.row.uid() {
                let keys = self.marked.entry(uid.to_owned()).or_default();
                keys.insert(key.clone());
            }
            if let Some(link) = entry.row.link() {
                self.linked.entry(link).or_default().insert(key.clone());
            }
            self.rows.insert(key.clone(), entry);
        }
        (old != new).then(|| Change {
            key,
            rows: old.into_iter().chain(new).collect(),
        })
    }
}

fn unindex<I: Ord>(index: &mut BTreeMap<I, BTreeSet<Key>>, under: Option<&I>, key: &Key) {
    if let Some(under) = under
        && let Some(keys) = index.get_mut(under)
    {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(under);
        }
    }
}

fn key(object: &impl Resource<DynamicType = ()>) -> Key {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn version(object: &impl Resource<DynamicType = ()>) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rows::NamespaceRow;
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::json;

    fn at(version: u64, phase: &str) -> Namespace {
        let body = json!({"metadata": {"name": "a", "resourceVersion": version.to_string()}, "status": {"phase": phase}});
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn an_answer_to_a_write_counts_until_the_watch_is_past_it() {
        let mut table = Table::<NamespaceRow>::default();
        table.take(WatchEvent::Synced(vec![]));
        assert!(table.note(&at(5, "Active")).is_some());
        assert!(
            table
                .take(WatchEvent::Apply(at(4, "Terminating")))
                .is_empty()
        );
        assert!(table.take(WatchEvent::Apply(at(5, "Active"))).is_empty());
        assert_eq!(table.take(WatchEvent::Delete(at(7, "Active"))).len(), 1);
        assert!(table.note(&at(6, "Active")).is_none());
        assert!(table.get("", "a").is_none());
        assert!(table.note(&at(8, "Active")).is_some());
        assert!(
            table
                .take(WatchEvent::Synced(vec![at(7, "Active")]))
                .is_empty()
        );
        assert_eq!(table.take(WatchEvent::Synced(vec![])).len(), 1);
    }
}
