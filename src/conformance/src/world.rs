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
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Identity};
use crate::ground::{self, Ground};
use crate::on::{On, Trail};

mod look;
mod objects;
mod recorded;

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

    /// Replaces the kind of ownership records by one that knows nothing of what never reached the owner.
    pub(crate) async fn older_ownership_kind(&self) {
        ground::install_older_ownerships(&self.admin).await;
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

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}
