//! Names with a meaning, so that one cannot be taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of a DRCluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// Takes the name as it stands; the API server has checked its form.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fencing token: goes up by one with each change of owner. Zero means that there was never an owner.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A request to throw copies away and take the owner's data: the how manieth of an epoch, from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResyncRequest {
    /// The epoch.
    pub epoch: Epoch,
    /// Its number.
    pub number: u32,
}

impl ResyncRequest {
    /// The first one of an epoch.
    pub fn first(epoch: Epoch) -> Self {
        Self { epoch, number: 1 }
    }
}

/// A claim, by the namespace it has where the policy names no other (the home namespace) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// Home namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ClaimKey {
    /// Both parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A workload: its kind, home namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    /// `Deployment` or `StatefulSet`.
    pub kind: String,
    /// Home namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// Keys of maps are written as their text, so that a snapshot is plain JSON.
macro_rules! as_text {
    ($t:ty, $n:literal, $($field:ident),+) => {
        impl Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let mut parts = text.splitn($n, '/').map(str::to_owned);
                Ok(Self { $($field: parts.next().ok_or_else(|| serde::de::Error::custom("a part is missing"))?),+ })
            }
        }
    };
}
as_text!(ClaimKey, 2, namespace, name);
as_text!(WorkloadKey, 3, kind, namespace, name);
