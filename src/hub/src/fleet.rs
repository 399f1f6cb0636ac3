//! The managed clusters: who is registered, how well each is known, and what is seen there.
//!
//! Each cluster has one task of its own, so that a sick one is nobody else's trouble. What it sees is kept here,
//! reduced to facts; nobody else asks a cluster what there is. Invariants:
//! - A cluster is fresh only if it has just answered *and* every watch on it is in step. After a silence all watches
//!   begin anew: a connection can die unnoticed.
//! - A change wakes whom it concerns and nobody else.
//! - What the API server answered to a write is seen at once, before any watch tells of it; it never hides something newer.

pub(crate) mod agent;
mod changed;
mod kept;
mod member;
pub(crate) mod print;
mod replication;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use lifeboat_api::cluster::Signal;
use lifeboat_api::common::DriverState;
use lifeboat_core::ClusterId;
use lifeboat_core::observed::{AgentFacts, Contact, Replicator};
use lifeboat_kit::SharedClock;
use lifeboat_kit::task::Task;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connect::{Connect, vet};
use member::Shared;
use print::{Print, digest};

pub use changed::Changed;
pub use rows::Labels;
pub(crate) use view::{API_SIGNAL, AUTH_ERROR};

/// Whom something concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// The DRCluster itself and every placement of the cluster: contact, agent, classes, version or uid changed.
    Cluster(ClusterId),
    /// Placements that protect this namespace, by the name it has on that cluster.
    Namespace(ClusterId, String),
    /// Placements that protect this namespace and select a claim with these labels.
    Claim(ClusterId, String, Labels),
    /// Placements that protect this namespace and select a workload with these labels.
    Workload(ClusterId, String, Labels),
    /// The placement of that uid.
    Placement(String),
    /// The placement of that name, `namespace/name`.
    Named(String),
}

/// Told of every change. Must not block.
pub type WakeFn = Arc<dyn Fn(Wake) + Send + Sync>;

/// The bytes of a kubeconfig, or why there is none.
pub type Credentials = Result<Vec<u8>, String>;

/// Times that say when a cluster counts as silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetConfig {
    /// How often a cluster is asked for a sign of life.
    pub probe_period: Duration,
    /// How long the answer may take.
    pub probe_deadline: Duration,
    /// How long a watch lasts before it is renewed, in seconds; a dead connection is noticed a little later.
    pub watch_timeout: u32,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(2),
            probe_deadline: Duration::from_secs(3),
            watch_timeout: 30,
        }
    }
}

impl FleetConfig {
    /// How long after its last sign of life a cluster is stale.
    pub fn stale_after(&self) -> Duration {
        self.probe_period * 3
    }
}

/// What is known of one cluster.
#[derive(Debug, Clone)]
pub struct MemberStatus {
    /// How well it is known.
    pub contact: Contact,
    /// Version of its API server.
    pub kubernetes_version: Option<String>,
    /// uid of its namespace kube-system.
    pub cluster_uid: Option<String>,
    /// Why it is another cluster than the expected one.
    pub stranger: Option<String>,
    /// Its agent.
    pub agent: AgentFacts,
    /// Who works its VolumeReplications.
    pub replicator: Replicator,
    /// Its drivers, as its agent last told.
    pub drivers: Vec<DriverState>,
    /// When it last answered a probe.
    pub last_proof: Option<Timestamp>,
    /// The signals that its health is read from.
    pub signals: Vec<Signal>,
}

/// The managed clusters. Clones share one state.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    connect: Arc<dyn Connect>,
    clock: SharedClock,
    config: FleetConfig,
    wake: WakeFn,
    cancel: CancellationToken,
    members: RwLock<BTreeMap<ClusterId, Member>>,
    /// Since when this hub looks.
    started: Timestamp,
    /// When clusters were forgotten that are not registered any more.
    absent: RwLock<BTreeMap<ClusterId, Timestamp>>,
}

struct Member {
    credentials: Print,
    shared: Arc<Shared>,
    /// Ends with the member.
    _task: Option<Task<()>>,
}

impl Fleet {
    /// No clusters yet, the usual times.
    pub fn new(
        connect: Arc<dyn Connect>,
        clock: SharedClock,
        wake: WakeFn,
        cancel: CancellationToken,
    ) -> Self {
        Self::with_config(FleetConfig::default(), connect, clock, wake, cancel)
    }

