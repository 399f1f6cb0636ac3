//! The custom resources: what users write, what the programs answer, and what the CSI-Addons ecosystem defines.
//!
//! Invariants of this crate: it holds types and pure mappings, no I/O; a field's doc comment is what
//! `kubectl explain` shows, so it is written for users; every optional field is skipped when absent, so that an
//! apply never owns a `null`; conditions are list maps keyed by type.
#![allow(
    clippy::doc_markdown,
    reason = "the text is what `kubectl explain` prints, where a backtick is only noise"
)]
#![allow(
    unreachable_pub,
    reason = "the derive emits its own module around each kind"
)]

pub mod cluster;
pub mod common;
pub mod fence;
pub mod group;
pub mod names;
pub mod ownership;
pub mod placement;
pub mod policy;
pub mod replication;

pub use cluster::{DRCluster, DRClusterSpec, DRClusterStatus};
pub use fence::{NetworkFence, NetworkFenceClass};
pub use group::{
    VolumeGroupReplication, VolumeGroupReplicationClass, VolumeGroupReplicationContent,
};
pub use ownership::{
    DROwnership, DROwnershipSpec, DROwnershipStatus, Divergence, KeptCopy, KeptSecret,
};
pub use placement::{DRPlacement, DRPlacementSpec, DRPlacementStatus};
pub use policy::{DRPolicy, DRPolicySpec, DRPolicyStatus};
pub use replication::{VolumeReplication, VolumeReplicationClass};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The kinds that live on the hub.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![DRCluster::crd(), DRPolicy::crd(), DRPlacement::crd()]
}

/// The kinds that live on a managed cluster: ours, and our rendering of the CSI-Addons kinds.
pub fn spoke_crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![DROwnership::crd()];
    all.extend(csi_addons_crds());
    all
}

/// Our rendering of the CSI-Addons kinds. A cluster may have the project's own.
pub fn csi_addons_crds() -> Vec<CustomResourceDefinition> {
    let mut all = replication::crds();
    all.extend(group::crds());
    all.extend(fence::crds());
    all
}

/// Every kind.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = hub_crds();
    all.extend(spoke_crds());
    all
}

/// Every kind by the folder of `crds/` that `cargo xtask gen` writes it to.
pub fn crd_folders() -> [(&'static str, Vec<CustomResourceDefinition>); 3] {
    [
        ("hub", hub_crds()),
        ("spoke", vec![DROwnership::crd()]),
        ("csi-addons", csi_addons_crds()),
    ]
}
