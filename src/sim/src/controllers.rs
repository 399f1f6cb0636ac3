//! What a cluster does besides its API server: the controllers and the one node that DR can tell are there.
//!
//! Namespaces get their default `ServiceAccount` and root CA; Deployments, `ReplicaSets` and `StatefulSets` make pods; claims
//! and volumes are bound, provisioned, released and reclaimed; pods are bound to `node-1`, run when their images are here
//! and primary, and go when they are deleted. One task per cluster: watches fill a cache, and whatever is dirty is
//! reconciled in the order of its kind and name, so that two runs are alike.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Client;
use parking_lot::Mutex;

use crate::{clock::SimClock, storage::Array, workload::Workload};

mod cache;
mod claims;
mod cluster;
mod deployments;
mod events;
mod feed;
mod kubelet;
mod namespaces;
mod node;
mod pods;
mod provision;
mod statefulsets;
mod volumes;

use cluster::Cluster;

/// The name of each cluster's only node.
pub const NODE: &str = "node-1";

/// Time until something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How pods take being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// They are gone at once.
    AtOnce,
    /// They go on for this long.
    After(Duration),
    /// They stay and go on.
    Never,
}

/// What the tests may change about a cluster while it runs.
#[derive(Debug, Default)]
pub struct Habits {
    /// By prefix of `namespace/name`.
    stopping: Mutex<BTreeMap<String, Stopping>>,
}

impl Habits {
    /// Pods whose `namespace/name` begins with `prefix` stop like this; it holds for deletions from now on.
    pub fn stop(&self, prefix: &str, how: Stopping) {
        self.stopping.lock().insert(prefix.to_owned(), how);
    }

    /// How a pod stops: what the longest prefix says, at once otherwise.
    pub fn stopping(&self, pod: &str) -> Stopping {
        let all = self.stopping.lock();
        let mut fits = all
            .iter()
            .filter(|(prefix, _)| pod.starts_with(prefix.as_str()));
        // Of the prefixes of one name, the last in order is the longest.
        fits.next_back().map_or(Stopping::AtOnce, |(_, how)| *how)
    }
}

/// What the controllers of a cluster work with.
#[derive(Clone)]
pub struct Surroundings {
    /// May do everything.
    pub client: Client,
    /// The cluster's time.
    pub clock: Arc<SimClock>,
    /// The array that its volumes are on.
    pub array: Array,
    /// The storage driver's name.
    pub driver: String,
    /// What its pods do to their volumes.
    pub workload: Arc<Workload>,
    /// How it behaves.
    pub habits: Arc<Habits>,
}

/// Runs a cluster's controllers and node until dropped. Dropped, everything stops where it is; run again, it starts
/// afresh from the objects that are there.
pub async fn run(with: Surroundings) {
    let heartbeat = node::run(with.client.clone(), Arc::clone(&with.clock));
    let changes = feed::start(&with.client);
    let controllers = Cluster::new(with).run(changes);
    tokio::select! {
        biased;
        () = heartbeat => {}
        () = controllers => {}
    }
}
