//! Two sites with mirrored storage and a hub, all real but the storage: installed and registered as the quick start says.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};
use kube::Client;
use lifeboat_api::names;
use lifeboat_e2e::{
    ControlPlane, Kept, Program, Story,
    access::{merged, service_account},
    objects::{self, apply_yaml},
};
use lifeboat_sim::{
    clock::SimClock,
    csi_addons::DEFAULT_NAME,
    storage::{Fabric, FabricSpec},
};

mod apps;
mod look;
mod site;

pub(crate) use lifeboat_e2e::placement::{epoch, has, on, phase};
pub(crate) use site::Site;

/// The managed clusters, best first.
pub(crate) const CLUSTERS: [&str; 2] = ["dr1", "dr2"];
/// The account that the hub and its credentials belong to.
const HUB: &str = "lifeboat-hub";
/// The account of the agents.
const AGENT: &str = "lifeboat-agent";
/// The policy of all placements here.
const POLICY: &str = "gold";

/// Runs a test on the sites, alone. The sites are made once for all tests, and anew after a test that failed.
pub(crate) fn on_sites(
    test: impl (for<'a> FnOnce(&'a mut Sites) -> Story<'a>) + 'static,
) -> Result<()> {
    static SITES: Kept<Sites> = Kept::new();
    SITES.lend(Sites::start, |sites| {
        Box::pin(async move {
            let ended = test(sites).await.and_then(|()| sites.clean());
            if ended.is_err() {
                // Dropped, the programs show the end of their logs.
                sites.show().await;
            }
            ended
        })
    })
}

/// A hub and two managed clusters.
pub(crate) struct Sites {
    pub(crate) hub_client: Client,
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) dr1: Site,
    pub(crate) dr2: Site,
    hub: Option<Program>,
    /// That of the hub's control plane: deleted with it, however the tests end.
    folder: PathBuf,
    _plane: ControlPlane,
}

impl Sites {
    async fn start() -> Result<Self> {
        let (plane, one, two) = tokio::try_join!(
            ControlPlane::start("hub"),
            ControlPlane::start(CLUSTERS[0]),
            ControlPlane::start(CLUSTERS[1])
        )?;
        let folder = plane.kubeconfig_path();
        let folder = folder
            .parent()
            .context("a file without a folder")?
            .to_owned();
        let clock = SimClock::system();
        let fabric = Fabric::new(FabricSpec::new(CLUSTERS), Arc::new(move || clock.now()));
        let hub_client = plane.client().await?;
        let hub_file = plane.kubeconfig_path();
        let (dr1, dr2, ()) = tokio::try_join!(
            Site::start(one, &fabric, &folder),
            Site::start(two, &fabric, &folder),
            async {
                objects::install(&hub_client, &lifeboat_api::hub_crds()).await?;
                site::install(&hub_file, "hub-deploy/base").await
            }
        )?;
        let mine = service_account(&plane.kubeconfig(), names::SYSTEM_NAMESPACE, HUB).await?;
        std::fs::write(folder.join("hub"), mine)?;
        let person = plane.kubeconfig();
        let (a, b) = (dr1.plane.kubeconfig(), dr2.plane.kubeconfig());
        let person = merged(&[("hub", &person), (CLUSTERS[0], &a), (CLUSTERS[1], &b)])?;
        std::fs::write(folder.join("person"), person)?;
        let mut sites = Self {
            hub_client,
            fabric,
            dr1,
            dr2,
            hub: None,
            folder,
            _plane: plane,
        };
        sites.start_hub()?;
        for cluster in CLUSTERS {
            sites.start_agent(cluster).await?;
            sites.register(cluster).await?;
        }
        apply_yaml(
            &sites.hub_client,
            &objects::policy(POLICY, &CLUSTERS, "fast", "fast-mirror"),
        )
        .await?;
        for cluster in CLUSTERS {
            sites.until_ready(cluster).await?;
        }
        Ok(sites)
    }

    /// A site by its name.
    pub(crate) fn site(&self, name: &str) -> &Site {
        if name == CLUSTERS[0] {
            &self.dr1
        } else {
            &self.dr2
        }
    }

    /// Starts the hub's program.
    pub(crate) fn start_hub(&mut self) -> Result<()> {
        let file = self.file("hub");
        let args = ["hub", "--identity", "hub-0", "--admin-address", "off"];
        self.hub = Some(Program::start("hub", &args, &[("KUBECONFIG", &file)])?);
        Ok(())
    }

    /// Kills the hub's program, as the loss of its machine would.
    pub(crate) async fn kill_hub(&mut self) -> Result<()> {
        let mut hub = self.hub.take().context("the hub does not run")?;
        hub.kill().await
    }

    /// Whether the hub's program still is the one that was started last.
    pub(crate) fn hub_runs(&mut self) -> Result<bool> {
        let hub = self.hub.as_mut().context("the hub was not started")?;
        Ok(hub.ended()?.is_none())
    }

    /// Starts the agent's program of a cluster.
    pub(crate) async fn start_agent(&mut self, cluster: &str) -> Result<()> {
        let site = self.site(cluster);
        let admin = site.plane.kubeconfig();
        let mine = service_account(&admin, names::SYSTEM_NAMESPACE, AGENT).await?;
        let file = format!("agent-{cluster}");
        std::fs::write(self.folder.join(&file), mine)?;
        let driver = format!("{DEFAULT_NAME}=unix://{}", site.socket.path().display());
        let args = ["agent", "--identity", "agent-0", "--driver", &driver];
        let file = self.file(&file);
        let program = Program::start(&format!("agent-{cluster}"), &args, &[("KUBECONFIG", &file)])?;
        let site = if cluster == CLUSTERS[0] {
            &mut self.dr1
        } else {
            &mut self.dr2
        };
        site.agent = Some(program);
        Ok(())
    }

    /// Registers a cluster with the hub, or renews its credentials, as a person does.
    pub(crate) async fn register(&self, cluster: &str) -> Result<()> {
        let args = [
            "cluster",
            "add",
            cluster,
            "--context",
            cluster,
            "--hub-context",
            "hub",
        ];
        self.lifeboat(&args).await.map(drop)
    }

    /// Runs a verb of the command line as a person who is administrator everywhere.
    pub(crate) async fn lifeboat(&self, args: &[&str]) -> Result<String> {
        Program::run(args, &[("KUBECONFIG", &self.file("person"))]).await
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// What no test may leave behind: something refused to a program for want of a right, two calls at once for one volume, or
    /// data thrown away.
    fn clean(&self) -> Result<()> {
        let programs = [&self.hub, &self.dr1.agent, &self.dr2.agent];
        for program in programs.into_iter().flatten() {
            let log = program.log()?;
            let refused = log.lines().find(|l| l.contains("forbidden"));
            ensure!(refused.is_none(), "a right is missing: {refused:?}");
        }
        for site in [&self.dr1, &self.dr2] {
            let overlaps = site.driver.overlaps();
            ensure!(overlaps.is_empty(), "two calls at once: {overlaps:?}");
        }
        let lost = self.fabric.destroyed();
        ensure!(lost.is_empty(), "data was destroyed: {lost:?}");
        Ok(())
    }
}
