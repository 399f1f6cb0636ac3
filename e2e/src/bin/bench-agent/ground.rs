//! A control plane with volumes, a driver that serves them, and how the agent is started on them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use lifeboat_api::{VolumeReplication, names};
use lifeboat_e2e::{ControlPlane, Program, StartOptions, access, objects};
use lifeboat_sim::{
    clock::SimClock,
    csi_addons::{DEFAULT_NAME, Driver, Served},
    storage::{Fabric, FabricSpec},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    PATIENCE, count,
    watched::{SEEN, Watched},
};

const NAMESPACE: &str = "shop";
const AGENT: &str = "lifeboat-agent";
/// Requests of this program at once: more do not make an API server faster.
const AT_ONCE: usize = 64;
/// Writes behind the rate of the API server.
const PROBES: usize = 2000;
/// Longer than all of it takes.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// A driver that nobody serves.
const NOBODY: &str = "nobody.example.com";

/// What the agent meets.
pub(crate) struct Ground {
    pub(crate) client: Client,
    pub(crate) driver: Arc<Driver>,
    agent: PathBuf,
    socket: Served,
    _folder: TempDir,
    _plane: ControlPlane,
}

impl Ground {
    /// Claims that are bound to images, and a `VolumeReplication` for each that asks for Primary.
    pub(crate) async fn prepare(volumes: usize) -> Result<Self> {
        // Nothing else is to write while the agent is measured.
        let some = "namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller";
        let options = StartOptions {
            controller_manager: vec![format!("--controllers={some}")],
            ..StartOptions::default()
        };
        let plane = ControlPlane::start_with("bench", options).await?;
        let client = plane.client().await?;
        objects::install(&client, &lifeboat_api::spoke_crds()).await?;
        for rights in ["namespace", "serviceaccount", "agent-role"] {
            let file = access::in_repository(&format!("spoke-deploy/base/{rights}.yaml"));
            objects::apply_yaml(&client, &std::fs::read_to_string(file)?).await?;
        }
        objects::namespace(&client, NAMESPACE).await?;
        objects::apply_yaml(&client, &classes()).await?;

        let clock = SimClock::system();
        // Storage that has nothing new to tell while this runs: what is written is what the changes of role need.
        let spec = FabricSpec {
            interval: NEVER,
            full_copy: NEVER,
            ..FabricSpec::new(["here", "there"])
        };
        let fabric = Fabric::new(spec, Arc::new(move || clock.now()));
        let array = fabric.array("here")?;
        let names: Vec<String> = (0..volumes).map(|n| format!("data-{n:05}")).collect();
        for name in &names {
            array.create(name)?;
        }
        let volume_api = Api::<PersistentVolume>::all(client.clone());
        let claim_api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), NAMESPACE);
        let api = Api::<VolumeReplication>::namespaced(client.clone(), NAMESPACE);
        let bound = PatchParams::default();
        let phase = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        each(&names, async |name| {
            make(&volume_api, volume(name)).await?;
            make(&claim_api, claim(name)).await?;
            claim_api.patch_status(name, &bound, &phase).await?;
            make(&api, replication(name, "gold")).await
        })
        .await?;

        let folder = tempfile::Builder::new().prefix("lb-").tempdir()?;
        let driver = Driver::new(DEFAULT_NAME, array);
        let socket = driver.serve_unix(&folder.path().join("driver.sock"))?;
        let mine =
            access::service_account(&plane.kubeconfig(), names::SYSTEM_NAMESPACE, AGENT).await?;
        let agent = folder.path().join("agent");
        std::fs::write(&agent, mine)?;
        Ok(Self {
            client,
            driver,
            agent,
            socket,
            _folder: folder,
            _plane: plane,
        })
    }

    /// How many writes a second the API server does: statuses of `VolumeReplications` that nobody serves, and that are followed as by
    /// an agent.
    pub(crate) async fn write_rate(&self) -> Result<f64> {
        let api = self.replications();
        let names: Vec<String> = (0..PROBES).map(|n| format!("probe-{n:05}")).collect();
        each(&names, async |name| {
            make(&api, replication(name, "nobody")).await
        })
        .await?;
        let follows = self.watch();
        follows.until(PROBES, SEEN, PATIENCE).await?;
        let start = Instant::now();
        let params = PatchParams::default();
        each(&names, async |name| {
            let status = Patch::Merge(json!({"status": {"message": "volume is marked primary"}}));
            api.patch_status(name, &params, &status).await?;
            Ok(())
        })
        .await?;
        Ok(count(PROBES) / start.elapsed().as_secs_f64())
    }

    /// Follows what the volumes say.
    pub(crate) fn watch(&self) -> Watched {
        Watched::start(self.replications())
    }

    /// Starts the program, with the rights that its deployment has.
    pub(crate) fn start_agent(&self) -> Result<Program> {
        let driver = format!("{DEFAULT_NAME}=unix://{}", self.socket.path().display());
        let args = ["agent", "--identity", "agent-0", "--driver", &driver];
        let file = self.agent.to_str().context("a path that is no text")?;
        Program::start("agent", &args, &[("KUBECONFIG", file)])
    }

    /// Asks for the first so many to be Secondary.
    pub(crate) async fn make_secondary(&self, volumes: usize) -> Result<()> {
        let api = self.replications();
        let names: Vec<String> = (0..volumes).map(|n| format!("data-{n:05}")).collect();
        let params = PatchParams::default();
        each(&names, async |name| {
            let edit = Patch::Merge(json!({"spec": {"replicationState": "secondary"}}));
            api.patch(name, &params, &edit).await?;
            Ok(())
        })
        .await
    }

    fn replications(&self) -> Api<VolumeReplication> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

/// Does this for each name, many at once.
async fn each(names: &[String], act: impl AsyncFn(&str) -> Result<()>) -> Result<()> {
    stream::iter(names.iter().map(|name| act(name)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn make<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
{
    let object = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

fn classes() -> String {
    let class = |name: &str, driver: &str| {
        format!(
            "\
apiVersion: replication.storage.openshift.io/v1alpha1
kind: VolumeReplicationClass
metadata: {{name: {name}}}
spec: {{provisioner: {driver}, parameters: {{schedulingInterval: 1m}}}}
"
        )
    };
    format!(
        "{}---\n{}",
        class("gold", DEFAULT_NAME),
        class("nobody", NOBODY)
    )
}

fn volume(name: &str) -> Value {
    json!({
        "metadata": {"name": format!("pv-{name}")},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": DEFAULT_NAME, "volumeHandle": name},
            "claimRef": {"namespace": NAMESPACE, "name": name},
        },
    })
}

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "volumeName": format!("pv-{name}"),
            "resources": {"requests": {"storage": "1Gi"}},
        },
    })
}

fn replication(name: &str, class: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "volumeReplicationClass": class,
            "replicationState": "primary",
            "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": name},
        },
    })
}
