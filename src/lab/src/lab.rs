//! A laboratory: one hub, several clusters, an application, and everything that can happen to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::{Api, Client, ResourceExt};
use lifeboat_api::DRPlacement;
use lifeboat_hub::config::Leadership;
use lifeboat_kit::task::Task;
use lifeboat_sim::{
    apiserver::ApiServer,
    clock::SimClock,
    storage::Handles,
    workload::Report,
    world::{App, HUB, Machines, World, WorldSpec},
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

mod book;
mod chronicle;
mod connect;
mod error;
mod front;
mod guard;
mod objects;
mod programs;
mod seed;
mod tap;
mod verbs;
mod wait;

pub use book::{Key, Look};
pub use chronicle::{Chronicle, Line, Topic};
pub use error::LabError;
pub use objects::{POLICY, cluster_objects, placement};
pub use tap::{Fault, Tap};

use book::Book;
use front::Front;
use objects::{NEIGHBOURS_POLICY, Otherwise, otherwise, placement_under, policy};
use programs::Programs;
pub use programs::{Beside, Upstream};

/// How the programs reach the API servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In process: works on a paused clock.
    InProcess,
    /// HTTPS on the loopback interface, as other processes see it; drivers on unix sockets.
    Https,
}

/// What a laboratory is made of.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// The managed clusters; the first one is the application's home.
    pub clusters: Vec<String>,
    /// Of these, the ones that the hub is not told of at the start.
    pub unregistered: BTreeSet<String>,
    /// The application.
    pub app: App,
    /// What is there of it at the start.
    pub start: Start,
    /// Another application, on the same clusters and under a policy of its own, that must never be held up.
    pub neighbour: Option<App>,
    /// How many hubs run at once.
    pub hubs: usize,
    /// Whether of these hubs only the holder of the Lease acts, or every one, as if it were alone.
    pub leadership: Leadership,
    /// How the programs reach the API servers.
    pub transport: Transport,
    /// Decides the small delays of all links; with 0 there are none.
    pub seed: u64,
    /// Whether a volume has the same handle on each cluster.
    pub handles: Handles,
    /// Where the controllers of the clusters run.
    pub machines: Machines,
    /// The cluster, if any, on which namespaces and storage class go by other names than at home.
    pub renamed: Option<String>,
    /// Time from one record of the running application to the next; zero: it writes nothing.
    pub write_every: Duration,
    /// Time from one mirror snapshot to the next.
    pub mirror_interval: Duration,
    /// Time a snapshot takes to its peer.
    pub transfer: Duration,
    /// Time a whole image takes to its peer.
    pub full_copy: Duration,
    /// The clusters, if any, on which the controllers of the CSI-Addons project work the volumes.
    pub upstream: BTreeMap<String, Upstream>,
    /// The world's time.
    pub clock: Arc<SimClock>,
}

/// What is there when a laboratory starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The application and its DRPlacement.
    Placed,
    /// The application alone.
    Unplaced,
    /// Neither.
    Empty,
}

impl LabSpec {
    /// East, west and north; an application of `volumes` volumes on east, placed there.
    pub fn new(clock: Arc<SimClock>, volumes: usize) -> Self {
        let world = WorldSpec::new(Arc::clone(&clock), ["east"]);
        Self {
            clusters: ["east", "west", "north"].map(str::to_owned).to_vec(),
            unregistered: BTreeSet::new(),
            app: App::new("shop").volumes(volumes),
            start: Start::Placed,
            neighbour: None,
            hubs: 1,
            leadership: Leadership::Lease,
            transport: Transport::InProcess,
            seed: 0,
            handles: Handles::Shared,
            machines: world.machines,
            renamed: None,
            write_every: world.write_every,
            mirror_interval: world.mirror_interval,
            transfer: world.transfer,
            full_copy: world.full_copy,
            upstream: BTreeMap::new(),
            clock,
        }
    }

    /// The same on a clock that starts at a fixed time and stands still unless the runtime moves it.
    pub fn paused(volumes: usize) -> Self {
        let base = jiff::Timestamp::from_second(1_767_225_600).unwrap_or_default();
        Self::new(SimClock::at(base), volumes)
    }

