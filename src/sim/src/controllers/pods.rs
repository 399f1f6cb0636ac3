//! Pods as their owners see them.

use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use super::{cache::Key, cluster::Cluster};
use crate::storage::fnv;

/// Whether a pod has run to its end.
pub(super) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether a pod counts as a replica.
pub(super) fn is_active(pod: &Pod) -> bool {
    !is_over(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    is_active(pod)
        && conditions
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// A reference that makes `owner` the controller.
pub(super) fn controlled_by<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    owner.controller_owner_ref(&())
}

/// Short and the same for the same content.
pub(super) fn digest(content: &Value) -> String {
    let sum = fnv(content.to_string().bytes());
    format!("{:08x}", (sum >> 32) ^ (sum & 0xffff_ffff))
}

/// What a template's pod is made of, besides the template.
pub(super) struct Made<'m> {
    pub(super) key: Key,
    pub(super) owner: Option<OwnerReference>,
    pub(super) labels: Vec<(&'m str, String)>,
    /// Put over the template's spec, for the volumes of a `StatefulSet`.
    pub(super) spec: Value,
}

/// What [`Cluster::make_pod`] came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MadePod {
    New,
    NameTaken,
}

impl Cluster {
    /// The pods that an owner controls, by key.
    pub(super) fn pods_of(&self, owner: &str) -> Vec<(Key, std::sync::Arc<Pod>)> {
        let keys = self.owned.get(owner).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key).map(|pod| (key.clone(), pod)))
            .collect()
    }

    /// Makes a pod of a template.
    pub(super) async fn make_pod(
        &mut self,
        template: &PodTemplateSpec,
        made: Made<'_>,
    ) -> kube::Result<MadePod> {
        let Made {
            key: (namespace, name),
            owner,
            labels,
            spec,
        } = made;
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template.metadata, "spec": template.spec});
        let names = json!({"metadata": {"name": name, "namespace": namespace, "ownerReferences": owner.map(|o| vec![o]),
            "labels": labels.into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<serde_json::Map<_, _>>()},
            "spec": spec});
        json_patch::merge(&mut pod, &names);
        let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
        match self
            .api::<Pod>(&namespace)
            .create(&PostParams::default(), &pod)
            .await
        {
            Ok(pod) => {
                self.wrote_pod(pod);
                Ok(MadePod::New)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(MadePod::NameTaken),
            Err(other) => Err(other),
        }
    }

    /// Deletes a pod with its own grace.
    pub(super) async fn delete_pod(&mut self, pod: &Pod) -> kube::Result<()> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let deleted = self
            .api::<Pod>(&namespace)
            .delete(&name, &kube::api::DeleteParams::default())
            .await;
        match deleted {
            Ok(answer) => {
                if let Some(marked) = answer.left() {
                    self.wrote_pod(marked);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(other) => Err(other),
        }
    }
}
