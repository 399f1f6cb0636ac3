//! What is seen, on every cluster of the policy, frozen at one moment. Serializable, so that a decision can be replayed.

mod contact;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClaimKey, ClusterId, Epoch, ResyncRequest, WorkloadKey};

pub use contact::Contact;

/// Everything seen for one placement.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// Every cluster of the policy, and any other on which the journal says that something may be.
    pub clusters: BTreeMap<ClusterId, ClusterFacts>,
    /// The captures that can be read without any managed cluster.
    pub archive: ArchiveFacts,
}

impl Observed {
    /// The facts of a cluster; one that is not known has never been seen.
    pub fn cluster(&self, id: &ClusterId) -> &ClusterFacts {
        static NOTHING: std::sync::LazyLock<ClusterFacts> =
            std::sync::LazyLock::new(ClusterFacts::default);
        self.clusters.get(id).unwrap_or(&NOTHING)
    }
}

/// What is seen of one placement on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// How well it is known.
    pub contact: Contact,
    /// The agent.
    pub agent: AgentFacts,
    /// Who works its VolumeReplications.
    #[serde(default)]
    pub replicator: Replicator,
    /// DROwnership of this placement.
    pub record: Option<RecordFacts>,
    /// What the agent has found out about volumes that were to be thrown away here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<DivergedFacts>,
    /// DROwnerships that are of this placement by name or by uid, and not by both.
    #[serde(default)]
    pub namesakes: Vec<NamesakeFacts>,
    /// The protected namespaces, by home name. Absent: does not exist there.
    pub namespaces: BTreeMap<String, NamespaceFacts>,
    /// Claims that the selector matches, and claims, volumes and replications that carry our mark.
    pub volumes: BTreeMap<ClaimKey, VolumeFacts>,
    /// Names of volumes that carry our mark and belong to none of `volumes`: the claim of each was made anew, and has another.
    #[serde(default)]
    pub former: BTreeSet<String>,
    /// Workloads that the selector matches or that carry our mark.
    pub workloads: BTreeMap<WorkloadKey, WorkloadFacts>,
    /// Pods and VolumeAttachments that hold a claim in `volumes`.
    pub holders: Vec<Holder>,
    /// StorageClass (home name) to provisioner.
    pub storage_classes: BTreeMap<String, String>,
    /// VolumeReplicationClass to provisioner.
    pub replication_classes: BTreeMap<String, String>,
}

impl Default for ClusterFacts {
    fn default() -> Self {
        Self {
            contact: Contact::Unregistered {
                since: Timestamp::UNIX_EPOCH,
                why: "no DRCluster of that name exists".into(),
            },
            agent: AgentFacts::Unseen,
            replicator: Replicator::Agent,
            record: None,
            diverged: Vec::new(),
            namesakes: Vec::new(),
            namespaces: BTreeMap::new(),
            volumes: BTreeMap::new(),
            former: BTreeSet::new(),
            workloads: BTreeMap::new(),
            holders: Vec::new(),
            storage_classes: BTreeMap::new(),
            replication_classes: BTreeMap::new(),
        }
    }
}

/// Who works the VolumeReplications of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replicator {
    /// The agent, which promotes nothing that is not granted.
    #[default]
    Agent,
    /// The controllers of the CSI-Addons project: they know of no epoch, and do what a VolumeReplication says. An agent there, if
    /// there is one, tells only how the drivers do.
    Upstream,
}

/// The agents, by their Leases: one for each driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentFacts {
    /// No Lease.
    Unseen,
    /// At least one is renewed.
    Alive {
        /// Name of each driver that an agent serves to what is wrong with it; empty: ready.
        drivers: BTreeMap<String, String>,
        /// Name of each driver whose own agent is silent to its last renewal.
        #[serde(default)]
        silent: BTreeMap<String, Timestamp>,
        /// Names of the drivers that tell whether a copy is complete. Of the others nobody knows what a forced promotion brings back.
        #[serde(default)]
        telling: BTreeSet<String>,
        /// Names of the drivers that make an independent copy of what is thrown away, and whose agents know to ask for it.
        #[serde(default)]
        keeping: BTreeSet<String>,
    },
    /// All have run out or were given up.
    Silent {
        /// Last renewal.
        since: Timestamp,
    },
}

