//! What the reconcile loops share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::core::DynamicObject;
use lifeboat_api::{DRCluster, DRPlacement, DRPolicy};
use lifeboat_core::{Blocker, ClusterId, Observed, Step};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::lease::Held;
use lifeboat_kit::{SharedClock, WorkQueue};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::act::{Executor, Members, Written};
use crate::archive_view::ArchiveView;
use crate::config::{Config, Leadership};
use crate::fleet::{Fleet, Wake};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::news::Desk;
use crate::pace::Pace;
use crate::resolve::PlacementKey;
use crate::store::Store;

/// What wants to be looked at.
#[derive(Clone, Default)]
pub(crate) struct Queues {
    pub(crate) placements: WorkQueue<PlacementKey>,
    pub(crate) clusters: WorkQueue<String>,
    pub(crate) policies: WorkQueue<String>,
}

/// The hub's own objects.
pub(crate) struct Stores {
    pub(crate) placements: Store<PlacementKey, DRPlacement>,
    pub(crate) policies: Store<String, DRPolicy>,
    pub(crate) clusters: Store<String, DRCluster>,
    pub(crate) secrets: Store<String, Secret>,
}

/// What the reconcile loops share.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) hub: kube::Client,
    pub(crate) clock: SharedClock,
    pub(crate) fleet: Fleet,
    pub(crate) executor: Executor,
    pub(crate) captures: Arc<ArchiveView>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) queues: Queues,
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Metrics,
    pub(crate) news: Desk,
    pub(crate) held: watch::Receiver<Held>,
    pub(crate) stuck: Mutex<BTreeMap<PlacementKey, Stuck>>,
    pub(crate) repeats: Mutex<BTreeMap<PlacementKey, Repeat>>,
    pub(crate) pace: Pace,
    /// The uid that each cluster had with its present credentials.
    pub(crate) identities: Mutex<BTreeMap<String, (Vec<u8>, String)>>,
}

/// A placement whose step was not done.
#[derive(Clone)]
pub(crate) struct Stuck {
    pub(crate) steps: Vec<Step>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) failures: u32,
    pub(crate) until: Instant,
    pub(crate) blocker: Blocker,
}

/// What was done last for a placement, and how often in a row.
pub(crate) struct Repeat {
    pub(crate) steps: Vec<Step>,
    pub(crate) times: u32,
    pub(crate) at: Instant,
}

impl Context {
    /// Whether this process is the one that acts.
    pub(crate) fn acts(&self) -> bool {
        match self.config.leadership {
            Leadership::Alone => true,
            Leadership::Lease => self.held.borrow().is_yes(),
        }
    }

    /// Whether there is a DRCluster of that name.
    pub(crate) fn is_registered(&self, cluster: &ClusterId) -> bool {
        self.stores.clusters.get(&cluster.to_string()).is_some()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Forgets a placement that is gone.
    pub(crate) fn forget(&self, key: &PlacementKey) {
        self.index.remove(key);
        self.metrics.forget(key);
        self.stuck.lock().remove(key);
        self.repeats.lock().remove(key);
        self.pace.forget(key);
        self.queues.placements.forget(key);
    }

    /// Tells news about an object; if nobody has time to write it down, it is lost and counted.
    pub(crate) fn tell(&self, about: ObjectReference, kind: EventKind, reason: &str, note: &str) {
        let news = News {
            kind,
            reason: known_word(reason),
            action: "Reconcile",
            note: note.to_owned(),
        };
        self.news.tell(about, news);
    }
}

/// Wakes whom a change concerns.
pub(crate) fn wake(queues: &Queues, stores: &Stores, index: &Index, wake: &Wake) {
    for key in index.concerned(wake) {
        queues.placements.wake(key);
    }
    if let Wake::Cluster(cluster) = wake {
        queues.clusters.wake(cluster.to_string());
        for policy in stores
            .policies
            .keys(|p| p.spec.clusters.iter().any(|c| c == cluster.as_str()))
        {
            queues.policies.wake(policy);
        }
    }
}

/// Wakes each of the keys.
pub(crate) fn wake_each<K: Ord + Clone>(queue: &WorkQueue<K>, keys: Vec<K>) {
    for key in keys {
        queue.wake(key);
    }
}

/// Events carry words that live as long as the program. The planner has few of them, so each is kept once.
fn known_word(word: &str) -> &'static str {
    static WORDS: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());
    const MOST: usize = 256;
    let mut words = WORDS.lock();
    if let Some(known) = words.get(word) {
        return known;
    }
    if words.len() >= MOST {
        return "Report";
    }
    let kept: &'static str = Box::leak(word.to_owned().into_boxed_str());
    words.insert(word.to_owned(), kept);
    kept
}

impl Members for Fleet {
    fn client(&self, cluster: &ClusterId) -> Option<kube::Client> {
        Self::client(self, cluster)
    }

    fn uid(&self, cluster: &ClusterId) -> Option<String> {
        self.status(cluster)?.cluster_uid
    }

    fn written(&self, cluster: &ClusterId, what: Written) {
        match what {
            Written::Applied(object) => self.note(cluster, *object),
            // Shown as going until the watch tells that it is gone: an object that is not in the cache looks like one
            // that never was, and the watch must not be the first to bring it back.
            Written::Deleted(object) => self.note(cluster, going(*object)),
        }
    }
}

fn going(mut object: DynamicObject) -> DynamicObject {
    if object.metadata.deletion_timestamp.is_none() {
        object.metadata.deletion_timestamp =
            Some(lifeboat_api::common::to_time(Timestamp::UNIX_EPOCH));
    }
    object
}

/// The wait after the n-th failure of a step in a row.
pub(crate) fn step_backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(15);
    lifeboat_kit::retry::after(failures, FIRST, LONGEST)
}

/// The wait before the same steps are done again that were done n times in a row.
pub(crate) fn repeat_backoff(times: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(5);
    FIRST
        .saturating_mul(1 << times.saturating_sub(1).min(8))
        .min(LONGEST)
}
