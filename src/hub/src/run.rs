//! Wiring: watches, queues, loops. No decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use lifeboat_api::{DRCluster, DRPlacement, DRPolicy, names};
use lifeboat_kit::events::Recorder;
use lifeboat_kit::lease::{Held, Lease, LeaseConfig};
use lifeboat_kit::task::{Task, spawn};
use lifeboat_kit::{Readiness, Ready, SharedClock, WatchEvent, admin, run_queue, watch_into};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::act::Executor;
use crate::archive::{LABEL, SecretsArchive};
use crate::archive_view::ArchiveView;
use crate::config::{Config, Leadership};
use crate::connect::Connect;
use crate::context::{Context, Queues, Stores, wake, wake_each};
use crate::fleet::Fleet;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::news::{Desk, Told};
use crate::observe::source_fingerprint;
use crate::resolve::PlacementKey;
use crate::store::Store;
use crate::{cluster, policy, reconcile};

/// How long the Lease lasts without a renewal.
const LEASE_TTL: std::time::Duration = std::time::Duration::from_secs(15);
/// How many `DRClusters` or `DRPolicies` are looked at at once.
const FEW: usize = 8;

/// Why the hub came to an end by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// The admin server ended.
    #[error("the admin server cannot serve")]
    Admin(#[source] std::io::Error),
}

/// Runs the hub until cancelled.
pub async fn run(
    config: Config,
    hub: Client,
    connect: Arc<dyn Connect>,
    clock: SharedClock,
    cancel: CancellationToken,
) -> Result<(), RunError> {
    let (mut registry, readiness) = (Registry::default(), Readiness::new());
    let metrics = Metrics::new(&mut registry);
    let (lease, held) = contend(&config, &hub, &clock, &cancel);
    let (news, told) = Desk::new(metrics.dropped_events());
    let recorder = Recorder::new(
        hub.clone(),
        names::HUB_MANAGER,
        &config.identity,
        clock.clone(),
    );
    let _news = spawn("news", tell(recorder, told));
    let context = Arc::new(context(
        config,
        &hub,
        connect,
        &clock,
        (metrics, news, held),
        &cancel,
    ));
    let (unread, all_read) = mpsc::channel(1);
    let _watches = watches(&context, &readiness, &unread, &cancel);
    drop(unread);
    let _leader = spawn("leadership", follow_leadership(context.clone()));
    let work = work(context.clone(), all_read, cancel.clone());
    let served = serve(&context.config, readiness, Arc::new(registry), &cancel);
    let result = tokio::select! {
        biased;
        result = served => result.map_err(RunError::Admin),
        () = work => Ok(()),
    };
    // Given up rather than left to run out: the standby takes over at once.
    cancel.cancel();
    if let Some(lease) = lease {
        drop(lease.join().await);
    }
    result
}

/// What the loops share, with nothing in it yet.
pub(crate) fn context(
    config: Config,
    hub: &Client,
    connect: Arc<dyn Connect>,
    clock: &SharedClock,
    (metrics, news, held): (Metrics, Desk, watch::Receiver<Held>),
    cancel: &CancellationToken,
) -> Context {
    let (queues, index, stores) = (
        Queues::default(),
        Arc::new(Index::default()),
        Arc::new(stores()),
    );
    let waking = (queues.clone(), stores.clone(), index.clone());
    let on_change: crate::fleet::WakeFn =
        Arc::new(move |what| wake(&waking.0, &waking.1, &waking.2, &what));
    let fleet = Fleet::with_config(
        config.fleet,
        connect,
        clock.clone(),
        on_change,
        cancel.clone(),
    );
    let archive = Arc::new(SecretsArchive::new(hub.clone(), config.namespace.clone()));
    let eyes = fleet.clone();
    let captures = Arc::new(ArchiveView::new(
        archive,
        Arc::new(move |scope, cluster| source_fingerprint(&eyes, scope, cluster)),
    ));
    let members = Arc::new(fleet.clone());
    let waiting = queues.placements.clone();
    let executor = Executor::new(
        members,
        captures.clone(),
        clock.clone(),
        hub.clone(),
        config.call_deadline,
        Arc::new(move |key| waiting.wake(key)),
    );
    Context {
        config,
        hub: hub.clone(),
        clock: clock.clone(),
        fleet,
        executor,
        captures,
        stores,
        queues,
        index,
        metrics,
        news,
        held,
        stuck: parking_lot::Mutex::default(),
        repeats: parking_lot::Mutex::default(),
        pace: crate::pace::Pace::default(),
        identities: parking_lot::Mutex::default(),
    }
}

fn stores() -> Stores {
    Stores {
        placements: Store::new(|p: &DRPlacement| PlacementKey {
            namespace: p.metadata.namespace.clone().unwrap_or_default(),
            name: p.metadata.name.clone().unwrap_or_default(),
        }),
        policies: Store::new(|p: &DRPolicy| p.metadata.name.clone().unwrap_or_default()),
        clusters: Store::new(|c: &DRCluster| c.metadata.name.clone().unwrap_or_default()),
        secrets: Store::new(|s: &Secret| s.metadata.name.clone().unwrap_or_default()),
    }
}

