//! What must survive a restart of the hub: kept in the status of the DRPlacement, written by compare-and-swap.
//!
//! ```text
//!  Undecided ──► Steady ──► Relocating ──► Promoting ──► Starting ──► CleaningUp ──► Steady
//!                  │  ▲         │      commit  ▲
//!                  │  └─Cancelling             │
//!                  └───────────────────────────┘ failover: commit
//!  any ──► Removing ──► gone
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClaimKey, ClusterId, Epoch};
use crate::intent::{MoveKind, Request};

/// What must survive a restart of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Journal {
    /// The uid that the placement is known by on the clusters and in the archive. Absent: the DRPlacement's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The cluster that may write the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClusterId>,
    /// Since which epoch.
    #[serde(default)]
    pub epoch: Epoch,
    /// Where the placement is in its life.
    #[serde(default)]
    pub phase: Phase,
    /// The request that was carried out last, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Request>,
    /// The moves, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<MoveRecord>,
    /// Last sync of each volume as last seen on a primary: what a failover would lose must be known after the loss.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub synced: BTreeMap<ClaimKey, Synced>,
    /// Since when the present owner's copies count as protection: a sync before that is of an earlier owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_since: Option<Timestamp>,
    /// The clusters whose copies are being taken anew: the time in the phase is of the last request. Taken out once every copy
    /// there is proven.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resyncs: BTreeMap<ClusterId, Anew>,
    /// Up to which request of this epoch copies are asked for, if a person has asked for more than the usual few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_limit: Option<u32>,
    /// Every cluster on which something of the placement was ever made, or was to be: it is looked for there until the
    /// placement ends, whatever the policy says by then.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reached: BTreeSet<ClusterId>,
    /// The highest capture version that was ever complete: an archive that shows less has lost something.
    #[serde(default)]
    pub capture: u64,
}

/// A last sync, and of which volume: a claim that was made anew has another one, of which there may be no copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SyncedForm")]
pub struct Synced {
    /// When the content of the copy was current.
    pub at: Timestamp,
    /// Handle of the volume on the cluster that told it. Absent: noted before handles were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
}

/// How a sync is or was written.
#[derive(Deserialize)]
#[serde(untagged)]
enum SyncedForm {
    At(Timestamp),
    Of {
        at: Timestamp,
        #[serde(default)]
        handle: Option<String>,
    },
}

impl From<SyncedForm> for Synced {
    fn from(form: SyncedForm) -> Self {
        match form {
            SyncedForm::At(at) => Self { at, handle: None },
            SyncedForm::Of { at, handle } => Self { at, handle },
        }
    }
}

/// The copies on one cluster that are being taken anew.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "AnewForm")]
pub struct Anew {
    /// The how manieth request of this epoch was the last.
    pub number: u32,
    /// The claims that it was made for: what is not to be seen of them there any more is still to be proven.
    pub claims: BTreeSet<ClaimKey>,
}

/// How that is or was written.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnewForm {
    Number(u32),
    Of {
        number: u32,
        claims: BTreeSet<ClaimKey>,
    },
}

impl From<AnewForm> for Anew {
    fn from(form: AnewForm) -> Self {
        let (number, claims) = match form {
            AnewForm::Number(number) => (number, BTreeSet::new()),
            AnewForm::Of { number, claims } => (number, claims),
        };
        Self { number, claims }
    }
}

/// Where a placement is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Nobody owns it yet.
    #[default]
    Undecided,
    /// It runs on its owner and is protected there.
    Steady,
    /// On its way to another cluster; the owner is still `from`, and everything can be taken back.
    Relocating {
        /// Where from.
        from: ClusterId,
        /// Where to.
        to: ClusterId,
        /// Without loss, or with the loss accepted while the source still answers.
        kind: MoveKind,
        /// How far.
        stage: Before,
    },
    /// Taking a relocation back.
    Cancelling {
        /// Where it stays.
        from: ClusterId,
        /// Where it does not go.
        to: ClusterId,
    },
    /// Committed: the owner is `to`; its volumes are made primary.
    Promoting {
        /// Where from.
        from: ClusterId,
        /// Where to.
        to: ClusterId,
        /// Why.
        kind: MoveKind,
    },
    /// Volumes are primary; the workload starts.
    Starting {
        /// Where from.
        from: ClusterId,
        /// Where to.
        to: ClusterId,
        /// Why.
        kind: MoveKind,
    },
    /// Runs on `to`; the old side is quarantined, brought back in step and cleaned up.
    CleaningUp {
        /// Where from.
        from: ClusterId,
        /// Where to.
        to: ClusterId,
        /// Why.
        kind: MoveKind,
        /// When a resync of the old side was asked for; only after a failover.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resync: Option<Timestamp>,
    },
    /// Protection is being taken away.
    Removing,
}

