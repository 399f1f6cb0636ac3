//! A world of sites: API servers, arrays, nodes and drivers, the links between them, and what can happen to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    apiserver::{ApiServer, ApplyError, Identity, Link},
    clock::SimClock,
    controllers::{self, Habits, Surroundings},
    csi_addons::{self, Driver},
    storage::{Array, Fabric, FabricSpec, Handles, Now, Power, StorageError},
    workload::{Ledger, Workload},
};

mod app;
mod faults;

pub use app::{App, STORAGE_CLASS, Shape, infrastructure};

/// The hub's name among the sites and links.
pub const HUB: &str = "hub";

/// Whether the world has a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubPresence {
    /// It has.
    Present,
    /// It has sites only.
    Absent,
}

/// Where the controllers of the sites run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// With everything else: one thread, one order, one seed.
    Shared,
    /// Each site on a thread of its own, as on a machine of its own: its share of the processors does not shrink with
    /// the number of tasks of a hub that has much to do. Needs the real clock.
    Own,
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct WorldSpec {
    /// One cluster with an array each.
    pub sites: Vec<String>,
    /// Whether there is a hub cluster besides.
    pub hub: HubPresence,
    /// The world's time.
    pub clock: Arc<SimClock>,
    /// The storage driver's name on all sites.
    pub driver: String,
    /// Whether handles differ from site to site.
    pub handles: Handles,
    /// Where the sites' controllers run.
    pub machines: Machines,
    /// Time from one record of a running application to the next; zero: they write nothing.
    pub write_every: Duration,
    /// Time from one mirror snapshot to the next.
    pub mirror_interval: Duration,
    /// Time a snapshot takes to its peer.
    pub transfer: Duration,
    /// Time a whole image takes to its peer.
    pub full_copy: Duration,
}

impl WorldSpec {
    /// A hub and these sites, applications that write ten records a second, mirroring each second.
    pub fn new<S: Into<String>>(clock: Arc<SimClock>, sites: impl IntoIterator<Item = S>) -> Self {
        let fabric = FabricSpec::new(sites);
        Self {
            sites: fabric.sites,
            hub: HubPresence::Present,
            clock,
            driver: csi_addons::DEFAULT_NAME.to_owned(),
            handles: fabric.handles,
            machines: Machines::Shared,
            write_every: Duration::from_millis(100),
            mirror_interval: fabric.interval,
            transfer: fabric.transfer,
            full_copy: fabric.full_copy,
        }
    }
}

