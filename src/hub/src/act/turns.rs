//! Turns on a cluster: how many steps may be under way there, and who is next.
//!
//! A cluster whose writes hang must not take up every placement's time, so only so many steps are under way on one.
//! Whoever finds none waits in line and is woken when a turn is given back: nobody asks again and again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::ClusterId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::resolve::PlacementKey;

/// How many steps may be under way on one cluster.
const TURNS: usize = 16;

/// Wakes a placement that has waited.
pub type WakePlacement = Arc<dyn Fn(PlacementKey) + Send + Sync>;

/// The turns on all clusters. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns {
    lines: Arc<Mutex<BTreeMap<ClusterId, Line>>>,
    wake: WakePlacement,
}

/// One cluster's turns.
#[derive(Default)]
struct Line {
    taken: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    key: PlacementKey,
    since: Instant,
    /// Was woken for a turn and has not come yet. It keeps its place, but nobody waits for it: it may want none any more.
    called: bool,
}

/// A turn on a cluster, given back when it is dropped.
pub struct Turn {
    turns: Turns,
    cluster: ClusterId,
}

/// There is no turn now; whoever asked is in line.
#[derive(Debug)]
pub struct Crowded {
    /// Where, and why.
    pub why: String,
    /// For how long this placement has waited.
    pub waited: Duration,
}

impl Turns {
    pub(crate) fn new(wake: WakePlacement) -> Self {
        Self {
            lines: Arc::default(),
            wake,
        }
    }

    /// A turn on `cluster` for the placement, which leaves the line with it; or a place in line.
    pub(crate) fn take(&self, cluster: &ClusterId, key: &PlacementKey) -> Result<Turn, Crowded> {
        let mut lines = self.lines.lock();
        let line = lines.entry(cluster.clone()).or_default();
        if line.taken < TURNS {
            line.taken += 1;
            line.waiting.retain(|w| w.key != *key);
            return Ok(Turn {
                turns: self.clone(),
                cluster: cluster.clone(),
            });
        }
        let now = Instant::now();
        let since = if let Some(known) = line.waiting.iter_mut().find(|w| w.key == *key) {
            known.called = false;
            known.since
        } else {
            line.waiting.push_back(Waiting {
                key: key.clone(),
                since: now,
                called: false,
            });
            now
        };
        Err(Crowded {
            why: format!("waits for its turn on {cluster}: {TURNS} steps are under way there"),
            waited: now.duration_since(since),
        })
    }

    /// Wakes the next in line, one for each turn that is free.
    fn give_back(&self, cluster: &ClusterId) {
        let next = self.lines.lock().get_mut(cluster).map(Line::give_back);
        for key in next.into_iter().flatten() {
            (self.wake)(key);
        }
    }
}

impl Line {
    fn give_back(&mut self) -> Vec<PlacementKey> {
        self.taken = self.taken.saturating_sub(1);
        if self.taken == 0 {
            self.waiting.retain(|w| !w.called);
        }
        let free = TURNS.saturating_sub(self.taken);
        let next = self.waiting.iter_mut().filter(|w| !w.called).take(free);
        next.map(|w| {
            w.called = true;
            w.key.clone()
        })
        .collect()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.give_back(&self.cluster);
    }
}

#[cfg(test)]
mod tests;
