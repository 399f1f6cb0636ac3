//! One cluster: its connection, its probe and its watches, in one supervised task.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::coordination::v1::Lease;
use kube::config::Kubeconfig;
use kube::runtime::watcher;
use kube::{Api, Client};
use lifeboat_api::names;
use lifeboat_core::ClusterId;
use lifeboat_core::observed::{Contact, Replicator};
use lifeboat_kit::error::{CallRetry, full};
use lifeboat_kit::task::{Task, spawn};
use lifeboat_kit::{SharedClock, WatchEvent, deadline, watch_into};
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::kept::{Kept, Touch};
use super::rows::{
    AttachmentRow, ClaimRow, DeploymentRow, NamespaceRow, OwnershipRow, PodRow,
    ReplicationClassRow, ReplicationRow, StatefulSetRow, StorageClassRow, VolumeRow,
};
use super::view::{Healed, LEASE, Moment, Trouble, View};
use super::{FleetConfig, Wake, WakeFn};
use crate::connect::Connect;

/// How long making a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// The wait before a task that panicked is started again.
const RESTART: Duration = Duration::from_secs(1);

/// What is shared between a cluster's task and those who ask.
pub(crate) struct Shared {
    pub(crate) id: ClusterId,
    pub(crate) view: RwLock<View>,
    pub(crate) client: RwLock<Option<Client>>,
    /// Why the credentials are refused.
    pub(crate) refused: Option<String>,
    clock: SharedClock,
    config: FleetConfig,
    wake: WakeFn,
}

impl Shared {
    pub(crate) fn new(
        id: &ClusterId,
        refused: Option<String>,
        expected: Option<String>,
        clock: SharedClock,
        config: FleetConfig,
        wake: WakeFn,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: id.clone(),
            view: RwLock::new(View::new(config.stale_after(), expected, clock.now())),
            client: RwLock::new(None),
            refused,
            clock,
            config,
            wake,
        })
    }

    pub(crate) fn contact(&self) -> Contact {
        match &self.refused {
            Some(why) => Contact::Refused {
                since: self.view.read().started(),
                why: why.clone(),
            },
            None => self.view.read().contact(Instant::now()),
        }
    }

    /// Says which uid the cluster must have.
    pub(crate) fn expect(&self, uid: Option<String>) {
        let new = self.view.read().expected() != uid.as_deref();
        if new {
            self.update(|view, _| view.expect(uid));
        }
    }

    /// Says who works the volumes there, by its DRCluster.
    pub(crate) fn declare(&self, replicator: Replicator) {
        let new = self.view.read().declared() != replicator;
        if new {
            self.update(|view, _| view.declare(replicator));
        }
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            instant: Instant::now(),
        }
    }

    /// Wakes whom a change concerns. Never called with the view locked.
    pub(crate) fn tell(&self, touched: BTreeSet<Touch>) {
        for touch in touched {
            (self.wake)(match touch {
                Touch::Cluster => Wake::Cluster(self.id.clone()),
                Touch::Namespace(there) => Wake::Namespace(self.id.clone(), there),
                Touch::Claim(there, labels) => Wake::Claim(self.id.clone(), there, labels),
                Touch::Workload(there, labels) => Wake::Workload(self.id.clone(), there, labels),
                Touch::Placement(uid) => Wake::Placement(uid),
                Touch::Named(name) => Wake::Named(name),
            });
        }
    }

    /// Changes the view, draws conclusions, and wakes whom it concerns.
    fn update<T>(&self, change: impl FnOnce(&mut View, Moment) -> T) -> T {
        let now = self.now();
        let (result, news) = {
            let mut view = self.view.write();
            let result = change(&mut view, now);
            (result, view.conclude(now))
        };
        if news {
            (self.wake)(Wake::Cluster(self.id.clone()));
        }
        result
    }

    /// Takes an event of a watch. Only those that say something of the watch itself can change how well the cluster
    /// is known.
    fn take<R: Kept>(&self, event: WatchEvent<R::Object>) {
        let whole = matches!(event, WatchEvent::Synced(_) | WatchEvent::Lost(_));
        let touched = if whole {
            self.update(|view, now| view.take::<R>(event, now))
        } else {
            let now = self.now();
            self.view.write().take::<R>(event, now)
        };
        self.tell(touched);
    }
}

/// Starts a cluster's task. It ends when the answer is dropped.
pub(crate) fn start(
    shared: Arc<Shared>,
    connect: Arc<dyn Connect>,
    kubeconfig: Kubeconfig,
    cancel: CancellationToken,
) -> Task<()> {
    let name = format!("cluster {}", shared.id);
    spawn(name, async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = supervise(shared, connect, Arc::new(kubeconfig)) => {}
        }
    })
}

