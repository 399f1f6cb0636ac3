//! The whole hub against simulated API servers that enforce its roles.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod until;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt};
use lifeboat_api::common::condition;
use lifeboat_api::{DRCluster, DRPlacement, DRPolicy, names};
use lifeboat_hub::connect::{Connect, ConnectError};
use lifeboat_hub::{Config, Leadership};
use lifeboat_kit::Clock;
use lifeboat_kit::task::{Task, spawn};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link};
use lifeboat_sim::clock::SimClock;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SPOKE: [&str; 3] = [
    include_str!("../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../spoke-deploy/base/hub-role.yaml"),
];
const HUB: [&str; 3] = [
    include_str!("../../../hub-deploy/base/namespace.yaml"),
    include_str!("../../../hub-deploy/base/serviceaccount.yaml"),
    include_str!("../../../hub-deploy/base/hub-role.yaml"),
];

struct WorldClock(Arc<SimClock>);

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

struct World {
    hub: Arc<ApiServer>,
    members: BTreeMap<String, Arc<ApiServer>>,
    links: BTreeMap<String, Link>,
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
    fn new() -> Self {
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

    fn apply(&self, object: &Value) {
        self.hub.apply_yaml(&object.to_string()).unwrap();
    }

    /// Registers a cluster under `name` whose kubeconfig leads to `address`.
    fn register(&self, name: &str, address: &str) {
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

    fn policy(&self) {
        self.apply(&json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
            "spec": {"clusters": ["dr1", "dr2"], "classes": [{"storageClassName": "fast", "volumeReplicationClassName": "gold"}]}}));
    }

