//! Everything that decides what to do about one fence, at one moment.

use std::collections::BTreeMap;

use lifeboat_api::fence::{FenceState, NetworkFenceStatus};

use crate::tries::Tries;
use crate::view::{DriverView, Key, Life, Mark, SecretView};

/// One NetworkFence and all that bears on it.
#[derive(Debug, Clone)]
pub(super) struct FenceView {
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) life: Life,
    pub(super) finalizer: Mark,
    pub(super) wanted: FenceState,
    pub(super) cidrs: Vec<String>,
    pub(super) by: By,
    pub(super) secret: SecretView,
    pub(super) driver: DriverView,
    pub(super) status: NetworkFenceStatus,
    pub(super) tries: Tries,
}

/// By which driver, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// One that we do not serve.
    Foreign,
    /// The class that says so has not been read yet.
    Unread,
    /// The class that says so cannot be read.
    Unreadable {
        why: String,
    },
    /// That cannot be told.
    Unknown {
        why: String,
    },
    Ours(Means),
}

/// Driver, parameters and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Means {
    pub(super) driver: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) secret: Option<Key>,
}
