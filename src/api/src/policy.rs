//! DRPolicy: which clusters protect each other, and how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// DRPolicy says which clusters protect each other, and how.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "lifeboat.dev",
    version = "v1alpha1",
    kind = "DRPolicy",
    plural = "drpolicies",
    singular = "drpolicy",
    shortname = "drpol",
    status = "DRPolicyStatus",
    derive = "PartialEq",
    doc = "DRPolicy says which clusters protect each other, how much data may be lost, and what is done when a cluster is lost.",
    printcolumn = r#"{"name":"Clusters","type":"string","jsonPath":".spec.clusters"}"#,
    printcolumn = r#"{"name":"RPO","type":"string","jsonPath":".spec.rpo"}"#,
    printcolumn = r#"{"name":"RTO","type":"string","jsonPath":".spec.rto"}"#,
    printcolumn = r#"{"name":"Valid","type":"string","jsonPath":".status.conditions[?(@.type==\"Valid\")].status"}"#,
    printcolumn = r#"{"name":"Failover","type":"string","jsonPath":".spec.failover.mode","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DRPolicySpec {
    /// The clusters, best first: two or more names of DRClusters. A failover without a named target takes the first one
    /// that is fit.
    #[schemars(length(min = 2, max = 32), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = kube::core::Rule::new("self.all(c, self.exists_one(d, d == c))").message("a cluster is named twice"))]
    pub clusters: Vec<String>,
    /// How much work may be lost, such as `5m`: the age that the copy on the other side should not exceed. In this release
    /// it says how closely status.lastSyncTime follows the copies; nothing warns of an older copy.
    #[serde(default = "default_rpo")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    pub rpo: String,
    /// How long a failover should take, such as `15m`. Not used in this release; status.actions has what it took.
    #[serde(default = "default_rto")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    pub rto: String,
    /// Which VolumeReplicationClass protects the volumes of a storage class. A claim whose class is not listed cannot be
    /// protected.
    #[schemars(length(min = 1, max = 64))]
    pub classes: Vec<ClassRule>,
    /// Storage classes that go by another name on another cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage_class_mapping: Vec<NameMapping>,
    /// Namespaces that go by another name on another cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_mapping: Vec<NameMapping>,
    /// What to do when a cluster is lost.
    #[serde(default)]
    pub failover: FailoverPolicy,
}

/// Replication of one storage class.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassRule {
    /// Name of a StorageClass.
    pub storage_class_name: String,
    /// Name of the VolumeReplicationClass, the same on every cluster of the policy.
    pub volume_replication_class_name: String,
}

/// One name on one cluster. `from` is the name where the application was protected first.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameMapping {
    /// The cluster on which the other name is used.
    pub cluster: String,
    /// The name used elsewhere.
    pub from: String,
    /// The name used on that cluster.
    pub to: String,
}

/// What to do when a cluster is lost.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverPolicy {
    /// Disabled, Observe, Recommend or Automatic. In this release Disabled refuses every failover, and the others do the
    /// same: a lost cluster is reported, and people decide.
    #[serde(default)]
    pub mode: FailoverMode,
    /// How long a cluster must have been silent before it counts as lost. Not used in this release: --lost-after of the
    /// hub says it for all.
    #[serde(default = "default_grace")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    pub grace_period: String,
    /// Keeps what a lost cluster had written and never sent, before its copy is made anew from the new owner. Without it that is
    /// measured, where the driver can, and thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage: Option<Salvage>,
}

/// What is done with the data of a former primary before it is thrown away.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::common::let_the_field_speak)]
pub struct Salvage {
    /// How long an independent copy of it is kept on the cluster that had it, such as `168h`. status.divergence of the DRPlacement
    /// names it. A driver that can make no such copy holds the resync back.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    pub retention: String,
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        Self {
            mode: FailoverMode::default(),
            grace_period: default_grace(),
            salvage: None,
        }
    }
}

/// Who decides on a failover.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum FailoverMode {
    /// Nobody: a failover is refused.
    Disabled,
    /// A person; the hub notes what it would have done.
    Observe,
    /// A person; the hub says when it would advise one.
    #[default]
    Recommend,
    /// The hub.
    Automatic,
}

fn default_rpo() -> String {
    "5m".into()
}
fn default_rto() -> String {
    "15m".into()
}
fn default_grace() -> String {
    "60s".into()
}

/// Whether the policy can be followed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DRPolicyStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Valid`: every cluster and class that is named exists and fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
