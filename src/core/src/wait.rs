//! Reasons for not acting, each with what a person can do about it.

use serde::{Deserialize, Serialize};

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// Which kind.
    pub reason: Reason,
    /// What is wrong, with the names of what is involved.
    pub message: String,
    /// What a person can do, or that nothing needs to be done.
    pub remedy: String,
}

impl Blocker {
    /// All three.
    pub fn new(reason: Reason, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// Kinds of reasons; the words are those of conditions, events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The cluster that has the application does not answer.
    SourceUnreachable,
    /// The cluster it is to go to does not answer.
    TargetUnreachable,
    /// A cluster that must be heard first does not answer.
    ClusterUnreachable,
    /// A cluster is not seen as it is now, and has not been for long: it is seen again in a moment, or is lost.
    OutOfStep,
    /// The agent of a cluster is not alive.
    AgentNotAlive,
    /// A storage driver is not ready.
    DriverNotReady,
    /// The wish names a cluster that the policy does not have.
    ClusterNotInPolicy,
    /// Failovers are disabled.
    FailoverDisabled,
    /// No cluster of the policy is fit to take the application.
    NoTarget,
    /// The selector matches no claim.
    NothingSelected,
    /// A claim cannot be protected.
    VolumeUnprotectable,
    /// A claim belongs to another placement.
    ClaimedByOther,
    /// A volume has not been copied completely yet.
    NotSynced,
    /// Nobody can say whether a copy is complete, and nobody has accepted that.
    UnverifiedCopy,
    /// What is to be thrown away cannot be kept, as the policy asks.
    SalvageImpossible,
    /// There is no complete capture.
    NoCapture,
    /// The archive does not answer.
    ArchiveUnreadable,
    /// An object on the target is not ours.
    Collision,
    /// A namespace is being deleted.
    NamespaceTerminating,
    /// A class is missing, or belongs to another driver.
    ClassMismatch,
    /// Something still uses the volumes.
    VolumeInUse,
    /// Waits for demotion.
    Demoting,
    /// Waits for promotion.
    Promoting,
    /// Waits for claims to be bound.
    Binding,
    /// Waits for the workload.
    WorkloadStarting,
    /// Waits for the workload to stop.
    WorkloadStopping,
    /// Waits for the resync.
    Resyncing,
    /// Waits for objects to go.
    Deleting,
    /// A newer owner is recorded on a cluster than this hub knows.
    StaleHub,
    /// A step was refused.
    StepFailed,
    /// Two clusters claim to own the placement at one epoch.
    OwnershipConflict,
    /// It cannot be told whether the DRPlacement is the one whose marks the clusters carry.
    IdentityUnclear,
}
