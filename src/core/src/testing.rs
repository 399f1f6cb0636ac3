//! For tests: builders, and a small model of the world that does what steps ask for.
//!
//! The model is not the simulator: it has no API server, no storage driver and no time but its ticks. It knows just
//! enough of executor, agent and storage for the planner to be driven to a fixed point, with faults on the way.

mod act;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::ids::{ClaimKey, ClusterId, ResyncRequest, WorkloadKey};
use crate::intent::{Failovers, Identity, Intent, Life, MoveKind, Policy, Request, Workloads};
use crate::journal::Journal;
use crate::observed::{
    AgentFacts, ArchiveFacts, CaptureFacts, ClaimFacts, ClaimPhase, ClusterFacts, Contact, Csi,
    Current, Deleting, Mark, NamespaceFacts, Observed, PvFacts, Retained, Selected, VolumeFacts,
    WorkloadFacts,
};
use crate::plan::{Plan, plan};
use crate::step::{Outcome, Step};

/// The driver of every volume of the model.
pub const DRIVER: &str = "rbd.csi.ceph.com";
/// The storage class of every volume of the model.
pub const CLASS: &str = "rbd";
/// The VolumeReplicationClass of every volume of the model.
pub const VRC: &str = "rbd-vrc";

/// A cluster's name.
pub fn id(name: &str) -> ClusterId {
    ClusterId::new(name)
}

/// The claims of the model's application.
pub fn claims() -> BTreeSet<ClaimKey> {
    ["data", "log"]
        .map(|n| ClaimKey::new("shop", n))
        .into_iter()
        .collect()
}

/// The workload of the model's application.
pub fn workload() -> WorkloadKey {
    WorkloadKey {
        kind: "StatefulSet".into(),
        namespace: "shop".into(),
        name: "db".into(),
    }
}

/// A request.
pub fn request(preferred: &str, action: Option<MoveKind>, failover: Option<&str>) -> Request {
    Request {
        preferred: id(preferred),
        action,
        failover_cluster: failover.map(id),
        id: None,
    }
}

/// A policy over the clusters `a`, `b` and `c`.
pub fn policy() -> Policy {
    Policy {
        clusters: ["a", "b", "c"].map(id).to_vec(),
        rpo_seconds: 300,
        classes: BTreeMap::from([(CLASS.to_owned(), VRC.to_owned())]),
        failover: Failovers::Allowed,
        salvage_seconds: None,
    }
}

/// A wish for the application to be on a cluster.
pub fn intent(request: Request) -> Intent {
    Intent {
        placement: "shop/db".into(),
        uid: "1".into(),
        named: None,
        identity: Identity::Own,
        request,
        workloads: Workloads::Selected,
        accepted: BTreeSet::new(),
        life: Life::Wanted,
    }
}

/// The beginning of the model's time.
pub fn beginning() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A cluster that answers, with nothing of the application on it.
pub fn empty_cluster() -> ClusterFacts {
    ClusterFacts {
        contact: Contact::Fresh,
        agent: AgentFacts::Alive {
            drivers: BTreeMap::from([(DRIVER.to_owned(), String::new())]),
            silent: BTreeMap::new(),
            telling: BTreeSet::from([DRIVER.to_owned()]),
            keeping: BTreeSet::from([DRIVER.to_owned()]),
        },
        namespaces: BTreeMap::from([("shop".to_owned(), NamespaceFacts::Active)]),
        storage_classes: BTreeMap::from([(CLASS.to_owned(), DRIVER.to_owned())]),
        replication_classes: BTreeMap::from([(VRC.to_owned(), DRIVER.to_owned())]),
        ..ClusterFacts::default()
    }
}

/// A bound claim with its volume.
pub fn volume(key: &ClaimKey, mark: &Mark, phase: ClaimPhase) -> VolumeFacts {
    VolumeFacts {
        claim: Some(ClaimFacts {
            selected: Selected::Yes,
            mark: mark.clone(),
            phase,
            storage_class: Some(CLASS.into()),
            deleting: Deleting::No,
        }),
        volume: Some(PvFacts {
            name: format!("pv-{}", key.name),
            mark: mark.clone(),
            csi: Some(Csi {
                driver: DRIVER.into(),
                handle: format!("image-{}", key.name),
            }),
            retained: if *mark == Mark::Ours {
                Retained::Yes
            } else {
                Retained::No
            },
            created: None,
            deleting: Deleting::No,
        }),
        replication: None,
    }
}

/// A workload that runs.
pub fn running(mark: &Mark, replicas: i32) -> WorkloadFacts {
    WorkloadFacts {
        mark: mark.clone(),
        replicas,
        ready: replicas,
        remembered: None,
        deleting: Deleting::No,
    }
}

/// Whether a cluster is up and can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// It answers.
    Up,
    /// It works, but neither the hub nor its peers hear of it.
    Cut,
    /// Nothing there moves.
    Dead,
}

/// An image on one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Whether it is writable there.
    pub primary: bool,
    /// The records it holds.
    pub records: Vec<u64>,
}

/// One cluster of the model.
#[derive(Clone, Debug)]
pub struct Site {
    /// What is there.
    pub truth: ClusterFacts,
    /// What the hub saw last.
    seen: ClusterFacts,
    /// Whether it can be talked to.
    pub link: Link,
    /// The images of the storage.
    pub images: BTreeMap<ClaimKey, Image>,
    /// Claims that were touched since they were made.
    nudged: BTreeSet<ClaimKey>,
    /// Replications that are switched off when they are deleted; others are only let go.
    disable: BTreeSet<ClaimKey>,
    /// Rebuilds that have begun, with the request they were asked for by.
    rebuilt: BTreeMap<ClaimKey, ResyncRequest>,
}

