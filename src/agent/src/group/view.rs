//! Everything that decides what to do about one group, at one moment.

use std::collections::BTreeMap;

use lifeboat_api::group::VolumeGroupReplicationStatus;
use lifeboat_api::replication::{ReplicationState, VolumeReplicationStatus};

use crate::tries::Tries;
use crate::view::{Backing, Class, DriverView, Key, Life, Mark, Owner, SecretView};

/// One VolumeGroupReplication and all that bears on it.
#[derive(Debug, Clone)]
pub(super) struct GroupView {
    pub(super) key: Key,
    pub(super) generation: i64,
    pub(super) server: Server,
    pub(super) life: Life,
    pub(super) wanted: ReplicationState,
    pub(super) finalizer: Mark,
    /// Whether it names its content and its VolumeReplication, and carries its selector as text.
    pub(super) named: Mark,
    pub(super) status: VolumeGroupReplicationStatus,
    pub(super) class: Class,
    /// Name of the VolumeReplicationClass.
    pub(super) volume_class: Option<String>,
    pub(super) secret: SecretView,
    pub(super) driver: DriverView,
    /// The claims that the selector matches, by name; or why it matches none.
    pub(super) members: Result<Vec<Member>, String>,
    /// The claims that carry our mark and are not selected any more.
    pub(super) leavers: Vec<String>,
    pub(super) most: usize,
    pub(super) content: ContentView,
    pub(super) volume: VolumeOfGroup,
    pub(super) tries: Tries,
}

/// Who serves a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Us,
    /// Another controller, as its spec says.
    Another,
}

/// A claim that is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) claim: String,
    pub(super) life: Life,
    pub(super) finalizer: Mark,
    pub(super) owner: Owner,
    /// Name of its PersistentVolume.
    pub(super) pv: String,
    pub(super) volume: Backing,
}

/// The content of the group.
#[derive(Debug, Clone)]
pub(super) struct ContentView {
    pub(super) name: String,
    pub(super) facts: Option<ContentFacts>,
}

/// A content that exists.
#[derive(Debug, Clone, Default)]
pub(super) struct ContentFacts {
    pub(super) version: String,
    /// Whose it is, if not ours.
    pub(super) of_another: Option<String>,
    pub(super) ending: bool,
    pub(super) marked: bool,
    /// Handles that were recorded to be in the group.
    pub(super) recorded: Vec<String>,
    /// Handles that the driver was last told.
    pub(super) told: Vec<String>,
    /// What the driver calls the group.
    pub(super) handle: Option<String>,
    pub(super) attributes: Option<BTreeMap<String, String>>,
}

/// The VolumeReplication of the group.
#[derive(Debug, Clone)]
pub(super) struct VolumeOfGroup {
    pub(super) name: String,
    pub(super) facts: Option<VolumeFacts>,
}

/// A VolumeReplication that exists.
#[derive(Debug, Clone)]
pub(super) struct VolumeFacts {
    pub(super) life: Life,
    /// Whether it asks for what the group asks for.
    pub(super) follows: Mark,
    /// Its status, if that speaks of its present spec.
    pub(super) current: Option<VolumeReplicationStatus>,
    /// Why its deletion does not go on.
    pub(super) trouble: Option<String>,
}
