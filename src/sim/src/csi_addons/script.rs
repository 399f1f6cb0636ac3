//! What goes wrong in a driver, said in advance.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::Code;

use super::Rpc;

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this code and text, and nothing is done.
    Refuse(Code, String),
    /// It is done, and the answer is lost: the caller sees `Unavailable`.
    LoseReply,
    /// It takes this much longer; it goes on when the caller leaves, and other calls for the volume find it busy.
    Delay(Duration),
    /// It does not come to an end before [`Script::release`]; then it is done after all.
    Hang,
}

impl Fault {
    /// A refusal with the code's own description.
    pub fn code(code: Code) -> Self {
        Self::Refuse(code, format!("scripted: {}", code.description()))
    }
}

/// Whose calls a fault is for: any volume, or one.
type Target = (Rpc, Option<String>);

#[derive(Default)]
struct Plans {
    once: BTreeMap<Target, VecDeque<Fault>>,
    always: BTreeMap<Target, Fault>,
}

/// The faults to come, for one driver.
pub struct Script {
    plans: Mutex<Plans>,
    ready: Mutex<Option<bool>>,
    released: watch::Sender<u64>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            plans: Mutex::default(),
            ready: Mutex::new(Some(true)),
            released: watch::Sender::new(0),
        }
    }
}

impl Script {
    /// The next call of this kind goes wrong, whichever its volume; several are used up in order.
    pub fn next(&self, rpc: Rpc, fault: Fault) {
        self.plan(rpc, None, fault);
    }

    /// The next call of this kind for this volume goes wrong.
    pub fn next_for(&self, rpc: Rpc, handle: &str, fault: Fault) {
        self.plan(rpc, Some(handle.to_owned()), fault);
    }

    fn plan(&self, rpc: Rpc, handle: Option<String>, fault: Fault) {
        self.plans
            .lock()
            .once
            .entry((rpc, handle))
            .or_default()
            .push_back(fault);
    }

    /// All calls of this kind go wrong until [`clear`](Self::clear).
    pub fn always(&self, rpc: Rpc, fault: Fault) {
        self.plans.lock().always.insert((rpc, None), fault);
    }

    /// All calls of this kind for this volume go wrong until [`clear`](Self::clear).
    pub fn always_for(&self, rpc: Rpc, handle: &str, fault: Fault) {
        self.plans
            .lock()
            .always
            .insert((rpc, Some(handle.to_owned())), fault);
    }

    /// Nothing goes wrong any more; calls that hang go on.
    pub fn clear(&self) {
        *self.plans.lock() = Plans::default();
        *self.ready.lock() = Some(true);
        self.release();
    }

    /// Calls that hang go on.
    pub fn release(&self) {
        self.released.send_modify(|n| *n += 1);
    }

    /// What `Probe` answers; `None` leaves the field out.
    pub fn probe(&self, ready: Option<bool>) {
        *self.ready.lock() = ready;
    }

    pub(super) fn ready(&self) -> Option<bool> {
        *self.ready.lock()
    }

    /// The fault for a call that came now.
    pub(super) fn take(&self, rpc: Rpc, handle: &str) -> Option<Fault> {
        let mut plans = self.plans.lock();
        let targets: [Target; 2] = [(rpc, Some(handle.to_owned())), (rpc, None)];
        let once = targets
            .iter()
            .find_map(|t| plans.once.get_mut(t).and_then(VecDeque::pop_front));
        once.or_else(|| targets.iter().find_map(|t| plans.always.get(t).cloned()))
    }

    /// Returns at the next release.
    pub(super) async fn released(&self) {
        let mut released = self.released.subscribe();
        drop(released.changed().await);
    }
}
