//! API servers, a kubeconfig file with a context for each, and the binary.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use lifeboat_api::DRPlacement;
use lifeboat_sim::apiserver::{ApiServer, Identity, ServeHandle, serve};
use lifeboat_sim::clock::SimClock;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// No verb takes longer, whatever the machine is busy with.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) servers: BTreeMap<String, Arc<ApiServer>>,
    pub(crate) served: ServeHandle,
    kubeconfig: NamedTempFile,
}

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// A hub with the kinds and, for each other name, an empty cluster.
    pub(crate) async fn new(members: &[&str]) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let clock = SimClock::system();
        let names = std::iter::once("hub").chain(members.iter().copied());
        let servers: BTreeMap<String, Arc<ApiServer>> = names
            .map(|n| (n.to_owned(), ApiServer::new(n, clock.clone())))
            .collect();
        for crd in lifeboat_api::hub_crds() {
            servers["hub"]
                .apply_yaml(&serde_json::to_string(&crd).unwrap())
                .unwrap();
        }
        let served = serve("127.0.0.1:0".parse().unwrap(), servers.clone())
            .await
            .unwrap();
        let mut all = Kubeconfig::default();
        for name in servers.keys() {
            let one = served.kubeconfig(name, &Identity::admin()).unwrap();
            all = all.merge(Kubeconfig::from_yaml(&one).unwrap()).unwrap();
        }
        all.current_context = Some("hub".to_owned());
        let kubeconfig = NamedTempFile::new().unwrap();
        std::fs::write(kubeconfig.path(), serde_json::to_string(&all).unwrap()).unwrap();
        Self {
            servers,
            served,
            kubeconfig,
        }
    }

    /// A policy over east, west and north, and a placement `db` at rest on east.
    pub(crate) async fn with_placement() -> Self {
        let world = Self::new(&["east"]).await;
        let policy = json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
            "spec": {
                "clusters": ["east", "west", "north"],
                "classes": [{"storageClassName": "fast", "volumeReplicationClassName": "fast"}],
            },
        });
        let placement = json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement", "metadata": {"name": "db", "namespace": "default"},
            "spec": {"policyRef": {"name": "gold"}, "preferredCluster": "east"},
        });
        for object in [policy, placement] {
            world.servers["hub"]
                .apply_yaml(&object.to_string())
                .unwrap();
        }
        let generation = world.placement().await.metadata.generation;
        world.report(&status("east", "Steady", generation)).await;
        world
    }

    pub(crate) fn hub(&self) -> Client {
        self.servers["hub"].admin()
    }

    pub(crate) fn placements(&self) -> Api<DRPlacement> {
        Api::namespaced(self.hub(), "default")
    }

    pub(crate) async fn placement(&self) -> DRPlacement {
        self.placements().get("db").await.unwrap()
    }

    /// Writes the status of `db`, as a hub would.
    pub(crate) async fn report(&self, status: &Value) {
        let body = Patch::Merge(json!({ "status": status }));
        self.placements()
            .patch_status("db", &PatchParams::default(), &body)
            .await
            .unwrap();
    }

    /// Polls the placement until it is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&DRPlacement) -> bool) -> DRPlacement {
        let search = async {
            loop {
                let placement = self.placement().await;
                if wanted(&placement) {
                    return placement;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONGEST, search)
            .await
            .expect("the placement never became as wanted")
    }

    /// Starts the binary with nothing on its standard input.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_lifeboat"))
            .args(args)
            .env("KUBECONFIG", self.kubeconfig.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Runs the binary to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        end(self.start(args)).await
    }
}

/// Waits until a binary that still runs has said something on its standard error.
pub(crate) async fn said(child: &mut Child, wanted: &str) {
    let from = child.stderr.as_mut().unwrap();
    let search = async {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let Ok(byte) = from.read_u8().await else {
                panic!("ended, having said {}", String::from_utf8_lossy(&heard));
            };
            heard.push(byte);
        }
    };
    tokio::time::timeout(LONGEST, search)
        .await
        .expect("the binary never said it");
}

/// Waits for the binary to end.
pub(crate) async fn end(child: Child) -> Ended {
    let output = tokio::time::timeout(LONGEST, child.wait_with_output())
        .await
        .expect("the binary hangs");
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap();
    Ended {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A status of a protected placement with two volumes.
pub(crate) fn status(cluster: &str, phase: &str, generation: Option<i64>) -> Value {
    let volume = |n: u32| {
        json!({
            "namespace": "default", "name": format!("data-{n}"), "state": "Primary",
            "lastSyncTime": "2026-01-02T03:04:05Z", "handle": format!("vol-{n}"),
        })
    };
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "Good", "message": "all is well",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        })
    };
    json!({
        "observedGeneration": generation, "phase": phase, "cluster": cluster, "epoch": 1, "step": format!("in phase {phase}"),
        "lastSyncTime": "2026-01-02T03:04:05Z",
        "volumes": [volume(0), volume(1)],
        "gates": [{"action": "Failover", "target": "west", "name": "TargetHealthy", "state": "Pass", "message": "west answers"}],
        "blockers": [],
        "conditions": [condition("Available"), condition("Protected")],
    })
}
