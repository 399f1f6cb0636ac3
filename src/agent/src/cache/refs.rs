//! What a VolumeReplication refers to.

use lifeboat_api::{VolumeReplication, names};

use crate::view::Key;

/// What a volume refers to.
pub(super) struct Refs {
    pub(super) class: String,
    pub(super) claim: Option<Key>,
    pub(super) group: Option<Key>,
    pub(super) ownership: Option<Key>,
}

pub(super) fn refers_to(key: &Key, volume: &VolumeReplication) -> Refs {
    let annotation = volume
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(names::OWNERSHIP));
    let source = Key::new(&key.namespace, &volume.spec.data_source.name);
    let (claim, group) = match SourceKind::of(volume) {
        SourceKind::Group => (None, Some(source)),
        SourceKind::Claim | SourceKind::Unsupported => (Some(source), None),
    };
    Refs {
        class: volume.spec.volume_replication_class.clone(),
        claim,
        group,
        ownership: annotation.map(|name| Key::new(&key.namespace, name)),
    }
}

/// What kind of thing a VolumeReplication is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    Claim,
    Group,
    Unsupported,
}

impl SourceKind {
    pub(crate) fn of(volume: &VolumeReplication) -> Self {
        let data = &volume.spec.data_source;
        match (
            data.kind.as_str(),
            data.api_group.as_deref().unwrap_or_default(),
        ) {
            ("PersistentVolumeClaim", "") => Self::Claim,
            ("VolumeGroupReplication", "replication.storage.openshift.io") => Self::Group,
            _ => Self::Unsupported,
        }
    }
}
