//! DRCluster: a managed cluster, and what the hub knows of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{DriverState, NameRef, let_the_field_speak};

/// DRCluster registers a cluster with the hub.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "lifeboat.dev",
    version = "v1alpha1",
    kind = "DRCluster",
    plural = "drclusters",
    singular = "drcluster",
    shortname = "drc",
    status = "DRClusterStatus",
    derive = "PartialEq",
    doc = "DRCluster registers a cluster with the hub. Adding, changing or deleting one takes effect at once, without a restart.",
    printcolumn = r#"{"name":"Health","type":"string","jsonPath":".status.health"}"#,
    printcolumn = r#"{"name":"Region","type":"string","jsonPath":".spec.region"}"#,
    printcolumn = r#"{"name":"Reachable","type":"string","jsonPath":".status.conditions[?(@.type==\"Reachable\")].status"}"#,
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".status.conditions[?(@.type==\"AgentAlive\")].status"}"#,
    printcolumn = r#"{"name":"Last-Seen","type":"date","jsonPath":".status.lastProofOfLifeTime"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.kubernetesVersion","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DRClusterSpec {
    /// The Secret, in the hub's own namespace, whose key `kubeconfig` holds the credentials for this cluster. It may
    /// carry a token or a client certificate; commands, file references and unverified TLS are refused.
    pub kubeconfig_secret_ref: NameRef,
    /// The failure domain of the cluster. Clusters of one region are expected to fail together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How the cluster can be cut off from its storage. Not used in this release: the hub cuts nobody off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing: Option<Fencing>,
    /// Who works the VolumeReplications of the cluster. With Upstream the controllers of the CSI-Addons project stay in charge, no
    /// agent is needed, and no epoch is checked there, as the condition Guarded of the placements says. An agent that is started
    /// with --no-replication says Upstream by itself.
    #[serde(default)]
    pub replication: Replication,
    /// Set while the cluster is worked on: it is not taken for lost until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

/// Who works the VolumeReplications of a cluster.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transform = let_the_field_speak)]
pub enum Replication {
    /// Lifeboat's agent.
    #[default]
    Agent,
    /// The controllers of the CSI-Addons project.
    Upstream,
}

/// How a cluster can be cut off from its storage.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fencing {
    /// Address ranges of its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// NetworkFenceClass to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_fence_class: Option<String>,
}

/// A time of planned work.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// When it ends.
    pub until: Time,
}

/// What the hub knows of a cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DRClusterStatus {
    /// Unknown, Healthy, Suspect, Lost or Maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The signals that the health is read from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
    /// When the cluster last proved that it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proof_of_life_time: Option<Time>,
    /// Version of its API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// uid of its namespace kube-system: what tells two clusters apart, whatever they are called.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "clusterUID"
    )]
    pub cluster_uid: Option<String>,
    /// Its storage drivers, as its agent sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<DriverState>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Reachable, AgentAlive, DriversReady and Fenced. In this release Fenced is always False: the hub cuts nobody off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One sign of life.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// ApiServer or Agent.
    pub name: String,
    /// Up, Down, AuthError or Unknown.
    pub state: String,
    /// Since when it has been in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