/// A DROwnership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFacts {
    /// The cluster that it was written to, if it says another than the one it is on: it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_to: Option<ClusterId>,
    /// Who may write.
    pub owner: ClusterId,
    /// Since which epoch.
    pub epoch: Epoch,
    /// Epoch for which force is granted.
    pub force: Option<Epoch>,
    /// Fingerprint of the request that led there.
    pub served: Option<String>,
}

/// What a volume held, when another took over, that had never reached the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DivergedFacts {
    /// Its claim.
    pub claim: ClaimKey,
    /// The epoch at which it was to be thrown away.
    pub epoch: Epoch,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// How much; absent: not known.
    pub bytes: Option<u64>,
    /// Why it is not known.
    pub message: Option<String>,
    /// The independent copy of it.
    pub kept: Option<KeptFacts>,
}

/// An independent copy of a volume's content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptFacts {
    /// Driver and handle.
    pub csi: Csi,
    /// How long it is kept.
    pub until: Timestamp,
    /// When it was dropped.
    pub dropped: Option<Timestamp>,
}

/// A DROwnership that another DRPlacement of the same name has left, or one of the same uid of a placement of another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamesakeFacts {
    /// Since which epoch.
    pub epoch: Epoch,
    /// Who may write.
    pub owner: ClusterId,
    /// uid of the DRPlacement it was written for.
    pub uid: String,
    /// `namespace/name` of that DRPlacement.
    pub placement: String,
    /// `namespace/name` of the DROwnership on its cluster.
    pub record: String,
}

/// A namespace that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceFacts {
    /// Objects can be made in it.
    Active,
    /// It is being deleted.
    Terminating,
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// Carries the mark of this placement.
    Ours,
    /// Carries no mark.
    Unmarked,
    /// Carries the mark of another placement.
    Other {
        /// `namespace/name` of that placement, or its uid.
        placement: String,
        /// Its uid.
        #[serde(default)]
        uid: String,
    },
}

/// A claim with its volume and its replication. Each part may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeFacts {
    /// The PersistentVolumeClaim.
    pub claim: Option<ClaimFacts>,
    /// The PersistentVolume that the claim is bound to, or that is meant for the claim by name.
    pub volume: Option<PvFacts>,
    /// The VolumeReplication of the claim's name.
    pub replication: Option<VrFacts>,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimFacts {
    /// Whether the selector matches it.
    pub selected: Selected,
    /// Whose it is.
    pub mark: Mark,
    /// Bound, Pending or Lost.
    pub phase: ClaimPhase,
    /// Its storage class, by home name.
    pub storage_class: Option<String>,
    /// Whether it is being deleted.
    pub deleting: Deleting,
}

/// Whether a selector matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selected {
    /// It does.
    Yes,
    /// It does not; the object is seen because of its mark.
    No,
}

/// Whether an object is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deleting {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Phase of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimPhase {
    /// Has its volume.
    Bound,
    /// Has none yet.
    Pending,
    /// Its volume is gone.
    Lost,
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PvFacts {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub mark: Mark,
    /// CSI driver and volume handle; absent: no CSI volume.
    pub csi: Option<Csi>,
    /// Whether its reclaim policy is Retain.
    pub retained: Retained,
    /// When the object was made.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: Deleting,
}

/// Where a volume's data is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Csi {
    /// Name of the driver.
    pub driver: String,
    /// Handle of the volume.
    pub handle: String,
}

/// Whether the data outlives the volume object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retained {
    /// Reclaim policy Retain, the earlier one remembered.
    Yes,
    /// Any other.
    No,
}

