//! The kinds that are watched on a cluster, and whom a change of each concerns.

use std::collections::BTreeSet;

use super::rows::{
    AttachmentRow, ClaimRow, DeploymentRow, Labels, NamespaceRow, OwnershipRow, PodRow,
    ReplicationClassRow, ReplicationRow, StatefulSetRow, StorageClassRow, VolumeRow, WorkloadRow,
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

/// Whom a change concerns, besides the placement whose mark the object carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    Cluster,
    Namespace(String),
    /// Whoever selects a claim with these labels in that namespace.
    Claim(String, Labels),
    /// Whoever selects a workload with these labels in that namespace.
    Workload(String, Labels),
    /// By uid.
    Placement(String),
    /// By name.
    Named(String),
}

/// A row with a table of its own.
pub(crate) trait Kept: Row + Clone {
    /// The kind, for people.
    const KIND: &'static str;
    fn table(tables: &mut Tables) -> &mut Table<Self>;
    /// Adds whom a row concerns that came, went or changed. The tables are those after the change.
    fn touch(key: &Key, row: &Self, tables: &Tables, all: &mut BTreeSet<Touch>);
}

macro_rules! kept {
    ($row:ty, $field:ident, $kind:literal, $touch:expr) => {
        impl Kept for $row {
            const KIND: &'static str = $kind;
            fn table(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
            fn touch(key: &Key, row: &Self, tables: &Tables, all: &mut BTreeSet<Touch>) {
                let touch: fn(&Key, &Self, &Tables, &mut BTreeSet<Touch>) = $touch;
                touch(key, row, tables, all);
            }
        }
    };
}

fn by_cluster<R>(_: &Key, _: &R, _: &Tables, all: &mut BTreeSet<Touch>) {
    all.insert(Touch::Cluster);
}

fn by_workload(key: &Key, row: &WorkloadRow, all: &mut BTreeSet<Touch>) {
    all.insert(Touch::Workload(key.0.clone(), row.labels.clone()));
}

/// Whoever looks at a claim: it is selected, or carries a mark, or its replication or a volume of it does.
fn by_claim(claim: &Key, tables: &Tables, all: &mut BTreeSet<Touch>) {
    let row = tables.claims.get(&claim.0, &claim.1);
    if let Some(row) = row {
        all.insert(Touch::Claim(claim.0.clone(), row.labels.clone()));
    }
    let replication = tables.replications.get(&claim.0, &claim.1);
    let volumes = tables.volumes.linked(claim).map(|(_, volume)| volume.uid());
    let marks = volumes
        .chain([row.and_then(Row::uid), replication.and_then(Row::uid)])
        .flatten();
    all.extend(marks.map(|uid| Touch::Placement(uid.to_owned())));
}

/// Whoever looks at a claim that names the volume.
fn by_volume(volume: &str, tables: &Tables, all: &mut BTreeSet<Touch>) {
    let name = (String::new(), volume.to_owned());
    for (claim, _) in tables.claims.linked(&name) {
        by_claim(claim, tables, all);
    }
}

kept!(
    ClaimRow,
    claims,
    "PersistentVolumeClaims",
    |key, row, tables, all| {
        // What it was selected by before counts too: whoever does not select it any more must see that.
        all.insert(Touch::Claim(key.0.clone(), row.labels.clone()));
        by_claim(key, tables, all);
    }
);
kept!(
    ReplicationRow,
    replications,
    "VolumeReplications",
    |key, _, tables, all| by_claim(key, tables, all)
);
kept!(
    OwnershipRow,
    ownerships,
    "DROwnerships",
    |_, row, _, all| {
        all.insert(Touch::Named(row.placement.clone()));
    }
);
kept!(
    DeploymentRow,
    deployments,
    "Deployments",
    |key, row, _, all| by_workload(key, &row.0, all)
);
kept!(
    StatefulSetRow,
    stateful_sets,
    "StatefulSets",
    |key, row, _, all| by_workload(key, &row.0, all)
);
kept!(PodRow, pods, "Pods", |key, row, tables, all| {
    for claim in &row.claims {
        by_claim(&(key.0.clone(), claim.clone()), tables, all);
    }
});
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
kept!(NamespaceRow, namespaces, "Namespaces", |key, _, _, all| {
    all.insert(Touch::Namespace(key.1.clone()));
});
kept!(
    VolumeRow,
    volumes,
    "PersistentVolumes",
    |key, row, tables, all| {
        if let Some(claim) = &row.claim {
            by_claim(claim, tables, all);
        }
        by_volume(&key.1, tables, all);
    }
);
kept!(
    AttachmentRow,
    attachments,
    "VolumeAttachments",
    |_, row, tables, all| {
        let volume = tables.volumes.get("", &row.volume);
        if let Some(claim) = volume.and_then(|v| v.claim.as_ref()) {
            by_claim(claim, tables, all);
        }
        by_volume(&row.volume, tables, all);
    }
);
