//! Two Kubernetes clusters, each on a Ceph cluster of its own: real control planes, the RBD driver and the agent's program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client};
use lifeboat_api::names;

use super::{
    Cluster, POOL, Pair,
    driver::{CLUSTER, NAME, USER_ID, USER_KEY, handle_of},
    start_driver,
};
use crate::{
    ControlPlane, Part, Program,
    access::{in_repository, kubectl, merged, service_account},
    objects,
};

/// The `StorageClass`, as with Rook.
pub const STORAGE_CLASS: &str = "rook-ceph-block";
/// The VolumeReplicationClass.
pub const REPLICATION_CLASS: &str = "rbd-volumereplicationclass";
/// The Secret that says who the driver is to Ceph, and its namespace.
pub const SECRET: (&str, &str) = ("rook-ceph", "rook-csi-rbd-provisioner");
/// The names of the clusters, also to Ceph.
pub const NAMES: [&str; 2] = ["dr1", "dr2"];

/// A Kubernetes cluster with its storage.
pub struct Site {
    // First, so that it does not live to see its API server and its driver go.
    agent: Program,
    driver: Program,
    folder: PathBuf,
    /// Its API server.
    pub plane: ControlPlane,
    /// A client as administrator.
    pub client: Client,
}

/// Both clusters; gone with this value, or with this process.
pub struct Sites {
    /// The first one.
    pub dr1: Site,
    /// The second one.
    pub dr2: Site,
    /// Their storage, by the same names.
    pub pair: Pair,
    folder: PathBuf,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Site").field(&self.plane).finish()
    }
}

impl std::fmt::Debug for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sites").field(&self.pair).finish()
    }
}

impl Sites {
    /// Starts everything, all at once: half a minute.
    pub async fn start() -> Result<Self> {
        let (pair, one, two) = tokio::try_join!(
            Pair::start(),
            ControlPlane::start(NAMES[0]),
            ControlPlane::start(NAMES[1])
        )?;
        let folder = one.kubeconfig_path();
        let folder = folder.parent().context("no folder")?.to_owned();
        let (dr1, dr2) = tokio::try_join!(
            Site::start(one, &pair, &pair.dr1, &folder),
            Site::start(two, &pair, &pair.dr2, &folder)
        )?;
        Ok(Self {
            dr1,
            dr2,
            pair,
            folder,
        })
    }

    /// A Kubernetes cluster by its name.
    pub fn site(&self, name: &str) -> &Site {
        if name == NAMES[0] {
            &self.dr1
        } else {
            &self.dr2
        }
    }

    /// Makes an image of a size such as `1Gi`, as the driver does for a new claim, and returns its name.
    pub async fn provision(&self, on: &str, size: &str) -> Result<String> {
        let image = self.pair.new_image()?;
        let size = size.trim_end_matches('i');
        self.pair.site(on).rbd().create(&image, size).await?;
        Ok(image)
    }

    /// Makes a claim on a cluster with its volume, which is this image, and waits until they are bound to each other.
    pub async fn claim(
        &self,
        on: &str,
        namespace: &str,
        name: &str,
        size: &str,
        image: &str,
    ) -> Result<()> {
        let handle = handle_of(CLUSTER, self.pair.dr1.pool(), image);
        let handle = handle.with_context(|| format!("{image} is no image of the driver"))?;
        let client = &self.site(on).client;
        objects::namespace(client, namespace).await?;
        let yaml = claim(namespace, name, size, &handle.to_string());
        objects::apply_yaml(client, &yaml).await?;
        let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
        objects::bound(&claims, name).await
    }

    /// A file in a folder that goes with the clusters.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A kubeconfig of a person who is administrator of both clusters and of others, by name: the file's path.
    pub fn person(&self, others: &[(&str, &str)]) -> Result<PathBuf> {
        let (one, two) = (self.dr1.plane.kubeconfig(), self.dr2.plane.kubeconfig());
        let mut all = others.to_vec();
        all.extend([(NAMES[0], one.as_str()), (NAMES[1], two.as_str())]);
        let path = self.file("person");
        std::fs::write(&path, merged(&all)?)?;
        Ok(path)
    }

    /// All went well: nobody needs the logs of the programs.
    pub fn went_well(&mut self) {
        for site in [&mut self.dr1, &mut self.dr2] {
            site.went_well();
        }
    }

    fn of(&mut self, name: &str) -> (&mut Site, &Pair) {
        let site = if name == NAMES[0] {
            &mut self.dr1
        } else {
            &mut self.dr2
        };
        (site, &self.pair)
    }

    /// The loss of a site: Ceph, API server, agent and driver end at once.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        let (site, pair) = self.of(name);
        tokio::try_join!(pair.site(name).kill(), site.kill()).map(drop)
    }

    /// It comes back, with what it had on its disks.
    pub async fn start_again(&mut self, name: &str) -> Result<()> {
        let (site, pair) = self.of(name);
        pair.site(name).start().await?;
        site.start_again(pair).await
    }

    /// A site that is not dead and not heard of: Ceph, API server, agent and driver stop in their tracks.
    pub async fn freeze(&self, name: &str) -> Result<()> {
        tokio::try_join!(self.pair.site(name).freeze(), self.site(name).freeze()).map(drop)
    }

    /// It goes on where it was, storage first, and knows of nothing. In between, what is asked is done.
    pub async fn thaw(&self, name: &str, between: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        self.pair.site(name).thaw().await?;
        between().await?;
        self.site(name).thaw().await
    }

    /// What the agents' programs have logged that speaks of a missing right.
    pub fn forbidden(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for site in [&self.dr1, &self.dr2] {
            let log = site.agent.log()?;
            let lines = log.lines().filter(|l| l.contains("forbidden"));
            found.extend(lines.map(str::to_owned));
        }
        Ok(found)
    }
}

