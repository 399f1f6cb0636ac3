//! What is told: the one source of conditions, events, metrics and the command line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::MoveKind;
use crate::observed::DivergedFacts;
use crate::wait::Blocker;

/// What is told about a placement.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// What is being done or waited for, in words.
    pub step: String,
    /// What stands in the way.
    pub blockers: Vec<Blocker>,
    /// The questions asked before a move.
    pub gates: Vec<GateReport>,
    /// The volumes.
    pub volumes: Vec<VolumeReport>,
    /// The conditions, every one of them each time.
    pub conditions: Vec<ConditionReport>,
    /// The oldest sync over all volumes; absent if one was never synced.
    pub last_sync: Option<Timestamp>,
    /// What former primaries held that never reached another cluster.
    #[serde(default)]
    pub diverged: Vec<DivergedReport>,
    /// What has just happened.
    pub events: Vec<EventReport>,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// The kind of move that it is asked for.
    pub action: MoveKind,
    /// The cluster that the move would go to, where the answer depends on that.
    pub target: Option<ClusterId>,
    /// A word for it.
    pub name: String,
    /// The answer.
    pub state: Tri,
    /// What was seen.
    pub message: String,
}

/// Yes, no, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tri {
    /// Yes.
    True,
    /// No.
    False,
    /// Not known; never shown as yes.
    Unknown,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Its claim.
    pub claim: ClaimKey,
    /// Its handle.
    pub handle: Option<String>,
    /// Primary, Secondary, Unknown or Unprotected.
    pub state: String,
    /// Last sync.
    pub last_sync: Option<Timestamp>,
    /// What is wrong with it.
    pub message: Option<String>,
}

/// What a former primary held that never reached another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DivergedReport {
    /// Where.
    pub cluster: ClusterId,
    /// What its agent has found out.
    pub facts: DivergedFacts,
}

/// The conditions of a DRPlacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionKind {
    /// The application can run on its owner.
    Available,
    /// Every volume has a copy and a complete capture is readable without the owner.
    Protected,
    /// Another cluster is fit to take over.
    PeerReady,
    /// A move is under way.
    Progressing,
    /// A failover could be made now.
    FailoverArmed,
    /// The spec can be followed.
    Accepted,
    /// Whoever promotes volumes checks first that the epoch is granted.
    Guarded,
}

impl ConditionKind {
    /// Its type, as in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Protected => "Protected",
            Self::PeerReady => "PeerReady",
            Self::Progressing => "Progressing",
            Self::FailoverArmed => "FailoverArmed",
            Self::Accepted => "Accepted",
            Self::Guarded => "Guarded",
        }
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionReport {
    /// Which.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Tri,
    /// A word for it.
    pub reason: String,
    /// In full.
    pub message: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// Whether a person should look.
    pub severity: Severity,
    /// A word for it.
    pub reason: String,
    /// In full.
    pub message: String,
}

/// Whether a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// No.
    Normal,
    /// Yes.
    Warning,
}
