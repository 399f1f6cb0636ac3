//! Objects, their versions and the log of changes that watches read.
//!
//! Everything is in ordered maps and every identifier comes from a counter, so that the same requests give the same
//! bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::auth::Tokens;
use super::error::{ApiError, Result};
use super::log::{Change, Facts, LogEntry, render};
use super::rbac::{Right, Verdict};
use super::resource::{Resource, TableKey};
use super::tree::{list_at, meta_mut, meta_text, text};
use crate::clock::SimClock;

/// Namespace (empty for cluster-scoped objects) and name.
pub(crate) type Key = (String, String);

/// Where one object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId {
    pub(crate) table: TableKey,
    pub(crate) key: Key,
}

/// The objects of one resource.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) resource: Arc<Resource>,
    pub(crate) objects: BTreeMap<Key, Arc<Value>>,
    pub(crate) log: VecDeque<LogEntry>,
    /// A watch from a version below this one has missed something.
    pub(crate) floor: u64,
    pub(crate) tip: watch::Sender<u64>,
}

impl Table {
    /// The objects of a namespace, or of all when `ns` is empty, after `after`.
    pub(crate) fn scan<'a>(
        &'a self,
        ns: &'a str,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = match after {
            Some(key) => Excluded(key.clone()),
            None => Included((ns.to_owned(), String::new())),
        };
        self.objects
            .range((start, Unbounded))
            .take_while(move |(k, _)| ns.is_empty() || k.0 == ns)
    }
}

/// Everything a server knows. One lock guards it, and nothing waits while holding it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) resources: BTreeMap<TableKey, Arc<Resource>>,
    pub(crate) tokens: Tokens,
    pub(crate) counts: BTreeMap<(String, String, String), u64>,
    /// What callers asked for whom roles allow something, and whether they were let.
    pub(crate) asked: BTreeMap<Right, Verdict>,
    /// Requests whose next one comes too late: another writer was faster.
    pub(crate) races: BTreeSet<Right>,
    pub(crate) log_cap: usize,
    /// What the client of the request at hand is warned of.
    pub(crate) warnings: Vec<String>,
    tables: BTreeMap<TableKey, Table>,
    dependents: BTreeMap<String, BTreeSet<ObjectId>>,
    uids: BTreeMap<String, ObjectId>,
    seed: u64,
    serial: u64,
    rv: u64,
}

/// Versions start high, so that none looks like "0" or like a count of something.
const FIRST_VERSION: u64 = 1000;

impl State {
    pub(crate) fn new(name: &str, clock: Arc<SimClock>) -> Self {
        let seed = fnv(name);
        Self {
            clock,
            resources: BTreeMap::new(),
            tokens: Tokens::default(),
            counts: BTreeMap::new(),
            asked: BTreeMap::new(),
            races: BTreeSet::new(),
            log_cap: 1024,
            warnings: Vec::new(),
            tables: BTreeMap::new(),
            dependents: BTreeMap::new(),
            uids: BTreeMap::new(),
            seed,
            serial: 0,
            rv: FIRST_VERSION,
        }
    }

    /// Makes a resource known; a known one gets the new definition and keeps its objects.
    pub(crate) fn register(&mut self, res: Resource) {
        let res = Arc::new(res);
        let key = res.table_key();
        self.resources
            .insert((res.group.clone(), res.plural.clone()), res.clone());
        let rv = self.rv;
        let table = self.tables.entry(key.clone()).or_insert_with(|| {
            let (tip, _) = watch::channel(rv);
            Table {
                resource: res.clone(),
                objects: BTreeMap::new(),
                log: VecDeque::new(),
                floor: rv,
                tip,
            }
        });
        if (&res.group, &res.plural) == (&key.0, &key.1) {
            table.resource = res;
        }
    }

    /// Forgets a resource and its objects; its watches end.
    pub(crate) fn unregister(&mut self, key: &TableKey) {
        self.resources.remove(key);
        self.tables.remove(key);
    }

    pub(crate) fn resource(&self, group: &str, plural: &str) -> Result<Arc<Resource>> {
        let key = (group.to_owned(), plural.to_owned());
        self.resources
            .get(&key)
            .cloned()
            .ok_or_else(ApiError::no_such_path)
    }

    pub(crate) fn table(&self, res: &Resource) -> Result<&Table> {
        self.tables
            .get(&res.table_key())
            .ok_or_else(ApiError::no_such_path)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// A live object, as it is stored.
    pub(crate) fn get(&self, res: &Resource, key: &Key) -> Result<Arc<Value>> {
        self.table(res)?
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(res, &key.1))
    }

    /// A live object of a built-in resource, if there is one.
    pub(crate) fn find(
        &self,
        group: &str,
        plural: &str,
        ns: &str,
        name: &str,
    ) -> Option<&Arc<Value>> {
        let table = self.tables.get(&(group.to_owned(), plural.to_owned()))?;
        table.objects.get(&(ns.to_owned(), name.to_owned()))
    }

