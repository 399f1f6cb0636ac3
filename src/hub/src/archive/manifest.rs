//! A capture as compressed parts, and the manifest that names them.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use lifeboat_capture::{Capture, Fingerprint};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ArchiveError;

/// Format of a manifest; a reader refuses any other.
pub(super) const FORMAT: &str = "lifeboat.dev/capture-manifest/v1";

/// What a version holds, written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format.
    pub format: String,
    /// The number of this version.
    pub version: u64,
    /// `namespace/name` of the placement.
    pub placement: String,
    /// Its uid.
    pub placement_uid: String,
    /// The cluster that owned the application.
    pub source_cluster: String,
    /// The ownership epoch.
    pub epoch: u64,
    /// When the capture was taken.
    pub taken_at: Timestamp,
    /// Hash of what the capture says.
    pub fingerprint: Fingerprint,
    /// The claims in it, `namespace/name`.
    pub volumes: Vec<String>,
    /// Its parts, in order.
    pub chunks: Vec<Part>,
    /// Size of all parts together.
    pub size: u64,
    /// Size of the capture before compression.
    pub json_size: u64,
    /// Checksum of all parts together.
    pub sha256: String,
}

/// One part of a compressed capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// Name of the object that holds it.
    pub name: String,
    /// Its checksum.
    pub sha256: String,
    /// Its size.
    pub size: u64,
}

/// A version ready to be written: the parts first, then the manifest.
pub(super) struct Packed {
    pub(super) manifest: Manifest,
    pub(super) parts: Vec<Vec<u8>>,
}

/// Compresses a capture and cuts it into parts of at most `chunk_size` bytes.
pub(super) fn pack(
    capture: &Capture,
    version: u64,
    chunk_size: usize,
    part_name: impl Fn(usize) -> String,
) -> Result<Packed, ArchiveError> {
    let placement = || capture.placement.clone();
    let json = capture.to_json().map_err(|source| ArchiveError::Record {
        placement: placement(),
        source: Box::new(source),
    })?;
    let compressed = compress(&json).map_err(|source| ArchiveError::Pack {
        placement: placement(),
        source,
    })?;
    let parts: Vec<Vec<u8>> = compressed
        .chunks(chunk_size.max(1))
        .map(<[u8]>::to_vec)
        .collect();
    let chunks = parts.iter().enumerate().map(|(i, part)| Part {
        name: part_name(i),
        sha256: sha256(part),
        size: part.len() as u64,
    });
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version,
        placement: placement(),
        placement_uid: capture.placement_uid.clone(),
        source_cluster: capture.source_cluster.clone(),
        epoch: capture.epoch,
        taken_at: capture.taken_at,
        fingerprint: capture.fingerprint(),
        volumes: capture
            .volumes
            .iter()
            .map(|v| v.name().to_string())
            .collect(),
        chunks: chunks.collect(),
        size: compressed.len() as u64,
        json_size: json.len() as u64,
        sha256: sha256(&compressed),
    };
    Ok(Packed { manifest, parts })
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Decompresses what should be `size` bytes, and never more than that.
pub(super) fn decompress(bytes: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    GzDecoder::new(bytes)
        .take(size.saturating_add(1))
        .read_to_end(&mut out)?;
    if out.len() as u64 == size {
        Ok(out)
    } else {
        Err(std::io::Error::other(
            "not of the size that the manifest says",
        ))
    }
}

/// Checksum in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
