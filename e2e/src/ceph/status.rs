//! What `rbd --format json` says, as types. Only what is used is read; words that are not known are kept.

use serde::Deserialize;

/// `rbd info`.
#[derive(Clone, Debug, Deserialize)]
pub struct Info {
    /// Size in bytes.
    pub size: u64,
    /// When it was made, as Ceph writes it; another one after a resync, which makes the image anew.
    pub create_timestamp: String,
    /// The image it is a clone of.
    pub parent: Option<Parent>,
    /// Its role; none if it is not mirrored.
    pub mirroring: Option<Mirroring>,
}

impl Info {
    /// Its role, if mirroring is in force.
    pub fn mirrored(&self) -> Option<&Mirroring> {
        self.mirroring.as_ref().filter(|m| m.state == "enabled")
    }

    /// Whether this is the side that may be written. Of all that Ceph says of a role, this alone is never late.
    pub fn is_primary(&self) -> bool {
        self.mirrored().is_some_and(|m| m.primary)
    }
}

/// The image that another one is a clone of.
#[derive(Clone, Debug, Deserialize)]
pub struct Parent {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub image: String,
    /// Whether it was deleted and is kept for its clones only.
    #[serde(default)]
    pub trash: bool,
}

/// The role of an image.
#[derive(Clone, Debug, Deserialize)]
pub struct Mirroring {
    /// `enabled` or `disabling`.
    pub state: String,
    /// Whether it may be written here.
    #[serde(default)]
    pub primary: bool,
}

/// `rbd mirror image status`. Late by up to half a minute, and rosy: decide nothing by it that `rbd info` can tell.
#[derive(Clone, Debug, Deserialize)]
pub struct MirrorStatus {
    /// This side, as its own rbd-mirror tells.
    pub state: State,
    /// What it adds.
    pub description: String,
    /// The other side, as its rbd-mirror tells; empty before it was heard of.
    #[serde(default)]
    pub peer_sites: Vec<PeerSite>,
}

impl MirrorStatus {
    /// Whether both sides have stepped down and nothing is under way between them.
    pub fn drained(&self) -> bool {
        let rests = |state: &State| state.daemon == Daemon::Up && state.word == Word::Unknown;
        rests(&self.state)
            && !self.peer_sites.is_empty()
            && self.peer_sites.iter().all(|p| rests(&p.state))
    }

    /// How replaying goes on this side.
    pub fn replay(&self) -> Option<Replay> {
        Replay::read(&self.description)
    }
}

/// The other side in `rbd mirror image status`.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerSite {
    /// The name it goes by.
    pub site_name: String,
    /// Its state.
    pub state: State,
    /// What it adds.
    pub description: String,
}

/// A state such as `up+replaying`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub struct State {
    /// Whether the side's rbd-mirror reports.
    pub daemon: Daemon,
    /// What it reported last.
    pub word: Word,
}

/// Whether an rbd-mirror reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It did within the last half a minute.
    Up,
    /// It did not.
    Down,
}

/// What an rbd-mirror reports of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing to replay from: neither side is primary; or nothing is known.
    Unknown,
    /// It follows a primary.
    Replaying,
    /// It does not follow: it is the primary.
    Stopped,
    /// It cannot go on, as after a split brain.
    Error,
    /// Anything else, on the way from one to another.
    Other(String),
}

impl From<String> for State {
    fn from(text: String) -> Self {
        let (daemon, word) = text.split_once('+').unwrap_or(("down", &text));
        let daemon = if daemon == "up" {
            Daemon::Up
        } else {
            Daemon::Down
        };
        let word = match word {
            "unknown" => Word::Unknown,
            "replaying" => Word::Replaying,
            "stopped" => Word::Stopped,
            "error" => Word::Error,
            other => Word::Other(other.to_owned()),
        };
        Self { daemon, word }
    }
}

/// The figures in the description of a side that replays.
#[derive(Clone, Debug, Deserialize)]
pub struct Replay {
    /// `idle` or `syncing`.
    #[serde(default)]
    pub replay_state: String,
    /// When the content of this side was current, in seconds since 1970; 0 or none before the first copy.
    #[serde(default)]
    pub local_snapshot_timestamp: i64,
    /// What the last copy took, in seconds.
    #[serde(default)]
    pub last_snapshot_sync_seconds: i64,
    /// What the last copy moved, in bytes.
    #[serde(default)]
    pub last_snapshot_bytes: i64,
}

