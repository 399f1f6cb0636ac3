//! What all parts of a running agent share.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client};
use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_kit::events::Recorder;
use lifeboat_kit::hash::fnv;
use lifeboat_kit::{SharedClock, WorkQueue};
use parking_lot::Mutex;

use crate::cache::{Caches, Work};
use crate::config::Config;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::secrets::SecretReader;
use crate::tries::Tries;
use crate::view::{Key, Memory};

/// What all parts of a running agent share.
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) clock: SharedClock,
    pub(crate) caches: Caches,
    pub(crate) queue: WorkQueue<Work>,
    pub(crate) fleet: Fleet,
    pub(crate) secrets: SecretReader,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    /// uid of the cluster; not known until it was read.
    pub(crate) cluster_uid: OnceLock<String>,
    pub(crate) memories: Mutex<BTreeMap<Key, Memory>>,
    pub(crate) tries: Mutex<BTreeMap<Work, Tries>>,
}

impl Agent {
    pub(crate) fn volumes(&self, namespace: &str) -> Api<VolumeReplication> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn claims(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn ownerships(&self, namespace: &str) -> Api<DROwnership> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn wake(&self, work: impl IntoIterator<Item = Work>) {
        work.into_iter().for_each(|key| self.queue.wake(key));
    }

    /// What is remembered of a volume. Another fingerprint starts afresh, but for a status that is owed.
    pub(crate) fn memory(&self, key: &Key, fingerprint: u64) -> Memory {
        let mut all = self.memories.lock();
        let memory = all.entry(key.clone()).or_default();
        if memory.fingerprint != fingerprint {
            *memory = Memory {
                fingerprint,
                unwritten: memory.unwritten.take(),
                ..Memory::default()
            };
        }
        memory.clone()
    }

    /// What is remembered of a volume that another agent serves does not bear on it any more, nor is a status owed.
    pub(crate) fn leave(&self, key: &Key) {
        self.memories.lock().remove(key);
    }

    pub(crate) fn remember(&self, key: &Key, memory: Memory) {
        self.memories.lock().insert(key.clone(), memory);
    }

    /// A forced resync was answered, whatever the answer.
    pub(crate) fn answered(&self, key: &Key, request: (i64, u32)) {
        if let Some(memory) = self.memories.lock().get_mut(key) {
            memory.answered = Some(request);
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.memories.lock().remove(key);
        self.queue.forget(&Work::Volume(key.clone()));
    }

    /// Takes what our own write returned, and wakes whoever waits for it.
    pub(crate) fn wrote_volume(&self, volume: VolumeReplication) {
        self.wake(self.caches.wrote_volume(volume));
    }

    /// How calls for a group or fence went. Another fingerprint starts afresh.
    pub(crate) fn tries(&self, work: &Work, fingerprint: u64) -> Tries {
        let all = self.tries.lock();
        let known = all
            .get(work)
            .filter(|tries| tries.fingerprint == fingerprint);
        known.cloned().unwrap_or_else(|| Tries::new(fingerprint))
    }

    /// Notes a failed call for a group or fence; answers how long to wait before the next.
    pub(crate) fn failed(&self, work: &Work, tries: &Tries) -> Duration {
        let (next, wait) = tries.after_failure(self.clock.now(), fnv(&format!("{work:?}")));
        self.tries.lock().insert(work.clone(), next);
        wait
    }

    /// A group or fence is gone, or its call succeeded.
    pub(crate) fn settled(&self, work: &Work) {
        self.tries.lock().remove(work);
    }
}
