//! One simulated cluster, one scripted driver, and the real agent between them, under a paused clock.
//! Virtual time: the clock is paused in every test that uses this.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use lifeboat_agent::{AgentError, Config};
use lifeboat_api::{DROwnership, VolumeReplication, names};
use lifeboat_kit::Clock;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Identity};
use crate::ground::{self, Ground};
use crate::on::{On, Trail};

pub(crate) const DRIVER: &str = "rbd.csi.example.com";
/// What every secret begins with. It may be seen nowhere but in Secrets and by drivers.
pub(crate) const MARK: &str = "marked-7c1e";
/// What drivers are given to sign in with.
pub(crate) const SECRET: &str = "marked-7c1e-hunter2";
/// Longer than any condition takes in these rows, and no time at all under a paused clock.
const PATIENCE: Duration = Duration::from_secs(300);

struct WorldClock(Arc<SimClock>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

pub(crate) struct World {
    /// The namespace of everything that has one.
    pub(crate) ns: String,
    pub(crate) driver: Arc<Driver>,
    pub(crate) admin: Client,
    /// Every driver there is.
    trail: Arc<Mutex<Vec<Arc<Driver>>>>,
    ground: Arc<Ground>,
    cancel: CancellationToken,
    agent: Option<Task<Result<(), AgentError>>>,
}

impl World {
    /// A cluster with a class, a Secret and a driver; the agent is not started yet.
    pub(crate) async fn cold(on: &On) -> Self {
        Self::with_identity(on, Identity::Addons).await
    }

    pub(crate) async fn with_identity(on: &On, identity: Identity) -> Self {
        let world = Self::bare(on, identity, "no kind is called that").await;
        world.class("gold", DRIVER, &json!({})).await;
        world
    }

    /// A cluster without the kinds whose names start like this.
    pub(crate) async fn without(on: &On, kinds: &str) -> Self {
        Self::bare(on, Identity::Addons, kinds).await
    }

    /// Installs the kinds that are missing.
    pub(crate) async fn install_all(&self) {
        ground::install(&self.admin, "no kind is called that").await;
    }

    /// Replaces the kind of volumes by an older version of it.
    pub(crate) async fn older_volume_kind(&self) {
        ground::install_older(&self.admin).await;
    }

    async fn bare(on: &On, identity: Identity, without: &str) -> Self {
        let ground = Arc::new(Ground::new(on.server(), without, on.is_paused()).await);
        let driver = Driver::new(DRIVER, identity);
        let world = Self {
            ns: ground.ns(),
            admin: ground.admin(),
            trail: Arc::new(Mutex::new(vec![driver.clone()])),
            driver,
            cancel: CancellationToken::new(),
            agent: None,
            ground,
        };
        on.follow(Trail {
            ns: world.ns.clone(),
            admin: world.admin.clone(),
            drivers: world.trail.clone(),
        });
        drop(world.watched(world.driver.clone()));
        let ns = &world.ns;
        world
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}))
            .await;
        world.secret().await;
        world
    }

    pub(crate) async fn new(on: &On) -> Self {
        let mut world = Self::cold(on).await;
        world.start();
        world
            .until("the agent holds its Lease", async |w| {
                w.lease_holder().await.is_some()
            })
            .await;
        world
    }

    /// The name that an object without a namespace has here.
    pub(crate) fn named(&self, name: &str) -> String {
        self.ground.named(name)
    }

    /// A field that names such an object.
    pub(crate) fn name_field(&self, spec: &mut Value, field: &str) {
        if let Some(name) = spec[field].as_str() {
            spec[field] = json!(self.named(name));
        }
    }

    pub(crate) fn start(&mut self) {
        self.start_with(|_| {});
    }

    pub(crate) fn start_with(&mut self, edit: impl FnOnce(&mut Config)) {
        let mut config = self.config("agent-0");
        edit(&mut config);
        self.cancel = CancellationToken::new();
        self.agent = Some(self.run("agent", config, self.cancel.clone()));
    }

    /// Another agent of the same cluster.
    pub(crate) fn second(&self, identity: &str) -> Task<Result<(), AgentError>> {
        self.agent_of(identity, &[&self.driver])
    }

    /// Another agent of the same cluster, for these drivers.
    pub(crate) fn agent_of(
        &self,
        identity: &str,
        drivers: &[&Arc<Driver>],
    ) -> Task<Result<(), AgentError>> {
        let mut config = self.config(identity);
        let each = drivers.iter().map(|d| (d.name().to_owned(), d.endpoint()));
        config.drivers = each.collect();
        self.run(identity, config, CancellationToken::new())
    }

    /// Another driver of the same cluster, and a class of its own.
    pub(crate) async fn other_driver(&self, name: &str, class: &str) -> Arc<Driver> {
        let driver = self.watched(Driver::new(name, Identity::Addons));
        self.trail.lock().push(driver.clone());
        self.class(class, name, &json!({})).await;
        driver
    }

    fn watched(&self, driver: Arc<Driver>) -> Arc<Driver> {
        if let Some(gate) = self.ground.gate().cloned() {
            driver.on_call(move || gate.nudge());
        }
        driver
    }

    fn config(&self, identity: &str) -> Config {
        let mut config = Config::new(identity, vec![(DRIVER.to_owned(), self.driver.endpoint())]);
        config.namespace = self.ground.system();
        config
    }

    fn run(
        &self,
        name: &str,
        config: Config,
        cancel: CancellationToken,
    ) -> Task<Result<(), AgentError>> {
        let clock = Arc::new(WorldClock(self.ground.clock()));
        let agent = lifeboat_agent::run(config, self.ground.agent(), clock, cancel);
        spawn(name, agent)
    }

    /// The agent's requests hang from now on.
    pub(crate) fn cut(&self) {
        self.ground.cut();
    }

    pub(crate) fn heal(&self) {
        self.ground.heal();
    }

    pub(crate) fn fail_next(&self, n: u32, code: u16) {
        self.ground.fail_next(n, code);
    }

    pub(crate) fn reset_writes(&self) {
        self.ground.reset_writes();
    }

    /// What the agent wrote, but for its Lease and events.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.ground.writes()
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

    pub(crate) async fn apply(&self, object: &Value) {
        let mut object = object.clone();
        self.ground.label(&mut object);
        ground::apply(&self.admin, object).await;
    }

    pub(crate) async fn secret(&self) {
        self.secret_of(SECRET).await;
    }

    /// The Secret, with this in it.
    pub(crate) async fn secret_of(&self, value: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds", "namespace": self.ns},
            "stringData": {"userKey": value},
        }))
        .await;
    }

    /// A class whose Secret is `creds`, unless `extra` says otherwise.
    pub(crate) async fn class(&self, name: &str, driver: &str, extra: &Value) {
        let mut parameters = json!({
            "replication.storage.openshift.io/replication-secret-name": "creds",
            "replication.storage.openshift.io/replication-secret-namespace": self.ns,
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
            "metadata": {"name": self.named(name)}, "spec": {"provisioner": driver, "parameters": parameters},
        })).await;
    }

    /// A bound claim `name` with a volume whose handle is `h-name`.
    pub(crate) async fn claim(&self, name: &str) {
        self.claim_of(name, DRIVER).await;
    }

    /// The same, with a volume of this driver.
    pub(crate) async fn claim_of(&self, name: &str, driver: &str) {
        self.pv(name, driver).await;
        self.unbound(name).await;
        self.bind(name).await;
    }

    pub(crate) async fn pv(&self, name: &str, driver: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.named(&format!("pv-{name}"))},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": self.ns, "name": name},
                "csi": {"driver": driver, "volumeHandle": format!("h-{name}")},
            },
        })).await;
    }

    pub(crate) async fn unbound(&self, name: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": self.ns},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": self.named(&format!("pv-{name}")),
            },
        })).await;
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

    pub(crate) async fn ask(&self, name: &str, state: &str) {
        self.ask_with(name, state, &json!({}), &json!({})).await;
    }

    /// Writes a VolumeReplication; `spec` replaces fields, `annotations` are set.
    pub(crate) async fn ask_with(
        &self,
        name: &str,
        state: &str,
        spec: &Value,
        annotations: &Value,
    ) {
        let mut whole = json!({
            "volumeReplicationClass": "gold", "replicationState": state, "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": name},
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.name_field(&mut whole, "volumeReplicationClass");
        self.apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": name, "namespace": self.ns, "annotations": annotations}, "spec": whole,
        })).await;
    }

    /// Writes a hub-managed VolumeReplication at `epoch`.
    pub(crate) async fn ask_as_hub(&self, name: &str, state: &str, epoch: i64) {
        self.order_as_hub(name, state, epoch, Some(3_600)).await;
    }

    /// The same, for the `number`th time.
    pub(crate) async fn ask_again_as_hub(&self, name: &str, epoch: i64, number: u32) {
        let until = self.ground.clock().now() + jiff::SignedDuration::from_secs(300);
        let annotations = json!({
            "lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own",
            "lifeboat.dev/resync-until": until.to_string(), "lifeboat.dev/resync-request": number.to_string(),
        });
        self.ask_with(name, "resync", &json!({}), &annotations)
            .await;
    }

    /// The same; an order to resync holds for so many seconds.
    pub(crate) async fn order_as_hub(
        &self,
        name: &str,
        state: &str,
        epoch: i64,
        holds: Option<i64>,
    ) {
        let mut annotations =
            json!({"lifeboat.dev/epoch": epoch.to_string(), "lifeboat.dev/ownership": "own"});
        if let Some(holds) = holds.filter(|_| state == "resync") {
            let until = self.ground.clock().now() + jiff::SignedDuration::from_secs(holds);
            annotations["lifeboat.dev/resync-until"] = json!(until.to_string());
        }
        self.ask_with(name, state, &json!({}), &annotations).await;
    }

    pub(crate) async fn grant(&self, owner: &str, epoch: i64, force: Option<i64>) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let system = namespaces.get("kube-system").await.unwrap();
        let uid = system.metadata.uid.unwrap();
        self.grant_to(&uid, owner, epoch, force).await;
    }

    /// The same, written for the cluster with this uid.
    pub(crate) async fn grant_to(&self, uid: &str, owner: &str, epoch: i64, force: Option<i64>) {
        let mut spec = json!({
            "placementUID": "uid", "placement": "shop/app", "cluster": "east", "clusterUID": uid, "owner": owner,
            "epoch": epoch,
        });
        if let Some(force) = force {
            spec["forceEpoch"] = json!(force);
        }
        self.apply(&json!({
            "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership",
            "metadata": {"name": "own", "namespace": self.ns}, "spec": spec,
        }))
        .await;
    }

    pub(crate) fn volumes(&self) -> Api<VolumeReplication> {
        Api::namespaced(self.admin.clone(), &self.ns)
    }

    pub(crate) fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.admin.clone(), &self.ns)
    }

    pub(crate) async fn volume(&self, name: &str) -> VolumeReplication {
        self.volumes().get(name).await.unwrap()
    }

    pub(crate) async fn ownership(&self) -> DROwnership {
        Api::<DROwnership>::namespaced(self.admin.clone(), &self.ns)
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

    /// Who holds the Lease of the driver.
    pub(crate) async fn lease_holder(&self) -> Option<String> {
        self.holder_of(DRIVER).await
    }

    /// Who holds the Lease of a driver.
    pub(crate) async fn holder_of(&self, driver: &str) -> Option<String> {
        self.lease_of(driver).await?.spec?.holder_identity
    }

    async fn lease_of(&self, driver: &str) -> Option<Lease> {
        let api: Api<Lease> = Api::namespaced(self.admin.clone(), &self.ground.system());
        api.get_opt(&names::driver_lease(driver)).await.unwrap()
    }

    /// What the Lease of the driver says of it.
    pub(crate) async fn driver_annotation(&self) -> String {
        let lease = self.lease_of(DRIVER).await;
        let annotations = lease.and_then(|lease| lease.metadata.annotations);
        let told = annotations.and_then(|mut all| all.remove(names::DRIVER));
        told.unwrap_or_default()
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
        let mut changes = self.ground.gate().map(|gate| gate.changes());
        let (start, mut looks) = (Instant::now(), 0_u32);
        loop {
            // Before the look: what changes during it is not missed.
            if let Some(changes) = &mut changes {
                changes.mark_unchanged();
            }
            if condition(self).await {
                return;
            }
            looks += 1;
            // A real server's own controllers keep no virtual time: so many looks take them seconds.
            let is_late = start.elapsed() > PATIENCE && (changes.is_none() || looks > 1000);
            let all = if is_late {
                self.all().await
            } else {
                String::new()
            };
            assert!(!is_late, "not reached: {what}\n{all}");
            match &mut changes {
                // Fine at first, coarser later: a long wait is not a thousand requests.
                None => {
                    let pause = (start.elapsed() / 20)
                        .clamp(Duration::from_millis(20), Duration::from_millis(100));
                    tokio::time::sleep(pause).await;
                }
                Some(changes) => {
                    let second = Duration::from_secs(1);
                    drop(tokio::time::timeout(second, changes.changed()).await);
                }
            }
        }
    }

    /// Everything there is, for a test that failed.
    async fn all(&self) -> String {
        let mut all = String::new();
        let params = kube::api::ListParams::default();
        for volume in self.volumes().list(&params).await.unwrap() {
            let name = volume.metadata.name.unwrap_or_default();
            all.extend([name.as_str(), ": ", &self.summary(&name).await, "\n"]);
        }
        let fences = Api::<lifeboat_api::NetworkFence>::all(self.admin.clone());
        for fence in fences.list(&params).await.into_iter().flatten() {
            all.extend([format!("{:?}: {:?}\n", fence.metadata.name, fence.status)]);
        }
        let groups =
            Api::<lifeboat_api::VolumeGroupReplication>::namespaced(self.admin.clone(), &self.ns);
        for group in groups.list(&params).await.into_iter().flatten() {
            all.extend([format!("{:?}: {:?}\n", group.metadata.name, group.status)]);
        }
        let holder = self.lease_holder().await;
        format!("{all}lease: {holder:?}\ncalls: {:?}", self.driver.seen())
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn event_reasons(&self) -> Vec<String> {
        self.event_reasons_of(&self.ns).await
    }

    /// Reasons of the events about the agent's Leases.
    pub(crate) async fn event_reasons_in_system(&self) -> Vec<String> {
        self.event_reasons_of(&self.ground.system()).await
    }

    pub(crate) async fn event_reasons_of(&self, namespace: &str) -> Vec<String> {
        use k8s_openapi::api::events::v1::Event;
        let api: Api<Event> = Api::namespaced(self.admin.clone(), namespace);
        let all = api.list(&kube::api::ListParams::default()).await.unwrap();
        all.into_iter().filter_map(|e| e.reason).collect()
    }
}
