//! What is written on an image, and the journal of what happened to it.

use std::sync::Arc;

use jiff::Timestamp;

/// One reign of one primary over one image; every promotion starts another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub(super) u64);

/// One numbered record, as an application writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Who wrote it.
    pub writer: Arc<str>,
    /// Its place in the application's own count.
    pub number: u64,
    /// Differs between two records of one number by two writers.
    pub checksum: u64,
}

impl Record {
    /// A record whose checksum follows from its writer and number.
    pub fn new(writer: &Arc<str>, number: u64) -> Self {
        let checksum = fnv(writer.bytes().chain(number.to_le_bytes()));
        Self {
            writer: Arc::clone(writer),
            number,
            checksum,
        }
    }
}

/// FNV-1a, 64 bit: names and checksums that are the same in each run.
pub(crate) fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A record on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub record: Record,
    /// When it was written.
    pub at: Timestamp,
    /// Under which primary.
    pub term: Term,
}

/// What happened to a copy of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// An empty image was made.
    Created,
    /// Mirroring was switched on.
    Enabled,
    /// Mirroring was switched off.
    Disabled,
    /// It became primary with the consent of its peers.
    Promoted,
    /// It became primary without asking.
    ForcePromoted,
    /// It became secondary.
    Demoted,
    /// Its history was found to contradict that of a peer.
    SplitBrain,
    /// It was thrown away to be copied anew.
    Resynced,
    /// It is gone.
    Removed,
    /// Its array lost power.
    PoweredOff,
    /// Its array got power again.
    PoweredOn,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// On which array.
    pub site: String,
    /// To which image, by its handle there; empty for the array itself.
    pub handle: String,
    /// What.
    pub what: RoleChange,
}

/// How data came to be thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A forced resync while no reachable peer was primary.
    ResyncWithoutPrimary,
    /// The image was deleted, as a reclaim policy `Delete` asks.
    Deleted,
}

/// Data thrown away for good on one array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// When.
    pub at: Timestamp,
    /// On which array.
    pub site: String,
    /// Which image, by its handle there.
    pub handle: String,
    /// How.
    pub how: Loss,
    /// How many records were on it.
    pub records: usize,
}
