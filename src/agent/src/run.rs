//! Starting and stopping.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::runtime::watcher;
use kube::{Api, Client};
use lifeboat_api::names;
use lifeboat_drivers::{Driver, DriverConfig};
use lifeboat_kit::events::Recorder;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_kit::{
    Next, Readiness, Ready, SharedClock, WatchEvent, WorkQueue, admin, run_queue, watch_into,
};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{info, instrument, warn};

use crate::act::{Step, act};
use crate::agent::Agent;
use crate::cache::{Caches, Kind, Work};
use crate::config::{Config, Replication};
use crate::decide::{Decision, decide};
use crate::fence;
use crate::fleet::{Fleet, follow_turn, supervise};
use crate::gather::gather;
use crate::group;
use crate::identity;
use crate::kept;
use crate::metrics::Metrics;
use crate::ownership;
use crate::secrets::SecretReader;
use crate::turn::Turn;
use crate::view::Key;

/// More steps than any volume needs in one go.
pub(crate) const STEPS: usize = 16;
/// How long a volume rests that needed more.
pub(crate) const REST: Duration = Duration::from_secs(1);
/// How long a watch lives before it is renewed: a silently broken connection is noticed that soon.
const WATCH_SECONDS: u32 = 60;

/// The agent cannot run as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Two drivers of one name.
    #[error("driver {name} is configured twice")]
    DuplicateDriver {
        /// The name.
        name: String,
    },
    /// The admin server could not listen.
    #[error("could not serve the admin endpoint on {addr}")]
    Admin {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The admin server died.
    #[error("the admin server stopped before its end")]
    AdminStopped(#[source] lifeboat_kit::task::TaskError),
}

/// Runs the agent until cancelled. Drivers and the API server may come and go meanwhile; neither ends it.
pub async fn run(
    config: Config,
    client: Client,
    clock: SharedClock,
    cancel: CancellationToken,
) -> Result<(), AgentError> {
    let mut seen = BTreeSet::new();
    if let Some((name, _)) = config
        .drivers
        .iter()
        .find(|(name, _)| !seen.insert(name.clone()))
    {
        return Err(AgentError::DuplicateDriver { name: name.clone() });
    }
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::new();
    let mut fleet = Fleet::new(readiness.clone(), &config);
    let mut contenders = Vec::new();
    for (name, endpoint) in &config.drivers {
        let driver = DriverConfig {
            name: name.clone(),
            endpoint: endpoint.clone(),
            rpc_timeout: config.rpc_timeout,
        };
        let driver = Driver::observed(driver, Arc::new(metrics.clone()));
        let (turn, contender, annotations) = Turn::new(name, &config, &client, &clock);
        fleet.add(driver, turn, annotations);
        contenders.push(contender);
    }
    let agent = Arc::new(Agent {
        recorder: Recorder::new(
            client.clone(),
            names::AGENT_MANAGER,
            &config.identity,
            clock.clone(),
        ),
        secrets: SecretReader::new(client.clone()),
        caches: Caches::new(),
        queue: WorkQueue::new(),
        memories: Mutex::default(),
        tries: Mutex::default(),
        client,
        clock,
        fleet,
        metrics,
        cluster_uid: OnceLock::new(),
        config,
    });
    // The Leases outlive the work: they are given up only when nothing is in flight any more.
    let work_over = CancellationToken::new();
    let leases: Vec<Task<()>> = contenders
        .into_iter()
        .map(|contender| spawn("lease", contender.run(work_over.clone())))
        .collect();
    let mut tasks = supervisors(&agent, &cancel);
    let serving = serve_admin(&agent, &readiness, Arc::new(registry), &cancel);
    if agent.config.replication == Replication::On {
        tasks.extend(watches(&agent, &readiness, &cancel));
        tasks.extend(optional_watches(&agent, &cancel));
        let identity = identity::learn(agent.clone(), readiness.clone(), cancel.clone());
        tasks.push(spawn("identity", identity));
    }
    info!(drivers = ?agent.fleet.names(), "agent runs");
    let result = tokio::select! {
        biased;
        result = serving => result,
        () = work(&agent, &cancel) => Ok(()),
    };
    drop(tasks);
    work_over.cancel();
    for lease in leases {
        if lease.join().await.is_err() {
            warn!("a lease was not given up; it will run out");
        }
    }
    result
}

fn supervisors(agent: &Arc<Agent>, cancel: &CancellationToken) -> Vec<Task<()>> {
    let mut tasks = Vec::new();
    for name in agent.fleet.names() {
        let driver = supervise(agent.clone(), name.clone(), cancel.clone());
        tasks.push(spawn(format!("driver {name}"), driver));
        let turn = follow_turn(agent.clone(), name.clone(), cancel.clone());
        tasks.push(spawn(format!("turn {name}"), turn));
    }
    tasks
}

/// Never answers when there is no admin server, or when it ends because it was asked to.
async fn serve_admin(
    agent: &Arc<Agent>,
    readiness: &Readiness,
    registry: Arc<Registry>,
    cancel: &CancellationToken,
) -> Result<(), AgentError> {
    if let Some(addr) = agent.config.admin {
        let server = admin::serve(
            addr,
            admin::router(readiness.clone(), registry),
            cancel.clone(),
        );
        let answer = spawn("admin", server)
            .join()
            .await
            .map_err(AgentError::AdminStopped)?;
        answer.map_err(|source| AgentError::Admin { addr, source })?;
    }
    std::future::pending().await
}

/// Kinds that nothing can be served without.
fn watches(agent: &Arc<Agent>, readiness: &Readiness, cancel: &CancellationToken) -> Vec<Task<()>> {
    let with = &Watcher {
        agent,
        cancel,
        readiness: Some(readiness),
    };
    vec![
        with.watch(Kind::Volumes, Caches::volumes_changed),
        with.watch(Kind::Classes, Caches::classes_changed),
        with.watch(Kind::Claims, Caches::claims_changed),
        with.watch(Kind::PersistentVolumes, Caches::pvs_changed),
        with.watch(Kind::Ownerships, Caches::ownerships_changed),
    ]
}

/// Kinds that need not be installed: what there is of them is served, and the agent is ready without them. Their watches
/// go on trying, so that they are served as soon as they are installed.
fn optional_watches(agent: &Arc<Agent>, cancel: &CancellationToken) -> Vec<Task<()>> {
    let with = &Watcher {
        agent,
        cancel,
        readiness: None,
    };
    vec![
        with.watch(Kind::Groups, Caches::groups_changed),
        with.watch(Kind::GroupClasses, Caches::group_classes_changed),
        with.watch(Kind::Contents, Caches::contents_changed),
        with.watch(Kind::Fences, Caches::fences_changed),
        with.watch(Kind::FenceClasses, Caches::fence_classes_changed),
    ]
}

/// What every watch needs.
struct Watcher<'a> {
    agent: &'a Arc<Agent>,
    cancel: &'a CancellationToken,
    /// Where to say whether the watch is in step, if the agent is not ready without it.
    readiness: Option<&'a Readiness>,
}

