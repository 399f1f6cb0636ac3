//! Deployments make `ReplicaSets`, `ReplicaSets` make pods.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    cache::Key,
    cluster::Cluster,
    pods::{self, Made, MadePod, controlled_by, digest},
};

const HASH: &str = "pod-template-hash";

impl Cluster {
    pub(super) async fn clean_deployment(&mut self, key: &Key) -> kube::Result<()> {
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(());
        };
        let Some(spec) = deployment
            .spec
            .as_ref()
            .filter(|_| deployment.metadata.deletion_timestamp.is_none())
        else {
            return Ok(());
        };
        let template = serde_json::to_value(&spec.template).map_err(kube::Error::SerdeError)?;
        let hash = digest(&template);
        let current: Key = (key.0.clone(), format!("{}-{hash}", key.1));
        let wanted = spec.replicas.unwrap_or(1);
        if self.replica_sets.get(&current).is_none() {
            self.make_replica_set(&deployment, &current, &hash, template)
                .await?;
        }
        let uid = deployment.uid().unwrap_or_default();
        let owned: Vec<Key> = self
            .owned
            .get(&uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for set in owned {
            // The old ones give way first, so that two of them never hold the same volume.
            self.scale(&set, if set == current { wanted } else { 0 })
                .await?;
        }
        self.report_deployment(key, &deployment, &current).await
    }

    async fn make_replica_set(
        &mut self,
        deployment: &Deployment,
        key: &Key,
        hash: &str,
        template: Value,
    ) -> kube::Result<()> {
        let Some(spec) = deployment.spec.as_ref() else {
            return Ok(());
        };
        let owner = controlled_by(deployment);
        let mut set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": key.1, "namespace": key.0, "ownerReferences": owner.map(|o| vec![o]),
                "labels": spec.template.metadata.as_ref().and_then(|m| m.labels.clone()),
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": spec.replicas, "selector": spec.selector, "template": template}});
        let hashed = json!({HASH: hash});
        let labels = json!({"metadata": {"labels": hashed}, "spec": {
            "selector": {"matchLabels": hashed}, "template": {"metadata": {"labels": hashed}}}});
        json_patch::merge(&mut set, &labels);
        let set: ReplicaSet = serde_json::from_value(set).map_err(kube::Error::SerdeError)?;
        match self.api(&key.0).create(&PostParams::default(), &set).await {
            Ok(made) => self.wrote_replica_set(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    async fn scale(&mut self, key: &Key, replicas: i32) -> kube::Result<()> {
        let known = self
            .replica_sets
            .get(key)
            .and_then(|s| s.spec.as_ref()?.replicas);
        if known == Some(replicas) {
            return Ok(());
        }
        let patch = json!({"spec": {"replicas": replicas}});
        let set = self
            .api(&key.0)
            .patch(&key.1, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        self.wrote_replica_set(set);
        Ok(())
    }

    async fn report_deployment(
        &mut self,
        key: &Key,
        deployment: &Deployment,
        current: &Key,
    ) -> kube::Result<()> {
        let uid = deployment.uid().unwrap_or_default();
        let sets = self
            .owned
            .get(&uid)
            .into_iter()
            .flatten()
            .filter_map(|set| self.replica_sets.get(set));
        let statuses: Vec<_> = sets.filter_map(|set| set.status.clone()).collect();
        let replicas: i32 = statuses.iter().map(|s| s.replicas).sum();
        let ready: i32 = statuses.iter().filter_map(|s| s.ready_replicas).sum();
        let updated = self
            .replica_sets
            .get(current)
            .and_then(|s| s.status.as_ref().map(|s| s.replicas))
            .unwrap_or_default();
        let wanted = deployment
            .spec
            .as_ref()
            .and_then(|s| s.replicas)
            .unwrap_or(1);
        let available = if ready >= wanted { "True" } else { "False" };
        let known = deployment.status.as_ref();
        let condition = known
            .into_iter()
            .flat_map(|s| s.conditions.iter().flatten())
            .find(|c| c.type_ == "Available");
        let since = match condition
            .filter(|c| c.status == available)
            .and_then(|c| c.last_transition_time.clone())
        {
            Some(since) => serde_json::to_value(since).map_err(kube::Error::SerdeError)?,
            None => self.with.clock.stamp().into(),
        };
        let reason = if ready >= wanted {
            "MinimumReplicasAvailable"
        } else {
            "MinimumReplicasUnavailable"
        };
        let status = json!({"observedGeneration": deployment.metadata.generation, "replicas": replicas,
            "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated,
            "unavailableReplicas": (wanted - ready).max(0),
            "conditions": [{"type": "Available", "status": available, "reason": reason, "message": "",
                "lastUpdateTime": since, "lastTransitionTime": since}]});
        if is_told(known, &status)? {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<Deployment>(&key.0)
            .patch_status(&key.1, &PatchParams::default(), &patch)
            .await
            .map(drop)
    }

    pub(super) async fn clean_replica_set(&mut self, key: &Key) -> kube::Result<()> {
        let Some(set) = self.replica_sets.get(key) else {
            return Ok(());
        };
        let Some(spec) = set
            .spec
            .as_ref()
            .filter(|_| set.metadata.deletion_timestamp.is_none())
        else {
            return Ok(());
        };
        let uid = set.uid().unwrap_or_default();
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
        let active: Vec<_> = self
            .pods_of(&uid)
            .into_iter()
            .filter(|(_, pod)| pods::is_active(pod))
            .collect();
        for (_, pod) in active.iter().skip(wanted) {
            self.delete_pod(pod).await?;
        }
        if let Some(template) = spec.template.as_ref() {
            let mut missing = wanted.saturating_sub(active.len());
            for number in 0u64.. {
                if missing == 0 {
                    break;
                }
                let name = format!("{}-{}", key.1, &digest(&json!([uid, number])));
                let name: Key = (key.0.clone(), name);
                if self.pods.get(&name).is_some() {
                    continue;
                }
                let made = Made {
                    key: name,
                    owner: controlled_by(set.as_ref()),
                    labels: Vec::new(),
                    spec: json!({}),
                };
                match self.make_pod(template, made).await? {
                    MadePod::New => missing -= 1,
                    MadePod::NameTaken => {}
                }
            }
        }
        self.report_replica_set(key, &set).await
    }

    async fn report_replica_set(&mut self, key: &Key, set: &ReplicaSet) -> kube::Result<()> {
        let pods = self.pods_of(&set.uid().unwrap_or_default());
        let active = pods.iter().filter(|(_, pod)| pods::is_active(pod)).count();
        let ready = pods.iter().filter(|(_, pod)| pods::is_ready(pod)).count();
        let status = json!({"observedGeneration": set.metadata.generation, "replicas": active,
            "fullyLabeledReplicas": active, "readyReplicas": ready, "availableReplicas": ready});
        if is_told(set.status.as_ref(), &status)? {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"status": status}));
        let set = self
            .api(&key.0)
            .patch_status(&key.1, &PatchParams::default(), &patch)
            .await?;
        self.wrote_replica_set(set);
        Ok(())
    }
}

/// Whether a status says already what it should; absent counts are zero.
pub(super) fn is_told<S: serde::Serialize>(
    known: Option<&S>,
    wanted: &Value,
) -> kube::Result<bool> {
    let known = serde_json::to_value(known).map_err(kube::Error::SerdeError)?;
    let zero = Value::from(0);
    let same = |(key, want): (&String, &Value)| known.get(key).unwrap_or(&zero) == want;
    Ok(wanted.as_object().is_some_and(|all| all.iter().all(same)))
}