    fn world(&self) -> WorldSpec {
        WorldSpec {
            handles: self.handles,
            machines: self.machines,
            write_every: self.write_every,
            mirror_interval: self.mirror_interval,
            transfer: self.transfer,
            full_copy: self.full_copy,
            ..WorldSpec::new(Arc::clone(&self.clock), self.clusters.clone())
        }
    }
}

/// A running laboratory. Dropped, everything in it ends.
pub struct Lab {
    world: Arc<World>,
    app: App,
    neighbour: Option<App>,
    /// The clusters that the neighbour moves between.
    between: Vec<String>,
    home: String,
    renamed: Option<String>,
    book: Arc<Book>,
    chronicle: Arc<Chronicle>,
    tap: Arc<Tap>,
    front: Option<Arc<Front>>,
    programs: Mutex<Programs>,
    hub: Client,
    _watchers: Vec<Task<()>>,
}

impl Lab {
    /// Builds the world and starts hub and agents in it.
    pub async fn start(spec: LabSpec) -> Result<Self, LabError> {
        let world = Arc::new(World::new(&spec.world())?);
        seed::delay_links(&world, spec.seed)?;
        objects::install(&world, spec.renamed.as_deref())?;
        let front = match spec.transport {
            Transport::InProcess => None,
            Transport::Https => Some(Arc::new(Front::open(&world).await?)),
        };
        let hub = world.admin(HUB)?;
        let chronicle = Arc::new(Chronicle::new(Arc::clone(&spec.clock)));
        let book = Arc::new(Book::default());
        let cancel = CancellationToken::new();
        let watchers = guard::watch_all(&world, &hub, &book, &chronicle, &cancel);
        let tap = Arc::new(Tap::default());
        let programs = Programs::new(&world, front.as_ref(), &tap, &spec)?;
        let lab = Self {
            home: spec.clusters.first().cloned().unwrap_or_default(),
            renamed: spec.renamed.clone(),
            app: spec.app.clone(),
            neighbour: spec.neighbour.clone(),
            between: spec.clusters.iter().take(2).cloned().collect(),
            world,
            book,
            chronicle,
            tap,
            front,
            programs: Mutex::new(programs),
            hub,
            _watchers: watchers,
        };
        lab.populate(&spec)?;
        lab.start_hub().await?;
        Ok(lab)
    }

    fn populate(&self, spec: &LabSpec) -> Result<(), LabError> {
        for cluster in &spec.clusters {
            if !spec.unregistered.contains(cluster) {
                self.register(cluster)?;
            }
        }
        self.policy_over(&spec.clusters)?;
        if spec.start != Start::Empty {
            self.world.install_app(&self.home, &self.app)?;
        }
        if spec.start == Start::Placed {
            self.place(&self.app, &self.home)?;
        }
        if let Some(neighbour) = &spec.neighbour {
            let wanted = self.policy(NEIGHBOURS_POLICY, &self.between);
            self.world.install(HUB, &wanted)?;
            self.world.install_app(&self.home, neighbour)?;
            let wanted = placement_under(NEIGHBOURS_POLICY, neighbour, &self.home, &neighbour.name);
            self.world.install(HUB, &wanted)?;
        }
        Ok(())
    }

    /// Lets the application's policy have these clusters, best first.
    pub fn policy_over(&self, clusters: &[String]) -> Result<(), LabError> {
        let wanted = self.policy(POLICY, clusters);
        Ok(self.world.install(HUB, &wanted)?)
    }

    fn policy(&self, name: &str, clusters: &[String]) -> String {
        let all = std::iter::once(&self.app).chain(&self.neighbour);
        let namespaces: Vec<&str> = all.map(|app| app.namespace.as_str()).collect();
        let renamed = self.renamed.as_deref().map(|cluster| Otherwise {
            cluster,
            namespaces: &namespaces,
        });
        policy(name, clusters, renamed)
    }

    /// How a cluster calls an application's namespace.
    pub fn namespace_on(&self, cluster: &str, app: &App) -> String {
        let home = &app.namespace;
        if self.renamed.as_deref() == Some(cluster) {
            otherwise(home)
        } else {
            home.clone()
        }
    }