impl Watcher<'_> {
    fn watch<K>(&self, kind: Kind, take: fn(&Caches, WatchEvent<K>) -> Vec<Work>) -> Task<()>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Send
            + serde::de::DeserializeOwned
            + 'static,
    {
        let (agent, readiness) = (self.agent.clone(), self.readiness.cloned());
        let say = move |ready| {
            if let Some(readiness) = &readiness {
                readiness.set(kind.as_str(), ready);
            }
        };
        say(Ready::No("not read yet".to_owned()));
        let api: Api<K> = Api::all(agent.client.clone());
        let sink = move |event: WatchEvent<K>| {
            match &event {
                WatchEvent::Synced(_) => say(Ready::Yes),
                WatchEvent::Lost(why) => say(Ready::No(why.clone())),
                WatchEvent::Apply(_) | WatchEvent::Delete(_) => {}
            }
            agent.wake(take(&agent.caches, event));
        };
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let watching = watch_into(api, config, sink, self.cancel.clone());
        spawn(kind.as_str(), watching)
    }
}

async fn work(agent: &Arc<Agent>, cancel: &CancellationToken) {
    let shared = agent.clone();
    let at_once = agent.fleet.at_once();
    let look = move |key| {
        let agent = shared.clone();
        async move {
            let next = pass(agent.clone(), key).await;
            agent.wake(agent.fleet.call());
            next
        }
    };
    run_queue(agent.queue.clone(), at_once, cancel.clone(), look).await;
}

async fn pass(agent: Arc<Agent>, work: Work) -> Next {
    if !agent.fleet.serves_any() {
        // Everything is woken when it is our turn.
        if let Work::Volume(key) = &work {
            agent.leave(key);
        }
        return Next::Wait;
    }
    if !caches_ready(&agent) {
        return Next::After(REST);
    }
    match work {
        Work::Volume(key) => volume(&agent, key).await,
        Work::Group(key) => group::pass(&agent, key).await,
        Work::Fence(name) => fence::pass(&agent, name).await,
        Work::Ownership(key) => match ownership::store(&agent, &key).await {
            Ok(()) => kept::drop_due(&agent, &key).await,
            Err(error) => {
                warn!(ownership = %key, error = %error.full(), "epoch not stored");
                Next::Failed
            }
        },
    }
}

/// Ownership records are not needed to serve objects that no hub wrote: their kind may not even be installed.
fn caches_ready(agent: &Agent) -> bool {
    [
        Kind::Volumes,
        Kind::Classes,
        Kind::Claims,
        Kind::PersistentVolumes,
    ]
    .into_iter()
    .all(|k| agent.caches.is_synced(k))
}

#[instrument(name = "reconcile", parent = None, skip_all, fields(volume = %key))]
async fn volume(agent: &Agent, key: Key) -> Next {
    for step in 0..STEPS {
        let Some(view) = gather(agent, &key).await else {
            agent.forget(&key);
            return Next::Wait;
        };
        let decision = decide(&view, agent.clock.now());
        if step > 0 && decision == Decision::Ask {
            // Nobody waits for an answer as for a role: in a storm the other volumes come first.
            return Next::Now;
        }
        match act(agent, &view, decision).await {
            Step::Again => {}
            Step::Rest(next) => return next,
        }
    }
    warn!(volume = %key, "a volume does not come to rest; it waits a second");
    Next::After(REST)
}
