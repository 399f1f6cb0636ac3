//! The keyed work queue that hub and agent reconcile from.
//!
//! Why our own: kube's scheduler picks pending work from a hash set, whose order differs from run to run, and its
//! controller knows no key but an object of one cluster. A simulated world needs the same order twice, and the hub
//! needs keys that name a cluster.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::hash::fnv;
use crate::retry;

/// First wait after a failure; doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(30);
/// How long work in flight may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Keys that want work, in the order they were woken. A key is never handed out twice at once; one that is woken while
/// it is being worked on is handed out again afterwards. Clones share one queue.
#[derive(Debug)]
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    queued: BTreeSet<K>,
    active: BTreeSet<K>,
    again: BTreeSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    due: BTreeMap<K, (Instant, u64)>,
    failures: BTreeMap<K, u32>,
    sequence: u64,
}

impl<K: Ord + Clone> State<K> {
    fn wake(&mut self, key: K) {
        if self.active.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn wake_at(&mut self, key: K, at: Instant) {
        if let Some(slot) = self.due.get(&key).copied() {
            if slot.0 <= at {
                return;
            }
            self.later.remove(&slot);
        }
        self.sequence += 1;
        let slot = (at, self.sequence);
        self.later.insert(slot, key.clone());
        self.due.insert(key, slot);
    }

    fn unschedule(&mut self, key: &K) {
        if let Some(slot) = self.due.remove(key) {
            self.later.remove(&slot);
        }
    }

    /// Moves what is due to the ready keys, in order of its time.
    fn ripen(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.wake(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.active.insert(key.clone());
        // Whoever works on it now sees everything there is to see, and says when to come back.
        self.unschedule(&key);
        Some(key)
    }
}

impl<K: Ord + Clone> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            active: BTreeSet::new(),
            again: BTreeSet::new(),
            later: BTreeMap::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            sequence: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Asks for work on `key` now.
    pub fn wake(&self, key: K) {
        self.shared.state.lock().wake(key);
        self.shared.changed.notify_one();
    }

    /// Asks for work on `key` after `delay`. Of several such wishes the earliest counts.
    pub fn wake_after(&self, key: K, delay: Duration) {
        self.shared
            .state
            .lock()
            .wake_at(key, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// The next key to work on. Call [`WorkQueue::done`] when the work is over.
    pub async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.shared.state.lock();
                state.ripen(Instant::now());
                if let Some(key) = state.take() {
                    // A second waiter may be asleep on an older alarm: let it look again.
                    if !state.ready.is_empty() || !state.later.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return key;
                }
                state.later.first_key_value().map(|(slot, _)| slot.0)
            };
            let changed = self.shared.changed.notified();
            match due {
                None => changed.await,
                Some(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Says that work on `key` is over. If it was woken meanwhile it is queued again.
    pub fn done(&self, key: &K) {
        let mut state = self.shared.state.lock();
        state.active.remove(key);
        if state.again.remove(key) {
            state.wake(key.clone());
            self.shared.changed.notify_one();
        }
    }

    /// Drops the wishes for `key` and its count of failures: the object is gone. Work in flight goes on, and if the key was woken
    /// during it, it comes once more: that may be for an object of the same name that was made since.
    pub fn forget(&self, key: &K) {
        let mut state = self.shared.state.lock();
        state.unschedule(key);
        state.failures.remove(key);
        if state.queued.remove(key) {
            state.ready.retain(|k| k != key);
        }
    }

    /// How many keys are ready or being worked on; those that wait for a time are not counted.
    pub fn len(&self) -> usize {
        let state = self.shared.state.lock();
        state.ready.len() + state.active.len()
    }

    /// Whether nothing is ready or being worked on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn finish(&self, key: &K, next: Next, seed: u64) {
        let delay = {
            let mut state = self.shared.state.lock();
            if next == Next::Failed {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                *failures += 1;
                Some(backoff(*failures, seed))
            } else {
                state.failures.remove(key);
                match next {
                    Next::Now => Some(Duration::ZERO),
                    Next::After(delay) => Some(delay),
                    Next::Wait | Next::Failed => None,
                }
            }
        };
        self.done(key);
        match delay {
            Some(Duration::ZERO) => self.wake(key.clone()),
            Some(delay) => self.wake_after(key.clone(), delay),
            None => {}
        }
    }
}

/// What to do with a key after work on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Wait,
    /// Work on it again after this long, or earlier if it is woken.
    After(Duration),
    /// Work on it again, after the others that wait.
    Now,
    /// It failed: work on it again with backoff, 200 ms doubling to 30 s, or earlier if it is woken.
    Failed,
}

/// The wait after the n-th failure in a row, less up to a fifth by `seed`, so that keys that failed together spread.
pub fn backoff(failures: u32, seed: u64) -> Duration {
    let full = retry::after(failures, FIRST, LONGEST);
    let fraction =
        (seed.wrapping_add(u64::from(failures).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32) % 200;
    full.mul_f64(1.0 - f64::from(u32::try_from(fraction).unwrap_or(0)) / 1000.0)
}

/// Works the queue with `f` on up to `concurrency` keys at once until cancelled, then lets what is in flight finish for
/// up to ten seconds. A panic in `f` counts as a failure of that key alone. Dropping this ends all work at once.
pub async fn run_queue<K, F, Fut>(
    queue: WorkQueue<K>,
    concurrency: usize,
    cancel: CancellationToken,
    f: F,
) where
    K: Ord + Clone + Debug + Send + Sync + 'static,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Next> + Send + 'static,
{
    let mut work = JoinSet::new();
    loop {
        let room = work.len() < concurrency.max(1);
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = work.join_next() => {}
            key = queue.next(), if room => {
                let queue = queue.clone();
                let future = f(key.clone());
                work.spawn(async move {
                    let next = AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_| {
                        error!(key = ?key, "work on a key panicked");
                        Next::Failed
                    });
                    queue.finish(&key, next, fnv(&format!("{key:?}")));
                });
            }
        }
    }
    let drained = async { while work.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        error!("work in flight did not finish in time and is dropped");
    }
}

#[cfg(test)]
mod tests;