/// Something a scenario named that is not there, or could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// There is no such site, and it is not the hub either.
    #[error("the world has no site {0}")]
    NoSuchSite(String),
    /// The hub was meant, in a world without.
    #[error("the world has no hub")]
    NoHub,
    /// A document was refused.
    #[error("could not install on {site}")]
    Install {
        /// Where.
        site: String,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// A site got no thread of its own.
    #[error("a site got no machine of its own")]
    Machine(#[source] std::io::Error),
    /// An array was named that is not there.
    #[error("the replication network refused")]
    Storage(#[from] StorageError),
}

/// One cluster with its node, its array and its driver.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Its API server.
    pub api: Arc<ApiServer>,
    /// Its storage array.
    pub array: Array,
    /// Its storage driver.
    pub driver: Arc<Driver>,
    /// What its pods do to their volumes.
    pub workload: Arc<Workload>,
    /// How its pods behave.
    pub habits: Arc<Habits>,
    power: watch::Sender<Power>,
}

impl Site {
    /// Whether it has power: what runs there (an agent) stops when it goes and starts afresh when it is back.
    pub fn power(&self) -> watch::Receiver<Power> {
        self.power.subscribe()
    }
}

/// Everything outside Lifeboat. Dropped, all its tasks end.
#[derive(Debug)]
pub struct World {
    clock: Arc<SimClock>,
    hub: Option<Arc<ApiServer>>,
    sites: BTreeMap<String, Site>,
    fabric: Arc<Fabric>,
    ledger: Arc<Ledger>,
    links: BTreeMap<(String, String), Link>,
    /// Links cut on purpose: the return of a site does not mend them.
    cut: Mutex<BTreeSet<(String, String)>>,
    _tasks: JoinSet<()>,
}

impl World {
    /// A world in which everything works. Needs a tokio runtime.
    pub fn new(spec: &WorldSpec) -> Result<Self, WorldError> {
        let time = Arc::clone(&spec.clock);
        let now: Now = Arc::new(move || time.now());
        let fabric = FabricSpec {
            sites: spec.sites.clone(),
            handles: spec.handles,
            interval: spec.mirror_interval,
            transfer: spec.transfer,
            full_copy: spec.full_copy,
        };
        let fabric = Fabric::new(fabric, now);
        let ledger = Ledger::new(Arc::clone(&fabric));
        let mut tasks = JoinSet::new();
        let mut sites = BTreeMap::new();
        for name in &spec.sites {
            let site = build_site(spec, name, &fabric, &ledger)?;
            match spec.machines {
                Machines::Shared => {
                    tasks.spawn(live(surroundings(spec, &site), site.power()));
                }
                Machines::Own => apart(spec, &site)?,
            }
            sites.insert(name.clone(), site);
        }
        let hub = match spec.hub {
            HubPresence::Present => Some(ApiServer::new(HUB, Arc::clone(&spec.clock))),
            HubPresence::Absent => None,
        };
        let places: Vec<String> = spec
            .sites
            .iter()
            .cloned()
            .chain(hub.iter().map(|_| HUB.to_owned()))
            .collect();
        let pairs = places
            .iter()
            .flat_map(|a| places.iter().map(move |b| pair(a, b)));
        let links = pairs.map(|ends| (ends, Link::perfect())).collect();
        let clock = Arc::clone(&spec.clock);
        Ok(Self {
            clock,
            hub,
            sites,
            fabric,
            ledger,
            links,
            cut: Mutex::default(),
            _tasks: tasks,
        })
    }

    /// The world's time.
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    /// The hub's API server.
    pub fn hub(&self) -> Result<&Arc<ApiServer>, WorldError> {
        self.hub.as_ref().ok_or(WorldError::NoHub)
    }

    /// A site by name.
    pub fn site(&self, name: &str) -> Result<&Site, WorldError> {
        self.sites
            .get(name)
            .ok_or_else(|| WorldError::NoSuchSite(name.to_owned()))
    }

    /// All sites, by name.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.values()
    }

    /// All arrays and the replication between them.
    pub fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// What applications were told is safe.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The API server of a site or of the hub.
    pub fn api(&self, place: &str) -> Result<&Arc<ApiServer>, WorldError> {
        if place == HUB {
            self.hub()
        } else {
            self.site(place).map(|s| &s.api)
        }
    }

    /// The way between two places, or within one: what clients made with it feel when it is cut.
    pub fn link(&self, from: &str, to: &str) -> Result<&Link, WorldError> {
        self.links.get(&pair(from, to)).ok_or_else(|| {
            let known = |place: &str| self.links.contains_key(&pair(place, place));
            WorldError::NoSuchSite(if known(from) { to } else { from }.to_owned())
        })
    }

    /// A client of `who`, at `from`, of the API server at `to`.
    pub fn client(&self, from: &str, to: &str, who: Identity) -> Result<Client, WorldError> {
        Ok(self.api(to)?.client(who, self.link(from, to)?))
    }

    /// A client that may do everything at a site or the hub, whatever happens to the links.
    pub fn admin(&self, place: &str) -> Result<Client, WorldError> {
        Ok(self.api(place)?.admin())
    }

    /// Applies YAML documents at a site or the hub.
    pub fn install(&self, place: &str, yaml: &str) -> Result<(), WorldError> {
        let refused = |source| WorldError::Install {
            site: place.to_owned(),
            source,
        };
        self.api(place)?.apply_yaml(yaml).map_err(refused)
    }

    /// Applies YAML documents on all sites.
    pub fn install_on_sites(&self, yaml: &str) -> Result<(), WorldError> {
        self.sites
            .keys()
            .try_for_each(|site| self.install(site, yaml))
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    if a <= b {
        (a.to_owned(), b.to_owned())
    } else {
        (b.to_owned(), a.to_owned())
    }
}

fn build_site(
    spec: &WorldSpec,
    name: &str,
    fabric: &Arc<Fabric>,
    ledger: &Arc<Ledger>,
) -> Result<Site, WorldError> {
    let array = fabric.array(name)?;
    Ok(Site {
        name: name.to_owned(),
        api: ApiServer::new(name, Arc::clone(&spec.clock)),
        driver: Driver::new(&spec.driver, array.clone()),
        workload: Workload::new(array.clone(), Arc::clone(ledger), spec.write_every),
        habits: Arc::new(Habits::default()),
        power: watch::Sender::new(Power::On),
        array,
    })
}

fn surroundings(spec: &WorldSpec, site: &Site) -> Surroundings {
    Surroundings {
        client: site.api.admin(),
        clock: Arc::clone(&spec.clock),
        array: site.array.clone(),
        driver: spec.driver.clone(),
        workload: Arc::clone(&site.workload),
        habits: Arc::clone(&site.habits),
    }
}

/// Runs a site on a thread of its own, until the world is dropped.
fn apart(spec: &WorldSpec, site: &Site) -> Result<(), WorldError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WorldError::Machine)?;
    let with = {
        let _entered = runtime.enter();
        surroundings(spec, site)
    };
    let power = site.power();
    std::thread::Builder::new()
        .name(site.name.clone())
        .spawn(move || runtime.block_on(live(with, power)))
        .map_err(WorldError::Machine)?;
    Ok(())
}

/// What runs on a site while it has power: its controllers, its node and its applications.
async fn live(with: Surroundings, mut power: watch::Receiver<Power>) {
    while power.wait_for(|p| *p == Power::On).await.is_ok() {
        let off = async {
            drop(power.wait_for(|p| *p == Power::Off).await);
        };
        tokio::select! {
            biased;
            () = off => {}
            () = controllers::run(with.clone()) => {}
            () = with.workload.run() => {}
        }
        with.workload.stop_all();
    }
}
