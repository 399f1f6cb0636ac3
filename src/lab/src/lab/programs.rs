//! The programs under test, and the two ways in which they reach the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
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
    apiserver::Identity,
    clock::SimClock,
    csi_addons::Driver,
    storage::Power,
    upstream::Kind,
    world::{HUB, Site, World},
};
use tokio_util::sync::CancellationToken;

use super::{LabError, LabSpec, Tap, connect, front::Front};

/// The world's clock, as the programs take one.
struct WorldClock(Arc<SimClock>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
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
    upstream: BTreeMap<String, Upstream>,
}

impl Programs {
    /// Agents on all clusters, running; no hub yet.
    pub(super) fn new(
        world: &Arc<World>,
        front: Option<&Arc<Front>>,
        tap: &Arc<Tap>,
        spec: &LabSpec,
    ) -> Result<Self, LabError> {
        let context = Arc::new(Context {
            world: Arc::clone(world),
            front: front.cloned(),
            tap: Arc::clone(tap),
            clock: Arc::new(WorldClock(Arc::clone(world.clock()))),
            leadership: spec.leadership,
            upstream: spec.upstream.clone(),
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
            replicas: spec.hubs,
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
        match self.front.as_ref().and_then(|f| f.socket(site)) {
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

/// The controllers of the CSI-Addons project on one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// Which of the two.
    pub kind: Kind,
    /// What of ours runs there too.
    pub beside: Beside,
}

/// What of ours runs beside those controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: the DRCluster says so.
    Nothing,
    /// An agent that leaves the volumes to them.
    Heartbeat,
}

impl Context {
    /// Whether nothing of ours runs there.
    pub(super) fn is_left_alone(&self, cluster: &str) -> bool {
        let upstream = self.upstream.get(cluster);
        upstream.is_some_and(|u| u.beside == Beside::Nothing)
    }

    async fn upstream(&self, there: &Site, kind: Kind) -> Result<(), LabError> {
        let client = self.world.admin(&there.name)?;
        let (driver, clock) = (&there.driver, self.world.clock());
        let name = driver.name().to_owned();
        lifeboat_sim::upstream::Upstream::new(kind, &name, client, driver.channel(), clock.clone())
            .run()
            .await;
        Ok(())
    }
}

/// Runs the agent of a cluster while that has power.
async fn agent(context: Arc<Context>, site: String) {
    let Ok(there) = context.world.site(&site) else {
        return;
    };
    let mut power = there.power();
    while power.wait_for(|p| *p == Power::On).await.is_ok() {
        let endpoint = context.endpoint(&there.driver, &site);
        let mut config = lifeboat_agent::Config::new(
            "agent-0",
            vec![(there.driver.name().to_owned(), endpoint)],
        );
        let upstream = context.upstream.get(&site).copied();
        if let Some(Upstream {
            beside: Beside::Heartbeat,
            ..
        }) = upstream
        {
            config.replication = lifeboat_agent::Replication::Off;
        }
        let others = async {
            match upstream {
                Some(Upstream { kind, .. }) => context.upstream(there, kind).await,
                None => std::future::pending().await,
            }
        };
        let run = async {
            if matches!(
                upstream,
                Some(Upstream {
                    beside: Beside::Nothing,
                    ..
                })
            ) {
                return std::future::pending().await;
            }
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
            ended = others => {
                tracing::error!(site, ?ended, "the controllers ended");
                return;
            }
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
