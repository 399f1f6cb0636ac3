//! One simulated cluster, one scripted driver, and the real agent between them, under a paused clock.
//! Virtual time: the clock is paused in every test that uses this.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use lifeboat_agent::{AgentError, Config};
use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_kit::Clock;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_sim::apiserver::{ApiServer, Identity as Who, Link};
use lifeboat_sim::clock::SimClock;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Identity};

pub(crate) const NS: &str = "shop";
pub(crate) const DRIVER: &str = "rbd.csi.example.com";
/// Longer than any condition takes in these tests, and no time at all under a paused clock.
const PATIENCE: Duration = Duration::from_secs(300);

struct WorldClock(Arc<SimClock>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) admin: Client,
    pub(crate) link: Link,
    cancel: CancellationToken,
    agent: Option<Task<Result<(), AgentError>>>,
}

/// The files that a real cluster gets.
const RIGHTS: [&str; 3] = [
    include_str!("../../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../spoke-deploy/base/agent-role.yaml"),
];

impl World {
    /// A cluster with a class, a Secret and a driver; the agent is not started yet.
    pub(crate) fn cold() -> Self {
        Self::with_identity(Identity::Addons)
    }

    pub(crate) fn with_identity(identity: Identity) -> Self {
        let world = Self::bare(identity, "no kind is called that");
        world.class("gold", DRIVER, &json!({}));
        world
    }

    /// A cluster without the kinds whose names start like this.
    pub(crate) fn without(kinds: &str) -> Self {
        Self::bare(Identity::Addons, kinds)
    }

    /// Installs the kinds that are missing.
    pub(crate) fn install_all(&self) {
        for crd in lifeboat_api::spoke_crds() {
            let text = serde_json::to_string(&crd).unwrap();
            self.server.apply_yaml(&text).unwrap();
        }
    }