    /// The world outside the programs.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The application.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The other application, if there is one.
    pub fn neighbour(&self) -> Option<&App> {
        self.neighbour.as_ref()
    }

    /// The cluster that the application is on at the start.
    pub fn home(&self) -> &str {
        &self.home
    }

    /// The DRPlacement of the application.
    pub fn key(&self) -> Key {
        Key::of(&self.app)
    }

    /// What all hubs do at their API servers, and how to get in the way.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// A client of the hub's API server that may do everything.
    pub fn hub_client(&self) -> Client {
        self.hub.clone()
    }

    /// What became of the application's records.
    pub fn ledger(&self) -> Report {
        self.world.ledger().total()
    }

    /// What happened, line by line; the same for the same seed.
    pub fn log(&self) -> String {
        self.chronicle.text()
    }

    /// What happened, as it happens.
    pub fn chronicle(&self) -> &Arc<Chronicle> {
        &self.chronicle
    }

    /// Broken invariants so far.
    pub fn violations(&self) -> Vec<String> {
        self.book.violations()
    }

    /// What the roles of the deploy files refused the programs.
    pub fn refusals(&self) -> Vec<String> {
        let sites = self.world.sites().map(|site| &site.api);
        let all = self.world.hub().into_iter().chain(sites);
        let of = |api: &Arc<ApiServer>| {
            let refused = api.rights_refused().into_iter();
            let told = refused.map(|r| {
                let (user, verb, what, group) = (r.user, r.verb, r.resource, r.group);
                format!(
                    "{}: {user} may not {verb} {what} of group \"{group}\"",
                    api.name()
                )
            });
            told.collect::<Vec<_>>()
        };
        all.flat_map(of).collect()
    }

    /// The application's DRPlacement as last seen.
    pub fn placement(&self) -> Option<DRPlacement> {
        self.book.get(&self.key())
    }

    /// All DRPlacements as last seen.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// One kubeconfig with a context for the hub and each cluster; only over HTTPS.
    pub fn kubeconfig(&self) -> Result<Option<String>, LabError> {
        self.front
            .as_ref()
            .map(|front| front.kubeconfig(&self.world))
            .transpose()
    }

    /// Writes that kubeconfig to a file, or to a temporary place if none is named.
    pub fn write_kubeconfig(&self, path: Option<&Path>) -> Result<Option<PathBuf>, LabError> {
        let (Some(front), Some(text)) = (&self.front, self.kubeconfig()?) else {
            return Ok(None);
        };
        let path = path.map_or_else(|| front.dir().join("kubeconfig"), Path::to_owned);
        let failed = |source| LabError::File {
            path: path.display().to_string(),
            source,
        };
        std::fs::write(&path, text).map_err(failed)?;
        Ok(Some(path))
    }

    /// Registers a cluster with the hub.
    pub fn register(&self, cluster: &str) -> Result<(), LabError> {
        let kubeconfig = self.kubeconfig_for_hub(cluster)?;
        let mut objects = cluster_objects(cluster, &kubeconfig);
        if self.programs.lock().context.is_left_alone(cluster) {
            objects.push_str("  replication: Upstream\n");
        }
        self.world.install(HUB, &objects)?;
        self.chronicle
            .say(Topic::Verb, format!("{cluster} is registered"));
        Ok(())
    }

    /// What the hub is given for a cluster.
    pub fn kubeconfig_for_hub(&self, cluster: &str) -> Result<String, LabError> {
        match &self.front {
            None => Ok(connect::kubeconfig(cluster)),
            Some(front) => front.credentials(&self.world, cluster),
        }
    }

    /// Asks for the protection of an application that is on `cluster`.
    pub fn place(&self, app: &App, cluster: &str) -> Result<(), LabError> {
        self.world.install(HUB, &placement(app, cluster))?;
        Ok(())
    }

    pub(crate) fn placements(&self) -> Api<DRPlacement> {
        Api::namespaced(self.hub.clone(), &self.app.namespace)
    }

    /// Name of the application's DRPlacement.
    pub fn name(&self) -> String {
        self.placement()
            .map_or_else(|| self.app.name.clone(), |p| p.name_any())
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab")
            .field("app", &self.app.name)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}
