//! NetworkFence and its class, as the CSI-Addons ecosystem defines them: same group, fields, columns and rules, in our
//! own words.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The CSI-Addons kinds that fence networks.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![NetworkFence::crd(), NetworkFenceClass::crd()]
}

/// Whether networks are cut off.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum FenceState {
    /// Nobody in them reaches the storage.
    #[default]
    Fenced,
    /// They may reach it.
    Unfenced,
}

/// Names a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// NetworkFence cuts networks off a driver's storage.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "csiaddons.openshift.io",
    version = "v1alpha1",
    kind = "NetworkFence",
    plural = "networkfences",
    singular = "networkfence",
    status = "NetworkFenceStatus",
    derive = "PartialEq",
    doc = "NetworkFence cuts networks off a driver's storage. Deleting it lets nobody back: ask for Unfenced first.",
    printcolumn = r#"{"name":"Driver","type":"string","jsonPath":".spec.driver"}"#,
    printcolumn = r#"{"name":"Cidrs","type":"string","jsonPath":".spec.cidrs"}"#,
    printcolumn = r#"{"name":"FenceState","type":"string","jsonPath":".spec.fenceState"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".status.result"}"#
)]
#[x_kube(
    validation = kube::core::Rule::new("has(self.networkFenceClassName) || has(self.driver)").message("one of networkFenceClassName and driver must be set"),
    validation = kube::core::Rule::new("has(self.networkFenceClassName) || has(self.secret)").message("secret must be set when networkFenceClassName is not"),
    validation = kube::core::Rule::new("has(self.driver) == has(oldSelf.driver)").message("driver is immutable"),
    validation = kube::core::Rule::new("has(self.networkFenceClassName) == has(oldSelf.networkFenceClassName)").message("networkFenceClassName is immutable"),
    validation = kube::core::Rule::new("has(self.secret) == has(oldSelf.secret)").message("secret is immutable"),
    validation = kube::core::Rule::new("has(self.parameters) == has(oldSelf.parameters)").message("parameters are immutable")
)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFenceSpec {
    /// Name of the NetworkFenceClass that names driver, parameters and Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("networkFenceClassName is immutable"))]
    pub network_fence_class_name: Option<String>,
    /// Name of the driver; that of the class wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("driver is immutable"))]
    pub driver: Option<String>,
    /// The networks, as address and prefix length.
    pub cidrs: Vec<String>,
    /// Whether they are cut off: Fenced or Unfenced.
    #[serde(default)]
    pub fence_state: FenceState,
    /// Credentials for the driver; those of the class win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("secret is immutable"))]
    pub secret: Option<SecretRef>,
    /// Handed to the driver; those of the class win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("parameters are immutable"))]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// What became of a fence.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFenceStatus {
    /// How the last call ended: Succeeded or Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What was done, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Completed: which generation of the fence the driver has carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// NetworkFenceClass names a driver and its parameters.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "csiaddons.openshift.io",
    version = "v1alpha1",
    kind = "NetworkFenceClass",
    plural = "networkfenceclasses",
    singular = "networkfenceclass",
    status = "NetworkFenceClassStatus",
    derive = "PartialEq",
    doc = "NetworkFenceClass names a driver and the parameters it is fenced with."
)]
#[x_kube(validation = kube::core::Rule::new("has(self.parameters) == has(oldSelf.parameters)").message("parameters are immutable"))]
#[serde(rename_all = "camelCase")]
pub struct NetworkFenceClassSpec {
    /// Name of the driver.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("provisioner is immutable"))]
    pub provisioner: String,
    /// Handed to the driver, but for keys under `csiaddons.openshift.io/`, which name the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("parameters are immutable"))]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// Always empty.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkFenceClassStatus {}
