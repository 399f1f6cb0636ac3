//! What an array refuses, and why.

/// An operation on a role that the array did not carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no array of that name.
    #[error("no array at site {site}")]
    NoSuchSite {
        /// The name asked for.
        site: String,
    },
    /// The array has no power.
    #[error("array {site} is down")]
    Down {
        /// The array.
        site: String,
    },
    /// The array has no such image.
    #[error("image {handle} not found")]
    NotFound {
        /// The handle asked for.
        handle: String,
    },
    /// The array has such an image already.
    #[error("image {handle} exists already")]
    Exists {
        /// The handle asked for.
        handle: String,
    },
    /// The image is not mirrored.
    #[error("mirroring is not enabled on image {handle}")]
    NotEnabled {
        /// The image.
        handle: String,
    },
    /// A plain promotion while another copy is, or may still be, primary.
    #[error(
        "image {handle} is still primary on a peer or the demotion is not propagated yet: device or resource busy"
    )]
    PeerPrimary {
        /// The image.
        handle: String,
    },
    /// Only a primary answers this.
    #[error("image {handle} is not primary")]
    NotPrimary {
        /// The image.
        handle: String,
    },
    /// A primary is never rebuilt.
    #[error("image {handle} is primary and cannot be resynced")]
    StillPrimary {
        /// The image.
        handle: String,
    },
    /// A secondary out of step keeps its mirroring.
    #[error("image {handle} is secondary and not replaying: mirroring cannot be disabled")]
    SecondaryNotReplaying {
        /// The image.
        handle: String,
    },
    /// No peer holds a complete snapshot yet.
    #[error("image {handle} has not been synced to a peer yet")]
    NotSyncedYet {
        /// The image.
        handle: String,
    },
    /// The local copy has no complete snapshot to promote.
    #[error("image {handle} has no complete snapshot")]
    Incomplete {
        /// The image.
        handle: String,
    },
    /// The image was just thrown away to be copied anew.
    #[error("image {handle} is being resynced")]
    Rebuilding {
        /// The image.
        handle: String,
    },
    /// How much never reached the peer cannot be known.
    #[error("it cannot be known how much of image {handle} never reached its peer: {why}")]
    DivergenceUnknown {
        /// The image.
        handle: String,
        /// Why not.
        why: &'static str,
    },
    /// No peer array has a copy.
    #[error("image {handle} has no copy on a peer yet")]
    NoDestination {
        /// The image.
        handle: String,
    },
}

/// A write that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The array has no power.
    #[error("the array is down")]
    Down,
    /// The array has no such image.
    #[error("no such image")]
    NotFound,
    /// The local copy is a secondary.
    #[error("the image is read-only: it is a secondary")]
    Secondary,
}
