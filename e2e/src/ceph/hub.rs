//! A hub over both clusters: its control plane and its program, installed and told of the clusters as the quick start says.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lifeboat_api::{DRCluster, DRPlacement, names};
use serde_json::{Value, json};

use super::sites::{NAMES, REPLICATION_CLASS, STORAGE_CLASS, Sites, install};
use crate::{
    ControlPlane, Program,
    access::service_account,
    objects::{self, apply_yaml},
    placement, wait,
};

/// The policy of all placements: both clusters, and the classes of [`super::sites`].
pub const POLICY: &str = "test-policy";

/// The hub; gone with this value.
pub struct Hub {
    /// A client as administrator of its control plane.
    pub client: Client,
    program: Program,
    _plane: ControlPlane,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hub").field(&self.program).finish()
    }
}

impl Hub {
    /// Starts it, and registers the clusters with it.
    pub async fn start(sites: &Sites) -> Result<Self> {
        let plane = ControlPlane::start("hub").await?;
        let client = plane.client().await?;
        objects::install(&client, &lifeboat_api::hub_crds()).await?;
        install(&plane.kubeconfig_path(), "hub-deploy/base").await?;
        let admin = plane.kubeconfig();
        let mine = service_account(&admin, names::SYSTEM_NAMESPACE, "lifeboat-hub").await?;
        let file = sites.file("hub");
        std::fs::write(&file, mine)?;
        let file = file.display().to_string();
        let args = ["hub", "--identity", "hub-0", "--admin-address", "off"];
        let program = Program::start("hub", &args, &[("KUBECONFIG", &file)])?;
        let person = sites.person(&[("hub", &admin)])?.display().to_string();
        for name in NAMES {
            let args = ["cluster", "add", name, "--context", name];
            let args = [&args[..], &["--hub-context", "hub"]].concat();
            Program::run(&args, &[("KUBECONFIG", &person)]).await?;
        }
        let policy = objects::policy(POLICY, &NAMES, STORAGE_CLASS, REPLICATION_CLASS);
        apply_yaml(&client, &policy).await?;
        Ok(Self {
            client,
            program,
            _plane: plane,
        })
    }

    /// Waits until it calls a cluster, its agent and its driver ready.
    pub async fn until_ready(&self, cluster: &str) -> Result<()> {
        let api = Api::<DRCluster>::all(self.client.clone());
        let ready = wait::until_some(&api, cluster, "it is ready", placement::ready);
        ready.await.map(drop)
    }

    /// The placements of a namespace.
    pub fn placements(&self, namespace: &str) -> Api<DRPlacement> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Changes the spec of a placement, as a person does.
    pub async fn wish(&self, namespace: &str, name: &str, spec: &Value) -> Result<()> {
        let wish = Patch::Merge(json!({"spec": spec}));
        let api = self.placements(namespace);
        api.patch(name, &PatchParams::default(), &wish).await?;
        Ok(())
    }

    /// Waits until a placement is as wanted.
    pub async fn until(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        is: impl FnMut(&DRPlacement) -> bool,
    ) -> Result<DRPlacement> {
        wait::until_some(&self.placements(namespace), name, what, is).await
    }

    /// What its program has logged that speaks of a missing right.
    pub fn forbidden(&self) -> Result<Vec<String>> {
        let log = self.program.log().context("no log of the hub")?;
        let lines = log.lines().filter(|l| l.contains("forbidden"));
        Ok(lines.map(str::to_owned).collect())
    }

    /// All went well: nobody needs its log.
    pub fn went_well(&mut self) {
        self.program.went_well();
    }
}