    /// No clusters yet.
    pub fn with_config(
        config: FleetConfig,
        connect: Arc<dyn Connect>,
        clock: SharedClock,
        wake: WakeFn,
        cancel: CancellationToken,
    ) -> Self {
        let (members, absent) = (RwLock::default(), RwLock::default());
        let started = clock.now();
        Self {
            inner: Arc::new(Inner {
                connect,
                clock,
                config,
                wake,
                cancel,
                members,
                started,
                absent,
            }),
        }
    }

    /// Registers a cluster, or changes its credentials; the same ones change nothing. New credentials start from
    /// nothing: they may lead to another cluster. One of another uid than `expected` never becomes fresh, and gives no
    /// client. Must be called within a tokio runtime.
    pub fn set(&self, id: &ClusterId, credentials: Credentials, expected: Option<String>) {
        let print = match &credentials {
            Ok(bytes) => digest([b"kubeconfig".as_slice(), bytes]),
            Err(why) => digest([b"refused".as_slice(), why.as_bytes()]),
        };
        let same = {
            let members = self.inner.members.read();
            let member = members.get(id).filter(|m| m.credentials == print);
            member.map(|m| m.shared.clone())
        };
        if let Some(shared) = same {
            shared.expect(expected);
            return;
        }
        let vetted = match credentials {
            Ok(bytes) => vet(&bytes).map_err(|why| format!("its kubeconfig is refused: {why}")),
            Err(why) => Err(why),
        };
        let shared = Shared::new(
            id,
            vetted.as_ref().err().cloned(),
            expected,
            self.inner.clock.clone(),
            self.inner.config,
            self.inner.wake.clone(),
        );
        let task = vetted.ok().map(|kubeconfig| {
            let (connect, cancel) = (self.inner.connect.clone(), self.inner.cancel.clone());
            member::start(shared.clone(), connect, kubeconfig, cancel)
        });
        let member = Member {
            credentials: print,
            shared,
            _task: task,
        };
        let old = self.inner.members.write().insert(id.clone(), member);
        drop(old);
        self.inner.absent.write().remove(id);
        (self.inner.wake)(Wake::Cluster(id.clone()));
    }

    /// Takes who works the VolumeReplications of a cluster, as its DRCluster says.
    pub fn declare(&self, id: &ClusterId, replicator: Replicator) {
        if let Some(shared) = self.member(id) {
            shared.declare(replicator);
        }
    }

    /// Forgets a cluster and ends all work on it.
    pub fn remove(&self, id: &ClusterId) {
        let old = self.inner.members.write().remove(id);
        if old.is_some() {
            drop(old);
            let now = self.inner.clock.now();
            self.inner.absent.write().insert(id.clone(), now);
            (self.inner.wake)(Wake::Cluster(id.clone()));
        }
    }

    /// A client of the cluster. None: not registered, credentials refused, no connection made yet, or not known to be
    /// the cluster that it was.
    pub fn client(&self, id: &ClusterId) -> Option<Client> {
        let member = self.member(id)?;
        let itself = member.view.read().is_itself();
        itself.then(|| member.client.read().clone()).flatten()
    }

    /// Takes what the API server answered to a write, so that the next look already shows it.
    pub fn note(&self, id: &ClusterId, object: impl Into<Changed>) {
        if let Some(shared) = self.member(id) {
            let touched = object.into().note(&mut shared.view.write());
            shared.tell(touched);
        }
    }

    /// Since when a cluster is not registered, as far as this hub knows.
    pub(crate) fn absent_since(&self, id: &ClusterId) -> Timestamp {
        let absent = self.inner.absent.read();
        absent.get(id).copied().unwrap_or(self.inner.started)
    }

    /// What is known of a cluster. None: not registered.
    pub fn status(&self, id: &ClusterId) -> Option<MemberStatus> {
        let shared = self.member(id)?;
        let contact = shared.contact();
        let view = shared.view.read();
        Some(MemberStatus {
            contact,
            kubernetes_version: view.version(),
            cluster_uid: view.uid(),
            stranger: view.stranger(),
            agent: view.agent(Instant::now()),
            replicator: view.replicator(Instant::now()),
            drivers: view.drivers(Instant::now()),
            last_proof: view.last_proof(),
            signals: view.signals(),
        })
    }

    pub(crate) fn member(&self, id: &ClusterId) -> Option<Arc<Shared>> {
        let members = self.inner.members.read();
        members.get(id).map(|member| member.shared.clone())
    }
}
