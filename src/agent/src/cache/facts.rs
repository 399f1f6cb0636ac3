//! What is kept of an object: a few fields, not the whole of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use lifeboat_api::names;

use crate::view::Key;

/// What is kept of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimFacts {
    pub(crate) version: String,
    pub(crate) bound: bool,
    pub(crate) volume: String,
    pub(crate) deleting: bool,
    pub(crate) finalizers: Vec<String>,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl ClaimFacts {
    pub(crate) fn of(claim: &PersistentVolumeClaim) -> Self {
        let annotation = |key: &str| {
            claim
                .metadata
                .annotations
                .as_ref()
                .and_then(|a| a.get(key))
                .cloned()
        };
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        Self {
            version: claim.metadata.resource_version.clone().unwrap_or_default(),
            bound: phase == Some("Bound"),
            volume: claim
                .spec
                .as_ref()
                .and_then(|s| s.volume_name.clone())
                .unwrap_or_default(),
            deleting: claim.metadata.deletion_timestamp.is_some(),
            finalizers: claim.metadata.finalizers.clone().unwrap_or_default(),
            owner: annotation(names::VR_OWNER),
            group: annotation(names::VGR_OWNER),
            labels: claim.metadata.labels.clone().unwrap_or_default(),
        }
    }
}

/// What is kept of a persistent volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PvFacts {
    /// Driver and handle, if it is a CSI volume.
    pub(crate) csi: Option<(String, String)>,
    pub(super) claim: Option<Key>,
}

impl PvFacts {
    pub(super) fn of(pv: &PersistentVolume) -> Self {
        let spec = pv.spec.as_ref();
        let claim = spec.and_then(|s| s.claim_ref.as_ref());
        Self {
            csi: spec
                .and_then(|s| s.csi.as_ref())
                .map(|c| (c.driver.clone(), c.volume_handle.clone())),
            claim: claim.map(|c| {
                Key::new(
                    c.namespace.as_deref().unwrap_or_default(),
                    c.name.as_deref().unwrap_or_default(),
                )
            }),
        }
    }
}
