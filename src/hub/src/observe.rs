//! Freezes what is seen of one placement, on all its clusters, at one moment. No I/O: it reads what the fleet keeps, by
//! namespace and by mark, and never walks over everything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::core::SelectorExt;
use lifeboat_api::placement::WorkloadKind;
use lifeboat_core::observed::{
    ArchiveFacts, ClaimFacts, Contact, Deleting, DivergedFacts, Holder, Managed, NamesakeFacts,
    NamespaceFacts, PvFacts, RecordFacts, Selected, VolumeFacts, VrFacts, WorkloadFacts,
};
use lifeboat_core::{ClaimKey, ClusterFacts, ClusterId, Epoch, Observed, WorkloadKey};
use tokio::time::Instant;

use crate::diverged;
use crate::fleet::Fleet;
use crate::fleet::print::digest;
use crate::fleet::rows::{ClaimRow, OwnershipRow, VolumeRow, WorkloadRow};
use crate::fleet::table::Key;
use crate::fleet::view::View;
use crate::resolve::Scope;

/// Everything seen for one placement. `now` is the moment the snapshot is of; `registered` says whether there is a
/// DRCluster of that name.
pub fn observe(
    fleet: &Fleet,
    scope: &Scope,
    archive: ArchiveFacts,
    now: Timestamp,
    registered: impl Fn(&ClusterId) -> bool,
) -> Observed {
    let unseen = |contact| ClusterFacts {
        contact,
        ..ClusterFacts::default()
    };
    let never = |why: &str| Contact::Never {
        since: now,
        why: why.to_owned(),
    };
    let facts = |id: &ClusterId| {
        let Some(member) = fleet.member(id) else {
            // At the start of the hub a placement may be looked at before its clusters are.
            return if registered(id) {
                unseen(never("not connected yet"))
            } else {
                unseen(Contact::Unregistered {
                    since: fleet.absent_since(id),
                    why: "no DRCluster of that name exists".to_owned(),
                })
            };
        };
        let contact = member.contact();
        let view = member.view.read();
        if !view.is_itself() {
            return unseen(match contact {
                Contact::Fresh => never("it has just become another cluster"),
                other => other,
            });
        }
        let look = Look {
            view: &view,
            scope,
            id,
        };
        let mut facts = look.facts();
        facts.contact = contact;
        facts
    };
    let clusters = scope.clusters.iter().map(|id| (id.clone(), facts(id)));
    Observed {
        clusters: clusters.collect(),
        archive,
    }
}

/// Hash of what a capture taken on that cluster now would hold, as far as it is watched: selected claims, their volumes
/// and the selected workloads. Replicas count as remembered, so that stopping a workload changes nothing.
pub fn source_fingerprint(fleet: &Fleet, scope: &Scope, cluster: &ClusterId) -> String {
    let Some(member) = fleet.member(cluster) else {
        return String::new();
    };
    let view = member.view.read();
    let look = Look {
        view: &view,
        scope,
        id: cluster,
    };
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (key, there) in look.claims() {
        let Some(claim) = look.claim(&there) else {
            continue;
        };
        if look.selected(&there, claim) == Selected::No {
            continue;
        }
        parts.push(key.to_string().into_bytes());
        parts.push(claim.print.to_vec());
        if let Some((name, volume)) = look.volume(&there) {
            parts.push(name.into_bytes());
            parts.push(volume.print.to_vec());
        }
        let destination = look.replication(&there).and_then(|vr| vr.destination);
        parts.push(destination.unwrap_or_default().into_bytes());
    }
    for (key, row) in look.workloads() {
        parts.push(key.to_string().into_bytes());
        parts.push(row.print.to_vec());
    }
    let print = digest(parts.iter().map(Vec::as_slice));
    format!("{:032x}", u128::from_be_bytes(print))
}

/// One placement on one cluster.
struct Look<'a> {
    view: &'a View,
    scope: &'a Scope,
    id: &'a ClusterId,
}

