//! A node without a machine: binds pods, reports them running, lets them go, attaches their volumes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node as KubeNode, PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, Client, ResourceExt, Result,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What the CSI attacher of a driver keeps on a `VolumeAttachment` until the volume is detached.
const ATTACHER: &str = "external-attacher/lifeboat-e2e";
/// How soon something that was held back is looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// A running node. To drop it is to lose the node: its pods stay as they are, and its lease goes stale.
///
/// It binds a pod without a node once each of its claims is Bound, as the scheduler does, so do not run it beside one.
#[derive(Debug)]
pub struct Node {
    name: String,
    stubborn: Stubborn,
    task: JoinHandle<Result<()>>,
}

/// What pods do on a node beside being reported. To be asked twice is to be asked once; an error is asked again.
pub trait Work: Send + Sync + 'static {
    /// The pod is on the node and is to run: it is reported running after this.
    fn run<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, anyhow::Result<()>>;
    /// The pod is to end: it is gone after this.
    fn end<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// Nothing is done.
struct Idle;

impl Work for Idle {
    fn run<'a>(&'a self, _: &'a Pod) -> BoxFuture<'a, anyhow::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn end<'a>(&'a self, _: &'a Pod) -> BoxFuture<'a, anyhow::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// Pods, by namespace and name, that do not stop when deleted.
type Stubborn = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Where a pod is put, and by whom.
struct Seat {
    client: Client,
    node: String,
    stubborn: Stubborn,
    work: Arc<dyn Work>,
}

impl Node {
    /// Registers the node and runs it in the background, in the current runtime.
    pub async fn start(client: Client, name: &str) -> anyhow::Result<Self> {
        Self::start_with(client, name, Arc::new(Idle)).await
    }

    /// The same, with something that pods do.
    pub async fn start_with(
        client: Client,
        name: &str,
        work: Arc<dyn Work>,
    ) -> anyhow::Result<Self> {
        register(&client, name)
            .await
            .with_context(|| format!("could not register node {name}"))?;
        let stubborn = Stubborn::default();
        let seat = Arc::new(Seat {
            client,
            node: name.to_owned(),
            stubborn: stubborn.clone(),
            work,
        });
        Ok(Self {
            name: name.to_owned(),
            stubborn,
            task: tokio::spawn(run(seat)),
        })
    }

    /// The name it is registered under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on this pod does not stop when deleted: its processes hang.
    pub fn refuse_to_stop(&self, namespace: &str, pod: &str) {
        let pod = (namespace.to_owned(), pod.to_owned());
        self.change(|all| all.extend([pod]));
    }

    /// Takes [`Node::refuse_to_stop`] back.
    pub fn let_stop(&self, namespace: &str, pod: &str) {
        self.change(|all| all.retain(|(n, p)| n != namespace || p != pod));
    }

