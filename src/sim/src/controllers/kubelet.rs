//! The node: puts pods on itself, attaches their volumes, runs them when their images can be written, lets them go.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::{
    NODE, Stopping,
    cache::Key,
    claims,
    cluster::{Cluster, Kind, claim_of, claims_used},
    events::Say,
    pods,
};
use crate::storage::{Role, fnv};

/// A volume of a pod that our driver serves.
struct Mount {
    volume: Arc<PersistentVolume>,
    handle: String,
}

impl Cluster {
    pub(super) async fn clean_pod(&mut self, key: &Key) -> kube::Result<()> {
        let Some(pod) = self.pods.get(key) else {
            return Ok(());
        };
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone());
        if pods::is_over(&pod) {
            self.halt(&pod);
            return Ok(());
        }
        match node.as_deref() {
            None | Some("") if pod.metadata.deletion_timestamp.is_some() => Ok(()),
            None | Some("") => self.schedule(key, &pod).await,
            Some(NODE) if pod.metadata.deletion_timestamp.is_some() => {
                self.stop_pod(key, &pod).await
            }
            Some(NODE) if pod.uid().is_some_and(|uid| self.started.contains(&uid)) => Ok(()),
            Some(NODE) => self.start_pod(key, &pod).await,
            Some(_) => Ok(()),
        }
    }

    fn halt(&mut self, pod: &Pod) {
        if let Some(uid) = pod.uid() {
            self.started.remove(&uid);
            self.with.workload.stop(&uid);
        }
    }

    /// As the scheduler has it: a pod waits until each of its claims is Bound.
    async fn schedule(&mut self, key: &Key, pod: &Pod) -> kube::Result<()> {
        let bound = |claim: &Key| {
            self.claims
                .get(claim)
                .is_some_and(|c| claims::phase(&c) == "Bound")
        };
        if let Some(missing) = claims_used(pod).into_iter().find(|claim| !bound(claim)) {
            let message = match self.claims.get(&missing) {
                None => format!("persistentvolumeclaim \"{}\" not found", missing.1),
                Some(_) => "pod has unbound immediate PersistentVolumeClaims".to_owned(),
            };
            return self
                .say(
                    pod,
                    Say {
                        kind: "Warning",
                        reason: "FailedScheduling",
                        message: &message,
                    },
                )
                .await;
        }
        let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.1},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let api = self.api::<Pod>(&key.0);
        match api
            .create_subresource::<_, Value>("binding", &key.1, &PostParams::default(), &body)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => return Err(other),
            Ok(_) => {}
        }
        let bound = api.get(&key.1).await?;
        self.wrote_pod(bound);
        Ok(())
    }

    /// The pod's volumes of our driver; none while one of its claims has no volume.
    fn mounts(&self, pod: &Pod) -> Option<Vec<Mount>> {
        let mut mounts = Vec::new();
        for claim in claims_used(pod) {
            let name = self
                .claims
                .get(&claim)?
                .spec
                .as_ref()?
                .volume_name
                .clone()?;
            let volume = self.volumes.get(&(String::new(), name))?;
            if let Some(handle) = self.handle(&volume) {
                mounts.push(Mount { volume, handle });
            }
        }
        Some(mounts)
    }

    async fn start_pod(&mut self, key: &Key, pod: &Pod) -> kube::Result<()> {
        let Some(mounts) = self.mounts(pod) else {
            return self.hold_back(key, pod, "a claim has no volume").await;
        };
        for mount in &mounts {
            self.attach(&mount.volume).await?;
        }
        for mount in &mounts {
            let trouble = match self.with.array.role(&mount.handle) {
                Some(Role::Primary) => continue,
                Some(Role::Secondary) => "is a secondary and read-only",
                None => "not found",
            };
            let message = format!(
                "MountVolume.MountDevice failed: image {} {trouble}",
                mount.handle
            );
            return self.hold_back(key, pod, &message).await;
        }
        let uid = pod.uid().unwrap_or_default();
        self.started.insert(uid.clone());
        self.with
            .workload
            .start(&uid, mounts.into_iter().map(|m| m.handle));
        if pods::is_ready(pod) {
            return Ok(());
        }
        self.report(key, running(pod, &self.with.clock.stamp()))
            .await
    }

    /// The pod stays in `ContainerCreating` and says why.
    async fn hold_back(&mut self, key: &Key, pod: &Pod, message: &str) -> kube::Result<()> {
        self.say(
            pod,
            Say {
                kind: "Warning",
                reason: "FailedMount",
                message,
            },
        )
        .await?;
        let containers = pod
            .status
            .iter()
            .flat_map(|s| s.container_statuses.iter().flatten());
        let waits = containers
            .into_iter()
            .any(|c| c.state.as_ref().is_some_and(|s| s.waiting.is_some()));
        if waits {
            return Ok(());
        }
        self.report(key, creating(pod, &self.with.clock.stamp()))
            .await
    }

    async fn report(&mut self, key: &Key, status: Value) -> kube::Result<()> {
        let api = self.api::<Pod>(&key.0);
        let pod = api
            .patch_status(&key.1, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        self.wrote_pod(pod);
        Ok(())
    }

    /// A pod that is deleted ends as the cluster's habits say.
    async fn stop_pod(&mut self, key: &Key, pod: &Pod) -> kube::Result<()> {
        let path = format!("{}/{}", key.0, key.1);
        match self.with.habits.stopping(&path) {
            Stopping::Never => return Ok(()),
            Stopping::After(time) => {
                let uid = pod.uid().unwrap_or_default();
                let due = self
                    .stopping
                    .entry(uid)
                    .or_insert_with(|| tokio::time::Instant::now() + time);
                let left = due.saturating_duration_since(tokio::time::Instant::now());
                if !left.is_zero() {
                    self.again(Kind::Pod, key.clone(), left);
                    return Ok(());
                }
            }
            Stopping::AtOnce => {}
        }
        self.halt(pod);
        self.stopping.remove(&pod.uid().unwrap_or_default());
        let preconditions = Preconditions {
            uid: pod.uid(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default().grace_period(0)
        };
        match self.api::<Pod>(&key.0).delete(&key.1, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }

    async fn attach(&mut self, volume: &PersistentVolume) -> kube::Result<()> {
        let name = attachment_name(&volume.name_any());
        if self
            .attachments
            .get(&(String::new(), name.clone()))
            .is_some()
        {
            return Ok(());
        }
        let object = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name},
            "spec": {"attacher": self.with.driver, "nodeName": NODE,
                "source": {"persistentVolumeName": volume.name_any()}}});
        let object: VolumeAttachment =
            serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        match self.global().create(&PostParams::default(), &object).await {
            Ok(made) => self.wrote_attachment(made),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// An attachment is attached, and goes with the last pod that needs it.
    pub(super) async fn clean_attachment(&mut self, key: &Key) -> kube::Result<()> {
        let Some(attachment) = self.attachments.get(key) else {
            return Ok(());
        };
        if attachment.spec.attacher != self.with.driver
            || attachment.metadata.deletion_timestamp.is_some()
        {
            return Ok(());
        }
        let api = self.global::<VolumeAttachment>();
        let volume = attachment
            .spec
            .source
            .persistent_volume_name
            .clone()
            .unwrap_or_default();
        if !self.is_needed(&volume) {
            return match api.delete(&key.1, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(drop),
            };
        }
        if attachment.status.as_ref().is_none_or(|s| !s.attached) {
            let status = json!({"status": {"attached": true}});
            let changed = api
                .patch_status(&key.1, &PatchParams::default(), &Patch::Merge(status))
                .await?;
            self.wrote_attachment(changed);
        }
        Ok(())
    }

    fn is_needed(&self, volume: &str) -> bool {
        let claim = self
            .volumes
            .get(&(String::new(), volume.to_owned()))
            .as_deref()
            .and_then(claim_of);
        let users = claim
            .iter()
            .flat_map(|claim| self.users.get(claim).into_iter().flatten());
        users.filter_map(|pod| self.pods.get(pod)).any(|pod| {
            !pods::is_over(&pod)
                && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(NODE)
        })
    }

    /// The attachment of a claim's volume is looked at.
    pub(super) fn mark_attachment_of(&mut self, claim: &Key) {
        let volume = self
            .claims
            .get(claim)
            .and_then(|c| c.spec.as_ref()?.volume_name.clone());
        if let Some(volume) = volume {
            self.mark(Kind::Attachment, (String::new(), attachment_name(&volume)));
        }
    }
}

fn attachment_name(volume: &str) -> String {
    format!("csi-{:016x}", fnv(format!("{volume}/{NODE}").bytes()))
}

fn containers(pod: &Pod, one: impl Fn(&str, &str) -> Value) -> Vec<Value> {
    let all = pod.spec.iter().flat_map(|s| &s.containers);
    all.map(|c| one(&c.name, c.image.as_deref().unwrap_or_default()))
        .collect()
}

fn conditions(ready: &str, now: &str) -> Value {
    let is = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
    json!([
        is("PodScheduled", "True"),
        is("Initialized", "True"),
        is("ContainersReady", ready),
        is("Ready", ready)
    ])
}

fn running(pod: &Pod, now: &str) -> Value {
    let containers = containers(pod, |name, image| {
        json!({"name": name, "image": image, "imageID": image, "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}}})
    });
    json!({"status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.1.0.1",
        "startTime": now, "conditions": conditions("True", now), "containerStatuses": containers}})
}

/// As a kubelet reports a pod whose volumes it cannot mount; one that ran before a restart is as good as new.
fn creating(pod: &Pod, now: &str) -> Value {
    let phase = pods::phase(pod);
    let containers = containers(pod, |name, image| {
        json!({"name": name, "image": image, "imageID": "", "ready": false, "started": false, "restartCount": 0,
            "state": {"running": null, "waiting": {"reason": "ContainerCreating"}}})
    });
    json!({"status": {"phase": phase, "startTime": now, "conditions": conditions("False", now),
        "containerStatuses": containers}})
}
