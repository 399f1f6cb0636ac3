//! The record of what the driver was asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use tonic::Code;

/// A replication call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rpc {
    /// `EnableVolumeReplication`.
    Enable,
    /// `DisableVolumeReplication`.
    Disable,
    /// `PromoteVolume`.
    Promote,
    /// `DemoteVolume`.
    Demote,
    /// `ResyncVolume`.
    Resync,
    /// `GetVolumeReplicationInfo`.
    Info,
    /// `GetReplicationDestinationInfo`.
    Destination,
    /// `GetCopyState`.
    CopyState,
    /// `GetDivergence`.
    Divergence,
    /// `KeepCopy`.
    Keep,
    /// `DropCopy`.
    Drop,
}

/// The `force` field of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Force {
    /// False, or the call has no such field.
    No,
    /// True.
    Yes,
}

impl Force {
    pub(super) fn of(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}

/// One call as it came and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it came.
    pub at: Timestamp,
    /// What was called.
    pub rpc: Rpc,
    /// For which volume.
    pub handle: String,
    /// With force or without.
    pub force: Force,
    /// The answer's code; none while it is under way, `Cancelled` if the caller left first.
    pub code: Option<Code>,
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    /// Calls that somebody waits for, by volume.
    waiting: BTreeMap<String, usize>,
    overlaps: Vec<String>,
}

/// All calls, and whether any two overlapped.
#[derive(Default)]
pub(super) struct CallLog(Mutex<Inner>);

impl CallLog {
    /// Notes a call; the ticket notes its end, also when the caller leaves.
    pub(super) fn start(&self, at: Timestamp, rpc: Rpc, handle: &str, force: Force) -> Ticket<'_> {
        let mut inner = self.0.lock();
        let waiting = inner.waiting.entry(handle.to_owned()).or_default();
        *waiting += 1;
        if *waiting > 1 {
            inner.overlaps.push(handle.to_owned());
        }
        inner.calls.push(Call {
            at,
            rpc,
            handle: handle.to_owned(),
            force,
            code: None,
        });
        let number = inner.calls.len() - 1;
        Ticket {
            log: self,
            number,
            handle: handle.to_owned(),
            code: Code::Cancelled,
        }
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    pub(super) fn overlaps(&self) -> Vec<String> {
        self.0.lock().overlaps.clone()
    }
}

/// A call under way.
pub(super) struct Ticket<'l> {
    log: &'l CallLog,
    number: usize,
    handle: String,
    code: Code,
}

impl Ticket<'_> {
    pub(super) fn finish(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut inner = self.log.0.lock();
        if let Some(waiting) = inner.waiting.get_mut(&self.handle) {
            *waiting -= 1;
            if *waiting == 0 {
                inner.waiting.remove(&self.handle);
            }
        }
        if let Some(call) = inner.calls.get_mut(self.number) {
            call.code = Some(self.code);
        }
    }
}
