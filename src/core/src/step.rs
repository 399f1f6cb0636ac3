//! What the executor is told to do. A step names everything it needs; the executor chooses nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClaimKey, ClusterId, Epoch, WorkloadKey};
use crate::observed::Role;

/// One step, on one cluster, for all volumes or workloads at once and in parallel. Every step may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Writes DROwnership into every protected namespace of the cluster (making a missing namespace first).
    /// *Idempotent because* an apply of the same record changes nothing. *Undo*: none, an epoch never goes down.
    Record {
        /// Where.
        cluster: ClusterId,
        /// Who may write.
        owner: ClusterId,
        /// Since which epoch.
        epoch: Epoch,
        /// Whether promotion may be forced at this epoch.
        force: Force,
        /// Fingerprint of the request that led there.
        served: Option<String>,
    },
    /// Sets Retain on the volumes, remembers the earlier policy, and marks volume and claim as ours.
    Retain {
        /// Where.
        cluster: ClusterId,
        /// Claims and the names of their volumes.
        claims: BTreeMap<ClaimKey, String>,
    },
    /// Writes a VolumeReplication for each claim. *Undo*: the opposite role, before a commit only.
    Replicate {
        /// Where.
        cluster: ClusterId,
        /// Claims and their VolumeReplicationClass.
        claims: BTreeMap<ClaimKey, String>,
        /// The role to ask for.
        role: Role,
        /// The epoch to stamp.
        epoch: Epoch,
    },
    /// Asks for copies to be thrown away and taken anew from the owner; the agent carries an order out once, and not after
    /// `until`. *Idempotent because* an order that was carried out is not carried out again. *Undo*: `Replicate` as
    /// secondary, as long as no agent has carried it out. *If interrupted*: the order lapses by itself.
    Resync {
        /// Where.
        cluster: ClusterId,
        /// Claims with what is asked for each.
        claims: BTreeMap<ClaimKey, ResyncOrder>,
        /// The epoch to stamp.
        epoch: Epoch,
        /// How long the order holds, unless it is renewed.
        until: Timestamp,
        /// How many seconds an independent copy of what is thrown away is to be kept; absent: none is to be made.
        salvage: Option<i64>,
    },
    /// Reads volumes, claims, workloads and what they name from the cluster, and stores a complete capture.
    /// *If interrupted*: the manifest is written last, so the capture before it stays the newest.
    Capture {
        /// Where.
        cluster: ClusterId,
        /// The epoch it is taken at.
        epoch: Epoch,
        /// What must be in it: a capture without one of these is refused.
        claims: Vec<ClaimKey>,
    },
    /// Makes PersistentVolumes and claims on the cluster from a capture, bound to the replicated images.
    /// Refuses to touch an object that does not carry our mark.
    Restore {
        /// Where.
        cluster: ClusterId,
        /// Version of the capture.
        capture: u64,
        /// The epoch to stamp.
        epoch: Epoch,
    },
    /// Touches claims that wait for their volume, which wakes the volume binder (before Kubernetes 1.36 it can sleep for 15 s).
    Nudge {
        /// Where.
        cluster: ClusterId,
        /// Which claims.
        claims: Vec<ClaimKey>,
    },
    /// Scales workloads to zero and remembers their replicas. *Undo*: `Resume`.
    Quiesce {
        /// Where.
        cluster: ClusterId,
        /// Workloads and the replicas they have.
        workloads: BTreeMap<WorkloadKey, i32>,
    },
    /// Scales quiesced workloads back up.
    Resume {
        /// Where.
        cluster: ClusterId,
        /// Workloads and the replicas they get.
        workloads: BTreeMap<WorkloadKey, i32>,
    },
    /// Makes the captured workloads and what they name, with their replicas.
    Start {
        /// Where.
        cluster: ClusterId,
        /// Version of the capture.
        capture: u64,
        /// The epoch to stamp.
        epoch: Epoch,
    },
    /// Deletes the workloads of a cluster that no longer owns the placement, and marks what they named as left behind.
    RemoveWorkloads {
        /// Where.
        cluster: ClusterId,
        /// Which.
        workloads: Vec<WorkloadKey>,
    },
    /// Deletes VolumeReplications without switching replication off: the image goes on being a copy.
    Release {
        /// Where.
        cluster: ClusterId,
        /// Whose.
        claims: Vec<ClaimKey>,
    },
    /// Deletes claims and then their volumes, whose policy is Retain: the images stay.
    RemoveClaims {
        /// Where.
        cluster: ClusterId,
        /// Claims and the names of their volumes, if known.
        claims: BTreeMap<ClaimKey, Option<String>>,
    },
    /// Ends protection on the owner: VolumeReplications deleted (replication switched off), marks removed, reclaim
    /// policies given back where the claim still has its volume.
    Unprotect {
        /// Where.
        cluster: ClusterId,
        /// Claims and the names of their volumes, if known.
        claims: BTreeMap<ClaimKey, Option<String>>,
    },
    /// Takes our marks off volumes that no claim has any more. They keep the policy Retain: each may be the only copy of its data, and
    /// is for a person to delete. *Idempotent because* what has no mark is left alone.
    LetGo {
        /// Where.
        cluster: ClusterId,
        /// Names of the volumes.
        volumes: Vec<String>,
    },
    /// Deletes DROwnership.
    Forget {
        /// Where.
        cluster: ClusterId,
    },
    /// Deletes the captures and lets the DRPlacement go.
    Finish,
}