/// The world of one placement.
#[derive(Clone, Debug)]
pub struct Model {
    /// Now.
    pub now: Timestamp,
    /// The policy.
    pub policy: Policy,
    /// The user's wish.
    pub intent: Intent,
    /// What the hub remembers.
    pub journal: Journal,
    /// The clusters.
    pub sites: BTreeMap<ClusterId, Site>,
    /// The newest capture.
    pub capture: Option<CaptureFacts>,
    /// What the source looked like when the hub took it; lost with the hub.
    compared: Option<CaptureFacts>,
    /// Whether the placement was let go.
    pub finished: bool,
    next_record: u64,
}

impl Model {
    /// The application runs unprotected on `a`; `b` and `c` are empty.
    pub fn new() -> Self {
        let mut sites: BTreeMap<ClusterId, Site> = ["a", "b", "c"]
            .map(|n| (id(n), Site::new(empty_cluster())))
            .into();
        if let Some(a) = sites.get_mut(&id("a")) {
            for key in claims() {
                let volume = volume(&key, &Mark::Unmarked, ClaimPhase::Bound);
                a.truth.volumes.insert(key.clone(), volume);
                let image = Image {
                    primary: true,
                    records: Vec::new(),
                };
                a.images.insert(key, image);
            }
            a.truth
                .workloads
                .insert(workload(), running(&Mark::Unmarked, 2));
        }
        let mut model = Self {
            now: beginning(),
            policy: policy(),
            intent: intent(request("a", None, None)),
            journal: Journal::default(),
            sites,
            capture: None,
            compared: None,
            finished: false,
            next_record: 0,
        };
        model.tick();
        model
    }

    /// What the hub sees now.
    pub fn observe(&mut self) -> Observed {
        let mut clusters = BTreeMap::new();
        let known = self.journal.clusters();
        let looked_at = |id: &ClusterId| self.policy.clusters.contains(id) || known.contains(id);
        for (id, site) in self.sites.iter_mut().filter(|(id, _)| looked_at(id)) {
            if site.link == Link::Up {
                site.seen = site.truth.clone();
                site.seen.contact = Contact::Fresh;
            } else if site.seen.contact.is_fresh() {
                // Told when it is certain: shorter silences are tests of their own.
                site.seen.contact = Contact::Stale {
                    since: self.now - SignedDuration::from_mins(1),
                    why: "no route".into(),
                };
            }
            clusters.insert(id.clone(), site.seen.clone());
        }
        let compared = self.compared.clone();
        let like = self.capture.as_ref().and_then(|c| {
            let seen = clusters.get(&c.source)?;
            Some(act::capture_of(seen, c))
        });
        let current = compared.is_some() && compared == self.capture && like == self.capture;
        Observed {
            clusters,
            archive: ArchiveFacts {
                newest: self.capture.clone(),
                broken: Vec::new(),
                unreadable: None,
                current: if current { Current::Yes } else { Current::No },
            },
        }
    }

    /// Makes the next plan.
    pub fn plan(&mut self) -> (Observed, Plan) {
        let observed = self.observe();
        let plan = plan(
            self.now,
            &self.policy,
            &self.intent,
            &observed,
            &self.journal,
        );
        (observed, plan)
    }

    /// Does what a plan says; `cut` ends the list of steps early, as a lost answer would, and `times` repeats each step.
    pub fn follow(&mut self, plan: &Plan, cut: Option<usize>, times: usize) {
        if let Some(journal) = &plan.journal {
            self.journal = journal.clone();
            return;
        }
        for steps in [&plan.steps, &plan.aside] {
            for step in steps.iter().take(cut.unwrap_or(usize::MAX)) {
                for _ in 1..times {
                    self.act(step);
                }
                if self.act(step) != Outcome::Done {
                    break;
                }
            }
        }
    }

    /// The hub loses its memory.
    pub fn lose_hub(&mut self) {
        self.journal = Journal::default();
        self.compared = None;
    }

    /// Changes how a cluster can be talked to.
    pub fn link(&mut self, name: &str, link: Link) {
        if let Some(site) = self.sites.get_mut(&id(name)) {
            site.link = link;
        }
    }

    /// The records that the owner's images hold, if they all hold the same.
    pub fn records(&self, name: &str) -> Vec<u64> {
        let images = self.sites.get(&id(name)).map(|s| &s.images);
        images
            .and_then(|i| i.values().next())
            .map(|i| i.records.clone())
            .unwrap_or_default()
    }

    /// What is there, without what changes by itself.
    pub fn shape(&self) -> Vec<ClusterFacts> {
        let still = |site: &Site| {
            let mut facts = site.truth.clone();
            for volume in facts.volumes.values_mut() {
                if let Some(r) = &mut volume.replication {
                    r.last_sync = None;
                }
            }
            facts
        };
        self.sites.values().map(still).collect()
    }

    /// Does one step on the world.
    pub fn act(&mut self, step: &Step) -> Outcome {
        act::act(self, step)
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    fn new(facts: ClusterFacts) -> Self {
        Self {
            seen: facts.clone(),
            truth: facts,
            link: Link::Up,
            images: BTreeMap::new(),
            nudged: BTreeSet::new(),
            disable: BTreeSet::new(),
            rebuilt: BTreeMap::new(),
        }
    }
}