/// Stages of a move before its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Before {
    /// Volumes and claims are made ready on the target; the application still runs.
    Prepare,
    /// The workload is stopped.
    Quiesce,
    /// The volumes are demoted and drained.
    Demote,
}

impl Phase {
    /// The word users see.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Undecided => "Undecided",
            Self::Steady => "Steady",
            Self::Relocating { .. } => "Relocating",
            Self::Cancelling { .. } => "Cancelling",
            Self::Promoting { .. } => "Promoting",
            Self::Starting { .. } => "Starting",
            Self::CleaningUp { .. } => "CleaningUp",
            Self::Removing => "Removing",
        }
    }
}

/// A move, with its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// Why.
    pub kind: MoveKind,
    /// Where from.
    pub from: ClusterId,
    /// Where to.
    pub to: ClusterId,
    /// The epoch it led to, once committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// When it began.
    pub started: Timestamp,
    /// When the application ran on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Timestamp>,
    /// When the old side was clean, or the move was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Seconds between the oldest sync and the decision, for a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_seconds: Option<i64>,
    /// Whether it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancelled>,
    /// Name and beginning of each step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<(String, Timestamp)>,
}

/// Marks a move that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cancelled {
    /// Before its commit.
    BeforeCommit,
}

/// How many moves are remembered.
pub const MOVES_KEPT: usize = 10;

impl Journal {
    /// The clusters on which something of the placement may be, as far as is remembered.
    pub fn clusters(&self) -> BTreeSet<ClusterId> {
        let phase = match &self.phase {
            Phase::Undecided | Phase::Steady | Phase::Removing => Vec::new(),
            Phase::Relocating { from, to, .. }
            | Phase::Cancelling { from, to }
            | Phase::Promoting { from, to, .. }
            | Phase::Starting { from, to, .. }
            | Phase::CleaningUp { from, to, .. } => vec![from, to],
        };
        // A journal of before tells only by its moves where the placement was.
        let moves = self.moves.iter().flat_map(|m| [&m.from, &m.to]);
        let all = self.reached.iter().chain(&self.owner).chain(phase);
        all.chain(moves).cloned().collect()
    }
    /// Notes a new move.
    pub fn begin(&mut self, kind: MoveKind, from: &ClusterId, to: &ClusterId, now: Timestamp) {
        let (from, to) = (from.clone(), to.clone());
        let record = MoveRecord {
            kind,
            from,
            to,
            epoch: None,
            started: now,
            available: None,
            ended: None,
            loss_seconds: None,
            cancelled: None,
            steps: Vec::new(),
        };
        self.moves.insert(0, record);
        self.moves.truncate(MOVES_KEPT);
    }
    /// Notes that a step of the present move begins.
    pub fn step(&mut self, name: &str, now: Timestamp) {
        if let Some(record) = self.moves.first_mut() {
            record.steps.push((name.to_owned(), now));
        }
    }
    /// The move that led to the present epoch; none: it was not a move, or this hub does not remember it.
    pub fn arrival(&self) -> Option<&MoveRecord> {
        self.moves.iter().find(|m| m.epoch == Some(self.epoch))
    }
    /// The same, to complete it.
    pub fn arrival_mut(&mut self) -> Option<&mut MoveRecord> {
        let epoch = self.epoch;
        self.moves.iter_mut().find(|m| m.epoch == Some(epoch))
    }
    /// Hands the placement over: the one place where the owner changes.
    pub fn commit(&mut self, owner: ClusterId) {
        // The owner's volumes are what copies are taken of. Copies that were thrown away elsewhere are still none.
        self.resyncs.remove(&owner);
        for anew in self.resyncs.values_mut() {
            anew.number = 0;
        }
        self.owner = Some(owner);
        self.epoch = self.epoch.next();
        self.resync_limit = None;
        let epoch = self.epoch;
        if let Some(record) = self.moves.first_mut() {
            record.epoch = Some(epoch);
        }
    }
}