impl<'a> Look<'a> {
    fn facts(&self) -> ClusterFacts {
        let claims = self.claims();
        let workloads = self.workloads();
        let volumes = claims
            .iter()
            .map(|(key, there)| (key.clone(), self.volume_facts(there)));
        ClusterFacts {
            contact: ClusterFacts::default().contact,
            agent: self.view.agent(Instant::now()),
            replicator: self.view.replicator(Instant::now()),
            record: self.record(),
            diverged: self.diverged(),
            namesakes: self.namesakes(),
            namespaces: self.namespaces(),
            volumes: volumes.collect(),
            former: self.former(),
            holders: self.holders(&claims, &workloads),
            workloads: self.workload_facts(&workloads),
            storage_classes: self.storage_classes(),
            replication_classes: self.replication_classes(),
        }
    }

    fn home(&self, there: &str) -> String {
        let home = self.scope.home_namespace(self.id, there);
        home.unwrap_or_else(|| there.to_owned())
    }

    /// Claims of the placement, by home name, with their name here: those the selector matches, and those of which a
    /// claim, a volume or a replication carries our mark.
    fn claims(&self) -> BTreeMap<ClaimKey, Key> {
        let (tables, uid) = (&self.view.tables, self.scope.uid.as_str());
        let mut found: BTreeSet<Key> = BTreeSet::new();
        for (_, there) in self.scope.namespaces_on(self.id) {
            let matching = tables
                .claims
                .in_namespace(&there)
                .filter(|(_, row)| self.scope.pvc_selector.matches(&row.labels));
            found.extend(matching.map(|(key, _)| key.clone()));
        }
        found.extend(tables.claims.marked(uid).map(|(key, _)| key.clone()));
        found.extend(tables.replications.marked(uid).map(|(key, _)| key.clone()));
        found.extend(
            tables
                .volumes
                .marked(uid)
                .filter_map(|(_, row)| row.claim.clone()),
        );
        let named = |key: Key| (ClaimKey::new(self.home(&key.0), key.1.clone()), key);
        found.into_iter().map(named).collect()
    }