    fn placement(&self, policy: &str) {
        self.apply(&json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"policyRef": {"name": policy}, "preferredCluster": "dr1"}}));
    }

    async fn until<T>(&self, what: &str, mut found: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        until::until(what, async || found(self).await).await
    }

    async fn cluster(&self, name: &str) -> DRCluster {
        Api::all(self.hub.admin()).get(name).await.unwrap()
    }

    async fn health(&self, name: &str, health: &str) -> DRCluster {
        self.until(&format!("{name} is {health}"), async |w| {
            let found = w.cluster(name).await;
            (found.status.as_ref()?.health.as_deref() == Some(health)).then_some(found)
        })
        .await
    }

    /// Registers both clusters.
    async fn both_healthy(&self) {
        for name in ["dr1", "dr2"] {
            self.register(name, name);
            self.health(name, "Healthy").await;
        }
    }

    async fn accepted(&self, status: &str) -> DRPlacement {
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

#[tokio::test(start_paused = true)]
async fn a_driver_whose_agent_is_silent_is_named_though_others_live() {
    let world = World::new();
    world.register("dr1", "dr1");
    world.health("dr1", "Healthy").await;
    let lease = |driver: &str, second: u64| {
        let told = json!({"name": driver, "state": "Ready"});
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": "lifeboat-system", "name": names::driver_lease(driver),
                "labels": {names::LEASE: names::DRIVER_LEASE}, "annotations": {names::DRIVER: told.to_string()}},
            "spec": {"holderIdentity": driver, "leaseDurationSeconds": 15,
                "renewTime": format!("2026-01-02T03:{:02}:{:02}.000000Z", 4 + second / 60, second % 60)}})
    };
    let put = |w: &World, driver: &str, second: u64| {
        let body = lease(driver, second).to_string();
        w.members["dr1"].apply_yaml(&body).unwrap();
    };
    let mut second = 0;
    for (both, reason, status) in [
        (true, "Renews", "True"),
        (false, "DriverSilent", "False"),
        (true, "Renews", "True"),
    ] {
        let found = world
            .until(reason, async |w| {
                second += 1;
                put(w, "d1", second);
                if both {
                    put(w, "d2", second);
                }
                let all = w.cluster("dr1").await.status?.conditions;
                (condition(&all, "AgentAlive")?.reason == reason).then_some(all)
            })
            .await;
        let alive = condition(&found, "AgentAlive").unwrap();
        assert_eq!(alive.status, status);
        let named = alive.message.contains("d2 since") && !alive.message.contains("d1");
        assert_eq!(named, !both, "{}", alive.message);
        let ready = condition(&found, "DriversReady").unwrap();
        assert_eq!(ready.status, status, "{}", ready.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_healthy_then_suspect_then_lost_then_healthy() {
    let world = World::new();
    world.register("dr1", "dr1");
    let found = world.health("dr1", "Healthy").await;
    let status = found.status.unwrap();
    assert_eq!(
        condition(&status.conditions, "Reachable").unwrap().status,
        "True"
    );
    assert_eq!(
        condition(&status.conditions, "AgentAlive").unwrap().reason,
        "NoLease"
    );
    world.links["dr1"].cut();
    let found = world.health("dr1", "Suspect").await;
    assert_eq!(
        condition(&found.status.unwrap().conditions, "AgentAlive")
            .unwrap()
            .status,
        "Unknown"
    );
    world.health("dr1", "Lost").await;
    world.links["dr1"].heal();
    world.health("dr1", "Healthy").await;
}

#[tokio::test(start_paused = true)]
async fn one_cluster_under_two_names_is_used_under_the_one_that_had_it_first() {
    let world = World::new();
    world.register("dr1", "dr1");
    world.health("dr1", "Healthy").await;
    // Its age and its name would put it first.
    world.register("another", "dr1");
    let found = world
        .until("the double is seen", async |w| {
            let found = w.cluster("another").await;
            let reason = condition(&found.status.as_ref()?.conditions, "Reachable")?
                .reason
                .clone();
            (reason == "DuplicateCluster").then_some(found)
        })
        .await;
    assert_ne!(found.status.unwrap().health.as_deref(), Some("Healthy"));
    world.health("dr1", "Healthy").await;
}

#[tokio::test(start_paused = true)]
async fn a_placement_without_its_policy_says_so_and_goes_on_when_it_comes() {
    let world = World::new();
    world.placement("gold");
    let found = world.accepted("False").await;
    let status = found.status.unwrap();
    assert_eq!(
        condition(&status.conditions, "Accepted").unwrap().reason,
        "PolicyMissing"
    );
    assert_eq!(
        condition(&status.conditions, "Available").unwrap().status,
        "Unknown"
    );
    world.both_healthy().await;
    world.policy();
    let found = world.accepted("True").await;
    assert!(
        found
            .metadata
            .finalizers
            .unwrap()
            .iter()
            .any(|f| f == names::FINALIZER)
    );
    let policy = world
        .until("the policy is judged", async |w| {
            let found: DRPolicy = Api::all(w.hub.admin()).get("gold").await.ok()?;
            Some(
                condition(&found.status.as_ref()?.conditions, "Valid")?
                    .reason
                    .clone(),
            )
            .filter(|r| r != "ClusterNotFresh")
        })
        .await;
    assert_eq!(policy, "ClassMissing");
    assert_eq!(world.members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    let world = World::new();
    world.both_healthy().await;
    world.policy();
    world.placement("gold");
    world.accepted("True").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.hub.reset_request_counts();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let counts = world.hub.request_counts();
    let writes = counts
        .iter()
        .filter(|((_, verb, what), _)| verb == "patch" && what.contains("drplacements"));
    assert_eq!(writes.count(), 0, "{counts:?}");
    let reads = counts
        .iter()
        .filter(|((_, verb, what), _)| verb == "get" && what.contains("drplacements"));
    assert_eq!(reads.count(), 0, "{counts:?}");
}

/// A claim on a cluster that can be protected.
async fn claim(world: &World, on: &str) {
    let member = &world.members[on];
    let apply = |object: Value| member.apply_yaml(&object.to_string()).unwrap();
    let driver = "disk.example.com";
    apply(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": driver}),
    );
    apply(
        json!({"apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplicationClass",
        "metadata": {"name": "gold"}, "spec": {"provisioner": driver}}),
    );
    apply(
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-db"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "default", "name": "db"},
            "csi": {"driver": driver, "volumeHandle": "h-db"}}}),
    );
    apply(
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "db", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast", "volumeName": "pv-db"}}),
    );
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(member.admin(), "default");
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims
        .patch_status("db", &PatchParams::default(), &bound)
        .await
        .unwrap();
}

/// Both clusters healthy, and an application on dr1 that is to be protected.
async fn placed() -> World {
    let world = World::new();
    world.both_healthy().await;
    claim(&world, "dr1").await;
    world.policy();
    world.placement("gold");
    world
}

/// The same, and the application was captured.
async fn captured() -> World {
    let world = placed().await;
    world.until("it is captured", World::captures).await;
    world
}

