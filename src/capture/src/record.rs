//! The portable record of an application: its volumes, its workloads and what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::mapping::Marks;
use crate::object::{describe, name};
use crate::{names, scrub};

/// Everything needed to make an application anew on another cluster, except its data.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// The version of this format, [`names::FORMAT`].
    pub format: String,
    /// Uid of the placement.
    pub placement_uid: String,
    /// `namespace/name` of the placement.
    pub placement: String,
    /// The cluster that owned the application.
    pub source_cluster: String,
    /// The ownership epoch it was taken in.
    pub epoch: u64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The protected volumes.
    pub volumes: Vec<VolumeRecord>,
    /// The workloads that use them.
    pub workloads: Vec<WorkloadRecord>,
    /// `ConfigMaps`, Secrets, Services and `ServiceAccounts` that the workloads need.
    pub supporting: Vec<Value>,
}

/// A claim with its volume.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the claim.
    pub claim: String,
    /// The driver's handle of the volume on the source.
    pub handle: String,
    /// The CSI driver.
    pub driver: String,
    /// The driver's handle of the replicated image on the target, where it says that it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_handle: Option<String>,
    /// The claim, scrubbed.
    pub pvc: Value,
    /// The volume, scrubbed, with the reclaim policy that the user chose.
    pub pv: Value,
}

/// A workload and how many replicas to start it with.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRecord {
    /// The workload, scrubbed.
    pub object: Value,
    /// Replicas to start with.
    pub replicas: i32,
}

/// Namespace and name of a claim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Hash of what a capture says, the same for two captures that would restore the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The hash in lower-case hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a capture cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not JSON, or not of the form of a capture.
    #[error("the capture cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The capture cannot be written as JSON.
    #[error("the capture cannot be written")]
    Unwritable(#[source] serde_json::Error),
    /// Of a format this version does not know.
    #[error("the capture has format {found}, this version reads {}", names::FORMAT)]
    Format {
        /// The format found.
        found: String,
    },
    /// Two volumes of the capture would be one and the same, or fight over one claim.
    #[error("claims {first} and {second} have the same {what}")]
    Twice {
        /// The first claim.
        first: ClaimName,
        /// The second claim.
        second: ClaimName,
        /// What they share.
        what: &'static str,
    },
}

impl Capture {
    /// An empty capture, to be filled.
    pub fn new(marks: &Marks, source_cluster: impl Into<String>, taken_at: Timestamp) -> Self {
        Self {
            format: names::FORMAT.to_owned(),
            placement_uid: marks.placement_uid.clone(),
            placement: marks.placement.clone(),
            source_cluster: source_cluster.into(),
            epoch: marks.epoch,
            taken_at,
            volumes: Vec::new(),
            workloads: Vec::new(),
            supporting: Vec::new(),
        }
    }

    /// Hash over everything but the time it was taken, in an order of its own: the order in which objects were read,
    /// and what the API server rewrites without a change of meaning, do not count.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut parts = vec![
            format!("format:{}", self.format),
            format!("placement:{}:{}", self.placement_uid, self.placement),
            format!("owner:{}:{}", self.source_cluster, self.epoch),
        ];
        let volumes = self.volumes.iter().map(|v| {
            let (pvc, pv) = (canonical(&cleaned(&v.pvc)), canonical(&cleaned(&v.pv)));
            format!(
                "volume:{}:{:?}:{}:{}:{pvc}:{pv}",
                v.name(),
                v.destination_handle,
                v.driver,
                v.handle
            )
        });
        parts.extend(volumes);
        parts.extend(
            self.workloads
                .iter()
                .map(|w| format!("workload:{}:{}", w.replicas, canonical(&cleaned(&w.object)))),
        );
        parts.extend(
            self.supporting
                .iter()
                .map(|s| format!("supporting:{}", canonical(&cleaned(s)))),
        );
        parts.sort();
        let mut hash = Sha256::new();
        for part in parts {
            // The length keeps two parts from running into each other.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Fingerprint(format!("{:x}", hash.finalize()))
    }

    /// Claims that are expected but not in this capture: restoring it would start the application without them.
    pub fn missing(&self, expected: &BTreeSet<ClaimName>) -> BTreeSet<ClaimName> {
        let here: BTreeSet<ClaimName> = self.volumes.iter().map(VolumeRecord::name).collect();
        expected.difference(&here).cloned().collect()
    }

    /// Checks the format, and that no two volumes share a claim, a `PersistentVolume` or an image.
    pub fn validate(&self) -> Result<(), RecordError> {
        if self.format != names::FORMAT {
            return Err(RecordError::Format {
                found: self.format.clone(),
            });
        }
        let mut seen: BTreeMap<(&'static str, String), &VolumeRecord> = BTreeMap::new();
        for volume in &self.volumes {
            let image = volume.destination_handle.as_ref().unwrap_or(&volume.handle);
            let keys = [
                ("name", volume.name().to_string()),
                ("PersistentVolume", name(&volume.pv).to_owned()),
                (
                    "volume handle",
                    format!("{} {}", volume.driver, volume.handle),
                ),
                (
                    "volume handle on the target",
                    format!("{} {image}", volume.driver),
                ),
            ];
            for (what, key) in keys {
                if let Some(first) = seen.insert((what, key), volume) {
                    return Err(RecordError::Twice {
                        first: first.name(),
                        second: volume.name(),
                        what,
                    });
                }
            }
        }
        Ok(())
    }

    /// The capture as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, RecordError> {
        serde_json::to_vec(self).map_err(RecordError::Unwritable)
    }

    /// Reads and validates a capture from JSON. An unknown format is told apart from an unreadable one.
    pub fn from_json(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(RecordError::Unreadable)?;
        if head.format != names::FORMAT {
            return Err(RecordError::Format { found: head.format });
        }
        let capture: Self = serde_json::from_slice(bytes).map_err(RecordError::Unreadable)?;
        capture.validate()?;
        Ok(capture)
    }
}

impl VolumeRecord {
    /// Namespace and name of the claim.
    pub fn name(&self) -> ClaimName {
        ClaimName {
            namespace: self.namespace.clone(),
            name: self.claim.clone(),
        }
    }
}

fn cleaned(object: &Value) -> Value {
    let mut out = object.clone();
    scrub::common(&mut out);
    out
}

/// JSON with sorted keys, whatever the map type that `serde_json` was built with.
fn canonical(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let fields = sorted
                .into_iter()
                .map(|(k, v)| format!("{}:{}", Value::from(k.as_str()), canonical(v)));
            format!("{{{}}}", list(fields.collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(canonical).collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

// Captures hold Secrets, and environment variables of workloads often do: only names are ever shown.

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let supporting: Vec<String> = self.supporting.iter().map(describe).collect();
        f.debug_struct("Capture")
            .field("placement", &self.placement)
            .field("placement_uid", &self.placement_uid)
            .field("source_cluster", &self.source_cluster)
            .field("epoch", &self.epoch)
            .field("taken_at", &self.taken_at)
            .field("volumes", &self.volumes)
            .field("workloads", &self.workloads)
            .field("supporting", &supporting)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VolumeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeRecord")
            .field("claim", &format_args!("{}/{}", self.namespace, self.claim))
            .field("driver", &self.driver)
            .field("handle", &self.handle)
            .field("destination_handle", &self.destination_handle)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkloadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WorkloadRecord({}, {} replicas)",
            describe(&self.object),
            self.replicas
        )
    }
}