/// What is asked for one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncOrder {
    /// Its VolumeReplicationClass.
    pub class: String,
    /// The how manieth request of the epoch.
    pub number: u32,
}

/// Whether promotion may be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Force {
    /// No: the peer must have handed over.
    Denied,
    /// Yes: the loss was accepted.
    Granted,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every part of it was acknowledged.
    Done,
    /// A part of it was not answered: it may have happened or not. The next observation tells.
    Unknown {
        /// What was not answered.
        why: String,
    },
    /// Refused, and will be refused again until something changes.
    Failed(crate::wait::Blocker),
}

impl Step {
    /// Its name, for status, logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Record { .. } => "Record",
            Self::Retain { .. } => "Retain",
            Self::Replicate {
                role: Role::Primary,
                ..
            } => "Promote",
            Self::Replicate {
                role: Role::Secondary,
                ..
            } => "Demote",
            Self::Resync { .. }
            | Self::Replicate {
                role: Role::Resync, ..
            } => "Resync",
            Self::Capture { .. } => "Capture",
            Self::Restore { .. } => "Restore",
            Self::Nudge { .. } => "Nudge",
            Self::Quiesce { .. } => "Quiesce",
            Self::Resume { .. } => "Resume",
            Self::Start { .. } => "Start",
            Self::RemoveWorkloads { .. } => "RemoveWorkloads",
            Self::Release { .. } => "Release",
            Self::RemoveClaims { .. } => "RemoveClaims",
            Self::Unprotect { .. } => "Unprotect",
            Self::LetGo { .. } => "LetGo",
            Self::Forget { .. } => "Forget",
            Self::Finish => "Finish",
        }
    }
    /// The cluster it works on, if any.
    pub fn cluster(&self) -> Option<&ClusterId> {
        match self {
            Self::Record { cluster, .. }
            | Self::Retain { cluster, .. }
            | Self::Replicate { cluster, .. }
            | Self::Resync { cluster, .. }
            | Self::Capture { cluster, .. }
            | Self::Restore { cluster, .. }
            | Self::Nudge { cluster, .. }
            | Self::Quiesce { cluster, .. }
            | Self::Resume { cluster, .. }
            | Self::Start { cluster, .. }
            | Self::RemoveWorkloads { cluster, .. }
            | Self::Release { cluster, .. }
            | Self::RemoveClaims { cluster, .. }
            | Self::Unprotect { cluster, .. }
            | Self::LetGo { cluster, .. }
            | Self::Forget { cluster } => Some(cluster),
            Self::Finish => None,
        }
    }
}
