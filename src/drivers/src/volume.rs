//! What a call is about, and what it answers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use lifeboat_proto::replication as wire;
use wire::replication_source::{Type, VolumeGroupSource, VolumeSource};

/// Credentials for the driver. Their values never appear in `Debug` output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

/// Shorter values are looked for as whole words only: as parts of words they would be found in any text.
const SHORT: usize = 4;
/// What stands for a credential.
const HIDDEN: &str = "(hidden)";

impl Secrets {
    /// Credentials by key.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    /// A driver's words, without the credentials that it may have put into them: they end in statuses and logs.
    pub(crate) fn hide(&self, words: &str) -> String {
        let mut values: Vec<&str> = self.0.values().map(|value| value.trim()).collect();
        // The longest first: one may be a part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.retain(|value| !value.is_empty());
        values.into_iter().fold(words.to_owned(), |words, value| {
            if value.len() < SHORT {
                hide_word(&words, value)
            } else {
                words.replace(value, HIDDEN)
            }
        })
    }

    pub(crate) fn to_wire(&self) -> HashMap<String, String> {
        self.0.clone().into_iter().collect()
    }
}

/// Hides a value where it is not a part of a longer word or number.
fn hide_word(words: &str, value: &str) -> String {
    let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (mut hidden, mut rest) = (String::new(), words);
    let mut before = None;
    while let Some((head, tail)) = rest.split_once(value) {
        hidden.push_str(head);
        let whole = !joins(head.chars().next_back().or(before)) && !joins(tail.chars().next());
        hidden.push_str(if whole { HIDDEN } else { value });
        before = value.chars().next_back();
        rest = tail;
    }
    hidden + rest
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} keys)", self.0.len())
    }
}

/// What is replicated: one volume, or a group as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A volume, by its handle.
    Volume(String),
    /// A group, by its handle.
    Group(String),
}

impl Source {
    /// The handle.
    pub fn handle(&self) -> &str {
        match self {
            Self::Volume(handle) | Self::Group(handle) => handle,
        }
    }

    /// Older drivers read only this field; newer ones reserve it. A group has none.
    pub(crate) fn volume_id(&self) -> String {
        match self {
            Self::Volume(handle) => handle.clone(),
            Self::Group(_) => String::new(),
        }
    }

    pub(crate) fn to_wire(&self) -> wire::ReplicationSource {
        let kind = match self {
            Self::Volume(handle) => Type::Volume(VolumeSource {
                volume_id: handle.clone(),
            }),
            Self::Group(handle) => Type::Volumegroup(VolumeGroupSource {
                volume_group_id: handle.clone(),
            }),
        };
        wire::ReplicationSource { r#type: Some(kind) }
    }
}

/// Everything a call about a volume carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What is replicated.
    pub source: Source,
    /// The class's parameters, without those reserved for the controller.
    pub parameters: BTreeMap<String, String>,
    /// Credentials.
    pub secrets: Secrets,
    /// Identifier of the replication, from the object's spec; empty when it has none.
    pub replication_id: String,
}

impl Volume {
    pub(crate) fn parameters_to_wire(&self) -> HashMap<String, String> {
        self.parameters.clone().into_iter().collect()
    }
}

/// Whether a call may override the driver's objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Force {
    /// It may not.
    No,
    /// It may: data that only the peer holds is given up.
    Yes,
}

impl Force {
    pub(crate) fn to_wire(self) -> bool {
        self == Self::Yes
    }
}

/// The answer to a resync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The volume is in step with its peer.
    Ready,
    /// Not yet, or not known to be.
    NotReady,
}

/// How replication of a primary goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The driver cannot tell.
    Unknown,
    /// Data reaches the peer.
    Healthy,
    /// It does not, or not well.
    Degraded,
    /// It does not, and will not by itself.
    Error,
}

/// What the driver knows about the replication of a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The peer holds the content of this time.
    pub last_sync: Option<Timestamp>,
    /// How long the last copy took.
    pub duration: Option<SignedDuration>,
    /// How many bytes it moved.
    pub bytes: Option<i64>,
    /// How it goes.
    pub health: Health,
    /// The driver's words.
    pub message: String,
}

impl Info {
    pub(crate) fn from_wire(answer: wire::GetVolumeReplicationInfoResponse) -> Self {
        use wire::get_volume_replication_info_response::Status;
        let health = match answer.status() {
            Status::Unknown => Health::Unknown,
            Status::Healthy => Health::Healthy,
            Status::Degraded => Health::Degraded,
            Status::Error => Health::Error,
        };
        // A driver without a sync yet may send the zero time: that is no time at all.
        let last_sync = answer
            .last_sync_time
            .filter(|t| t.seconds > 0)
            .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok());
        let bytes =
            (last_sync.is_some() || answer.last_sync_bytes != 0).then_some(answer.last_sync_bytes);
        Self {
            last_sync,
            duration: answer
                .last_sync_duration
                .map(|d| SignedDuration::new(d.seconds, d.nanos)),
            bytes,
            health,
            message: answer.status_message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_says_has_no_credential_in_it() {
        let all = [
            ("id", "admin"),
            ("key", "admin-s3cret"),
            ("pool", "7"),
            ("pin", "aa"),
            ("empty", ""),
        ];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let secrets = Secrets::new(BTreeMap::from(all));
        assert_eq!(
            secrets.hide("user admin with key admin-s3cret was refused by pool=7"),
            "user (hidden) with key (hidden) was refused by pool=(hidden)"
        );
        // A short one is nothing of a longer word, be it twice in it.
        let harmless = "rbd: image 17 of 78 in bazaar, aaa and aaaa: ret=-77";
        assert_eq!(secrets.hide(harmless), harmless);
        assert_eq!(
            secrets.hide("7:aa,\"aa\""),
            "(hidden):(hidden),\"(hidden)\""
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets = Secrets::new(BTreeMap::from([("userKey".into(), "hunter2".into())]));
        let volume = Volume {
            source: Source::Volume("h".into()),
            parameters: BTreeMap::new(),
            secrets,
            replication_id: String::new(),
        };
        assert!(!format!("{volume:?}").contains("hunter2"));
    }

    #[test]
    fn the_zero_time_is_no_time() {
        let zero = wire::GetVolumeReplicationInfoResponse {
            last_sync_time: Some(prost_types::Timestamp {
                seconds: 0,
                nanos: 0,
            }),
            ..Default::default()
        };
        let info = Info::from_wire(zero);
        assert_eq!((info.last_sync, info.bytes), (None, None));
    }
}
