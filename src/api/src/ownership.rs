//! DROwnership: on a managed cluster, who may write a placement's volumes, and since which epoch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// DROwnership says which cluster owns a placement, and at which epoch.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "lifeboat.dev",
    version = "v1alpha1",
    kind = "DROwnership",
    plural = "drownerships",
    singular = "drownership",
    shortname = "dro",
    namespaced,
    status = "DROwnershipStatus",
    derive = "PartialEq",
    doc = "DROwnership says which cluster owns a placement, and since which epoch. The hub writes it; the agent promotes a volume only at the epoch it grants. An epoch never goes down.",
    printcolumn = r#"{"name":"Placement","type":"string","jsonPath":".spec.placement"}"#,
    printcolumn = r#"{"name":"Owner","type":"string","jsonPath":".spec.owner"}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".spec.epoch"}"#,
    printcolumn = r#"{"name":"Here","type":"string","jsonPath":".spec.cluster","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = kube::core::Rule::new("self.epoch >= oldSelf.epoch").message("an epoch never goes down: a newer owner is recorded here").reason(kube::core::Reason::FieldValueForbidden))]
#[x_kube(validation = kube::core::Rule::new("self.owner == oldSelf.owner || self.epoch > oldSelf.epoch").message("the owner changes only with a higher epoch").reason(kube::core::Reason::FieldValueForbidden))]
#[serde(rename_all = "camelCase")]
pub struct DROwnershipSpec {
    /// uid of the DRPlacement on the hub.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("placementUID is immutable"))]
    #[serde(rename = "placementUID")]
    pub placement_uid: String,
    /// `namespace/name` of the DRPlacement on the hub.
    pub placement: String,
    /// The cluster that this record was written to.
    pub cluster: String,
    /// uid of that cluster, which is the uid of its namespace kube-system. Where it is another, as after a restore from a backup
    /// of another cluster, the record grants nothing.
    #[serde(rename = "clusterUID")]
    pub cluster_uid: String,
    /// The cluster that may write the volumes.
    pub owner: String,
    /// Fencing token: goes up by one with each change of owner, and is never used twice.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// The epoch for which volumes may be promoted by force, because the loss was accepted. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_epoch: Option<i64>,
    /// The user's wish that led to this owner, so that a hub which lost its memory does not act on it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

/// What the agent made of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DROwnershipStatus {
    /// The highest epoch that the agent has seen and stored; a lower one is refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_epoch: Option<i64>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: whether the agent follows this record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