fn contend(
    config: &Config,
    hub: &Client,
    clock: &SharedClock,
    cancel: &CancellationToken,
) -> (Option<Task<()>>, watch::Receiver<Held>) {
    match config.leadership {
        Leadership::Alone => (None, watch::channel(Held::UNKNOWN).1),
        Leadership::Lease => {
            let wanted = LeaseConfig {
                namespace: config.namespace.clone(),
                name: names::HUB_LEASE.to_owned(),
                labels: BTreeMap::new(),
                identity: config.identity.clone(),
                ttl: LEASE_TTL,
            };
            let (lease, held, _annotations) = Lease::new(hub.clone(), wanted, clock.clone());
            (Some(spawn("lease", lease.run(cancel.clone()))), held)
        }
    }
}

/// Everything is looked at anew by whoever begins to act.
async fn follow_leadership(context: Arc<Context>) {
    let mut held = context.held.clone();
    while held.changed().await.is_ok() {
        if context.acts() {
            context.captures.start_over();
            wake_all(&context);
        }
    }
}

fn wake_all(context: &Context) {
    let Context { stores, queues, .. } = context;
    wake_each(&queues.clusters, stores.clusters.keys(|_| true));
    wake_each(&queues.policies, stores.policies.keys(|_| true));
    wake_each(&queues.placements, stores.placements.keys(|_| true));
}

async fn tell(recorder: Recorder, mut told: mpsc::Receiver<Told>) {
    while let Some((about, news)) = told.recv().await {
        recorder.tell(&about, news).await;
    }
}

fn watches(
    context: &Arc<Context>,
    readiness: &Readiness,
    unread: &mpsc::Sender<()>,
    cancel: &CancellationToken,
) -> Vec<Task<()>> {
    let hub = || context.hub.clone();
    let config = || watcher::Config::default().timeout(60);
    // The archive's Secrets are in the same namespace, and large.
    let ours = config().labels(&format!("!{LABEL}"));
    let secrets: Api<Secret> = Api::namespaced(hub(), &context.config.namespace);
    let at = |part: &'static str| Sink {
        context: context.clone(),
        readiness: readiness.clone(),
        unread: unread.clone(),
        part,
    };
    vec![
        at("Secrets").watch(secrets, ours, cancel, |c, e| {
            for name in c.stores.secrets.take(e) {
                let users = c
                    .stores
                    .clusters
                    .keys(|k| k.spec.kubeconfig_secret_ref.name == name);
                wake_each(&c.queues.clusters, users);
            }
        }),
        at("DRClusters").watch(Api::<DRCluster>::all(hub()), config(), cancel, |c, e| {
            for name in c.stores.clusters.take(e) {
                let users = c.stores.policies.keys(|p| p.spec.clusters.contains(&name));
                wake_each(&c.queues.policies, users);
                c.queues.clusters.wake(name);
            }
        }),
        at("DRPolicies").watch(Api::<DRPolicy>::all(hub()), config(), cancel, |c, e| {
            for name in c.stores.policies.take(e) {
                let users = c.stores.placements.keys(|p| p.spec.policy_ref.name == name);
                wake_each(&c.queues.placements, users);
                c.queues.policies.wake(name);
            }
        }),
        at("DRPlacements").watch(Api::<DRPlacement>::all(hub()), config(), cancel, |c, e| {
            wake_each(&c.queues.placements, c.stores.placements.take(e));
        }),
    ]
}

/// Where the events of one watch go.
struct Sink {
    context: Arc<Context>,
    readiness: Readiness,
    /// Dropped when everything has been read once.
    unread: mpsc::Sender<()>,
    part: &'static str,
}

impl Sink {
    fn watch<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        cancel: &CancellationToken,
        take: impl Fn(&Context, WatchEvent<K>) + Send + Sync + 'static,
    ) -> Task<()>
    where
        K: kube::Resource
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let Self {
            context,
            readiness,
            unread,
            part,
        } = self;
        let mut unread = Some(unread);
        readiness.set(part, Ready::No("not read yet".to_owned()));
        let cancel = cancel.clone();
        spawn(format!("watch {part}"), async move {
            let sink = |event: WatchEvent<K>| {
                match &event {
                    WatchEvent::Synced(_) => readiness.set(part, Ready::Yes),
                    WatchEvent::Lost(why) => readiness.set(part, Ready::No(why.clone())),
                    WatchEvent::Apply(_) | WatchEvent::Delete(_) => {}
                }
                let read = matches!(event, WatchEvent::Synced(_));
                take(&context, event);
                if read {
                    unread = None;
                }
            };
            watch_into(api, config, sink, cancel).await;
        })
    }
}

/// Begins when every kind has been read once: an object that was not read yet must not be taken for missing.
async fn work(context: Arc<Context>, mut all_read: mpsc::Receiver<()>, cancel: CancellationToken) {
    tokio::select! {
        biased;
        () = cancel.cancelled() => return,
        _ = all_read.recv() => {}
    }
    let (queues, many) = (context.queues.clone(), context.config.concurrency);
    let (a, b, c) = (context.clone(), context.clone(), context);
    tokio::join!(
        run_queue(queues.clusters, FEW, cancel.clone(), move |key| {
            cluster::cluster(a.clone(), key)
        }),
        run_queue(queues.policies, FEW, cancel.clone(), move |key| {
            policy::policy(b.clone(), key)
        }),
        run_queue(queues.placements, many, cancel, move |key| {
            reconcile::placement(c.clone(), key)
        }),
    );
}

/// Never answers when there is no admin server, or when it ends because it was asked to.
async fn serve(
    config: &Config,
    readiness: Readiness,
    registry: Arc<Registry>,
    cancel: &CancellationToken,
) -> std::io::Result<()> {
    if let Some(addr) = config.admin {
        admin::serve(addr, admin::router(readiness, registry), cancel.clone()).await?;
    }
    std::future::pending().await
}
