//! Two clusters and a hub whose programs run on a paused clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use lifeboat_api::common::condition;
use lifeboat_api::{DRCluster, DRPlacement, names};
use lifeboat_hub::connect::{Connect, ConnectError};
use lifeboat_hub::{Config, Leadership};
use lifeboat_kit::Clock;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link};
use lifeboat_sim::clock::SimClock;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const SPOKE: [&str; 3] = [
    include_str!("../../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../spoke-deploy/base/hub-role.yaml"),
];
const HUB: [&str; 3] = [
    include_str!("../../../../hub-deploy/base/namespace.yaml"),
    include_str!("../../../../hub-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../hub-deploy/base/hub-role.yaml"),
];

pub(crate) struct WorldClock(Arc<SimClock>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// Connects to the server that the kubeconfig's address names.
struct Wires(BTreeMap<String, Client>);

impl Connect for Wires {
    fn connect<'a>(
        &'a self,
        kubeconfig: &'a Kubeconfig,
    ) -> BoxFuture<'a, Result<Client, ConnectError>> {
        let address = kubeconfig.clusters[0]
            .cluster
            .as_ref()
            .and_then(|c| c.server.clone())
            .unwrap_or_default();
        let found = self.0.get(&address).cloned();
        async move { found.ok_or(ConnectError::Unknown(address)) }.boxed()
    }
}

pub(crate) struct World {
    pub(crate) hub: Arc<ApiServer>,
    pub(crate) members: BTreeMap<String, Arc<ApiServer>>,
    pub(crate) links: BTreeMap<String, Link>,
    _run: Task<Result<(), lifeboat_hub::RunError>>,
}

fn server(
    name: &str,
    clock: &Arc<SimClock>,
    crds: Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>,
    files: &[&str],
) -> Arc<ApiServer> {
    let server = ApiServer::new(name, clock.clone());
    for crd in crds {
        server
            .apply_yaml(&serde_json::to_string(&crd).unwrap())
            .unwrap();
    }
    for file in files {
        server.apply_yaml(file).unwrap();
    }
    server
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = SimClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let hub = server("hub", &clock, lifeboat_api::hub_crds(), &HUB);
        let (mut members, mut links, mut wires) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let who = || Identity::service_account("lifeboat-system", "lifeboat-hub");
        for name in ["dr1", "dr2"] {
            let (member, link) = (
                server(name, &clock, lifeboat_api::spoke_crds(), &SPOKE),
                Link::perfect(),
            );
            wires.insert(format!("https://{name}"), member.client(who(), &link));
            members.insert(name.to_owned(), member);
            links.insert(name.to_owned(), link);
        }
        let mut config = Config::new("hub-0");
        config.leadership = Leadership::Lease;
        let client = hub.client(who(), &Link::perfect());
        let run = lifeboat_hub::run(
            config,
            client,
            Arc::new(Wires(wires)),
            Arc::new(WorldClock(clock)),
            CancellationToken::new(),
        );
        Self {
            hub,
            members,
            links,
            _run: spawn("hub", run),
        }
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.hub.apply_yaml(&object.to_string()).unwrap();
    }

    /// Registers a cluster under `name` whose kubeconfig leads to `address`.
    pub(crate) fn register(&self, name: &str, address: &str) {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": format!("https://{address}")}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
        });
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-kubeconfig"), "namespace": "lifeboat-system"},
            "stringData": {names::KUBECONFIG_KEY: kubeconfig.to_string()}}));
        self.apply(&json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRCluster", "metadata": {"name": name},
            "spec": {"kubeconfigSecretRef": {"name": format!("{name}-kubeconfig")}}}));
    }

    pub(crate) fn policy(&self) {
        self.apply(&json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
            "spec": {"clusters": ["dr1", "dr2"], "classes": [{"storageClassName": "fast", "volumeReplicationClassName": "gold"}]}}));
    }

    pub(crate) fn placement(&self, policy: &str) {
        self.apply(&json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"policyRef": {"name": policy}, "preferredCluster": "dr1"}}));
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut found: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        lifeboat_sim::until::until(what, async || found(self).await).await
    }

    pub(crate) async fn cluster(&self, name: &str) -> DRCluster {
        Api::all(self.hub.admin()).get(name).await.unwrap()
    }

    pub(crate) async fn health(&self, name: &str, health: &str) -> DRCluster {
        self.until(&format!("{name} is {health}"), async |w| {
            let found = w.cluster(name).await;
            (found.status.as_ref()?.health.as_deref() == Some(health)).then_some(found)
        })
        .await
    }

    /// Registers both clusters.
    pub(crate) async fn both_healthy(&self) {
        for name in ["dr1", "dr2"] {
            self.register(name, name);
            self.health(name, "Healthy").await;
        }
    }

    pub(crate) async fn accepted(&self, status: &str) -> DRPlacement {
        self.until(&format!("Accepted is {status}"), async |w| {
            let found: DRPlacement = Api::namespaced(w.hub.admin(), "default")
                .get("web")
                .await
                .ok()?;
            let said = condition(&found.status.as_ref()?.conditions, "Accepted")?
                .status
                .clone();
            (said == status).then_some(found)
        })
        .await
    }
}
