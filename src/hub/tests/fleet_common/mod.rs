//! A hub's fleet and simulated clusters.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::Client;
use kube::config::Kubeconfig;
use lifeboat_api::{DRPlacement, DRPolicy};
use lifeboat_core::observed::{ArchiveFacts, Contact, Observed};
use lifeboat_core::{ClusterId, Journal};
use lifeboat_hub::connect::{Connect, ConnectError};
use lifeboat_hub::fleet::{Fleet, Wake};
use lifeboat_hub::observe::observe;
use lifeboat_hub::resolve::{Scope, resolve};
use lifeboat_kit::{Clock, TokioClock};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link};
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use lifeboat_sim::until::until;

pub(crate) const BASE: &str = "2026-01-01T12:00:00Z";
pub(crate) const UID: &str = "0f0f0f0f-1111-2222-3333-444444444444";

/// One simulated cluster.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) link: Link,
}

/// Finds a cluster by the host name in its kubeconfig.
pub(crate) struct Sites(pub(crate) Mutex<BTreeMap<String, Site>>);

impl Connect for Sites {
    fn connect<'a>(
        &'a self,
        config: &'a Kubeconfig,
    ) -> BoxFuture<'a, Result<Client, ConnectError>> {
        let server = config
            .clusters
            .first()
            .and_then(|c| c.cluster.as_ref()?.server.clone());
        let host = server.unwrap_or_default().replace("https://", "");
        let found = self.0.lock().get(&host).cloned();
        Box::pin(async move {
            let site = found.ok_or_else(|| ConnectError::Unknown(format!("no host {host}")))?;
            Ok(site.server.client(
                Identity::service_account("lifeboat-system", "lifeboat-hub"),
                &site.link,
            ))
        })
    }
}

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) sites: Arc<Sites>,
    pub(crate) wakes: Arc<Mutex<Vec<Wake>>>,
    pub(crate) clock: TokioClock,
}

pub(crate) fn world() -> World {
    let clock = TokioClock::at(BASE.parse().unwrap());
    let sites = Arc::new(Sites(Mutex::default()));
    let wakes: Arc<Mutex<Vec<Wake>>> = Arc::default();
    let told = wakes.clone();
    let wake = Arc::new(move |wake| told.lock().push(wake));
    let fleet = Fleet::new(
        sites.clone(),
        Arc::new(clock),
        wake,
        CancellationToken::new(),
    );
    World {
        fleet,
        sites,
        wakes,
        clock,
    }
}

pub(crate) fn id(name: &str) -> ClusterId {
    ClusterId::new(name)
}

pub(crate) fn kubeconfig(host: &str, token: &str) -> Vec<u8> {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'https://{host}'}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n"
    )
    .into_bytes()
}

/// A cluster without our kinds, with the hub's roles.
pub(crate) fn bare_site(world: &World, name: &str) -> Site {
    let server = ApiServer::new(name, SimClock::at(BASE.parse().unwrap()));
    server
        .apply_yaml("apiVersion: v1\nkind: Namespace\nmetadata: {name: lifeboat-system}\n")
        .unwrap();
    server
        .apply_yaml(include_str!("../../../../spoke-deploy/base/hub-role.yaml"))
        .unwrap();
    let site = Site {
        server,
        link: Link::new(),
    };
    world.sites.0.lock().insert(name.to_owned(), site.clone());
    site
}

pub(crate) fn install_crds(site: &Site) {
    for crd in lifeboat_api::spoke_crds() {
        site.server
            .apply_yaml(&serde_json::to_string(&crd).unwrap())
            .unwrap();
    }
}

pub(crate) fn site(world: &World, name: &str) -> Site {
    let site = bare_site(world, name);
    install_crds(&site);
    site
}

pub(crate) fn put(site: &Site, object: &Value) {
    site.server.apply_yaml(&object.to_string()).unwrap();
}

impl World {
    pub(crate) fn join(&self, name: &str) {
        self.fleet.set(&id(name), Ok(kubeconfig(name, "t")), None);
    }

    pub(crate) fn contact(&self, name: &str) -> Contact {
        self.fleet.status(&id(name)).unwrap().contact
    }

    /// Waits until it holds; answers after how long.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Duration {
        let start = tokio::time::Instant::now();
        until(what, async || holds().then_some(())).await;
        start.elapsed()
    }

    pub(crate) async fn fresh(&self, name: &str) {
        let what = format!("{name} is fresh");
        self.until(&what, || self.contact(name).is_fresh()).await;
    }

    pub(crate) fn observe(&self, scope: &Scope) -> Observed {
        observe(
            &self.fleet,
            scope,
            ArchiveFacts::default(),
            self.clock.now(),
            |_| true,
        )
    }

    pub(crate) fn take_wakes(&self) -> Vec<Wake> {
        std::mem::take(&mut *self.wakes.lock())
    }
}

pub(crate) fn scope(journal: &Journal) -> Arc<Scope> {
    let placement: DRPlacement = serde_json::from_value(json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement",
        "metadata": {"namespace": "shop", "name": "db", "uid": UID},
        "spec": {"policyRef": {"name": "gold"}, "preferredCluster": "dr1", "pvcSelector": {"matchLabels": {"app": "db"}},
            "workload": {"selector": {"matchLabels": {"app": "db"}}}}
    }))
    .unwrap();
    let policy: Arc<DRPolicy> = Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
            "spec": {"clusters": ["dr1", "dr2"], "classes": [{"storageClassName": "rbd", "volumeReplicationClassName": "v"}],
                "namespaceMapping": [{"cluster": "dr2", "from": "shop", "to": "shop-dr"}],
                "storageClassMapping": [{"cluster": "dr2", "from": "rbd", "to": "rbd-b"}]}
        }))
        .unwrap(),
    );
    resolve(&placement, |_| Some(policy.clone()), journal)
        .unwrap()
        .scope
}
