//! Starting and stopping.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::runtime::watcher;
use kube::{Api, Client};
use lifeboat_api::{
    DROwnership, NetworkFence, NetworkFenceClass, VolumeGroupReplication,
    VolumeGroupReplicationClass, VolumeGroupReplicationContent, VolumeReplication,
    VolumeReplicationClass, names,
};
use lifeboat_kit::events::Recorder;
use lifeboat_kit::lease::{Lease, LeaseConfig};
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
use crate::decide::decide;
use crate::fence;
use crate::fleet::{Fleet, supervise};
use crate::gather::gather;
use crate::group;
use crate::metrics::Metrics;
use crate::ownership;
use crate::secrets::SecretReader;
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
    let lease = LeaseConfig {
        namespace: config.namespace.clone(),
        name: names::AGENT_LEASE.to_owned(),
        identity: config.identity.clone(),
        ttl: config.lease_ttl,
    };
    let (lease, held, annotations) = Lease::new(client.clone(), lease, clock.clone());
    let fleet = Fleet::new(
        &config.drivers,
        config.rpc_timeout,
        &metrics,
        annotations,
        readiness.clone(),
    );
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
        held,
        config,
    });
    // The Lease outlives the work: it is given up only when nothing is in flight any more.
    let work_over = CancellationToken::new();
    let lease = spawn("lease", lease.run(work_over.clone()));
    let mut tasks = supervisors(&agent, &cancel);
    let serving = serve_admin(&agent, &readiness, Arc::new(registry), &cancel);
    if agent.config.replication == Replication::On {
        tasks.extend(watches(&agent, &readiness, &cancel));
        tasks.extend(optional_watches(&agent, &cancel));
        tasks.push(wake_when_held(&agent, &cancel));
    }
    info!(drivers = ?agent.fleet.names(), "agent runs");
    let result = tokio::select! {
        biased;
        result = serving => result,
        () = work(&agent, &cancel) => Ok(()),
    };
    drop(tasks);
    work_over.cancel();
    if lease.join().await.is_err() {
        warn!("the lease was not given up; it will run out");
    }
    result
}

fn supervisors(agent: &Arc<Agent>, cancel: &CancellationToken) -> Vec<Task<()>> {
    let names = agent.fleet.names();
    names
        .into_iter()
        .map(|name| {
            spawn(
                format!("driver {name}"),
                supervise(agent.clone(), name, cancel.clone()),
            )
        })
        .collect()
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

fn watches(agent: &Arc<Agent>, readiness: &Readiness, cancel: &CancellationToken) -> Vec<Task<()>> {
    vec![
        watch(
            agent,
            readiness,
            cancel,
            Kind::Volumes,
            |caches, e: WatchEvent<VolumeReplication>| caches.volumes_changed(e),
        ),
        watch(
            agent,
            readiness,
            cancel,
            Kind::Classes,
            |caches, e: WatchEvent<VolumeReplicationClass>| caches.classes_changed(e),
        ),
        watch(
            agent,
            readiness,
            cancel,
            Kind::Claims,
            |caches, e: WatchEvent<PersistentVolumeClaim>| caches.claims_changed(e),
        ),
        watch(
            agent,
            readiness,
            cancel,
            Kind::PersistentVolumes,
            |caches, e: WatchEvent<PersistentVolume>| caches.pvs_changed(e),
        ),
        watch(
            agent,
            readiness,
            cancel,
            Kind::Ownerships,
            |caches, e: WatchEvent<DROwnership>| caches.ownerships_changed(e),
        ),
    ]
}

fn watch<K>(
    agent: &Arc<Agent>,
    readiness: &Readiness,
    cancel: &CancellationToken,
    kind: Kind,
    take: impl Fn(&Caches, WatchEvent<K>) -> Vec<Work> + Send + Sync + 'static,
) -> Task<()>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let readiness = readiness.clone();
    readiness.set(kind.as_str(), Ready::No("not read yet".to_owned()));
    follow(agent, cancel, kind, move |caches, event| {
        match &event {
            WatchEvent::Synced(_) => readiness.set(kind.as_str(), Ready::Yes),
            WatchEvent::Lost(why) => readiness.set(kind.as_str(), Ready::No(why.clone())),
            WatchEvent::Apply(_) | WatchEvent::Delete(_) => {}
        }
        take(caches, event)
    })
}

/// Kinds that need not be installed: what there is of them is served, and the agent is ready without them. Their watches
/// go on trying, so that they are served as soon as they are installed.
fn optional_watches(agent: &Arc<Agent>, cancel: &CancellationToken) -> Vec<Task<()>> {
    vec![
        follow(
            agent,
            cancel,
            Kind::Groups,
            |caches, e: WatchEvent<VolumeGroupReplication>| caches.groups_changed(e),
        ),
        follow(
            agent,
            cancel,
            Kind::GroupClasses,
            |caches, e: WatchEvent<VolumeGroupReplicationClass>| caches.group_classes_changed(e),
        ),
        follow(
            agent,
            cancel,
            Kind::Contents,
            |caches, e: WatchEvent<VolumeGroupReplicationContent>| caches.contents_changed(e),
        ),
        follow(
            agent,
            cancel,
            Kind::Fences,
            |caches, e: WatchEvent<NetworkFence>| caches.fences_changed(e),
        ),
        follow(
            agent,
            cancel,
            Kind::FenceClasses,
            |caches, e: WatchEvent<NetworkFenceClass>| caches.fence_classes_changed(e),
        ),
    ]
}

fn follow<K>(
    agent: &Arc<Agent>,
    cancel: &CancellationToken,
    kind: Kind,
    take: impl Fn(&Caches, WatchEvent<K>) -> Vec<Work> + Send + Sync + 'static,
) -> Task<()>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let agent = agent.clone();
    let api: Api<K> = Api::all(agent.client.clone());
    let sink = move |event: WatchEvent<K>| {
        let work = take(&agent.caches, event);
        agent.wake(work);
    };
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    spawn(kind.as_str(), watch_into(api, config, sink, cancel.clone()))
}

/// Volumes that were left alone while another agent acted are looked at when it is our turn.
fn wake_when_held(agent: &Arc<Agent>, cancel: &CancellationToken) -> Task<()> {
    let (agent, cancel) = (agent.clone(), cancel.clone());
    spawn("turn", async move {
        let mut held = agent.held.clone();
        loop {
            if held.borrow_and_update().is_yes() {
                agent.wake(agent.caches.everything());
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                changed = held.changed() => if changed.is_err() { return },
            }
        }
    })
}

async fn work(agent: &Arc<Agent>, cancel: &CancellationToken) {
    let shared = agent.clone();
    run_queue(
        agent.queue.clone(),
        agent.config.concurrency,
        cancel.clone(),
        move |key| pass(shared.clone(), key),
    )
    .await;
}

async fn pass(agent: Arc<Agent>, work: Work) -> Next {
    if !agent.acts() {
        // Everything is woken when it is our turn.
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
            Ok(()) => Next::Wait,
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
    for _ in 0..STEPS {
        let Some(view) = gather(agent, &key).await else {
            agent.forget(&key);
            return Next::Wait;
        };
        let decision = decide(&view, agent.clock.now());
        match act(agent, &view, decision).await {
            Step::Again => {}
            Step::Rest(next) => return next,
        }
    }
    warn!(volume = %key, "a volume does not come to rest; it waits a second");
    Next::After(REST)
}
