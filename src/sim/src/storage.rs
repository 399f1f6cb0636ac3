//! Storage arrays that mirror each other by snapshots, as far as disaster recovery can tell them from real ones.
//!
//! Nothing runs in the background: whatever a snapshot would have shipped by now is computed when somebody looks, from
//! the time, the state of the links and the log of each image. So the arrays cost nothing while idle and a paused
//! clock moves them exactly.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

mod array;
mod copies;
mod error;
mod info;
mod log;
mod network;
mod roles;
mod state;
mod volume;

pub use array::Array;
pub use copies::Arrival;
pub use error::{StorageError, WriteError};
pub use info::{Health, PeerSync, SyncInfo};
pub(crate) use log::fnv;
pub use log::{Destroyed, Entry, Event, Loss, Record, RoleChange, Term};
pub use network::{Power, Reach};
pub use roles::{Promotion, Readiness, Resync};
pub use volume::Role;

use state::State;

/// Who tells the time to the simulated world.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How the handle of one image reads on different sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handles {
    /// The same handle everywhere.
    Shared,
    /// `<site>-<name>`: the driver has to translate.
    PerSite,
}

/// What a fabric is built from.
#[derive(Debug, Clone)]
pub struct FabricSpec {
    /// One array each.
    pub sites: Vec<String>,
    /// How handles read on each site.
    pub handles: Handles,
    /// Time from one mirror snapshot to the next.
    pub interval: Duration,
    /// Time a snapshot takes to its peer.
    pub transfer: Duration,
    /// Time a whole image takes to its peer.
    pub full_copy: Duration,
}

impl FabricSpec {
    /// Arrays at these sites, with shared handles, a snapshot each second, 200 ms on the way and 3 s for a whole image.
    pub fn new<S: Into<String>>(sites: impl IntoIterator<Item = S>) -> Self {
        Self {
            sites: sites.into_iter().map(Into::into).collect(),
            handles: Handles::Shared,
            interval: Duration::from_secs(1),
            transfer: Duration::from_millis(200),
            full_copy: Duration::from_secs(3),
        }
    }
}

/// All arrays of the world and the replication network between them.
pub struct Fabric {
    now: Now,
    state: Mutex<State>,
    changed: watch::Sender<usize>,
}

impl Fabric {
    /// Arrays that are powered on and see each other.
    pub fn new(spec: FabricSpec, now: Now) -> Arc<Self> {
        let state = State::new(spec, now());
        Arc::new(Self {
            now,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        })
    }

    /// The array of a site.
    pub fn array(self: &Arc<Self>, site: &str) -> Result<Array, StorageError> {
        let known = self.state.lock().net.find(site);
        let id = known.ok_or_else(|| StorageError::NoSuchSite {
            site: site.to_owned(),
        })?;
        Ok(Array::new(Arc::clone(self), id, site.to_owned()))
    }

    /// How handles read on each site.
    pub fn handles(&self) -> Handles {
        self.state.lock().handles
    }

    /// Cuts the replication between two arrays: what is on the way is lost.
    pub fn cut(&self, one: &str, other: &str) -> Result<(), StorageError> {
        self.set_reach(one, other, Reach::Cut)
    }

    /// Mends the replication between two arrays.
    pub fn heal(&self, one: &str, other: &str) -> Result<(), StorageError> {
        self.set_reach(one, other, Reach::Up)
    }

    fn set_reach(&self, one: &str, other: &str, reach: Reach) -> Result<(), StorageError> {
        self.with(|s, now| {
            let (a, b) = (s.site(one)?, s.site(other)?);
            s.refresh_all(now);
            s.net.set_reach(a, b, reach, now);
            s.refresh_all(now);
            Ok(())
        })
    }

    /// Sets the time that a snapshot takes between two arrays.
    pub fn set_transfer(
        &self,
        one: &str,
        other: &str,
        transfer: Duration,
    ) -> Result<(), StorageError> {
        self.with(|s, now| {
            let (a, b) = (s.site(one)?, s.site(other)?);
            s.refresh_all(now);
            s.net.set_transfer(a, b, transfer);
            Ok(())
        })
    }

    /// Data that was really thrown away: a rebuild with nothing to rebuild from, or a deleted image.
    pub fn destroyed(&self) -> Vec<Destroyed> {
        self.state.lock().destroyed.clone()
    }

    /// Everything that happened to roles, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events_since(0)
    }

    /// What happened to roles after the first `seen` events.
    pub fn events_since(&self, seen: usize) -> Vec<Event> {
        self.state
            .lock()
            .events
            .get(seen..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Wakes with the number of events so far whenever there is another one.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.changed.subscribe()
    }

    /// The content that an application would find now: that of the newest primary, or, with none, of the newest copy.
    pub fn current(&self, volume: &str) -> Vec<Entry> {
        self.with(|s, now| s.current(volume, now))
    }

    /// Names of all images, whichever site has them.
    pub fn volumes(&self) -> Vec<String> {
        self.state.lock().volumes.keys().cloned().collect()
    }

    /// Sites that hold the primary role for an image; more than one is a split brain.
    pub fn primaries(&self, volume: &str) -> Vec<String> {
        self.with(|s, now| s.primaries(volume, now))
    }

    /// What the clock of the fabric shows.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Looks at the state as of now and tells the watchers of new events afterwards.
    fn with<R>(&self, look: impl FnOnce(&mut State, Timestamp) -> R) -> R {
        let now = (self.now)();
        let (out, events) = {
            let mut state = self.state.lock();
            let out = look(&mut state, now);
            (out, state.events.len())
        };
        self.changed
            .send_if_modified(|n| std::mem::replace(n, events) != events);
        out
    }
}

impl std::fmt::Debug for Fabric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fabric").finish_non_exhaustive()
    }
}