#[tokio::test(start_paused = true)]
async fn somebody_who_undoes_what_the_hub_does_is_named_and_not_fought_at_full_speed() {
    let world = placed().await;
    let volumes: Api<PersistentVolume> = Api::all(world.members["dr1"].admin());
    let undo = async |w: &World| {
        let delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
        let (name, params) = ("pv-db", PatchParams::default());
        volumes
            .patch(name, &params, &Patch::Merge(delete))
            .await
            .unwrap();
        let placements: Api<DRPlacement> = Api::namespaced(w.hub.admin(), "default");
        let status = placements.get("web").await.ok()?.status?;
        let mut told = status.blockers.into_iter();
        told.find(|b| b.message.contains("nothing came of it"))
    };
    let told = world.until("the duel is told", undo).await;
    assert!(told.remedy.contains("Look who undoes it"), "{told:?}");
    world.members["dr1"].reset_request_counts();
    for _ in 0..300 {
        undo(&world).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let counts = world.members["dr1"].request_counts();
    let writes = counts.iter().filter(|((user, verb, what), _)| {
        user.ends_with("lifeboat-hub") && verb == "patch" && what.contains("persistentvolumes")
    });
    let writes: u64 = writes.map(|(_, n)| n).sum();
    assert!((2..=15).contains(&writes), "{counts:?}");
}

impl World {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.hub.admin(), "lifeboat-system")
    }

    /// The names of the Secrets that hold captures, if there are any.
    async fn captures(&self) -> Option<Vec<String>> {
        let ours = ListParams::default().labels("lifeboat.dev/capture");
        let all = self.secrets().list(&ours).await.unwrap();
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        (!names.is_empty()).then_some(names)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_to_act_again_reads_the_archive_anew() {
    let world = captured().await;
    let leases: Api<Lease> = Api::namespaced(world.hub.admin(), "lifeboat-system");
    let held = async |_: &World, by: &str| {
        let lease = leases.get(names::HUB_LEASE).await.ok()?.spec?;
        (lease.holder_identity.as_deref() == Some(by)).then_some(lease.lease_transitions)
    };
    let before = world
        .until("it leads", async |w| held(w, "hub-0").await)
        .await;
    // Another hub takes over, loses the captures, and dies.
    let another = json!({"spec": {"holderIdentity": "hub-1", "leaseDurationSeconds": 15}});
    let params = PatchParams::default();
    leases
        .patch(names::HUB_LEASE, &params, &Patch::Merge(another))
        .await
        .unwrap();
    let (secrets, params) = (world.secrets(), DeleteParams::default());
    for name in world.captures().await.unwrap() {
        secrets.delete(&name, &params).await.unwrap();
    }
    let after = world
        .until("it leads again", async |w| held(w, "hub-0").await)
        .await;
    assert_ne!(before, after);
    world
        .until("what is lost is captured again", World::captures)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_returned_cluster_that_takes_no_writes_does_not_keep_the_owner_from_being_protected() {
    let world = captured().await;
    // dr1 answers all questions from now on, and takes no more orders.
    let deaf = SPOKE[2]
        .replace("create, patch, delete]", "]")
        .replace("watch, ]", "watch]");
    assert_ne!(deaf, SPOKE[2]);
    world.members["dr1"].apply_yaml(&deaf).unwrap();
    claim(&world, "dr2").await;
    let placements: Api<DRPlacement> = Api::namespaced(world.hub.admin(), "default");
    // It was failed over from dr1 to dr2, and dr1 has returned.
    let moved = json!({"status": {"journal": {"owner": "dr2", "epoch": 2, "capture": 1,
        "phase": {"CleaningUp": {"from": "dr1", "to": "dr2", "kind": "Failover"}},
        "served": {"preferred": "dr1"}}}});
    let params = PatchParams::default();
    placements
        .patch_status("web", &params, &Patch::Merge(moved))
        .await
        .unwrap();
    let volumes: Api<PersistentVolume> = Api::all(world.members["dr2"].admin());
    let retained = async |_: &World| {
        let pv = volumes.get("pv-db").await.ok()?.spec?;
        (pv.persistent_volume_reclaim_policy.as_deref() == Some("Retain")).then_some(())
    };
    world
        .until("the owner's volume is retained", retained)
        .await;
    let told = async |_: &World| {
        let status = placements.get("web").await.ok()?.status?;
        let mut all = status.blockers.into_iter();
        all.find(|b| b.message.contains("dr1") && b.message.contains("forbidden"))
    };
    world.until("dr1 is named", told).await;
}