impl Replay {
    /// Reads them from a text such as `replaying, {"replay_state":"idle",...}`.
    pub fn read(description: &str) -> Option<Self> {
        let at = description.find('{')?;
        serde_json::from_str(description.get(at..)?).ok()
    }
}

/// `rbd snap ls --all`.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    /// Its number within the pool; later ones have higher ones.
    pub id: u64,
    /// What it is for.
    pub namespace: SnapshotNamespace,
}

/// What a snapshot is for.
#[derive(Clone, Debug, Deserialize)]
pub struct SnapshotNamespace {
    /// `mirror`, or another kind that mirroring has nothing to do with.
    #[serde(rename = "type")]
    pub kind: String,
    /// `primary`, `demoted` or `non-primary`.
    #[serde(default)]
    pub state: String,
    /// Whether all of its content has been copied.
    #[serde(default)]
    pub complete: bool,
    /// The snapshot of the other side that it is a copy of.
    pub primary_snap_id: Option<u64>,
    /// For whom a snapshot of the primary is still kept.
    #[serde(default)]
    pub mirror_peer_uuids: Vec<String>,
    /// Who made that one; empty in what is left of a promotion by force that was cut short.
    #[serde(default)]
    pub primary_mirror_uuid: String,
}

/// The snapshot that a copy was in the middle of being brought to, if it was: of the mirror snapshots, the newest, incomplete.
///
/// Promoted by force, such an image goes back to the last complete snapshot. That one holds the content from before its *own* copy,
/// so the image silently becomes older than the last good copy, and all zeros if it was the first.
pub fn incomplete_copy(snapshots: &[Snapshot]) -> Option<&Snapshot> {
    let copies = snapshots.iter().filter(|s| s.namespace.kind == "mirror");
    let newest = copies.max_by_key(|s| s.id)?;
    let Snapshot { id: _, namespace } = newest;
    let copy = namespace.primary_snap_id.is_some() && !namespace.primary_mirror_uuid.is_empty();
    (copy && !namespace.complete).then_some(newest)
}

/// Of the snapshots of a side that was primary, the last one that the other side is known to have: the oldest that is kept for it.
pub(super) fn kept_for_peer(snapshots: &[Snapshot]) -> Option<&Snapshot> {
    let kept = |n: &SnapshotNamespace| n.kind == "mirror" && !n.mirror_peer_uuids.is_empty();
    let kept = snapshots.iter().filter(|s| kept(&s.namespace));
    kept.min_by_key(|s| s.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots(json: &str) -> Vec<Snapshot> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_copy_in_the_middle_is_told_from_one_that_is_done() {
        let done = r#"{"id":4,"namespace":{"type":"mirror","state":"non-primary","primary_mirror_uuid":"u","primary_snap_id":9,"complete":true}}"#;
        let half = r#"{"id":7,"namespace":{"type":"mirror","state":"non-primary","primary_mirror_uuid":"u","primary_snap_id":12,"complete":false}}"#;
        let by_hand = r#"{"id":8,"namespace":{"type":"user"}}"#;
        assert!(incomplete_copy(&snapshots(&format!("[{done},{by_hand}]"))).is_none());
        let found = snapshots(&format!("[{half},{done},{by_hand}]"));
        assert_eq!(incomplete_copy(&found).map(|s| s.id), Some(7));
    }

    #[test]
    fn drained_is_both_sides_and_not_silence() {
        let status = |local: &str, peer: &str| {
            let text = format!(
                r#"{{"state":"{local}","description":"","peer_sites":[{{"site_name":"b","state":"{peer}","description":""}}]}}"#
            );
            serde_json::from_str::<MirrorStatus>(&text).unwrap()
        };
        assert!(status("up+unknown", "up+unknown").drained());
        assert!(!status("up+unknown", "down+unknown").drained());
        assert!(!status("up+replaying", "up+stopped").drained());
        let alone: MirrorStatus =
            serde_json::from_str(r#"{"state":"up+unknown","description":""}"#).unwrap();
        assert!(!alone.drained(), "of the other side nothing is known");
    }

    #[test]
    fn the_figures_of_a_replay_are_read_after_the_words() {
        let text = r#"replaying, {"last_snapshot_bytes":67108864,"last_snapshot_sync_seconds":2,"local_snapshot_timestamp":1795162460,"replay_state":"idle"}"#;
        let replay = Replay::read(text).unwrap();
        assert_eq!(replay.local_snapshot_timestamp, 1_795_162_460);
        assert_eq!(replay.last_snapshot_bytes, 67_108_864);
        assert!(Replay::read("local image is primary").is_none());
    }
}
