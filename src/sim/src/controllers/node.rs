//! The node object and its heartbeat.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{NODE, RETRY};
use crate::clock::SimClock;

/// Time from one heartbeat to the next.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Keeps the node registered and alive until dropped.
pub(super) async fn run(client: Client, clock: Arc<SimClock>) {
    while let Err(error) = register(&client).await {
        tracing::debug!(%error, "node not registered yet");
        tokio::time::sleep(RETRY).await;
    }
    loop {
        let wait = match beat(&client, &clock).await {
            Ok(()) => HEARTBEAT,
            Err(error) => {
                tracing::debug!(%error, "heartbeat of a simulated node failed");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn register(client: &Client) -> kube::Result<()> {
    let api = Api::<Node>::all(client.clone());
    let labels = json!({"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}});
    api.patch(NODE, &apply(), &Patch::Apply(node)).await?;
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "10000"});
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated node"});
    let status = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready],
            "nodeInfo": {"kubeletVersion": "v1.33.0", "containerRuntimeVersion": "sim://1", "osImage": "simulated",
                "kernelVersion": "0", "machineID": NODE, "systemUUID": NODE, "bootID": NODE, "architecture": "amd64",
                "operatingSystem": "linux", "kubeProxyVersion": ""}}});
    api.patch_status(NODE, &apply(), &Patch::Apply(status))
        .await
        .map(drop)
}

async fn beat(client: &Client, clock: &SimClock) -> kube::Result<()> {
    let api = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let now = clock.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now}});
    api.patch(NODE, &apply(), &Patch::Apply(lease))
        .await
        .map(drop)
}

fn apply() -> PatchParams {
    PatchParams::apply("lifeboat-sim-node").force()
}
