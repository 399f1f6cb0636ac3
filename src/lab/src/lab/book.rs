//! The DRPlacements of the hub as last seen, and the invariants broken so far.

use std::{collections::BTreeMap, fmt};

use kube::ResourceExt;
use lifeboat_api::{DRPlacement, common::condition};
use lifeboat_sim::world::App;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Namespace and name of a DRPlacement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace on the hub.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// That of an application.
    pub fn of(app: &App) -> Self {
        Self {
            namespace: app.namespace.clone(),
            name: app.name.clone(),
        }
    }

    /// That of an object.
    pub fn from_object(p: &DRPlacement) -> Self {
        Self {
            namespace: p.namespace().unwrap_or_default(),
            name: p.name_any(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Short questions to a DRPlacement.
pub trait Look {
    /// The phase, or nothing.
    fn phase(&self) -> &str;
    /// The owner, or nothing.
    fn cluster(&self) -> &str;
    /// The epoch.
    fn epoch(&self) -> i64;
    /// The step, or nothing.
    fn step(&self) -> &str;
    /// The status of a condition, or nothing.
    fn condition(&self, kind: &str) -> &str;
    /// Whether the status speaks of the present spec.
    fn is_current(&self) -> bool;
    /// Whether it is at rest on `cluster`, as the present spec wants it.
    fn rests_on(&self, cluster: &str) -> bool {
        self.is_current() && self.phase() == "Steady" && self.cluster() == cluster
    }
    /// Whether it also has a complete copy on another cluster.
    fn settled_on(&self, cluster: &str) -> bool {
        self.rests_on(cluster) && self.condition("Protected") == "True"
    }
}

impl Look for DRPlacement {
    fn phase(&self) -> &str {
        self.status
            .as_ref()
            .and_then(|s| s.phase.as_deref())
            .unwrap_or_default()
    }
    fn cluster(&self) -> &str {
        self.status
            .as_ref()
            .and_then(|s| s.cluster.as_deref())
            .unwrap_or_default()
    }
    fn epoch(&self) -> i64 {
        self.status
            .as_ref()
            .and_then(|s| s.epoch)
            .unwrap_or_default()
    }
    fn step(&self) -> &str {
        self.status
            .as_ref()
            .and_then(|s| s.step.as_deref())
            .unwrap_or_default()
    }
    fn condition(&self, kind: &str) -> &str {
        let found = self
            .status
            .as_ref()
            .and_then(|s| condition(&s.conditions, kind));
        found.map(|c| c.status.as_str()).unwrap_or_default()
    }
    fn is_current(&self) -> bool {
        let seen = self.status.as_ref().and_then(|s| s.observed_generation);
        seen.is_some() && seen == self.metadata.generation
    }
}

/// All DRPlacements, kept up to date by a watch.
#[derive(Debug, Default)]
pub struct Book {
    placements: Mutex<BTreeMap<Key, DRPlacement>>,
    violations: Mutex<Vec<String>>,
    /// Counts changes.
    version: watch::Sender<u64>,
}

impl Book {
    /// One of them.
    pub fn get(&self, key: &Key) -> Option<DRPlacement> {
        self.placements.lock().get(key).cloned()
    }

    /// How many there are for which `ok` holds.
    pub fn count(&self, ok: impl Fn(&DRPlacement) -> bool) -> usize {
        self.placements.lock().values().filter(|p| ok(p)).count()
    }

    /// Looks at all of them.
    pub fn for_each(&self, mut look: impl FnMut(&Key, &DRPlacement)) {
        self.placements.lock().iter().for_each(|(k, p)| look(k, p));
    }

    /// Wakes at each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Broken invariants.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    pub(super) fn set(&self, placement: DRPlacement) -> Option<DRPlacement> {
        let old = self
            .placements
            .lock()
            .insert(Key::from_object(&placement), placement);
        self.version.send_modify(|v| *v += 1);
        old
    }

    pub(super) fn remove(&self, key: &Key) {
        self.placements.lock().remove(key);
        self.version.send_modify(|v| *v += 1);
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.placements.lock().keys().cloned().collect()
    }

    pub(super) fn violated(&self, what: String) {
        let mut all = self.violations.lock();
        if !all.contains(&what) {
            all.push(what);
            drop(all);
            self.version.send_modify(|v| *v += 1);
        }
    }
}
