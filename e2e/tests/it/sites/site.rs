//! One managed cluster: its control plane, its storage, its agent.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client};
use lifeboat_e2e::{
    ControlPlane, Node, Program,
    access::{in_repository, kubectl},
    objects::{self, apply_yaml, bound},
};
use lifeboat_sim::{
    csi_addons::{DEFAULT_NAME, Driver, Served},
    storage::{Array, Fabric},
    world::{App, STORAGE_CLASS, infrastructure},
};

/// A managed cluster with its storage.
pub(crate) struct Site {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) array: Array,
    pub(super) driver: Arc<Driver>,
    pub(super) agent: Option<Program>,
    pub(super) socket: Served,
    _node: Node,
}

impl Site {
    pub(super) async fn start(
        plane: ControlPlane,
        fabric: &Arc<Fabric>,
        folder: &Path,
    ) -> Result<Self> {
        let name = plane.name().to_owned();
        let client = plane.client().await?;
        objects::install(&client, &lifeboat_api::spoke_crds()).await?;
        install(&plane.kubeconfig_path(), "spoke-deploy/standalone").await?;
        apply_yaml(&client, &infrastructure(DEFAULT_NAME, STORAGE_CLASS)).await?;
        let array = fabric.array(&name)?;
        let driver = Driver::new(DEFAULT_NAME, array.clone());
        let socket = driver.serve_unix(&folder.join(format!("{name}.sock")))?;
        Ok(Self {
            _node: Node::start(client.clone(), &format!("{name}-node")).await?,
            plane,
            client,
            array,
            driver,
            agent: None,
            socket,
        })
    }

    /// An application with volumes on the images of its claims' names.
    pub(crate) async fn install(&self, app: &App, yaml: &str) -> Result<()> {
        for claim in app.claims() {
            apply_yaml(&self.client, &volume(app, &claim, &claim)).await?;
        }
        apply_yaml(&self.client, yaml).await?;
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &app.namespace);
        for claim in app.claims() {
            bound(&claims, &claim).await?;
        }
        Ok(())
    }

    /// Kills the agent's program.
    pub(crate) async fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("the agent does not run")?;
        agent.kill().await
    }
}

/// Applies a folder of the repository as the quick start says. Its programs' pods run nothing here.
pub(super) async fn install(kubeconfig: &Path, folder: &str) -> Result<()> {
    let folder = in_repository(folder).display().to_string();
    let args = ["apply", "--server-side", "-k", &folder];
    kubectl(kubeconfig, &args).await.map(drop)
}

fn volume(app: &App, claim: &str, handle: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: pv-{claim}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: fast
  persistentVolumeReclaimPolicy: Delete
  csi: {{driver: {DEFAULT_NAME}, volumeHandle: {handle}}}
  claimRef: {{namespace: {}, name: {claim}}}
",
        app.namespace
    )
}