/// A VolumeReplication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrFacts {
    /// Whose it is.
    pub mark: Mark,
    /// The role it asks for.
    pub desired: Role,
    /// The epoch it was written at.
    pub epoch: Option<Epoch>,
    /// Its class.
    pub class: String,
    /// What the status says, if it speaks of the present generation.
    pub status: VrStatus,
    /// The request to resync that it carries, if it asks for one.
    #[serde(default)]
    pub resync_asked: Option<ResyncRequest>,
    /// The last request that the agent has sent the driver, or is about to.
    #[serde(default)]
    pub resync_issued: Option<ResyncRequest>,
    /// The last request of which the agent says that it did not bring the copy about.
    #[serde(default)]
    pub resync_failed: Option<ResyncRequest>,
    /// How long the order to resync holds.
    #[serde(default)]
    pub resync_until: Option<Timestamp>,
    /// Last sync, whatever generation it speaks of.
    pub last_sync: Option<Timestamp>,
    /// Handle of the copy on the peer, if the driver names it differently there.
    pub destination: Option<String>,
    /// When the object was made.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// Whether it carries the word to switch replication off when it is deleted.
    #[serde(default)]
    pub switch_off: SwitchOff,
    /// Whether it is being deleted.
    pub deleting: Deleting,
}

/// Whether a deletion switches replication off, which removes the copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchOff {
    /// It only lets the volume go.
    #[default]
    Unsaid,
    /// It does: protection was about to be ended.
    Said,
}

/// A role that a VolumeReplication asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Writable here.
    Primary,
    /// A copy.
    Secondary,
    /// A copy that is to be rebuilt.
    Resync,
}

/// What the status of a VolumeReplication says of its present generation. Everything else reads as Pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VrStatus {
    /// Nothing yet for this generation.
    Pending,
    /// Primary, and complete.
    Primary,
    /// Demoted, and everything it held has reached the peer: Completed, neither Degraded nor Resyncing.
    Drained,
    /// Demoted, not drained yet.
    Demoted,
    /// Demoted, resync accepted and under way (Degraded and Resyncing).
    Resyncing,
    /// Demoted, and the driver can neither bring it in step nor say how far it is: it holds what the other side never got, a
    /// split brain. Only to take it anew helps.
    Apart {
        /// The driver's words.
        message: String,
    },
    /// The driver refused; its words.
    Failed {
        /// The message of the status.
        message: String,
    },
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Whose it is.
    pub mark: Mark,
    /// Replicas it asks for.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// Replicas to give back, if it was scaled to zero.
    pub remembered: Option<i32>,
    /// Whether it is being deleted.
    pub deleting: Deleting,
}

/// Something that uses a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// The claim.
    pub claim: ClaimKey,
    /// `Pod` or `VolumeAttachment`.
    pub kind: String,
    /// `namespace/name` or name.
    pub name: String,
    /// Whether it belongs to one of the placement's workloads and so goes by itself.
    pub managed: Managed,
}

/// Whether a pod goes away with its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Managed {
    /// It does.
    Yes,
    /// A person must remove it.
    No,
}

/// The captures.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArchiveFacts {
    /// The newest one that is complete.
    pub newest: Option<CaptureFacts>,
    /// Newer ones that are not, with the reason. Not used.
    pub broken: Vec<String>,
    /// Why the archive could not be read.
    pub unreadable: Option<String>,
    /// Whether what is seen on the owner is what the newest capture holds.
    pub current: Current,
}

/// Whether a capture holds what is seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Current {
    /// It does.
    Yes,
    /// Something has changed since.
    #[default]
    No,
}

/// A complete capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureFacts {
    /// Its version.
    pub version: u64,
    /// The epoch it was taken at.
    pub epoch: Epoch,
    /// The cluster it was taken from.
    pub source: ClusterId,
    /// When.
    pub taken_at: Timestamp,
    /// The claims it holds with their driver and handle.
    pub volumes: BTreeMap<ClaimKey, CapturedVolume>,
    /// Its workloads with the replicas to start.
    pub workloads: BTreeMap<WorkloadKey, i32>,
}

/// A claim in a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedVolume {
    /// Driver and handle on the target.
    pub csi: Csi,
    /// Handle on the cluster it was captured from, if that is another.
    #[serde(default)]
    pub origin: Option<String>,
    /// Name of the PersistentVolume.
    pub volume: String,
    /// Storage class, by home name.
    pub storage_class: Option<String>,
}
