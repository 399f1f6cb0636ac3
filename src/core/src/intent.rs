//! What the user asked for, and the policy that applies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::ClusterId;

/// How to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MoveKind {
    /// Without loss, or not at all.
    Relocate,
    /// From the last synced copy; the loss was accepted.
    Failover,
}

impl MoveKind {
    /// The word users know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relocate => "Relocate",
            Self::Failover => "Failover",
        }
    }
}

/// The part of a DRPlacement that asks for a move. A request that was carried out is remembered whole, so that an
/// unchanged spec never asks twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `preferredCluster`.
    pub preferred: ClusterId,
    /// `action`, as it stands: absent is not the same as Relocate, or else the edit that takes a failover back could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<MoveKind>,
    /// `failoverCluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_cluster: Option<ClusterId>,
    /// `requestID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Request {
    /// What kind of move it asks for.
    pub fn kind(&self) -> MoveKind {
        self.action.unwrap_or(MoveKind::Relocate)
    }
    /// One line of text, the same for equal requests and no others. Kept in DROwnership.
    pub fn fingerprint(&self) -> String {
        let part = |t: Option<&str>| t.unwrap_or("-").replace('|', "||");
        format!(
            "{}|{}|{}|{}",
            part(Some(self.preferred.as_str())),
            part(self.action.map(MoveKind::as_str)),
            part(self.failover_cluster.as_ref().map(ClusterId::as_str)),
            part(self.id.as_deref())
        )
    }
}

/// Everything that the user decided about one placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// `namespace/name` of the DRPlacement.
    pub placement: String,
    /// The uid it is known by on the clusters and in the archive: its own, or the one it took over.
    pub uid: String,
    /// The uid that it is to be known by, as the DRPlacement says now. Absent: `uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// Whether that is the uid of an earlier DRPlacement, on the word of a person.
    #[serde(default)]
    pub identity: Identity,
    /// What is asked for.
    pub request: Request,
    /// Whether the placement is to move workloads.
    pub workloads: Workloads,
    /// What the user has said may go wrong.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<Risk>,
    /// Whether the DRPlacement is being deleted.
    pub life: Life,
}

/// What may go wrong in a failover, and keeps it waiting until a person accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Risk {
    /// The driver cannot say whether the copy is complete. Promoted by force in the middle of being brought up to date, a copy may
    /// silently be older than the last one that was complete, or empty.
    UnverifiedCopy,
}

impl Risk {
    /// The word users know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnverifiedCopy => "UnverifiedCopy",
        }
    }
}

/// Whose uid a placement is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Its own.
    #[default]
    Own,
    /// That of an earlier DRPlacement: a person says that it is the same placement.
    TakenOver,
}

/// Whether the placement is to move workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workloads {
    /// Those that its selector matches.
    Selected,
    /// None: people stop and start them.
    None,
}

/// Whether the placement is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It is.
    Wanted,
    /// It is being deleted.
    Leaving,
}

/// The resolved policy of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its clusters, best first.
    pub clusters: Vec<ClusterId>,
    /// Age in seconds that a copy should not exceed.
    pub rpo_seconds: i64,
    /// StorageClass (home name) to VolumeReplicationClass.
    pub classes: BTreeMap<String, String>,
    /// Whether failovers are allowed at all.
    pub failover: Failovers,
    /// How many seconds an independent copy of a former primary is kept whose data is thrown away; absent: none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage_seconds: Option<i64>,
}

/// Whether failovers are allowed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failovers {
    /// A person may ask for one.
    Allowed,
    /// `mode: Disabled`.
    Disabled,
}
