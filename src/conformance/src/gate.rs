//! Lets a paused clock run beside a real API server: time stands still while an answer or the event of a write is on its
//! way, and passes at once when there is nothing to wait for. So a row that takes an hour by the agent's clock takes
//! seconds, and its figures are the same on both servers.
//!
//! Tokio moves a paused clock to the next timer whenever all tasks wait, unless a blocking task is running. This is that
//! blocking task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::wire::Who;

/// How long after an answer time stands still: whoever waited for it asks the next thing.
pub(crate) const ANSWERED: Duration = Duration::from_millis(1);
/// The same after a deletion, whose event carries a version that the answer did not tell.
pub(crate) const DELETED: Duration = Duration::from_millis(60);
/// An event that is not there by then does not come: a selector does not match it.
const LOST: Duration = Duration::from_secs(3);

/// Holds the clock of one runtime.
pub(crate) struct Gate {
    state: Mutex<State>,
    signal: Condvar,
    /// Counts what may have changed something.
    changes: watch::Sender<u64>,
    /// Whether the clock of the runtime is paused at all.
    paused: bool,
}

struct State {
    in_flight: usize,
    quiet_at: Instant,
    held: bool,
    /// The newest version written of each kind, and when.
    written: BTreeMap<String, (u64, Instant)>,
    /// Each open watch: its kind and the newest version it has delivered.
    watches: BTreeMap<u64, (String, u64)>,
    next_watch: u64,
}

impl State {
    /// How long to stand still from now on; nothing if time may pass.
    fn busy(&self, now: Instant) -> Option<Duration> {
        if self.in_flight > 0 {
            return Some(Duration::from_millis(50));
        }
        let behind = self.watches.values().any(|(kind, delivered)| {
            self.written.get(kind).is_some_and(|(version, at)| {
                version > delivered && now.saturating_duration_since(*at) < LOST
            })
        });
        if behind {
            return Some(Duration::from_millis(50));
        }
        let left = self.quiet_at.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real server answers in real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// A request under way.
pub(crate) struct InFlight {
    gate: Arc<Gate>,
    /// Whether its end may be what somebody waits for.
    news: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.in_flight -= 1;
        state.quiet_at = state.quiet_at.max(now() + ANSWERED);
        self.gate.signal.notify_all();
        drop(state);
        if self.news {
            self.gate.nudge();
        }
    }
}

/// An open watch.
pub(crate) struct Watching {
    gate: Arc<Gate>,
    id: u64,
}

impl Watching {
    /// It has handed on an event of this version.
    pub(crate) fn delivered(&self, version: u64) {
        self.gate.change(|state| {
            if let Some((_, delivered)) = state.watches.get_mut(&self.id) {
                *delivered = version.max(*delivered);
            }
        });
        self.gate.stand(ANSWERED);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.gate.change(|state| {
            state.watches.remove(&self.id);
        });
    }
}

impl Gate {
    pub(crate) fn new(paused: bool) -> Arc<Self> {
        let state = State {
            in_flight: 0,
            quiet_at: now(),
            held: false,
            written: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            signal: Condvar::new(),
            changes: watch::Sender::new(0),
            paused,
        })
    }

    fn change(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.state.lock());
        self.signal.notify_all();
        self.changes.send_modify(|n| *n += 1);
    }

    /// Something was answered or delivered, or a driver was called.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whoever waits for a change looks again.
    pub(crate) fn nudge(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Time stands still until the answer is there. Of the test's own requests nobody waits for news.
    pub(crate) fn begin(self: &Arc<Self>, who: Who) -> InFlight {
        self.state.lock().in_flight += 1;
        self.hold();
        InFlight {
            gate: self.clone(),
            news: who == Who::Agent,
        }
    }

    /// Time stands still for this long, by a clock on the wall.
    pub(crate) fn stand(self: &Arc<Self>, time: Duration) {
        let until = now() + time;
        let mut state = self.state.lock();
        state.quiet_at = state.quiet_at.max(until);
        drop(state);
        self.hold();
    }

    /// An object of this kind was written: its event is awaited.
    pub(crate) fn wrote(self: &Arc<Self>, kind: &str, version: u64) {
        let mut state = self.state.lock();
        let at = now();
        let known = state.written.entry(kind.to_owned()).or_insert((0, at));
        if version > known.0 {
            *known = (version, at);
        }
        drop(state);
        self.hold();
    }

    /// A watch was opened at a version.
    pub(crate) fn watching(self: &Arc<Self>, kind: &str, version: u64) -> Watching {
        let mut state = self.state.lock();
        let id = state.next_watch;
        state.next_watch += 1;
        state.watches.insert(id, (kind.to_owned(), version));
        Watching {
            gate: self.clone(),
            id,
        }
    }

    fn hold(self: &Arc<Self>) {
        if !self.paused {
            return;
        }
        let mut state = self.state.lock();
        if state.held {
            return;
        }
        state.held = true;
        drop(state);
        let me = self.clone();
        drop(tokio::task::spawn_blocking(move || me.wait()));
    }

    fn wait(&self) {
        let mut state = self.state.lock();
        while let Some(time) = state.busy(now()) {
            self.signal.wait_for(&mut state, time);
        }
        state.held = false;
    }
}