impl Site {
    async fn start(
        plane: ControlPlane,
        pair: &Pair,
        storage: &Cluster,
        folder: &Path,
    ) -> Result<Self> {
        let name = plane.name().to_owned();
        let client = plane.client().await?;
        objects::install(&client, &lifeboat_api::spoke_crds()).await?;
        install(&plane.kubeconfig_path(), "spoke-deploy/standalone").await?;
        objects::namespace(&client, SECRET.0).await?;
        objects::apply_yaml(&client, &classes(storage.key())).await?;
        let mine = service_account(
            &plane.kubeconfig(),
            names::SYSTEM_NAMESPACE,
            "lifeboat-agent",
        )
        .await?;
        let file = folder.join(format!("agent-{name}"));
        std::fs::write(&file, mine)?;
        let (agent, driver) = programs(pair, storage, folder).await?;
        Ok(Self {
            agent,
            driver,
            folder: folder.to_owned(),
            plane,
            client,
        })
    }

    /// The agent's program.
    pub fn agent(&self) -> &Program {
        &self.agent
    }

    /// Ends everything of Kubernetes with SIGKILL, and the driver with it.
    async fn kill(&mut self) -> Result<()> {
        self.went_well();
        tokio::try_join!(
            self.plane.kill(Part::All),
            self.agent.kill(),
            self.driver.kill()
        )
        .map(drop)
    }

    async fn freeze(&self) -> Result<()> {
        tokio::try_join!(
            self.plane.freeze(),
            self.agent.freeze(),
            self.driver.freeze()
        )
        .map(drop)
    }

    async fn thaw(&self) -> Result<()> {
        tokio::try_join!(self.plane.thaw(), self.agent.thaw(), self.driver.thaw()).map(drop)
    }

    async fn start_again(&mut self, pair: &Pair) -> Result<()> {
        self.plane.start_again().await?;
        let storage = pair.site(self.plane.name());
        (self.agent, self.driver) = programs(pair, storage, &self.folder).await?;
        Ok(())
    }

    fn went_well(&mut self) {
        self.agent.went_well();
        self.driver.went_well();
    }
}

/// Starts the agent of a cluster, and the driver that it talks to.
async fn programs(pair: &Pair, storage: &Cluster, folder: &Path) -> Result<(Program, Program)> {
    let name = storage.name();
    let socket = folder.join(format!("{name}.sock"));
    let driver = start_driver(pair, storage, &socket).await?;
    let at = format!("{NAME}=unix://{}", socket.display());
    let args = ["agent", "--identity", "agent-0", "--driver", &at];
    let file = folder.join(format!("agent-{name}"));
    let file = file.display().to_string();
    let agent = Program::start(&format!("agent-{name}"), &args, &[("KUBECONFIG", &file)])?;
    Ok((agent, driver))
}

/// Applies a folder of the repository as the quick start says.
pub async fn install(kubeconfig: &Path, folder: &str) -> Result<()> {
    let folder = in_repository(folder).display().to_string();
    let args = ["apply", "--server-side", "-k", &folder];
    kubectl(kubeconfig, &args).await.map(drop)
}

fn classes(key: &str) -> String {
    let (namespace, secret) = SECRET;
    format!(
        "\
apiVersion: v1
kind: Secret
metadata: {{name: {secret}, namespace: {namespace}}}
stringData: {{{USER_ID}: admin, {USER_KEY}: {key}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {STORAGE_CLASS}}}
provisioner: {NAME}
parameters: {{clusterID: {CLUSTER}, pool: {POOL}}}
reclaimPolicy: Delete
volumeBindingMode: Immediate
---
apiVersion: replication.storage.openshift.io/v1alpha1
kind: VolumeReplicationClass
metadata: {{name: {REPLICATION_CLASS}, labels: {{storageclass: {STORAGE_CLASS}}}}}
spec:
  provisioner: {NAME}
  parameters:
    mirroringMode: snapshot
    schedulingInterval: 1m
    replication.storage.openshift.io/replication-secret-name: {secret}
    replication.storage.openshift.io/replication-secret-namespace: {namespace}
"
    )
}

/// A volume and the claim for it, as they are after the driver has made the volume.
fn claim(namespace: &str, name: &str, size: &str, handle: &str) -> String {
    let volume = volume_name(namespace, name);
    format!(
        "\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {volume}, annotations: {{pv.kubernetes.io/provisioned-by: {NAME}}}}}
spec:
  capacity: {{storage: {size}}}
  accessModes: [ReadWriteOnce]
  storageClassName: {STORAGE_CLASS}
  persistentVolumeReclaimPolicy: Retain
  csi:
    driver: {NAME}
    volumeHandle: {handle}
    volumeAttributes: {{clusterID: {CLUSTER}, pool: {POOL}}}
  claimRef: {{namespace: {namespace}, name: {name}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  storageClassName: {STORAGE_CLASS}
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: {size}}}}}
  volumeName: {volume}
"
    )
}

/// The name of the volume that [`Sites::claim`] makes.
pub fn volume_name(namespace: &str, claim: &str) -> String {
    format!("pv-{namespace}-{claim}")
}
