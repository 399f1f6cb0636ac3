//! Which placements a change concerns.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_core::ClusterId;
use parking_lot::RwLock;

use crate::fleet::Wake;
use crate::resolve::{PlacementKey, Scope};

/// Finds placements by uid, by cluster, and by namespace of a cluster.
#[derive(Default)]
pub(crate) struct Index {
    maps: RwLock<Maps>,
}

#[derive(Default)]
struct Maps {
    footprints: BTreeMap<PlacementKey, Footprint>,
    by_uid: BTreeMap<String, PlacementKey>,
    by_cluster: BTreeMap<ClusterId, BTreeSet<PlacementKey>>,
    by_namespace: BTreeMap<(ClusterId, String), BTreeSet<PlacementKey>>,
}

/// Where a placement can be seen.
#[derive(PartialEq, Eq)]
struct Footprint {
    uid: String,
    clusters: BTreeSet<ClusterId>,
    namespaces: BTreeSet<(ClusterId, String)>,
}

impl Footprint {
    fn of(scope: &Scope) -> Self {
        let on = |c: &ClusterId| {
            scope
                .namespaces
                .iter()
                .map(|home| (c.clone(), scope.namespace_on(c, home)))
                .collect::<Vec<_>>()
        };
        Self {
            uid: scope.uid.clone(),
            clusters: scope.clusters.iter().cloned().collect(),
            namespaces: scope.clusters.iter().flat_map(on).collect(),
        }
    }
}

impl Index {
    /// Takes the scope of a placement.
    pub(crate) fn set(&self, scope: &Scope) {
        let new = Footprint::of(scope);
        if self.maps.read().footprints.get(&scope.key) == Some(&new) {
            return;
        }
        let mut maps = self.maps.write();
        maps.remove(&scope.key);
        maps.by_uid.insert(new.uid.clone(), scope.key.clone());
        for cluster in &new.clusters {
            maps.by_cluster
                .entry(cluster.clone())
                .or_default()
                .insert(scope.key.clone());
        }
        for namespace in &new.namespaces {
            maps.by_namespace
                .entry(namespace.clone())
                .or_default()
                .insert(scope.key.clone());
        }
        maps.footprints.insert(scope.key.clone(), new);
    }

    /// Forgets a placement.
    pub(crate) fn remove(&self, key: &PlacementKey) {
        self.maps.write().remove(key);
    }

    /// The placements that a change concerns.
    pub(crate) fn concerned(&self, wake: &Wake) -> Vec<PlacementKey> {
        let maps = self.maps.read();
        let all =
            |set: Option<&BTreeSet<PlacementKey>>| set.into_iter().flatten().cloned().collect();
        match wake {
            Wake::Cluster(cluster) => all(maps.by_cluster.get(cluster)),
            Wake::Namespace(cluster, namespace) => {
                all(maps.by_namespace.get(&(cluster.clone(), namespace.clone())))
            }
            Wake::Placement(uid) => maps.by_uid.get(uid).cloned().into_iter().collect(),
        }
    }
}

impl Maps {
    fn remove(&mut self, key: &PlacementKey) {
        let Some(old) = self.footprints.remove(key) else {
            return;
        };
        if self.by_uid.get(&old.uid) == Some(key) {
            self.by_uid.remove(&old.uid);
        }
        for cluster in &old.clusters {
            take_out(&mut self.by_cluster, cluster, key);
        }
        for namespace in &old.namespaces {
            take_out(&mut self.by_namespace, namespace, key);
        }
    }
}

fn take_out<Q: Ord>(map: &mut BTreeMap<Q, BTreeSet<PlacementKey>>, at: &Q, key: &PlacementKey) {
    if let Some(set) = map.get_mut(at) {
        set.remove(key);
        if set.is_empty() {
            map.remove(at);
        }
    }
}
