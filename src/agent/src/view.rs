//! Everything that decides what to do about one volume, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::replication::{ReplicationState, VolumeReplicationStatus};
use lifeboat_drivers::{Capability, Force, Secrets};

/// Names a namespaced object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether something is on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    There,
    Absent,
}

impl Mark {
    pub(crate) fn of(there: bool) -> Self {
        if there { Self::There } else { Self::Absent }
    }
}

/// Whether an object is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Living,
    Ending,
}

/// One VolumeReplication and all that bears on it.
#[derive(Debug, Clone)]
pub(crate) struct VolumeView {
    pub(crate) key: Key,
    pub(crate) generation: i64,
    pub(crate) wanted: ReplicationState,
    pub(crate) auto_resync: Force,
    pub(crate) replication_id: String,
    pub(crate) life: Life,
    pub(crate) finalizer: Mark,
    pub(crate) status: VolumeReplicationStatus,
    pub(crate) rule: Rule,
    pub(crate) class: Class,
    pub(crate) secret: SecretView,
    pub(crate) source: SourceView,
    pub(crate) driver: DriverView,
    pub(crate) memory: Memory,
}

/// By whose rules the object is served.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, for the length of a decision"
)]
pub(crate) enum Rule {
    /// As upstream's controllers would.
    Upstream,
    /// The hub wrote it: roles need an ownership epoch.
    Hub(HubRule),
}

/// What the hub wrote on a VolumeReplication, and what it granted.
#[derive(Debug, Clone)]
pub(crate) struct HubRule {
    /// The epoch it was written at; `None` if it cannot be read.
    pub(crate) epoch: Option<i64>,
    /// Whether the hub asked to switch replication off on deletion.
    pub(crate) disable: Mark,
    /// How long the order to resync holds; `None` if there is none, or if it cannot be read.
    pub(crate) resync_until: Option<Timestamp>,
    /// The how manieth resync of the epoch is asked for.
    pub(crate) resync_number: u32,
    /// The request, epoch and number, that a forced resync was already sent for.
    pub(crate) resync_issued: Option<(i64, u32)>,
    /// What is to be kept of what the resync throws away.
    pub(crate) salvage: Salvage,
    /// The request that we said had not brought the copy about.
    pub(crate) resync_failed: Option<(i64, u32)>,
    pub(crate) grant: Grant,
}

/// What is to be kept of what a resync throws away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Salvage {
    /// Nothing.
    Nothing,
    /// An independent copy, for this long.
    Copy(Duration),
    /// This cannot be read.
    Unreadable(String),
}

impl Salvage {
    pub(crate) fn read(text: Option<&str>) -> Self {
        match text.map(|text| (text, text.trim().parse())) {
            None => Self::Nothing,
            Some((_, Ok(seconds))) => Self::Copy(Duration::from_secs(seconds)),
            Some((text, Err(_))) => Self::Unreadable(text.to_owned()),
        }
    }
}

/// What the ownership record on this cluster says.
#[derive(Debug, Clone)]
pub(crate) enum Grant {
    /// The records have not been read yet, or it is not known which cluster this is.
    Unread,
    /// There is none of that name.
    Missing { name: String },
    /// It was written for another cluster, and brought here by a restore from a backup, say.
    Foreign { name: String, why: String },
    /// There is one.
    Present(GrantFacts),
}

/// An ownership record.
#[derive(Debug, Clone)]
pub(crate) struct GrantFacts {
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) owner: String,
    pub(crate) epoch: i64,
    pub(crate) force_epoch: Option<i64>,
    /// The highest epoch that we stored, or saw since we started.
    pub(crate) observed: Option<i64>,
    /// Whether that is stored in the record's status.
    pub(crate) stored: Mark,
}

/// The class.
#[derive(Debug, Clone)]
pub(crate) enum Class {
    Missing {
        name: String,
    },
    /// Of a driver that is not ours to serve now.
    Foreign,
    /// Its parameters make no sense.
    Broken {
        why: String,
    },
    Ours(ClassFacts),
}

/// A class of a driver that we serve.
#[derive(Debug, Clone)]
pub(crate) struct ClassFacts {
    pub(crate) driver: String,
    pub(crate) parameters: BTreeMap<String, String>,
    /// Namespace and name of the Secret.
    pub(crate) secret: Option<Key>,
}

/// The credentials.
#[derive(Debug, Clone)]
pub(crate) enum SecretView {
    Present(Secrets),
    Unusable { why: String },
}

/// What is replicated.
#[derive(Debug, Clone)]
pub(crate) enum SourceView {
    UnsupportedKind,
    /// Groups have not been read yet.
    Unread,
    NoClaim {
        name: String,
    },
    Claim(ClaimView),
    NoGroup {
        name: String,
    },
    Group(GroupSource),
}

/// A group of volumes that is replicated as one.
#[derive(Debug, Clone)]
pub(crate) struct GroupSource {
    pub(crate) name: String,
    /// Name of its content.
    pub(crate) content: String,
    /// Whether the content carries our finalizer.
    pub(crate) marked: Mark,
    pub(crate) owner: Owner,
    pub(crate) handle: GroupHandle,
}

/// What the driver calls a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupHandle {
    NoContent,
    /// The driver has not made it yet.
    Pending,
    /// It is of this driver, not of the class's.
    Driver(String),
    Known(String),
}

/// The claim.
#[derive(Debug, Clone)]
pub(crate) struct ClaimView {
    pub(crate) name: String,
    pub(crate) life: Life,
    pub(crate) finalizer: Mark,
    pub(crate) owner: Owner,
    pub(crate) volume: Backing,
}

/// Who replicates the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody, or a VolumeReplication that no longer exists.
    Nobody,
    Us,
    Other {
        name: String,
    },
    Group {
        name: String,
    },
}

/// What is behind the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    NotBound,
    NoVolume { name: String },
    NotCsi { name: String },
    Driver { name: String, driver: String },
    Handle(String),
}

/// The driver of the class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DriverView {
    /// Not asked yet.
    Unknown,
    Ready(BTreeSet<Capability>),
    Away {
        why: String,
    },
}

/// What is kept between two passes, and lost with the process: when to ask again. Nothing that safety rests on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    /// What the rest belongs to; another spec, grant or class starts afresh.
    pub(crate) fingerprint: u64,
    pub(crate) failures: u32,
    pub(crate) polls: u32,
    /// No call that changes anything before this.
    pub(crate) not_before: Option<Timestamp>,
    /// No question about replication before this.
    pub(crate) next_info: Option<Timestamp>,
    /// The generation that a demotion was confirmed for.
    pub(crate) demoted: Option<i64>,
    /// The forced resync, epoch and number, that was answered last.
    pub(crate) answered: Option<(i64, u32)>,
    /// A status that could not be written yet: it goes first, and no call is repeated for it.
    pub(crate) unwritten: Option<VolumeReplicationStatus>,
}
