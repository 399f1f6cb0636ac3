//! DROwnership: on a managed cluster, who may write a placement's volumes, and since which epoch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
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
    /// What this cluster held that never reached the one that took over, claim by claim; a resync throws it away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["claim".into(), "epoch".into()]))]
    pub divergence: Vec<Divergence>,
    /// `Accepted`: whether the agent follows this record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What one volume held that never reached the cluster that took over.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// The claim, in the namespace of this record.
    pub claim: String,
    /// The epoch at which its copy was ordered to be taken anew.
    pub epoch: i64,
    /// When the driver was asked.
    pub measured_at: Time,
    /// How many bytes. Absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The name by which the driver was asked for an independent copy, written before it was asked. Without `kept`: it may have
    /// made one all the same, which is in no record but by this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_name: Option<String>,
    /// The independent copy that was made before it was thrown away. Absent: none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptCopy>,
    /// Earlier copies that another took the place of, until they are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<KeptCopy>,
}

/// An independent copy of a volume as it was before a resync. Only the agent drops it, when its time is over; without this
/// record it stays until somebody deletes it on the storage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptCopy {
    /// Name of the driver that has it.
    pub driver: String,
    /// What the driver calls it.
    pub volume_handle: String,
    /// The size of the volume in bytes: what the copy takes at most.
    pub bytes: i64,
    /// When it was made.
    pub kept_at: Time,
    /// When it is dropped.
    pub keep_until: Time,
    /// Since when it is being dropped: from then on it is not counted on any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropping_since: Option<Time>,
    /// When it was dropped. Absent: it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_at: Option<Time>,
    /// Where the credentials are that the driver wants for dropping it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeptSecret>,
}

/// A Secret on this cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
