//! Which placements a change concerns.

mod picks;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::Selector;
use lifeboat_core::ClusterId;
use parking_lot::RwLock;

use crate::fleet::Wake;
use crate::resolve::{PlacementKey, Scope};
use picks::Picks;

/// Finds placements by uid, by name, by cluster, by namespace of a cluster, and by the labels of what is in it.
#[derive(Default)]
pub(crate) struct Index {
    maps: RwLock<Maps>,
}

/// A namespace of a cluster.
type Place = (ClusterId, String);

#[derive(Default)]
struct Maps {
    footprints: BTreeMap<PlacementKey, Footprint>,
    by_uid: BTreeMap<String, PlacementKey>,
    by_cluster: BTreeMap<ClusterId, BTreeSet<PlacementKey>>,
    by_namespace: BTreeMap<Place, BTreeSet<PlacementKey>>,
    by_claim: BTreeMap<Place, Picks>,
    by_workload: BTreeMap<Place, Picks>,
}

/// Where a placement can be seen.
#[derive(PartialEq, Eq)]
struct Footprint {
    uid: String,
    clusters: BTreeSet<ClusterId>,
    namespaces: BTreeSet<Place>,
    claims: Selector,
    /// None: it has no workloads.
    workloads: Option<Selector>,
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
            claims: scope.pvc_selector.clone(),
            workloads: scope.workload.as_ref().map(|(s, _)| s.clone()),
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
        maps.add(&scope.key, new);
    }

    /// Forgets a placement.
    pub(crate) fn remove(&self, key: &PlacementKey) {
        self.maps.write().remove(key);
    }

    /// The placements that a change concerns.
    pub(crate) fn concerned(&self, wake: &Wake) -> BTreeSet<PlacementKey> {
        let maps = self.maps.read();
        let all = |set: Option<&BTreeSet<PlacementKey>>| set.cloned().unwrap_or_default();
        let place = |c: &ClusterId, ns: &str| (c.clone(), ns.to_owned());
        match wake {
            Wake::Cluster(cluster) => all(maps.by_cluster.get(cluster)),
            Wake::Namespace(cluster, ns) => all(maps.by_namespace.get(&place(cluster, ns))),
            Wake::Claim(cluster, ns, labels) => {
                let picks = maps.by_claim.get(&place(cluster, ns));
                picks.map(|p| p.matching(labels)).unwrap_or_default()
            }
            Wake::Workload(cluster, ns, labels) => {
                let picks = maps.by_workload.get(&place(cluster, ns));
                picks.map(|p| p.matching(labels)).unwrap_or_default()
            }
            Wake::Placement(uid) => maps.by_uid.get(uid).cloned().into_iter().collect(),
            Wake::Named(name) => {
                let key = name.split_once('/').map(|(namespace, name)| PlacementKey {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                });
                let known = |key: &PlacementKey| maps.footprints.contains_key(key);
                key.filter(known).into_iter().collect()
            }
        }
    }
}

impl Maps {
    fn add(&mut self, key: &PlacementKey, new: Footprint) {
        self.by_uid.insert(new.uid.clone(), key.clone());
        for cluster in &new.clusters {
            let there = self.by_cluster.entry(cluster.clone()).or_default();
            there.insert(key.clone());
        }
        for place in &new.namespaces {
            let there = self.by_namespace.entry(place.clone()).or_default();
            there.insert(key.clone());
            let claims = self.by_claim.entry(place.clone()).or_default();
            claims.add(key, &new.claims);
            if let Some(selector) = &new.workloads {
                let workloads = self.by_workload.entry(place.clone()).or_default();
                workloads.add(key, selector);
            }
        }
        self.footprints.insert(key.clone(), new);
    }

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
        for place in &old.namespaces {
            take_out(&mut self.by_namespace, place, key);
            drop_pick(&mut self.by_claim, place, key, &old.claims);
            if let Some(selector) = &old.workloads {
                drop_pick(&mut self.by_workload, place, key, selector);
            }
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

fn drop_pick(map: &mut BTreeMap<Place, Picks>, at: &Place, key: &PlacementKey, old: &Selector) {
    if let Some(picks) = map.get_mut(at) {
        picks.remove(key, old);
        if picks.is_empty() {
            map.remove(at);
        }
    }
}
