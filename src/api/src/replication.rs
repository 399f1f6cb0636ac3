//! VolumeReplication and its class, as the CSI-Addons ecosystem defines them: same group, fields, columns and rules,
//! in our own words. Nothing of ours is added but annotations (see [`crate::names`]).

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The CSI-Addons kinds that Lifeboat serves.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![VolumeReplication::crd(), VolumeReplicationClass::crd()]
}

/// The role a volume should have.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReplicationState {
    /// Writable here, copied to the peer.
    Primary,
    /// A read-only copy of the peer.
    Secondary,
    /// Throw the local copy away and take the peer's.
    Resync,
}

/// What is replicated.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct DataSource {
    /// API group of the source; empty for a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Kind of the source: PersistentVolumeClaim or VolumeGroupReplication.
    pub kind: String,
    /// Name of the source, in the namespace of the VolumeReplication.
    pub name: String,
}

/// VolumeReplication asks for the role of one volume.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "replication.storage.openshift.io",
    version = "v1alpha1",
    kind = "VolumeReplication",
    plural = "volumereplications",
    singular = "volumereplication",
    shortname = "vr",
    namespaced,
    status = "VolumeReplicationStatus",
    derive = "PartialEq",
    doc = "VolumeReplication asks for the role of one volume: primary, secondary or resync.",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"volumeReplicationClass","type":"string","jsonPath":".spec.volumeReplicationClass"}"#,
    printcolumn = r#"{"name":"SourceKind","type":"string","jsonPath":".spec.dataSource.kind"}"#,
    printcolumn = r#"{"name":"SourceName","type":"string","jsonPath":".spec.dataSource.name"}"#,
    printcolumn = r#"{"name":"desiredState","type":"string","jsonPath":".spec.replicationState"}"#,
    printcolumn = r#"{"name":"currentState","type":"string","jsonPath":".status.state"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VolumeReplicationSpec {
    /// Name of the VolumeReplicationClass that says which driver and parameters to use.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeReplicationClass is immutable"))]
    pub volume_replication_class: String,
    /// The role the volume should have: primary, secondary or resync.
    pub replication_state: ReplicationState,
    /// The claim, or group, that is replicated.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("dataSource is immutable"))]
    pub data_source: DataSource,
    /// Whether a secondary that fell out of step is rebuilt from its peer without being asked. Lifeboat never sets it.
    #[serde(default)]
    pub auto_resync: bool,
    /// Identifier handed to the driver with every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_handle: Option<String>,
}

/// What became of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeReplicationStatus {
    /// The role the volume has: Primary, Secondary or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What was last done, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Completed, Degraded, Resyncing, and others that say more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When work on the present role began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_start_time: Option<Time>,
    /// When the present role was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_completion_time: Option<Time>,
    /// When the content that the peer holds was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// How long the last copy to the peer took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_duration: Option<String>,
    /// How many bytes it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_bytes: Option<i64>,
    /// Handle of the copy on the peer, when the driver names it differently there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "destinationVolumeID"
    )]
    pub destination_volume_id: Option<String>,
}

/// VolumeReplicationClass names a driver and its parameters.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "replication.storage.openshift.io",
    version = "v1alpha1",
    kind = "VolumeReplicationClass",
    plural = "volumereplicationclasses",
    singular = "volumereplicationclass",
    shortname = "vrc",
    status = "VolumeReplicationClassStatus",
    derive = "PartialEq",
    doc = "VolumeReplicationClass names a driver and the parameters it is called with.",
    printcolumn = r#"{"name":"provisioner","type":"string","jsonPath":".spec.provisioner"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = kube::core::Rule::new("has(self.parameters) == has(oldSelf.parameters)").message("parameters are immutable"))]
#[serde(rename_all = "camelCase")]
pub struct VolumeReplicationClassSpec {
    /// Name of the driver.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("provisioner is immutable"))]
    pub provisioner: String,
    /// Handed to the driver with every call, but for keys under `replication.storage.openshift.io/`, which name the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("parameters are immutable"))]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// Always empty.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct VolumeReplicationClassStatus {}
