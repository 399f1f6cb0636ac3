//! `StatefulSets` make numbered pods, each with its own claims.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    cache::Key,
    cluster::Cluster,
    deployments::is_told,
    pods::{self, Made, controlled_by, digest},
};

impl Cluster {
    pub(super) async fn clean_stateful_set(&mut self, key: &Key) -> kube::Result<()> {
        let Some(set) = self.stateful_sets.get(key) else {
            return Ok(());
        };
        let Some(spec) = set
            .spec
            .as_ref()
            .filter(|_| set.metadata.deletion_timestamp.is_none())
        else {
            return Ok(());
        };
        let wanted = spec.replicas.unwrap_or(1).max(0);
        let parallel = spec.pod_management_policy.as_deref() == Some("Parallel");
        for number in 0..wanted {
            let pod: Key = (key.0.clone(), format!("{}-{number}", key.1));
            match self.pods.get(&pod) {
                Some(there)
                    if pods::is_over(&there) && there.metadata.deletion_timestamp.is_none() =>
                {
                    self.delete_pod(&there).await?;
                }
                Some(there) if pods::is_ready(&there) || parallel => continue,
                Some(_) => {}
                None => self.make_numbered(&set, spec, &pod, number).await?,
            }
            if !parallel {
                break;
            }
        }
        self.remove_beyond(key, &set, wanted, parallel).await?;
        self.report_stateful_set(key, &set, spec).await
    }

    async fn make_numbered(
        &mut self,
        set: &Arc<StatefulSet>,
        spec: &StatefulSetSpec,
        key: &Key,
        number: i32,
    ) -> kube::Result<()> {
        let mut volumes: Vec<Value> = Vec::new();
        for template in spec.volume_claim_templates.iter().flatten() {
            let name = template.name_any();
            let claim: Key = (key.0.clone(), format!("{name}-{}", key.1));
            if self.claims.get(&claim).is_none() {
                self.make_claim(template, &claim, spec).await?;
            }
            volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim.1}}));
        }
        let own = spec
            .template
            .spec
            .iter()
            .flat_map(|s| s.volumes.iter().flatten());
        let named: Vec<String> = volumes
            .iter()
            .filter_map(|v| v.get("name")?.as_str().map(str::to_owned))
            .collect();
        for volume in own.filter(|v| !named.contains(&v.name)) {
            volumes.push(serde_json::to_value(volume).map_err(kube::Error::SerdeError)?);
        }
        let labels = vec![
            ("statefulset.kubernetes.io/pod-name", key.1.clone()),
            ("apps.kubernetes.io/pod-index", number.to_string()),
            ("controller-revision-hash", revision(set, spec)?),
        ];
        let spec_over =
            json!({"volumes": volumes, "hostname": key.1, "subdomain": spec.service_name});
        let made = Made {
            key: key.clone(),
            owner: controlled_by(set.as_ref()),
            labels,
            spec: spec_over,
        };
        self.make_pod(&spec.template, made).await.map(drop)
    }

    async fn make_claim(
        &mut self,
        template: &PersistentVolumeClaim,
        key: &Key,
        set: &StatefulSetSpec,
    ) -> kube::Result<()> {
        let labels = json!({"metadata": {"labels": set.selector.match_labels}});
        let mut claim = serde_json::to_value(template).map_err(kube::Error::SerdeError)?;
        json_patch::merge(&mut claim, &labels);
        let names = json!({"metadata": {"name": key.1, "namespace": key.0}, "status": null});
        json_patch::merge(&mut claim, &names);
        let claim: PersistentVolumeClaim =
            serde_json::from_value(claim).map_err(kube::Error::SerdeError)?;
        match self
            .api(&key.0)
            .create(&PostParams::default(), &claim)
            .await
        {
            Ok(made) => self.wrote_claim(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Pods whose number is no longer wanted go, the highest first.
    async fn remove_beyond(
        &mut self,
        key: &Key,
        set: &StatefulSet,
        wanted: i32,
        parallel: bool,
    ) -> kube::Result<()> {
        let number = |pod: &Key| {
            pod.1
                .strip_prefix(&key.1)?
                .strip_prefix('-')?
                .parse::<i32>()
                .ok()
        };
        let pods = self.pods_of(&set.uid().unwrap_or_default());
        let mut beyond: Vec<(i32, Arc<Pod>)> = pods
            .into_iter()
            .filter_map(|(k, pod)| Some((number(&k)?, pod)))
            .filter(|(n, _)| *n >= wanted)
            .collect();
        beyond.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        let at_once = if parallel { beyond.len() } else { 1 };
        for (_, pod) in beyond.into_iter().take(at_once) {
            if pod.metadata.deletion_timestamp.is_none() {
                self.delete_pod(&pod).await?;
            }
        }
        Ok(())
    }

    async fn report_stateful_set(
        &mut self,
        key: &Key,
        set: &StatefulSet,
        spec: &StatefulSetSpec,
    ) -> kube::Result<()> {
        let pods = self.pods_of(&set.uid().unwrap_or_default());
        // Unlike a ReplicaSet, a StatefulSet counts a pod until it is gone.
        let (there, ready) = (
            pods.len(),
            pods.iter().filter(|(_, pod)| pods::is_ready(pod)).count(),
        );
        let revision = revision(set, spec)?;
        let status = json!({"observedGeneration": set.metadata.generation, "replicas": there, "readyReplicas": ready,
            "availableReplicas": ready, "currentReplicas": there, "updatedReplicas": there,
            "currentRevision": revision, "updateRevision": revision});
        if is_told(set.status.as_ref(), &status)? {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<StatefulSet>(&key.0)
            .patch_status(&key.1, &PatchParams::default(), &patch)
            .await
            .map(drop)
    }
}

fn revision(set: &StatefulSet, spec: &StatefulSetSpec) -> kube::Result<String> {
    let template = serde_json::to_value(&spec.template).map_err(kube::Error::SerdeError)?;
    Ok(format!("{}-{}", set.name_any(), digest(&template)))
}
