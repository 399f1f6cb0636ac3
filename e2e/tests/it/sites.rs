//! Two sites with mirrored storage and a hub, all real but the storage: installed and registered as the quick start says.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use lifeboat_api::{DRCluster, DRPlacement, common::condition, names};
use lifeboat_e2e::{
    ControlPlane, Node, Program,
    access::{in_repository, kubectl, merged, service_account},
    objects::{self, apply_yaml, bound},
    wait,
};
use lifeboat_sim::{
    clock::SimClock,
    csi_addons::{DEFAULT_NAME, Driver, Served},
    storage::{Array, Fabric, FabricSpec, Record},
    world::{App, STORAGE_CLASS, infrastructure},
};
use serde_json::{Value, json};

/// The managed clusters, best first.
pub(crate) const CLUSTERS: [&str; 2] = ["dr1", "dr2"];
/// The account that the hub and its credentials belong to.
const HUB: &str = "lifeboat-hub";
/// The account of the agents.
const AGENT: &str = "lifeboat-agent";
/// The policy of all placements here.
const POLICY: &str = "gold";

/// What a test is given: it borrows the sites until it ends.
pub(crate) type Story<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Runs a test on the sites, alone. The sites are made once for all tests, and anew after a test that failed.
///
/// All tests use one runtime: arrays, nodes and sockets live in it, and must outlive the test that made them.
pub(crate) fn on_sites(test: impl for<'a> FnOnce(&'a mut Sites) -> Story<'a>) -> Result<()> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    static SITES: Mutex<Option<Sites>> = Mutex::new(None);
    let runtime = if let Some(made) = RUNTIME.get() {
        made
    } else {
        let made = tokio::runtime::Runtime::new()?;
        RUNTIME.get_or_init(|| made)
    };
    let mut kept = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.block_on(async {
        let mut sites = match kept.take() {
            Some(sites) => sites,
            None => Sites::start().await?,
        };
        let ended = test(&mut sites).await.and_then(|()| sites.clean());
        if ended.is_ok() {
            *kept = Some(sites);
        } else {
            // Dropped, the programs show the end of their logs.
            sites.show().await;
        }
        ended
    })
}

/// A managed cluster with its storage.
pub(crate) struct Site {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) array: Array,
    driver: Arc<Driver>,
    agent: Option<Program>,
    socket: Served,
    _node: Node,
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
                install(&hub_file, "hub-deploy/base").await
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
        apply_yaml(&sites.hub_client, &policy()).await?;
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

    /// Waits until the hub calls a cluster, its agent and its drivers ready.
    pub(crate) async fn until_ready(&self, cluster: &str) -> Result<()> {
        let api = Api::<DRCluster>::all(self.hub_client.clone());
        let ready = |c: &DRCluster| {
            let conditions = c.status.as_ref().map(|s| s.conditions.as_slice());
            let is = |kind| is_true(conditions.unwrap_or_default(), kind);
            is("Reachable") && is("AgentAlive") && is("DriversReady")
        };
        wait::until_some(&api, cluster, "it is ready", ready)
            .await
            .map(drop)
    }

    /// The placements of a namespace.
    pub(crate) fn placements(&self, namespace: &str) -> Api<DRPlacement> {
        Api::namespaced(self.hub_client.clone(), namespace)
    }

    /// Waits until the one placement of a namespace is as wanted.
    pub(crate) async fn until(
        &self,
        app: &App,
        what: &str,
        is: impl FnMut(&DRPlacement) -> bool,
    ) -> Result<DRPlacement> {
        let api = self.placements(&app.namespace);
        wait::until_some(&api, &app.name, what, is).await
    }

    /// Waits until an application has come to rest on a cluster: available, and protected on the other one.
    pub(crate) async fn until_settled(&self, app: &App, cluster: &str) -> Result<DRPlacement> {
        let what = format!("it is at rest on {cluster}");
        self.until(app, &what, |p| {
            on(p, cluster) && phase(p) == "Steady" && has(p, "Protected") && has(p, "PeerReady")
        })
        .await
    }

    /// Changes the wish of a placement.
    pub(crate) async fn wish(&self, app: &App, spec: Value) -> Result<()> {
        let wish = Patch::Merge(json!({"spec": spec}));
        let api = self.placements(&app.namespace);
        api.patch(&app.name, &PatchParams::default(), &wish).await?;
        Ok(())
    }

    /// An application on the first cluster, whose volumes are there already.
    pub(crate) async fn deploy_alone(&self, name: &str) -> Result<App> {
        let app = App::new(name);
        for claim in app.claims() {
            self.dr1.array.create(&claim)?;
        }
        self.dr1.install(&app, &app.yaml()).await?;
        Ok(app)
    }

    /// The same, and its placement.
    pub(crate) async fn deploy(&self, name: &str) -> Result<App> {
        let app = self.deploy_alone(name).await?;
        objects::namespace(&self.hub_client, &app.namespace).await?;
        apply_yaml(&self.hub_client, &placement(&app)).await?;
        Ok(app)
    }

    /// Writes records into every volume of an application, as it does where it runs. Fails where it may not write.
    pub(crate) fn write(&self, app: &App, cluster: &str, numbers: &[u64]) -> Result<()> {
        let writer = Arc::from(app.name.as_str());
        let array = &self.site(cluster).array;
        for handle in app.claims() {
            for number in numbers {
                let record = Record::new(&writer, *number);
                array
                    .append(&handle, record)
                    .with_context(|| format!("{cluster} refuses record {number} of {handle}"))?;
            }
        }
        Ok(())
    }

    /// Waits until every copy of an application's volumes on a cluster holds exactly these records.
    pub(crate) async fn until_written(
        &self,
        app: &App,
        cluster: &str,
        numbers: &[u64],
    ) -> Result<()> {
        let array = &self.site(cluster).array;
        for handle in app.claims() {
            let read = || {
                let found: Vec<u64> = array
                    .content(&handle)
                    .iter()
                    .map(|e| e.record.number)
                    .collect();
                std::future::ready(if found == numbers {
                    Ok(Some(()))
                } else {
                    Err(anyhow::anyhow!("{found:?}"))
                })
            };
            let what = format!("{handle} on {cluster} holds {numbers:?}");
            wait::until_answer(&what, read).await?;
        }
        Ok(())
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

    /// Prints what the hub believes.
    async fn show(&self) {
        let all = ListParams::default();
        let placements = Api::<DRPlacement>::all(self.hub_client.clone());
        let clusters = Api::<DRCluster>::all(self.hub_client.clone());
        for p in placements.list(&all).await.into_iter().flatten() {
            print(
                "DRPlacement",
                &p.name_any(),
                &json!({"spec": p.spec, "status": p.status}),
            );
        }
        for c in clusters.list(&all).await.into_iter().flatten() {
            print("DRCluster", &c.name_any(), &json!({"status": c.status}));
        }
        for event in self.fabric.events() {
            eprintln!(
                "{} {} {} {:?}",
                event.at, event.site, event.handle, event.what
            );
        }
    }
}

