//! The kinds that are watched on a cluster, and whom a change of each concerns.

use super::rows::{
    AttachmentRow, ClaimRow, DeploymentRow, NamespaceRow, OwnershipRow, PodRow,
    ReplicationClassRow, ReplicationRow, StatefulSetRow, StorageClassRow, VolumeRow,
};
use super::table::{Key, Row, Table};

/// Everything that is watched, by kind.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) claims: Table<ClaimRow>,
    pub(crate) volumes: Table<VolumeRow>,
    pub(crate) replications: Table<ReplicationRow>,
    pub(crate) ownerships: Table<OwnershipRow>,
    pub(crate) deployments: Table<DeploymentRow>,
    pub(crate) stateful_sets: Table<StatefulSetRow>,
    pub(crate) pods: Table<PodRow>,
    pub(crate) attachments: Table<AttachmentRow>,
    pub(crate) storage_classes: Table<StorageClassRow>,
    pub(crate) replication_classes: Table<ReplicationClassRow>,
    pub(crate) namespaces: Table<NamespaceRow>,
}

/// Whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    Cluster,
    Namespace(String),
    Placement(String),
}

/// A row with a table of its own.
pub(crate) trait Kept: Row + Clone {
    /// The kind, for people.
    const KIND: &'static str;
    fn table(tables: &mut Tables) -> &mut Table<Self>;
    fn touch(key: &Key, row: &Self, tables: &Tables) -> Touch;
}

macro_rules! kept {
    ($row:ty, $field:ident, $kind:literal, $touch:expr) => {
        impl Kept for $row {
            const KIND: &'static str = $kind;
            fn table(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
            fn touch(key: &Key, row: &Self, tables: &Tables) -> Touch {
                let touch: fn(&Key, &Self, &Tables) -> Touch = $touch;
                touch(key, row, tables)
            }
        }
    };
}
fn by_namespace<R>(key: &Key, _: &R, _: &Tables) -> Touch {
    Touch::Namespace(key.0.clone())
}
fn by_cluster<R>(_: &Key, _: &R, _: &Tables) -> Touch {
    Touch::Cluster
}
fn by_claim(volume: Option<&VolumeRow>) -> Touch {
    let claim = volume.and_then(|row| row.claim.as_ref());
    // A volume without a claim concerns nobody: the empty namespace is no placement's.
    Touch::Namespace(
        claim
            .map(|(namespace, _)| namespace.clone())
            .unwrap_or_default(),
    )
}
kept!(ClaimRow, claims, "PersistentVolumeClaims", by_namespace);
kept!(
    ReplicationRow,
    replications,
    "VolumeReplications",
    by_namespace
);
kept!(OwnershipRow, ownerships, "DROwnerships", by_namespace);
kept!(DeploymentRow, deployments, "Deployments", by_namespace);
kept!(StatefulSetRow, stateful_sets, "StatefulSets", by_namespace);
kept!(PodRow, pods, "Pods", by_namespace);
kept!(
    StorageClassRow,
    storage_classes,
    "StorageClasses",
    by_cluster
);
kept!(
    ReplicationClassRow,
    replication_classes,
    "VolumeReplicationClasses",
    by_cluster
);
kept!(NamespaceRow, namespaces, "Namespaces", |key, _, _| {
    Touch::Namespace(key.1.clone())
});
kept!(VolumeRow, volumes, "PersistentVolumes", |_, row, _| {
    by_claim(Some(row))
});
kept!(
    AttachmentRow,
    attachments,
    "VolumeAttachments",
    |_, row, tables| by_claim(tables.volumes.get("", &row.volume))
);