    fn bare(identity: Identity, without: &str) -> Self {
        // `RUST_LOG=debug` shows what the agent thought; without it nothing is shown.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_test_writer()
                .try_init(),
        );
        let clock = SimClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let server = ApiServer::new("east", clock);
        for crd in lifeboat_api::spoke_crds() {
            if crd.spec.names.plural.starts_with(without) {
                continue;
            }
            server
                .apply_yaml(&serde_json::to_string(&crd).unwrap())
                .unwrap();
        }
        for rights in RIGHTS {
            server.apply_yaml(rights).unwrap();
        }
        let world = Self {
            admin: server.admin(),
            driver: Driver::new(DRIVER, identity),
            link: Link::perfect(),
            cancel: CancellationToken::new(),
            agent: None,
            server,
        };
        world.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}));
        world.secret();
        world
    }

    pub(crate) async fn new() -> Self {
        let mut world = Self::cold();
        world.start();
        world
            .until("the agent holds its Lease", async |w| {
                w.lease_holder().await.is_some()
            })
            .await;
        world
    }

    pub(crate) fn start(&mut self) {
        self.start_with(|_| {});
    }

    pub(crate) fn start_with(&mut self, edit: impl FnOnce(&mut Config)) {
        let mut config = Config::new("agent-0", vec![(DRIVER.to_owned(), self.driver.endpoint())]);
        edit(&mut config);
        let client = self.server.client(
            Who::service_account("lifeboat-system", "lifeboat-agent"),
            &self.link,
        );
        let clock = Arc::new(WorldClock(self.server.clock().clone()));
        self.cancel = CancellationToken::new();
        self.agent = Some(spawn(
            "agent",
            lifeboat_agent::run(config, client, clock, self.cancel.clone()),
        ));
    }

    /// Ends the agent as a crash would.
    pub(crate) fn kill(&mut self) {
        self.agent = None;
    }

    pub(crate) async fn stop(&mut self) {
        self.cancel.cancel();
        if let Some(agent) = self.agent.take() {
            agent.join().await.unwrap().unwrap();
        }
    }

    pub(crate) fn agent_runs(&self) -> bool {
        self.agent
            .as_ref()
            .is_some_and(|agent| !agent.is_finished())
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.server.apply_yaml(&object.to_string()).unwrap();
    }

    pub(crate) fn secret(&self) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds", "namespace": NS},
            "data": {"userKey": "aHVudGVyMg=="},
        }));
    }

    /// A class whose Secret is `creds`, unless `extra` says otherwise.
    pub(crate) fn class(&self, name: &str, driver: &str, extra: &Value) {
        let mut parameters = json!({
            "replication.storage.openshift.io/replication-secret-name": "creds",
            "replication.storage.openshift.io/replication-secret-namespace": NS,
            "mirroringMode": "snapshot",
        });
        for (key, value) in extra.as_object().unwrap() {
            if value.is_null() {
                parameters.as_object_mut().unwrap().remove(key);
            } else {
                parameters[key] = value.clone();
            }
        }
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplicationClass",
            "metadata": {"name": name}, "spec": {"provisioner": driver, "parameters": parameters},
        }));
    }

    /// A bound claim `name` with a volume whose handle is `h-name`.
    pub(crate) async fn claim(&self, name: &str) {
        self.pv(name, DRIVER);
        self.unbound(name);
        self.bind(name).await;
    }

    pub(crate) fn pv(&self, name: &str, driver: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("pv-{name}")},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": NS, "name": name},
                "csi": {"driver": driver, "volumeHandle": format!("h-{name}")},
            },
        }));
    }

    pub(crate) fn unbound(&self, name: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NS},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": format!("pv-{name}"),
            },
        }));
    }

    pub(crate) async fn bind(&self, name: &str) {
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        self.claims()
            .patch_status(name, &PatchParams::default(), &bound)
            .await
            .unwrap();
    }

    pub(crate) async fn patch_claim(&self, name: &str, metadata: &Value) {
        let patch = json!({"metadata": metadata});
        self.claims()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) fn ask(&self, name: &str, state: &str) {
        self.ask_with(name, state, &json!({}), &json!({}));
    }

    /// Writes a VolumeReplication; `spec` replaces fields, `annotations` are set.
    pub(crate) fn ask_with(&self, name: &str, state: &str, spec: &Value, annotations: &Value) {
        let mut whole = json!({
            "volumeReplicationClass": "gold", "replicationState": state, "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": name},
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": name, "namespace": NS, "annotations": annotations}, "spec": whole,
        }));
    }

    /// Writes a hub-managed VolumeReplication at `epoch`.
    pub(crate) fn ask_as_hub(&self, name: &str, state: &str, epoch: i64) {
        self.order_as_hub(name, state, epoch, Some(3_600));
    }

    /// The same, for the `number`th time.
    pub(crate) fn ask_again_as_hub(&self, name: &str, epoch: i64, number: u32) {
        let until = self.server.clock().now() + jiff::SignedDuration::from_secs(300);
        let annotations = json!({
            "lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own",
            "lifeboat.dev/resync-until": until.to_string(), "lifeboat.dev/resync-request": number.to_string(),
        });
        self.ask_with(name, "resync", &json!({}), &annotations);
    }

    /// The same; an order to resync holds for so many seconds.
    pub(crate) fn order_as_hub(&self, name: &str, state: &str, epoch: i64, holds: Option<i64>) {
        let mut annotations =
            json!({"lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own"});
        if let Some(holds) = holds.filter(|_| state == "resync") {
            let until = self.server.clock().now() + jiff::SignedDuration::from_secs(holds);
            annotations["lifeboat.dev/resync-until"] = json!(until.to_string());
        }
        self.ask_with(name, state, &json!({}), &annotations);
    }

    pub(crate) fn grant(&self, owner: &str, epoch: i64, force: Option<i64>) {
        let mut spec = json!({
            "placementUID": "uid", "placement": "shop/app", "cluster": "east", "owner": owner, "epoch": epoch,
        });
        if let Some(force) = force {
            spec["forceEpoch"] = json!(force);
        }
        self.apply(&json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership",
            "metadata": {"name": "own", "namespace": NS}, "spec": spec,
        }));
    }

    pub(crate) fn volumes(&self) -> Api<VolumeReplication> {
        Api::namespaced(self.admin.clone(), NS)
    }

    pub(crate) fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.admin.clone(), NS)
    }

    pub(crate) async fn volume(&self, name: &str) -> VolumeReplication {
        self.volumes().get(name).await.unwrap()
    }

    pub(crate) async fn ownership(&self) -> DROwnership {
        Api::<DROwnership>::namespaced(self.admin.clone(), NS)
            .get("own")
            .await
            .unwrap()
    }

    pub(crate) async fn delete_volume(&self, name: &str) {
        self.volumes()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn patch_volume(&self, name: &str, patch: &Value) {
        self.volumes()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn lease_holder(&self) -> Option<String> {
        use k8s_openapi::api::coordination::v1::Lease;
        let api: Api<Lease> = Api::namespaced(self.admin.clone(), "lifeboat-system");
        let lease = api.get_opt("lifeboat-agent").await.unwrap()?;
        lease.spec?.holder_identity
    }

    pub(crate) async fn drivers_annotation(&self) -> String {
        use k8s_openapi::api::coordination::v1::Lease;
        let api: Api<Lease> = Api::namespaced(self.admin.clone(), "lifeboat-system");
        let lease = api.get("lifeboat-agent").await.unwrap();
        lease
            .metadata
            .annotations
            .unwrap_or_default()
            .get("lifeboat.dev/drivers")
            .cloned()
            .unwrap_or_default()
    }

    /// `state | message | conditions`, as `Primary | volume is marked primary | Completed=True/Promoted ...`.
    pub(crate) async fn summary(&self, name: &str) -> String {
        let status = self.volume(name).await.status.unwrap_or_default();
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
            .collect();
        let text = |field: Option<String>| field.unwrap_or_default();
        format!(
            "{} | {} | {}",
            text(status.state),
            text(status.message),
            conditions.join(" ")
        )
    }

    /// Waits until the summary contains `text`, and checks that it speaks of the present generation.
    pub(crate) async fn until_status(&self, name: &str, text: &str) {
        self.until(&format!("{name}: {text}"), async |w| {
            let generation = w.volume(name).await.metadata.generation;
            let status = w.volume(name).await.status.unwrap_or_default();
            w.summary(name).await.contains(text) && status.observed_generation == generation
        })
        .await;
        let volume = self.volume(name).await;
        let status = volume.status.unwrap();
        assert!(
            status
                .conditions
                .iter()
                .all(|c| c.observed_generation == volume.metadata.generation),
            "{status:?}"
        );
    }

    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self).await {
            if start.elapsed() > PATIENCE {
                let mut all = String::new();
                for volume in self
                    .volumes()
                    .list(&kube::api::ListParams::default())
                    .await
                    .unwrap()
                {
                    let name = volume.metadata.name.unwrap_or_default();
                    all.extend([
                        name.as_str(),
                        ": ",
                        &self.summary(&name).await,
                        "
",
                    ]);
                }
                panic!("not reached: {what}\n{all}calls: {:?}", self.driver.seen());
            }
            // Fine at first, coarser later: a long wait is not a thousand requests.
            let pause =
                (start.elapsed() / 20).clamp(Duration::from_millis(20), Duration::from_millis(100));
            tokio::time::sleep(pause).await;
        }
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn event_reasons(&self) -> Vec<String> {
        use k8s_openapi::api::events::v1::Event;
        let api: Api<Event> = Api::namespaced(self.admin.clone(), NS);
        let all = api.list(&kube::api::ListParams::default()).await.unwrap();
        all.into_iter().filter_map(|e| e.reason).collect()
    }
}
