//! The programs under test, and the two ways in which they reach the world.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use lifeboat_agent::Endpoint;
use lifeboat_api::names;
use lifeboat_drivers::{ConnectError as DialError, connector};
use lifeboat_hub::config::Leadership;
use lifeboat_hub::connect::{Connect, RealConnect};
use lifeboat_kit::{
    Clock, SharedClock,
    task::{Task, spawn},
};
use lifeboat_sim::{
    apiserver::{Identity, ServeHandle, serve},
    clock::SimClock,
    csi_addons::{Driver, Served},
    storage::Power,
    world::{HUB, World},
};
use tokio_util::sync::CancellationToken;

use super::{LabError, Tap, connect};

/// The world's clock, as the programs take one.
struct WorldClock(Arc<SimClock>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// Gives each link from the hub a small delay that follows from the seed.
pub(super) fn delay_links(world: &World, seed: u64) -> Result<(), LabError> {
    if seed == 0 {
        return Ok(());
    }
    for (n, site) in (1u64..).zip(world.sites()) {
        let micros = mix(seed.wrapping_mul(1_000_003).wrapping_add(n)) % 9_000;
        world.slow(HUB, &site.name, Duration::from_micros(1_000 + micros))?;
    }
    Ok(())
}

/// One round of splitmix64.
pub(super) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The API servers behind HTTPS and the drivers behind sockets.
pub(super) struct Front {
    handle: ServeHandle,
    sockets: BTreeMap<String, Served>,
    dir: PathBuf,
}

impl Front {
    /// Opens it on a free port of the loopback interface.
    pub(super) async fn open(world: &World) -> Result<Self, LabError> {
        let places: Vec<String> = std::iter::once(HUB.to_owned())
            .chain(world.sites().map(|s| s.name.clone()))
            .collect();
        let mut servers = BTreeMap::new();
        for place in &places {
            servers.insert(place.clone(), Arc::clone(world.api(place)?));
        }
        let handle = serve(([127, 0, 0, 1], 0).into(), servers).await?;
        let dir = std::env::temp_dir().join(format!(
            "lifeboat-lab-{}-{}",
            std::process::id(),
            handle.addr().port()
        ));
        let failed = |source| LabError::File {
            path: dir.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let mut sockets = BTreeMap::new();
        for site in world.sites() {
            handle.route(
                &from_hub(&site.name),
                Arc::clone(&site.api),
                world.link(HUB, &site.name)?.clone(),
            );
            let path = dir.join(format!("{}.sock", site.name));
            let failed = |source| LabError::File {
                path: path.display().to_string(),
                source,
            };
            sockets.insert(
                site.name.clone(),
                site.driver.serve_unix(&path).map_err(failed)?,
            );
        }
        Ok(Self {
            handle,
            sockets,
            dir,
        })
    }

    /// What the hub is given for a cluster: a token, over the link from the hub.
    pub(super) fn credentials(&self, world: &World, cluster: &str) -> Result<String, LabError> {
        world.site(cluster)?;
        Ok(self
            .handle
            .kubeconfig_with_token(&from_hub(cluster), &connect::token(cluster)))
    }

    /// For people: a context for each place.
    pub(super) fn kubeconfig(&self, world: &World) -> Result<String, LabError> {
        let mut whole: Option<Kubeconfig> = None;
        for place in std::iter::once(HUB).chain(world.sites().map(|s| s.name.as_str())) {
            let one = parse(place, &self.handle.kubeconfig(place, &Identity::admin())?)?;
            whole = Some(match whole {
                None => one,
                Some(all) => all.merge(one).map_err(|e| no_way(place, &e.to_string()))?,
            });
        }
        serde_saphyr::to_string(&whole.unwrap_or_default()).map_err(|e| no_way(HUB, &e.to_string()))
    }

    async fn client(&self, place: &str, who: &Identity) -> Result<Client, LabError> {
        let kubeconfig = parse(place, &self.handle.kubeconfig(place, who)?)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let config = config.map_err(|e| no_way(place, &e.to_string()))?;
        Client::try_from(config).map_err(|e| no_way(place, &e.to_string()))
    }

    /// A directory that goes with the laboratory.
    pub(super) fn dir(&self) -> &PathBuf {
        &self.dir
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.sockets.clear();
        // A directory that stays behind in the system's place for such does no harm.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn from_hub(site: &str) -> String {
    format!("hub-to-{site}")
}

fn parse(place: &str, yaml: &str) -> Result<Kubeconfig, LabError> {
    Kubeconfig::from_yaml(yaml).map_err(|e| no_way(place, &e.to_string()))
}

fn no_way(place: &str, why: &str) -> LabError {
    LabError::Connect {
        place: place.to_owned(),
        why: why.to_owned(),
    }
}

/// Hubs and agents, as tasks.
pub(super) struct Programs {
    /// By number.
    pub(super) hubs: BTreeMap<usize, Task<()>>,
    _agents: Vec<Task<()>>,
    pub(super) replicas: usize,
    pub(super) context: Arc<Context>,
}

/// What a program needs to start.
pub(super) struct Context {
    world: Arc<World>,
    front: Option<Arc<Front>>,
    tap: Arc<Tap>,
    clock: SharedClock,
    leadership: Leadership,
}

impl Programs {
    /// Agents on all clusters, running; no hub yet.
    pub(super) fn new(
        world: &Arc<World>,
        front: Option<&Arc<Front>>,
        tap: &Arc<Tap>,
        (replicas, leadership): (usize, Leadership),
    ) -> Result<Self, LabError> {
        let context = Arc::new(Context {
            world: Arc::clone(world),
            front: front.cloned(),
            tap: Arc::clone(tap),
            clock: Arc::new(WorldClock(Arc::clone(world.clock()))),
            leadership,
        });
        let mut agents = Vec::new();
        for site in world.sites() {
            agents.push(spawn(
                format!("agent on {}", site.name),
                agent(Arc::clone(&context), site.name.clone()),
            ));
        }
        Ok(Self {
            hubs: BTreeMap::new(),
            _agents: agents,
            replicas,
            context,
        })
    }
}

impl Context {
    /// The hub's process number `replica`, ready to be spawned.
    pub(super) async fn hub(self: &Arc<Self>, replica: usize) -> Result<Task<()>, LabError> {
        let me = connect::hub_identity();
        let config = lifeboat_hub::config::Config {
            leadership: self.leadership,
            ..lifeboat_hub::config::Config::new(hub_name(replica))
        };
        let (client, connect): (Client, Arc<dyn Connect>) = match &self.front {
            None => {
                let client = self.world.client(HUB, HUB, me)?;
                let world = Arc::clone(&self.world);
                (
                    self.tap.on(client, replica),
                    Arc::new(connect::InProcess {
                        world,
                        tap: Arc::clone(&self.tap),
                        hub: replica,
                    }),
                )
            }
            Some(front) => (
                front.client(HUB, &me).await?,
                Arc::new(RealConnect::new(&config.fleet)),
            ),
        };
        let run = lifeboat_hub::run::run(
            config,
            client,
            connect,
            Arc::clone(&self.clock),
            CancellationToken::new(),
        );
        Ok(spawn(format!("hub {replica}"), async move {
            if let Err(error) = run.await {
                tracing::error!(%error, "the hub ended");
            }
        }))
    }

    fn endpoint(&self, driver: &Arc<Driver>, site: &str) -> Endpoint {
        match self.front.as_ref().and_then(|f| f.sockets.get(site)) {
            Some(served) => Endpoint::Unix(served.path().to_owned()),
            None => in_process(Arc::clone(driver)),
        }
    }

    async fn agent_client(&self, site: &str) -> Result<Client, LabError> {
        let who = Identity::service_account(names::SYSTEM_NAMESPACE, "lifeboat-agent");
        match &self.front {
            None => Ok(self.world.client(site, site, who)?),
            Some(front) => front.client(site, &who).await,
        }
    }
}

fn in_process(driver: Arc<Driver>) -> Endpoint {
    connector(move || {
        let driver = Arc::clone(&driver);
        async move {
            // The channel dials lazily; whether anybody answers must be known now.
            driver
                .dial()
                .map_err(|e| DialError::Injected(e.to_string()))?;
            Ok(driver.channel())
        }
    })
}

/// Runs the agent of a cluster while that has power.
async fn agent(context: Arc<Context>, site: String) {
    let Ok(there) = context.world.site(&site) else {
        return;
    };
    let mut power = there.power();
    while power.wait_for(|p| *p == Power::On).await.is_ok() {
        let endpoint = context.endpoint(&there.driver, &site);
        let config = lifeboat_agent::Config::new(
            "agent-0",
            vec![(there.driver.name().to_owned(), endpoint)],
        );
        let run = async {
            let client = context.agent_client(&site).await.map_err(|e| e.full())?;
            let run = lifeboat_agent::run(
                config,
                client,
                Arc::clone(&context.clock),
                CancellationToken::new(),
            );
            run.await.map_err(|e| e.to_string())
        };
        let off = async {
            drop(power.wait_for(|p| *p == Power::Off).await);
        };
        tokio::select! {
            biased;
            () = off => {}
            ended = run => {
                tracing::error!(site, ?ended, "the agent ended");
                return;
            }
        }
    }
}

/// What a hub calls itself.
pub(super) fn hub_name(replica: usize) -> String {
    format!("hub-{replica}")
}
