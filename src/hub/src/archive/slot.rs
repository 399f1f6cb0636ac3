//! One version as it is kept: the Secrets it consists of, and everything there is to check about them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use lifeboat_capture::Capture;
use thiserror::Error;

use super::manifest::{self, Manifest, Part, decompress, sha256};

/// Label: uid of the placement that a Secret belongs to.
pub(crate) const LABEL: &str = "lifeboat.dev/capture";
/// Label: the version that a Secret is part of.
pub(super) const LABEL_VERSION: &str = "lifeboat.dev/capture-version";
/// Annotation: the epoch of the capture; on every part, so that a write under way is seen by an older hub.
pub(super) const EPOCH: &str = "lifeboat.dev/capture-epoch";
/// Annotation: checksum of the Secret's data.
pub(super) const SHA256: &str = "lifeboat.dev/sha256";
/// Type and data key of a part.
pub(super) const CHUNK: (&str, &str) = ("lifeboat.dev/capture-chunk", "chunk");
/// Type and data key of a manifest.
pub(super) const MANIFEST: (&str, &str) = ("lifeboat.dev/capture-manifest", "manifest");
const PREFIX: &str = "lifeboat-capture-";
const MANIFEST_SUFFIX: &str = "manifest";

/// What makes a version incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Flaw {
    /// An object is not there.
    #[error("Secret {name} is missing")]
    Missing {
        /// The object.
        name: String,
    },
    /// A part is shorter or longer than it was written.
    #[error("Secret {name} has {size} bytes instead of {expected}")]
    Truncated {
        /// The object.
        name: String,
        /// Its size.
        size: u64,
        /// Its size by the manifest.
        expected: u64,
    },
    /// A checksum does not match.
    #[error("Secret {name} was altered: its checksum does not match")]
    Altered {
        /// The object.
        name: String,
    },
    /// The manifest says something else than where it was found, or than the capture it describes.
    #[error("Secret {name} says {field} {found}, expected {expected}")]
    Contradiction {
        /// The object.
        name: String,
        /// What it contradicts.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The content makes no sense although it is as it was written.
    #[error("Secret {name} cannot be read: {why}")]
    Unreadable {
        /// The object.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Name of a part of a version.
pub(super) fn part_name(uid: &str, version: u64, index: usize) -> String {
    format!("{}-{index:04}", stem(uid, version))
}

/// Name of the manifest of a version.
pub(super) fn manifest_name(uid: &str, version: u64) -> String {
    format!("{}-{MANIFEST_SUFFIX}", stem(uid, version))
}

fn stem(uid: &str, version: u64) -> String {
    // The whole uid: two placements whose uids only begin alike would fight over the names for ever.
    format!("{PREFIX}{}-{version:08}", uid.to_ascii_lowercase())
}

/// The version and last element of a name given by [`part_name`] or [`manifest_name`].
pub(super) fn parse(name: &str) -> Option<(u64, &str)> {
    let (rest, last) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    let (_, version) = rest.rsplit_once('-')?;
    Some((version.parse().ok()?, last))
}

/// The Secrets of one version. No Debug: they hold captured Secrets.
#[derive(Default)]
pub(super) struct Slot {
    manifest: Option<Secret>,
    parts: BTreeMap<String, Secret>,
}

impl Slot {
    /// Adds a Secret; `last` is the last element of its name.
    pub(super) fn add(&mut self, last: &str, secret: Secret) {
        if last == MANIFEST_SUFFIX {
            self.manifest = Some(secret);
        } else {
            self.parts
                .insert(secret.metadata.name.clone().unwrap_or_default(), secret);
        }
    }

    /// Names of the Secrets, the manifest before the parts: a removal cut short then leaves no manifest that promises
    /// more than there is.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.manifest
            .iter()
            .chain(self.parts.values())
            .filter_map(|secret| secret.metadata.name.clone())
    }

    /// The epoch that the parts claim.
    pub(super) fn epoch(&self) -> Option<u64> {
        let claim = |secret: &Secret| annotation(secret, EPOCH)?.parse::<u64>().ok();
        self.manifest
            .iter()
            .chain(self.parts.values())
            .filter_map(claim)
            .max()
    }

    /// Checks everything there is to check and opens the capture.
    pub(super) fn open(&self, uid: &str, version: u64) -> Result<(Manifest, Capture), Flaw> {
        let manifest = self.manifest(uid, version)?;
        let name = manifest_name(uid, version);
        let mut whole = Vec::new();
        for (index, part) in manifest.chunks.iter().enumerate() {
            agree(&name, "part", &part.name, &part_name(uid, version, index))?;
            whole.extend_from_slice(self.part(part)?);
        }
        agree(&name, "size", manifest.size, whole.len() as u64)?;
        agree(&name, "sha256", &manifest.sha256, &sha256(&whole))?;
        let unreadable = |why: String| Flaw::Unreadable {
            name: name.clone(),
            why,
        };
        let json = decompress(&whole, manifest.json_size).map_err(|e| unreadable(e.to_string()))?;
        let capture =
            Capture::from_json(&json).map_err(|e| unreadable(lifeboat_kit::error::full(&e)))?;
        agree(
            &name,
            "uid",
            &manifest.placement_uid,
            &capture.placement_uid,
        )?;
        agree(&name, "placement", &manifest.placement, &capture.placement)?;
        agree(
            &name,
            "source cluster",
            &manifest.source_cluster,
            &capture.source_cluster,
        )?;
        agree(&name, "epoch", manifest.epoch, capture.epoch)?;
        agree(&name, "time", manifest.taken_at, capture.taken_at)?;
        agree(
            &name,
            "fingerprint",
            &manifest.fingerprint,
            &capture.fingerprint(),
        )?;
        let volumes: Vec<String> = capture
            .volumes
            .iter()
            .map(|v| v.name().to_string())
            .collect();
        agree(
            &name,
            "volumes",
            manifest.volumes.join(","),
            volumes.join(","),
        )?;
        Ok((manifest, capture))
    }

    fn manifest(&self, uid: &str, version: u64) -> Result<Manifest, Flaw> {
        let name = manifest_name(uid, version);
        let Some(secret) = &self.manifest else {
            return Err(Flaw::Missing { name });
        };
        agree(
            &name,
            "name",
            secret.metadata.name.as_deref().unwrap_or_default(),
            &name,
        )?;
        let Some(bytes) = data(secret, MANIFEST.1) else {
            return Err(Flaw::Missing {
                name: format!("{name} (its data)"),
            });
        };
        if annotation(secret, SHA256) != Some(sha256(bytes).as_str()) {
            return Err(Flaw::Altered { name });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| Flaw::Unreadable {
            name: name.clone(),
            why: e.to_string(),
        })?;
        agree(&name, "format", manifest.format.as_str(), manifest::FORMAT)?;
        agree(&name, "version", manifest.version, version)?;
        agree(&name, "uid", manifest.placement_uid.as_str(), uid)?;
        agree(
            &name,
            "version label",
            label(secret, LABEL_VERSION),
            &version.to_string(),
        )?;
        // Versions are ranked by what their parts claim, so the claim must be the manifest's.
        let claim = self.epoch().map(|e| e.to_string()).unwrap_or_default();
        agree(&name, "epoch", manifest.epoch.to_string(), claim)?;
        Ok(manifest)
    }

    fn part(&self, part: &Part) -> Result<&[u8], Flaw> {
        let name = part.name.clone();
        let bytes = self
            .parts
            .get(&name)
            .and_then(|secret| data(secret, CHUNK.1));
        let Some(bytes) = bytes else {
            return Err(Flaw::Missing { name });
        };
        if bytes.len() as u64 != part.size {
            return Err(Flaw::Truncated {
                name,
                size: bytes.len() as u64,
                expected: part.size,
            });
        }
        if sha256(bytes) != part.sha256 {
            return Err(Flaw::Altered { name });
        }
        Ok(bytes)
    }
}

/// That a manifest agrees with what is found elsewhere.
#[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
fn agree<T: PartialEq + ToString>(
    name: &str,
    field: &'static str,
    found: T,
    expected: T,
) -> Result<(), Flaw> {
    if found == expected {
        return Ok(());
    }
    Err(Flaw::Contradiction {
        name: name.to_owned(),
        field,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret
        .metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

fn label<'a>(secret: &'a Secret, key: &str) -> &'a str {
    secret
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(key))
        .map_or("", String::as_str)
}

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret
        .data
        .as_ref()?
        .get(key)
        .map(|bytes| bytes.0.as_slice())
}