    fn change(&self, how: impl FnOnce(&mut BTreeSet<(String, String)>)) {
        how(&mut self.stubborn.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(seat: Arc<Seat>) -> Result<()> {
    let client = seat.client.clone();
    let pods = Controller::new(Api::<Pod>::all(client.clone()), watcher::Config::default())
        .run(step, |_, _, _| Action::requeue(AGAIN), seat.clone())
        .for_each(|_| std::future::ready(()));
    let attachments = Controller::new(
        Api::<VolumeAttachment>::all(client.clone()),
        watcher::Config::default(),
    )
    .run(attach, |_, _, _| Action::requeue(AGAIN), seat.clone())
    .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = pods => Ok(()),
        () = attachments => Ok(()),
        () = heartbeats(&client, &seat.node) => Ok(()),
    }
}

/// One pod, one step: let it go, put it on the node, or report it running.
async fn step(pod: Arc<Pod>, seat: Arc<Seat>) -> Result<Action> {
    let (Some(ns), Some(spec)) = (pod.namespace(), &pod.spec) else {
        return Ok(Action::await_change());
    };
    let (api, name) = (
        Api::<Pod>::namespaced(seat.client.clone(), &ns),
        pod.name_any(),
    );
    let pending = pod
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_none_or(|p| p == "Pending");
    match &spec.node_name {
        Some(at) if *at != seat.node => {}
        Some(_) if pod.metadata.deletion_timestamp.is_some() => {
            if seat.is_stubborn(&ns, &name) {
                return Ok(Action::requeue(AGAIN));
            }
            if seat.work.end(&pod).await.is_err() {
                return Ok(Action::requeue(AGAIN));
            }
            stop(&api, &pod).await?;
        }
        // Also one that was reported running before the node was lost: it comes back with the node.
        Some(_) => {
            if seat.work.run(&pod).await.is_err() {
                return Ok(Action::requeue(AGAIN));
            }
            if pending {
                api.patch_status(&name, &apply(), &Patch::Apply(running(&pod)))
                    .await?;
            }
        }
        None if claims_bound(&seat.client, &ns, &pod).await? => {
            let target = json!({"kind": "Node", "name": seat.node});
            let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
            api.create_subresource::<_, Value>("binding", &name, &PostParams::default(), &body)
                .await?;
        }
        None => return Ok(Action::requeue(AGAIN)),
    }
    Ok(Action::await_change())
}

async fn stop(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    // Its successor in a stateful set has the same name.
    let same = Preconditions {
        uid: pod.uid(),
        resource_version: None,
    };
    let now = DeleteParams {
        preconditions: Some(same),
        ..DeleteParams::default().grace_period(0)
    };
    match api.delete(&pod.name_any(), &now).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// As the driver's attacher: what is to be attached to this node is attached, what is deleted is detached.
async fn attach(at: Arc<VolumeAttachment>, seat: Arc<Seat>) -> Result<Action> {
    if at.spec.node_name != seat.node {
        return Ok(Action::await_change());
    }
    let (api, name) = (
        Api::<VolumeAttachment>::all(seat.client.clone()),
        at.name_any(),
    );
    let ours = at.finalizers().iter().any(|f| f == ATTACHER);
    if at.metadata.deletion_timestamp.is_some() {
        if ours {
            let none =
                json!({"metadata": {"finalizers": null, "resourceVersion": at.resource_version()}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(none))
                .await?;
        }
    } else if at.status.as_ref().is_none_or(|s| !s.attached) {
        let kept = json!({"metadata": {"finalizers": [ATTACHER]}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(kept))
            .await?;
        let status = json!({"status": {"attached": true}});
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
    }
    Ok(Action::await_change())
}

impl Seat {
    fn is_stubborn(&self, namespace: &str, pod: &str) -> bool {
        let all = self.stubborn.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|(n, p)| n == namespace && p == pod)
    }
}

/// As the scheduler has it: a pod waits until each of its claims is Bound.
async fn claims_bound(client: &Client, ns: &str, pod: &Pod) -> Result<bool> {
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), ns);
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let Some(claim) = &volume.persistent_volume_claim else {
            continue;
        };
        let found = api.get_opt(&claim.claim_name).await?;
        if found
            .and_then(|c| c.status)
            .and_then(|s| s.phase)
            .as_deref()
            != Some("Bound")
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn running(pod: &Pod) -> Value {
    let now = now().strftime("%FT%TZ").to_string();
    let yes = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let up = |name: &str| {
        json!({"name": name, "image": "", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}}})
    };
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .map(|c| up(&c.name))
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name_any()}, "status": {
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "startTime": now,
        "conditions": [yes("Initialized"), yes("ContainersReady"), yes("Ready")], "containerStatuses": containers}})
}

async fn register(client: &Client, name: &str) -> Result<()> {
    let api = Api::<KubeNode>::all(client.clone());
    // The annotation: the attach-detach controller makes VolumeAttachments only for nodes that have it.
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": name},
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}});
    api.patch(name, &apply(), &Patch::Apply(node)).await?;
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    let ready =
        json!({"type": "Ready", "status": "True", "reason": "Fake", "message": "no machine"});
    let status = json!({"capacity": room, "allocatable": room, "conditions": [ready]});
    let status =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status});
    api.patch_status(name, &apply(), &Patch::Apply(status))
        .await
        .map(drop)
}

/// The node's lease: without it the node lifecycle controller calls the node unknown after its grace period.
async fn heartbeats(client: &Client, name: &str) {
    let api = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    loop {
        let now = now().strftime("%FT%T%.6fZ").to_string();
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}});
        // A control plane that is frozen or gone for a while does not end the node: it tries again, as a kubelet does.
        let _ = tokio::time::timeout(
            Duration::from_secs(10),
            api.patch(name, &apply(), &Patch::Apply(lease)),
        )
        .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

fn apply() -> PatchParams {
    PatchParams::apply("lifeboat-e2e-node").force()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real control plane compares this with its own clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