    fn claim(&self, there: &Key) -> Option<&'a ClaimRow> {
        self.view.tables.claims.get(&there.0, &there.1)
    }

    fn selected(&self, there: &Key, claim: &ClaimRow) -> Selected {
        let protected = self
            .scope
            .namespaces_on(self.id)
            .any(|(_, ns)| ns == there.0);
        if protected && self.scope.pvc_selector.matches(&claim.labels) {
            Selected::Yes
        } else {
            Selected::No
        }
    }

    /// The volume that a claim names, or else one that names the claim: ours before any other.
    fn volume(&self, there: &Key) -> Option<(String, &'a VolumeRow)> {
        let volumes = &self.view.tables.volumes;
        let named = self.claim(there).and_then(|claim| claim.volume.as_deref());
        if let Some(name) = named
            && let Some(row) = volumes.get("", name)
        {
            return Some((name.to_owned(), row));
        }
        let mut meant: Vec<(&Key, &VolumeRow)> = volumes.linked(there).collect();
        meant.sort_by_key(|(key, row)| (row.tag.uid() != Some(&self.scope.uid), (*key).clone()));
        let first = meant.first();
        first.map(|(key, row)| (key.1.clone(), *row))
    }

    /// Volumes with our mark whose claim has another by now.
    fn former(&self) -> BTreeSet<String> {
        let marked = self.view.tables.volumes.marked(&self.scope.uid);
        let left = marked.filter(|((_, name), row)| {
            let present = row.claim.as_ref().and_then(|claim| self.volume(claim));
            row.deleting == Deleting::No && present.is_none_or(|(other, _)| other != *name)
        });
        left.map(|((_, name), _)| name.clone()).collect()
    }

    fn replication(&self, there: &Key) -> Option<VrFacts> {
        let row = self.view.tables.replications.get(&there.0, &there.1)?;
        Some(VrFacts {
            mark: row.tag.mark(&self.scope.uid),
            ..row.facts.clone()
        })
    }

    fn volume_facts(&self, there: &Key) -> VolumeFacts {
        let uid = self.scope.uid.as_str();
        let claim = self.claim(there).map(|row| ClaimFacts {
            selected: self.selected(there, row),
            mark: row.tag.mark(uid),
            phase: row.phase,
            storage_class: row.class.as_ref().map(|class| {
                let home = self.scope.home_storage_class(self.id, class);
                home.unwrap_or_else(|| class.clone())
            }),
            deleting: row.deleting,
        });
        let volume = self.volume(there).map(|(name, row)| PvFacts {
            name,
            mark: row.tag.mark(uid),
            csi: row.csi.clone(),
            retained: row.retained,
            created: row.created,
            deleting: row.deleting,
        });
        VolumeFacts {
            claim,
            volume,
            replication: self.replication(there),
        }
    }

    /// The ownership record. Each protected namespace that can hold one must: a volume in a namespace without the
    /// present record could never be promoted. So of records that tell nothing new the weakest counts, and one that
    /// is missing makes all of them missing, which has them written again. But news counts at once: of records beyond
    /// the epoch that this hub knows, the highest.
    fn record(&self) -> Option<RecordFacts> {
        let tables = &self.view.tables;
        let mut all: Vec<RecordFacts> = Vec::new();
        let mut missing = false;
        for (_, there) in self.scope.namespaces_on(self.id) {
            let row = tables.ownerships.get(&there, &self.scope.ownership);
            if let Some(row) = row.filter(|row| row.uid == self.scope.uid) {
                all.push(self.record_facts(row));
            } else {
                let namespace = tables.namespaces.get("", &there);
                missing |= namespace.is_some_and(|n| n.facts == NamespaceFacts::Active);
            }
        }
        // A namespace that is no longer protected may still hold the newest.
        let marked = tables
            .ownerships
            .marked(&self.scope.uid)
            .map(|(_, row)| self.record_facts(row));
        let highest = marked.max_by_key(|r| r.epoch);
        if highest.as_ref().is_some_and(|r| r.epoch > self.scope.epoch) {
            return highest;
        }
        if missing {
            return None;
        }
        all.into_iter()
            .min_by_key(|r| (r.written_to.is_none(), r.epoch, r.force, r.served.clone()))
    }

    /// What the agent has noted in the records of this placement, by the home names of their namespaces.
    fn diverged(&self) -> Vec<DivergedFacts> {
        let records = self.view.tables.ownerships.marked(&self.scope.uid);
        let mut all = Vec::new();
        for ((there, _), row) in records {
            if let Some(home) = self.scope.home_namespace(self.id, there) {
                all.extend(row.diverged.iter().map(|d| diverged::facts(&home, d)));
            }
        }
        all.sort();
        all
    }

    /// A record of another cluster that was copied here, by a restore from a backup say, tells who it was written to: by its
    /// name, and by its uid where a cluster was built anew under the name.
    fn record_facts(&self, row: &OwnershipRow) -> RecordFacts {
        let here =
            row.cluster == self.id.as_str() && Some(&row.cluster_uid) == self.view.uid().as_ref();
        RecordFacts {
            written_to: (!here).then(|| ClusterId::new(row.cluster.as_str())),
            ..row.facts.clone()
        }
    }

    /// Records of this placement by name or by uid, and not by both. They are looked for, in all namespaces, while the
    /// placement is not decided on.
    fn namesakes(&self) -> Vec<NamesakeFacts> {
        if self.scope.epoch != Epoch::default() {
            return Vec::new();
        }
        let placement = self.scope.key.to_string();
        let all = self.view.tables.ownerships.all();
        let half = all
            .filter(|(_, row)| (row.placement == placement) != (row.uid == self.scope.uid))
            .map(|((namespace, name), row)| NamesakeFacts {
                epoch: row.facts.epoch,
                owner: row.facts.owner.clone(),
                uid: row.uid.clone(),
                placement: row.placement.clone(),
                record: format!("{namespace}/{name}"),
            });
        let mut found: Vec<NamesakeFacts> = half.collect();
        found.sort();
        found
    }

    fn namespaces(&self) -> BTreeMap<String, NamespaceFacts> {
        let namespaces = &self.view.tables.namespaces;
        let found = self
            .scope
            .namespaces_on(self.id)
            .filter_map(|(home, there)| {
                let row = namespaces.get("", &there)?;
                Some((home.to_owned(), row.facts))
            });
        found.collect()
    }

    /// Workloads that the selector matches, and those that carry our mark.
    fn workloads(&self) -> BTreeMap<WorkloadKey, &'a WorkloadRow> {
        let (tables, uid) = (&self.view.tables, self.scope.uid.as_str());
        let mut found = BTreeMap::new();
        let key = |kind: &str, (namespace, name): &Key| WorkloadKey {
            kind: kind.to_owned(),
            namespace: self.home(namespace),
            name: name.clone(),
        };
        if let Some((selector, kinds)) = &self.scope.workload {
            let wanted = |kind| kinds.contains(&kind);
            for (_, there) in self.scope.namespaces_on(self.id) {
                for (at, row) in tables.deployments.in_namespace(&there) {
                    if wanted(WorkloadKind::Deployment) && selector.matches(&row.0.labels) {
                        found.insert(key("Deployment", at), &row.0);
                    }
                }
                for (at, row) in tables.stateful_sets.in_namespace(&there) {
                    if wanted(WorkloadKind::StatefulSet) && selector.matches(&row.0.labels) {
                        found.insert(key("StatefulSet", at), &row.0);
                    }
                }
            }
        }
        let marked = tables.deployments.marked(uid);
        found.extend(marked.map(|(at, row)| (key("Deployment", at), &row.0)));
        let marked = tables.stateful_sets.marked(uid);
        found.extend(marked.map(|(at, row)| (key("StatefulSet", at), &row.0)));
        found
    }

    fn workload_facts(
        &self,
        workloads: &BTreeMap<WorkloadKey, &WorkloadRow>,
    ) -> BTreeMap<WorkloadKey, WorkloadFacts> {
        let facts = |row: &WorkloadRow| WorkloadFacts {
            mark: row.tag.mark(&self.scope.uid),
            replicas: row.replicas,
            ready: row.ready,
            remembered: row.remembered,
            deleting: row.deleting,
        };
        workloads
            .iter()
            .map(|(key, row)| (key.clone(), facts(row)))
            .collect()
    }

    /// Pods that use the claims, and attachments of their volumes.
    fn holders(
        &self,
        claims: &BTreeMap<ClaimKey, Key>,
        workloads: &BTreeMap<WorkloadKey, &WorkloadRow>,
    ) -> Vec<Holder> {
        let tables = &self.view.tables;
        let by_name: BTreeMap<&Key, &ClaimKey> =
            claims.iter().map(|(key, there)| (there, key)).collect();
        let namespaces: BTreeSet<&str> = claims.values().map(|(ns, _)| ns.as_str()).collect();
        let mut holders = BTreeSet::new();
        for namespace in namespaces {
            let home = self.home(namespace);
            for ((_, pod), row) in tables.pods.in_namespace(namespace) {
                let ours = workloads.iter().any(|(key, workload)| {
                    let pods = workload.pods.as_ref();
                    key.namespace == home && pods.is_some_and(|s| s.matches(&row.labels))
                });
                for name in &row.claims {
                    let there = (namespace.to_owned(), name.clone());
                    holders.extend(by_name.get(&there).map(|claim| Holder {
                        claim: (*claim).clone(),
                        kind: "Pod".to_owned(),
                        name: format!("{namespace}/{pod}"),
                        managed: if ours { Managed::Yes } else { Managed::No },
                    }));
                }
            }
        }
        for (claim, there) in claims {
            let Some((volume, _)) = self.volume(there) else {
                continue;
            };
            for ((_, name), _) in tables.attachments.linked(&(String::new(), volume)) {
                holders.insert(Holder {
                    claim: claim.clone(),
                    kind: "VolumeAttachment".to_owned(),
                    name: name.clone(),
                    managed: Managed::Yes,
                });
            }
        }
        holders.into_iter().collect()
    }

    fn storage_classes(&self) -> BTreeMap<String, String> {
        let classes = self.view.tables.storage_classes.all();
        let found = classes.filter_map(|((_, name), row)| {
            let home = self.scope.home_storage_class(self.id, name)?;
            Some((home, row.provisioner.clone()))
        });
        found.collect()
    }

    fn replication_classes(&self) -> BTreeMap<String, String> {
        let classes = self.view.tables.replication_classes.all();
        classes
            .map(|((_, name), row)| (name.clone(), row.provisioner.clone()))
            .collect()
    }
}