async fn supervise(shared: Arc<Shared>, connect: Arc<dyn Connect>, kubeconfig: Arc<Kubeconfig>) {
    loop {
        let work = run(shared.clone(), connect.clone(), kubeconfig.clone());
        let ended = spawn(format!("work on cluster {}", shared.id), work)
            .join()
            .await;
        if let Err(error) = ended {
            warn!(cluster = %shared.id, error = %error, "started again");
        }
        shared.update(|view, now| view.begin(kinds(), now.at));
        tokio::time::sleep(RESTART).await;
    }
}

async fn run(shared: Arc<Shared>, connect: Arc<dyn Connect>, kubeconfig: Arc<Kubeconfig>) {
    let client = loop {
        let made = tokio::time::timeout(CONNECT_DEADLINE, connect.connect(&kubeconfig)).await;
        let why = match made {
            Ok(Ok(client)) => break client,
            Ok(Err(error)) => full(&error),
            Err(_) => format!("no connection within {}s", CONNECT_DEADLINE.as_secs()),
        };
        shared.update(|view, _| view.fail(Trouble::Silent, why));
        tokio::time::sleep(shared.config.probe_period).await;
    };
    *shared.client.write() = Some(client.clone());
    loop {
        shared.update(|view, now| view.begin(kinds(), now.at));
        let mut watches = watches(&shared, &client);
        tokio::select! {
            biased;
            () = probe(&shared, &client) => {}
            _ = watches.next() => {}
        }
    }
}

/// Asks for a sign of life again and again. Ends when the cluster answers after a silence.
async fn probe(shared: &Shared, client: &Client) {
    let config = &shared.config;
    loop {
        let sent = shared.now();
        let call = deadline(
            "GET /version",
            config.probe_deadline,
            client.apiserver_version(),
        );
        match watching_time(shared, call).await {
            Ok(info) => {
                let healed = shared.update(|view, _| view.prove(sent, info.git_version));
                if healed == Healed::Yes {
                    return;
                }
            }
            Err(error) => {
                let trouble = match error.retry() {
                    CallRetry::Denied => Trouble::Denied,
                    CallRetry::Soon | CallRetry::AfterRead | CallRetry::Gone | CallRetry::Never => {
                        Trouble::Silent
                    }
                };
                shared.update(|view, _| view.fail(trouble, error.full()));
            }
        }
        let pause = tokio::time::sleep_until(sent.instant + config.probe_period);
        watching_time(shared, pause).await;
    }
}

/// Waits for `work`; when meanwhile something ends by the passage of time alone, says so at that moment.
async fn watching_time<T>(shared: &Shared, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let expiry = shared.view.read().next_expiry(Instant::now());
        let expired = async {
            match expiry {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = expired => shared.update(|_, _| ()),
        }
    }
}

type Watches<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

fn watches<'a>(shared: &'a Arc<Shared>, client: &Client) -> Watches<'a> {
    let all = Watches::new();
    all.push(watch::<NamespaceRow>(shared, client));
    all.push(watch::<StorageClassRow>(shared, client));
    all.push(watch::<ReplicationClassRow>(shared, client));
    all.push(watch::<OwnershipRow>(shared, client));
    all.push(watch::<VolumeRow>(shared, client));
    all.push(watch::<ClaimRow>(shared, client));
    all.push(watch::<ReplicationRow>(shared, client));
    all.push(watch::<DeploymentRow>(shared, client));
    all.push(watch::<StatefulSetRow>(shared, client));
    all.push(watch::<PodRow>(shared, client));
    all.push(watch::<AttachmentRow>(shared, client));
    all.push(watch_lease(shared, client));
    all
}

fn kinds() -> [&'static str; 12] {
    [
        NamespaceRow::KIND,
        StorageClassRow::KIND,
        ReplicationClassRow::KIND,
        OwnershipRow::KIND,
        VolumeRow::KIND,
        ClaimRow::KIND,
        ReplicationRow::KIND,
        DeploymentRow::KIND,
        StatefulSetRow::KIND,
        PodRow::KIND,
        AttachmentRow::KIND,
        LEASE,
    ]
}

fn watch<'a, R: Kept>(shared: &'a Arc<Shared>, client: &Client) -> BoxFuture<'a, ()> {
    let api: Api<R::Object> = Api::all(client.clone());
    let config = watcher::Config::default().timeout(shared.config.watch_timeout);
    let sink = move |event| shared.take::<R>(event);
    Box::pin(watch_into(api, config, sink, CancellationToken::new()))
}

fn watch_lease<'a>(shared: &'a Arc<Shared>, client: &Client) -> BoxFuture<'a, ()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let config = watcher::Config::default()
        .timeout(shared.config.watch_timeout)
        .labels(&format!("{}={}", names::LEASE, names::DRIVER_LEASE));
    let sink = move |event| shared.update(|view, now| view.take_lease(&event, now));
    Box::pin(watch_into(api, config, sink, CancellationToken::new()))
}
