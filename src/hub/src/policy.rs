//! DRPolicy: whether it can be followed.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use lifeboat_api::common::{NameRef, set_condition, to_time};
use lifeboat_api::{DRPlacement, DRPlacementSpec, DRPolicy, DRPolicyStatus, names};
use lifeboat_core::observed::ArchiveFacts;
use lifeboat_core::report::Tri;
use lifeboat_core::{ClusterFacts, ClusterId, Journal};
use lifeboat_kit::{Next, apply_status};
use serde_json::json;
use tracing::warn;

use crate::context::Context;
use crate::observe::observe;
use crate::resolve::resolve;
use crate::status::tri;

/// Looks at one DRPolicy.
pub(crate) async fn policy(context: Arc<Context>, name: String) -> Next {
    let Some(object) = context.stores.policies.get(&name) else {
        context.queues.policies.forget(&name);
        return Next::Wait;
    };
    if !context.acts() {
        return Next::Wait;
    }
    let (value, reason, message) = judge(&context, &object);
    let mut status = object.status.clone().unwrap_or_default();
    status.observed_generation = object.metadata.generation;
    let condition = Condition {
        type_: "Valid".to_owned(),
        status: tri(value).to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: object.metadata.generation,
        last_transition_time: to_time(context.now()),
    };
    set_condition(&mut status.conditions, condition);
    write(&context, &object, &status).await
}

async fn write(context: &Context, policy: &DRPolicy, status: &DRPolicyStatus) -> Next {
    if policy.status.as_ref() == Some(status) {
        return Next::Wait;
    }
    let name = policy.metadata.name.clone().unwrap_or_default();
    let api: Api<DRPolicy> = Api::all(context.hub.clone());
    let body =
        json!({ "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "status": status });
    match apply_status(
        &api,
        &name,
        names::HUB_MANAGER,
        body,
        policy.metadata.resource_version.as_deref(),
    )
    .await
    {
        Ok(written) => {
            context.stores.policies.put(written);
            Next::Wait
        }
        Err(error) => {
            warn!(policy = %name, error = %error.full(), "status not written");
            Next::Failed
        }
    }
}

type Answer = (Tri, &'static str, String);

fn judge(context: &Context, policy: &DRPolicy) -> Answer {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let stranger = policy
        .spec
        .clusters
        .iter()
        .find(|c| context.stores.clusters.get(c).is_none());
    if let Some(stranger) = stranger {
        return (
            Tri::False,
            "UnknownCluster",
            format!("DRCluster {stranger} does not exist; create it, or take it out of the policy"),
        );
    }
    // A placement that selects nothing shows the classes of each cluster under the names of the policy.
    let probe = probe(&name, policy);
    let resolved = match resolve(
        &probe,
        |_| Some(Arc::new(policy.clone())),
        &Journal::default(),
    ) {
        Ok(resolved) => resolved,
        Err(invalid) => {
            return (
                Tri::False,
                invalid.reason,
                format!("{}: {}", invalid.message, invalid.remedy),
            );
        }
    };
    let observed = observe(
        &context.fleet,
        &resolved.scope,
        ArchiveFacts::default(),
        context.now(),
        |id| context.is_registered(id),
    );
    let mut unseen = Vec::new();
    for cluster in &resolved.policy.clusters {
        let facts = observed.cluster(cluster);
        if !facts.contact.is_fresh() {
            unseen.push(cluster.to_string());
            continue;
        }
        if let Some(wrong) = classes(policy, cluster, facts) {
            return wrong;
        }
    }
    if unseen.is_empty() {
        (
            Tri::True,
            "Valid",
            "every cluster and class that is named exists and fits".to_owned(),
        )
    } else {
        (
            Tri::Unknown,
            "ClusterNotFresh",
            format!("not checked on {}: no answer from there", unseen.join(", ")),
        )
    }
}

fn probe(name: &str, policy: &DRPolicy) -> DRPlacement {
    let spec = DRPlacementSpec {
        policy_ref: NameRef {
            name: name.to_owned(),
        },
        preferred_cluster: policy.spec.clusters.first().cloned().unwrap_or_default(),
        pvc_selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector::default(),
        protected_namespaces: vec!["default".to_owned()],
        workload: None,
        action: None,
        failover_cluster: None,
        accept_risks: Vec::new(),
        request_id: None,
        priority: 0,
    };
    let mut probe = DRPlacement::new(name, spec);
    probe.metadata.namespace = Some("default".to_owned());
    probe.metadata.uid = Some("none".to_owned());
    probe
}

/// The first class that is missing on a cluster, or belongs to another driver there.
fn classes(policy: &DRPolicy, cluster: &ClusterId, facts: &ClusterFacts) -> Option<Answer> {
    for rule in &policy.spec.classes {
        let (class, replication) = (
            &rule.storage_class_name,
            &rule.volume_replication_class_name,
        );
        let (Some(provisioner), Some(driver)) = (
            facts.storage_classes.get(class),
            facts.replication_classes.get(replication),
        ) else {
            let missing = if facts.storage_classes.contains_key(class) {
                format!("VolumeReplicationClass {replication}")
            } else {
                format!("StorageClass {class}")
            };
            return Some((
                Tri::False,
                "ClassMissing",
                format!("{missing} does not exist on {cluster}; create it there"),
            ));
        };
        if provisioner != driver {
            let message = format!(
                "on {cluster} StorageClass {class} belongs to {provisioner}, VolumeReplicationClass {replication} to {driver}; name one of the same driver"
            );
            return Some((Tri::False, "ClassMismatch", message));
        }
    }
    None
}