impl Site {
    async fn start(plane: ControlPlane, fabric: &Arc<Fabric>, folder: &Path) -> Result<Self> {
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
async fn install(kubeconfig: &Path, folder: &str) -> Result<()> {
    let folder = in_repository(folder).display().to_string();
    let args = ["apply", "--server-side", "-k", &folder];
    kubectl(kubeconfig, &args).await.map(drop)
}

fn policy() -> String {
    format!(
        "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPolicy
metadata: {{name: {POLICY}}}
spec:
  clusters: [{}]
  rpo: 1m
  classes: [{{storageClassName: fast, volumeReplicationClassName: fast-mirror}}]
",
        CLUSTERS.join(", ")
    )
}

fn placement(app: &App) -> String {
    let App {
        namespace, name, ..
    } = app;
    format!(
        "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPlacement
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  policyRef: {{name: {POLICY}}}
  preferredCluster: {}
  pvcSelector: {{matchLabels: {{app: {name}}}}}
  workload: {{selector: {{matchLabels: {{app: {name}}}}}}}
",
        CLUSTERS[0]
    )
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

fn print(kind: &str, name: &str, what: &Value) {
    let text = serde_saphyr::to_string(what).unwrap_or_else(|_| what.to_string());
    eprintln!("--- {kind} {name}\n{text}");
}

fn is_true(
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    kind: &str,
) -> bool {
    condition(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Whether a condition of the placement is True.
pub(crate) fn has(placement: &DRPlacement, kind: &str) -> bool {
    let status = placement.status.as_ref();
    status.is_some_and(|s| is_true(&s.conditions, kind))
}

/// Whether the status speaks of the present spec, and says that the application runs on this cluster.
pub(crate) fn on(placement: &DRPlacement, cluster: &str) -> bool {
    let status = placement.status.as_ref();
    let current = status.and_then(|s| s.observed_generation) == placement.metadata.generation;
    let there = status.and_then(|s| s.cluster.as_deref()) == Some(cluster);
    current && there && has(placement, "Available")
}

/// The phase of a placement.
pub(crate) fn phase(placement: &DRPlacement) -> &str {
    let status = placement.status.as_ref();
    status.and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The epoch of a placement.
pub(crate) fn epoch(placement: &DRPlacement) -> i64 {
    let status = placement.status.as_ref();
    status.and_then(|s| s.epoch).unwrap_or_default()
}