    /// Every object of a built-in resource in a namespace (in all when `ns` is empty).
    pub(crate) fn all<'a>(
        &'a self,
        group: &str,
        plural: &str,
        ns: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        let table = self.tables.get(&(group.to_owned(), plural.to_owned()));
        table
            .into_iter()
            .flat_map(move |t| t.scan(ns, None).map(|(_, o)| o))
    }

    pub(crate) fn version(&self) -> u64 {
        self.rv
    }

    /// A new uid: the server's seed and a counter, so that no two servers of a world give the same.
    pub(crate) fn next_uid(&mut self) -> String {
        self.serial += 1;
        self.uid_for(self.serial)
    }

    pub(crate) fn uid_for(&self, serial: u64) -> String {
        let high = self.seed >> 32;
        let low = self.seed & 0xffff;
        format!("{high:08x}-{low:04x}-4000-8000-{serial:012x}")
    }

    /// The five characters that complete a generateName.
    pub(crate) fn next_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.serial += 1;
        let mut x = mix(self.seed ^ self.serial);
        let mut suffix = String::with_capacity(5);
        for _ in 0..5 {
            let at = usize::try_from(x % ALPHABET.len() as u64).unwrap_or_default();
            suffix.push(char::from(ALPHABET.get(at).copied().unwrap_or(b'x')));
            x /= ALPHABET.len() as u64;
        }
        suffix
    }

    /// Stores a new version of an object and logs it.
    pub(crate) fn commit(
        &mut self,
        res: &Resource,
        obj: Value,
        before: Option<&Arc<Value>>,
    ) -> Result<Arc<Value>> {
        let change = if before.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        self.record(res, obj, change, before)
    }

    /// Takes an object out of its table; `last` is its final state.
    pub(crate) fn remove(
        &mut self,
        res: &Resource,
        last: Value,
        live: &Arc<Value>,
    ) -> Result<Arc<Value>> {
        self.record(res, last, Change::Deleted, Some(live))
    }

    fn record(
        &mut self,
        res: &Resource,
        mut obj: Value,
        change: Change,
        before: Option<&Arc<Value>>,
    ) -> Result<Arc<Value>> {
        let (rv, cap) = (self.rv + 1, self.log_cap);
        meta_mut(&mut obj).insert("resourceVersion".into(), rv.to_string().into());
        let obj = Arc::new(obj);
        let key = key_of(&obj);
        let table = self
            .tables
            .get_mut(&res.table_key())
            .ok_or_else(ApiError::no_such_path)?;
        let stored = table.resource.clone();
        match change {
            Change::Deleted => drop(table.objects.remove(&key)),
            Change::Added | Change::Modified => {
                drop(table.objects.insert(key.clone(), obj.clone()));
            }
        }
        table.log.push_back(LogEntry {
            rv,
            change,
            line: render(change.as_str(), &obj),
            facts: Facts::of(&stored, &obj),
            before: before.map(|b| Facts::of(&stored, b)),
        });
        // As the real server's watch cache does, the log grows with what there is to change: a burst that touches every
        // object once must not send every watch back to a list.
        let cap = cap.max(table.objects.len().saturating_mul(2));
        while table.log.len() > cap {
            table.floor = table.log.pop_front().map_or(rv, |e| e.rv);
        }
        table.tip.send_replace(rv);
        self.rv = rv;
        let id = ObjectId {
            table: res.table_key(),
            key,
        };
        self.index(&id, change, &obj, before.map(AsRef::as_ref));
        Ok(obj)
    }

    /// Keeps the maps by uid and by owner in step with the tables.
    fn index(&mut self, id: &ObjectId, change: Change, obj: &Value, before: Option<&Value>) {
        for owner in before.into_iter().flat_map(owner_uids) {
            if let Some(set) = self.dependents.get_mut(owner) {
                set.remove(id);
                if set.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        if change == Change::Deleted {
            self.uids.remove(meta_text(obj, "uid"));
            return;
        }
        self.uids
            .insert(meta_text(obj, "uid").to_owned(), id.clone());
        for owner in owner_uids(obj) {
            self.dependents
                .entry(owner.to_owned())
                .or_default()
                .insert(id.clone());
        }
    }

    /// The objects that name `uid` as an owner, with their resources.
    pub(crate) fn dependents_of(&self, uid: &str) -> Vec<(Arc<Resource>, Arc<Value>)> {
        let ids = self.dependents.get(uid).into_iter().flatten();
        ids.filter_map(|id| self.by_id(id)).collect()
    }

    /// The object with this uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<(Arc<Resource>, Arc<Value>)> {
        self.by_id(self.uids.get(uid)?)
    }

    fn by_id(&self, id: &ObjectId) -> Option<(Arc<Resource>, Arc<Value>)> {
        let table = self.tables.get(&id.table)?;
        Some((table.resource.clone(), table.objects.get(&id.key)?.clone()))
    }
}

/// The key of an object, from its metadata.
pub(crate) fn key_of(obj: &Value) -> Key {
    (
        meta_text(obj, "namespace").to_owned(),
        meta_text(obj, "name").to_owned(),
    )
}

fn owner_uids(obj: &Value) -> impl Iterator<Item = &str> {
    list_at(obj, "/metadata/ownerReferences")
        .iter()
        .map(|r| text(r, "uid"))
}

/// FNV-1a: a stable number for a name.
pub(crate) fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// splitmix64: spreads consecutive numbers.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
