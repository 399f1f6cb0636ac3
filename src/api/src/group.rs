//! Groups of volumes that are replicated as one, as the CSI-Addons ecosystem defines them: same group, fields, columns
//! and rules, in our own words.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::replication::{ReplicationState, VolumeReplicationStatus};

/// The CSI-Addons kinds that make groups.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        VolumeGroupReplication::crd(),
        VolumeGroupReplicationClass::crd(),
        VolumeGroupReplicationContent::crd(),
    ]
}

/// What is in a group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupSource {
    /// Claims with these labels, in the namespace of the VolumeGroupReplication.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("selector is immutable"))]
    pub selector: LabelSelector,
}

/// VolumeGroupReplication asks for the role of the volumes of several claims, as one.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "replication.storage.openshift.io",
    version = "v1alpha1",
    kind = "VolumeGroupReplication",
    plural = "volumegroupreplications",
    singular = "volumegroupreplication",
    shortname = "vgr",
    namespaced,
    status = "VolumeGroupReplicationStatus",
    derive = "PartialEq",
    doc = "VolumeGroupReplication asks for the role of the volumes of several claims, as one.",
    printcolumn = r#"{"name":"VolumeGroupReplicationClass","type":"string","jsonPath":".spec.volumeGroupReplicationClassName"}"#,
    printcolumn = r#"{"name":"VolumeGroupReplicationContent","type":"string","jsonPath":".spec.volumeGroupReplicationContentName"}"#,
    printcolumn = r#"{"name":"desiredState","type":"string","jsonPath":".spec.replicationState"}"#,
    printcolumn = r#"{"name":"currentState","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = kube::core::Rule::new("has(self.volumeReplicationClassName) || !has(oldSelf.volumeReplicationClassName)").message("volumeReplicationClassName cannot be removed"),
    validation = kube::core::Rule::new("has(self.volumeReplicationName) || !has(oldSelf.volumeReplicationName)").message("volumeReplicationName cannot be removed"),
    validation = kube::core::Rule::new("has(self.volumeGroupReplicationContentName) || !has(oldSelf.volumeGroupReplicationContentName)").message("volumeGroupReplicationContentName cannot be removed")
)]
#[serde(rename_all = "camelCase")]
pub struct VolumeGroupReplicationSpec {
    /// Name of the VolumeGroupReplicationClass that says which driver and parameters make the group.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeGroupReplicationClassName is immutable"))]
    pub volume_group_replication_class_name: String,
    /// Name of the VolumeReplicationClass that says how the group is replicated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeReplicationClassName is immutable"))]
    pub volume_replication_class_name: Option<String>,
    /// Name of the VolumeReplication of the group; made and filled in when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeReplicationName is immutable"))]
    pub volume_replication_name: Option<String>,
    /// Name of the VolumeGroupReplicationContent of the group; made and filled in when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeGroupReplicationContentName is immutable"))]
    pub volume_group_replication_content_name: Option<String>,
    /// Which claims are in the group.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("source is immutable"))]
    pub source: GroupSource,
    /// The role the group should have: primary, secondary or resync.
    pub replication_state: ReplicationState,
    /// Whether a secondary that fell out of step is rebuilt from its peer without being asked.
    #[serde(default)]
    pub auto_resync: bool,
    /// Whether another controller serves this group, so that it is left alone here.
    #[serde(default)]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("external is immutable"))]
    pub external: bool,
}

/// Names an object in a known place.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object.
    #[serde(default)]
    pub name: String,
}

/// What became of a group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeGroupReplicationStatus {
    /// Role, conditions and times, as those of a VolumeReplication.
    #[serde(flatten)]
    pub replication: VolumeReplicationStatus,
    /// The claims in the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub persistent_volume_claims_ref_list: Vec<LocalRef>,
}

/// VolumeGroupReplicationClass names a driver and the parameters that groups are made with.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "replication.storage.openshift.io",
    version = "v1alpha1",
    kind = "VolumeGroupReplicationClass",
    plural = "volumegroupreplicationclasses",
    singular = "volumegroupreplicationclass",
    shortname = "vgrc",
    status = "VolumeGroupReplicationClassStatus",
    derive = "PartialEq",
    doc = "VolumeGroupReplicationClass names a driver and the parameters that groups are made with.",
    printcolumn = r#"{"name":"provisioner","type":"string","jsonPath":".spec.provisioner"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = kube::core::Rule::new("has(self.parameters) == has(oldSelf.parameters)").message("parameters are immutable"))]
#[serde(rename_all = "camelCase")]
pub struct VolumeGroupReplicationClassSpec {
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
pub struct VolumeGroupReplicationClassStatus {}

/// The VolumeGroupReplication that a content belongs to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("has(self.name) && has(self.__namespace__) && has(self.uid)").message("name, namespace and uid must be set"))]
pub struct GroupRef {
    /// API version of the VolumeGroupReplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object: VolumeGroupReplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the VolumeGroupReplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the VolumeGroupReplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// uid of the VolumeGroupReplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// The volumes of a group.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContentSource {
    /// Handles of the volumes.
    pub volume_handles: Vec<String>,
}

/// VolumeGroupReplicationContent is a group as the driver knows it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "replication.storage.openshift.io",
    version = "v1alpha1",
    kind = "VolumeGroupReplicationContent",
    plural = "volumegroupreplicationcontents",
    singular = "volumegroupreplicationcontent",
    shortname = "vgrcontent",
    status = "VolumeGroupReplicationContentStatus",
    derive = "PartialEq",
    doc = "VolumeGroupReplicationContent is a group as the driver knows it.",
    printcolumn = r#"{"name":"VolumeGroupReplicationClass","type":"string","jsonPath":".spec.volumeGroupReplicationClassName"}"#,
    printcolumn = r#"{"name":"VolumeGroupReplication","type":"string","jsonPath":".spec.volumeGroupReplicationRef.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = kube::core::Rule::new("has(self.volumeGroupAttributes) || !has(oldSelf.volumeGroupAttributes)").message("volumeGroupAttributes cannot be removed"))]
#[serde(rename_all = "camelCase")]
pub struct VolumeGroupReplicationContentSpec {
    /// The VolumeGroupReplication that this belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_group_replication_ref: Option<GroupRef>,
    /// Handle of the group, as the driver gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_group_replication_handle: Option<String>,
    /// Name of the driver.
    pub provisioner: String,
    /// What the driver wants to be remembered of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("volumeGroupAttributes are immutable"))]
    pub volume_group_attributes: Option<BTreeMap<String, String>>,
    /// Name of the VolumeGroupReplicationClass that the group was made with.
    pub volume_group_replication_class_name: String,
    /// The volumes that shall be in the group.
    pub source: ContentSource,
}

/// A volume of a group, here and at the peer.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMapping {
    /// Name of the PersistentVolume.
    #[serde(default)]
    pub name: String,
    /// Its handle.
    #[serde(default)]
    pub volume_handle: String,
    /// Handle of its copy on the peer, when the driver names it differently there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_volume_handle: Option<String>,
}

/// What became of a group at the driver.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeGroupReplicationContentStatus {
    /// The volumes in the group. Deprecated: read persistentVolumeMappingList.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persistent_volume_ref_list: Vec<LocalRef>,
    /// The volumes that the driver was last told to be in the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persistent_volume_mapping_list: Vec<VolumeMapping>,
    /// Handle of the group on the peer, when the driver names it differently there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "destinationVolumeGroupID"
    )]
    pub destination_volume_group_id: Option<String>,
}
