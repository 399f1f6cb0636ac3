//! Captures that outlive the cluster they were taken on.
//!
//! Whatever the store, these hold:
//! - A version is written once and never changed; versions of a placement only go up.
//! - Its manifest is written last and names every part with its checksum, so that a write that died half way is an
//!   incomplete version and nothing else.
//! - A reader checks everything and takes the newest version that is *complete*, saying which newer ones are not and
//!   what they lack. A store that cannot be asked is an error, never an older answer.
//! - A hub with an older epoch than the archive has seen does not write.

mod manifest;
mod secrets;
mod shelf;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;

use futures::future::BoxFuture;
use jiff::Timestamp;
use lifeboat_capture::{Capture, Fingerprint, RecordError};
use lifeboat_kit::CallError;
use lifeboat_kit::error::CallRetry;
use thiserror::Error;

pub use manifest::{Manifest, Part};
pub use secrets::SecretsArchive;
pub use slot::Flaw;
pub(crate) use slot::LABEL;

/// A place where captures are kept.
pub trait Archive: Send + Sync {
    /// Writes a capture and reads it back, unless the newest complete version says the same already. Afterwards
    /// removes versions that nobody needs any more.
    fn put<'a>(&'a self, capture: &'a Capture) -> BoxFuture<'a, Result<Put, ArchiveError>>;

    /// The newest complete version of a placement's capture.
    fn newest_complete<'a>(
        &'a self,
        placement_uid: &'a str,
    ) -> BoxFuture<'a, Result<Found, ArchiveError>>;

    /// Every version of a placement's capture, the newest first.
    fn list<'a>(
        &'a self,
        placement_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Version>, ArchiveError>>;

    /// The manifest of every version of every placement; one that cannot be read is left out. Costs as much as there are
    /// placements: only for what is asked once.
    fn manifests(&self) -> BoxFuture<'_, Result<Vec<Manifest>, ArchiveError>>;

    /// Removes complete versions beyond the newest `keep`, and incomplete ones that a newer complete one makes
    /// worthless; returns the versions removed.
    fn prune<'a>(
        &'a self,
        placement_uid: &'a str,
        keep: NonZeroUsize,
    ) -> BoxFuture<'a, Result<Vec<u64>, ArchiveError>>;

    /// Removes everything kept for a placement.
    fn delete_all<'a>(&'a self, placement_uid: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>>;
}

/// A version that is complete and readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub version: u64,
    /// The ownership epoch it was taken in.
    pub epoch: u64,
    /// Hash of what it says.
    pub fingerprint: Fingerprint,
    /// When it was taken.
    pub taken_at: Timestamp,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Written and read back.
    Stored(Stored),
    /// Nothing to write: this version says the same.
    AlreadyCurrent(Stored),
}

impl Put {
    /// The version that holds the capture now.
    pub fn stored(&self) -> &Stored {
        match self {
            Self::Stored(stored) | Self::AlreadyCurrent(stored) => stored,
        }
    }
}

/// The newest complete version, and what is wrong with newer ones.
#[derive(Debug, Clone)]
pub struct Found {
    /// The capture itself.
    pub capture: Capture,
    /// Which version it is.
    pub stored: Stored,
    /// Newer versions that are not complete, the newest first. Not empty: a person should look.
    pub broken: Vec<Broken>,
}

/// A version that must not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number.
    pub version: u64,
    /// The epoch it claims, if it can be told.
    pub epoch: Option<u64>,
    /// What is wrong with it.
    pub why: Flaw,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}: {}", self.version, self.why)
    }
}

/// A version of a capture, whole or not.
#[derive(Debug, Clone)]
pub enum Version {
    /// Complete; this is its manifest.
    Complete(Box<Manifest>),
    /// Not complete.
    Broken(Broken),
}

/// Why the archive did not do what it was asked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store did not answer, or refused.
    #[error("could not use the archive")]
    Call(#[from] CallError),
    /// The capture itself cannot be used.
    #[error("capture of {placement} cannot be archived")]
    Record {
        /// The placement.
        placement: String,
        /// What is wrong with it.
        #[source]
        source: Box<RecordError>,
    },
    /// The capture cannot be packed.
    #[error("capture of {placement} cannot be packed")]
    Pack {
        /// The placement.
        placement: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// Not a uid: it would select other placements' captures, or none.
    #[error("{uid:?} is not the uid of a placement")]
    BadUid {
        /// What was given.
        uid: String,
    },
    /// The archive holds nothing for the placement.
    #[error("the archive holds no capture of the placement with uid {uid}")]
    Nothing {
        /// The placement.
        uid: String,
    },
    /// The archive holds versions, none of them complete: nothing can be restored without loss.
    #[error(
        "no complete capture of the placement with uid {uid}: {}",
        listed(broken)
    )]
    NoneComplete {
        /// The placement.
        uid: String,
        /// What is wrong with each version, the newest first.
        broken: Vec<Broken>,
    },
    /// A hub of a newer epoch has written: this one no longer owns the placement's capture.
    #[error(
        "the archive has a capture of epoch {archived}, this one is of epoch {ours}: another hub took over"
    )]
    StaleEpoch {
        /// The highest epoch in the archive.
        archived: u64,
        /// The epoch of the capture.
        ours: u64,
    },
    /// Others keep writing at the same time.
    #[error("{name} is there already: someone else is writing captures of this placement")]
    Contended {
        /// The object that was to be created.
        name: String,
    },
    /// What was written cannot be read back.
    #[error("version {version} was written but is not what the archive gives back: {why}")]
    ReadBack {
        /// The version.
        version: u64,
        /// What it gives back instead.
        why: String,
    },
}

impl ArchiveError {
    /// What the caller should do next.
    pub fn retry(&self) -> CallRetry {
        match self {
            Self::Call(call) => call.retry(),
            Self::Contended { .. } | Self::ReadBack { .. } => CallRetry::Soon,
            Self::Nothing { .. } => CallRetry::Gone,
            Self::Record { .. }
            | Self::Pack { .. }
            | Self::BadUid { .. }
            | Self::NoneComplete { .. }
            | Self::StaleEpoch { .. } => CallRetry::Never,
        }
    }
}

fn listed(broken: &[Broken]) -> String {
    broken
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
