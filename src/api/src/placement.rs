//! DRPlacement: where an application should run, and what Lifeboat makes of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{self, NameRef};

/// DRPlacement says where an application should run.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "lifeboat.dev",
    version = "v1alpha1",
    kind = "DRPlacement",
    plural = "drplacements",
    singular = "drplacement",
    shortname = "drp",
    namespaced,
    status = "DRPlacementStatus",
    derive = "PartialEq",
    doc = "DRPlacement says where an application should run. Change preferredCluster to move it there with its data; set action to Failover to bring it up from its last synced copy when its cluster is lost.",
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".status.cluster"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Available","type":"string","jsonPath":".status.conditions[?(@.type==\"Available\")].status"}"#,
    printcolumn = r#"{"name":"Protected","type":"string","jsonPath":".status.conditions[?(@.type==\"Protected\")].status"}"#,
    printcolumn = r#"{"name":"Last-Sync","type":"date","jsonPath":".status.lastSyncTime"}"#,
    printcolumn = r#"{"name":"Step","type":"string","jsonPath":".status.step"}"#,
    printcolumn = r#"{"name":"Preferred","type":"string","jsonPath":".spec.preferredCluster","priority":1}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".status.epoch","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DRPlacementSpec {
    /// The DRPolicy to follow.
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("policyRef is immutable"))]
    pub policy_ref: NameRef,
    /// The cluster on which the application should run. Changing it relocates the application, without loss, if the
    /// cluster that has it now answers; otherwise nothing moves until action is Failover.
    #[schemars(length(min = 1, max = 253))]
    pub preferred_cluster: String,
    /// Which claims to protect, by label, in the protected namespaces. Empty selects all of them.
    #[serde(default)]
    pub pvc_selector: LabelSelector,
    /// Namespaces of the application on its cluster. Default: the namespace of the DRPlacement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub protected_namespaces: Vec<String>,
    /// The workloads that move with the volumes. Without it only volumes move, and whatever uses them must be stopped by
    /// hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Relocate (unless said otherwise) moves without loss, or not at all. Failover accepts the loss of what was not yet
    /// copied. A wish that was carried out is not carried out again: after a failover nothing moves back until
    /// this, preferredCluster, failoverCluster or requestID is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Where to fail over to. Default: preferredCluster, or, if the application was there, the best cluster of the policy
    /// that is fit. Without action Failover it means nothing, and may stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_cluster: Option<String>,
    /// What may go wrong in a failover and is accepted, now and in later ones for as long as it stands here. UnverifiedCopy: the storage
    /// driver of the target cannot say whether its copies are complete; one that its source was just bringing up to date may, once
    /// promoted by force, silently be older than the last good copy, or empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub accept_risks: Vec<AcceptedRisk>,
    /// Any text. A new value asks again for what the other fields already say. If they say where the application already
    /// runs, or if it answers there while its old copies are being brought back in step, a new value alone moves nothing;
    /// copies that could not be brought back are asked for three more times.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "requestID")]
    #[schemars(length(max = 253))]
    pub request_id: Option<String>,
    /// Higher goes first when many move at once. Not used in this release: all move at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// How to move.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transform = common::let_the_field_speak)]
pub enum Action {
    /// Without loss, or not at all.
    Relocate,
    /// From the last synced copy, accepting the loss.
    Failover,
}

/// What may go wrong in a failover.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum AcceptedRisk {
    /// Nobody can say whether the copy is complete.
    UnverifiedCopy,
}

/// The workloads that move with the volumes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Which workloads, by label, in the protected namespaces.
    pub selector: LabelSelector,
    /// Deployment, StatefulSet, or both (the default).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<WorkloadKind>,
}

/// Kinds that can be moved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
}

/// What Lifeboat believes, does and waits for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DRPlacementStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the placement is in its life: Undecided, Steady, Relocating, Cancelling, Promoting, Starting, CleaningUp or
    /// Removing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What is being done, or waited for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The cluster that owns the application: the only one that may write its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Fencing token; goes up with each change of owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The age of the oldest copy: every volume's content of this time is safe on another cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// The volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeStatus>,
    /// What stands in the way, and what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<Blocker>,
    /// The questions that are asked before a move, and their answers: those of a failover to each other cluster, and
    /// those of a move that was asked for and cannot begin yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// What clusters that lost the application had written and never sent, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divergence: Vec<DivergenceStatus>,
    /// The last moves with their times, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionRecord>,
    /// What the hub must remember across a restart. Not for people, and never to be edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub journal: Option<serde_json::Value>,
    /// Available, Protected, PeerReady, Progressing, FailoverArmed, Accepted and Guarded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "What the hub must remember across a restart. Not for people, and never to be edited.",
        "nullable": true,
        // Written as a whole: a merge of two phases would be neither.
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// One volume.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the claim.
    pub name: String,
    /// Handle of the volume at the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The role it has on its owner: Primary, Secondary, Unknown, or Unprotected.
    pub state: String,
    /// When the copy on the other side was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What stands in the way.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// A word for it.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A question that is asked before a move.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The kind of move that it is asked for: Relocate or Failover.
    #[serde(default)]
    pub action: String,
    /// The cluster that the move would go to, where the answer depends on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A word for it.
    pub name: String,
    /// Pass, Fail or Unknown.
    pub state: String,
    /// What was seen.
    pub message: String,
}

/// What a cluster that lost the application had written to a volume and never sent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DivergenceStatus {
    /// The cluster.
    pub cluster: String,
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the claim.
    pub name: String,
    /// The epoch at which the volume there was to be made anew.
    pub epoch: i64,
    /// When it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Time>,
    /// How much, in bytes; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Driver of the independent copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<String>,
    /// Handle of the independent copy of it, on that cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<String>,
    /// How long that copy is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Time>,
    /// When that copy was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_at: Option<Time>,
}

/// A move that was made, or is being made.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionRecord {
    /// Relocate or Failover.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// The epoch it led to; absent if it was cancelled before the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the application ran on the target: the measured RTO ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_time: Option<Time>,
    /// When the old side was cleaned up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_time: Option<Time>,
    /// Seconds of work that a failover gave up: from the last sync to the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss_seconds: Option<i64>,
    /// Running, Succeeded or Cancelled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// The steps with their times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
}

/// One step of a move.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Name of the step.
    pub name: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How long it took, in milliseconds; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<i64>,
}
