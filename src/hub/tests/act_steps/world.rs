//! Two clusters and a hub, and an executor between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use lifeboat_api::names;
use lifeboat_api::placement::WorkloadKind;
use lifeboat_core::observed::Role;
use lifeboat_core::step::{Force, ResyncOrder};
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClaimKey, ClusterId, Epoch, Outcome, Step, WorkloadKey};
use lifeboat_hub::act::{Executor, Members, Written};
use lifeboat_hub::archive::SecretsArchive;
use lifeboat_hub::archive_view::ArchiveView;
use lifeboat_hub::resolve::{PlacementKey, Scope};
use lifeboat_kit::{Clock, TokioClock};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link};
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) const NS: &str = "shop";
pub(crate) const UID: &str = "11111111-aaaa-bbbb-cccc-222222222222";
pub(crate) const DRIVER: &str = "rbd.csi.example.com";
pub(crate) const FILES: [&str; 3] = [
    include_str!("../../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../spoke-deploy/base/hub-role.yaml"),
];

pub(crate) struct Sites {
    pub(crate) clients: BTreeMap<ClusterId, Client>,
    pub(crate) log: Mutex<Vec<String>>,
}

impl Members for Sites {
    fn client(&self, cluster: &ClusterId) -> Option<Client> {
        self.clients.get(cluster).cloned()
    }
    fn uid(&self, cluster: &ClusterId) -> Option<String> {
        Some(format!("uid-of-{cluster}"))
    }
    fn written(&self, cluster: &ClusterId, what: Written) {
        let (verb, object) = match what {
            Written::Applied(object) => ("applied", object),
            Written::Deleted(object) => ("deleted", object),
        };
        let kind = object.types.map(|t| t.kind).unwrap_or_default();
        self.log.lock().push(format!(
            "{cluster} {verb} {kind} {}",
            object.metadata.name.unwrap_or_default()
        ));
    }
}

pub(crate) struct World {
    pub(crate) servers: BTreeMap<ClusterId, Arc<ApiServer>>,
    pub(crate) links: BTreeMap<ClusterId, Link>,
    pub(crate) sites: Arc<Sites>,
    pub(crate) executor: Executor,
    pub(crate) scope: Scope,
}

pub(crate) fn id(name: &str) -> ClusterId {
    ClusterId::new(name)
}
pub(crate) fn claim() -> ClaimKey {
    ClaimKey::new(NS, "db")
}
pub(crate) fn deployment() -> WorkloadKey {
    WorkloadKey {
        kind: "Deployment".into(),
        namespace: NS.into(),
        name: "web".into(),
    }
}

pub(crate) fn member(name: &str) -> Arc<ApiServer> {
    let server = ApiServer::new(name, SimClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
    for crd in lifeboat_api::spoke_crds() {
        server
            .apply_yaml(&serde_json::to_string(&crd).unwrap())
            .unwrap();
    }
    for file in FILES {
        server.apply_yaml(file).unwrap();
    }
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": DRIVER});
    server.apply_yaml(&class.to_string()).unwrap();
    server
}

impl World {
    /// Two clusters; the application is on dr1.
    pub(crate) fn new() -> Self {
        let servers: BTreeMap<_, _> = ["dr1", "dr2"]
            .into_iter()
            .map(|n| (id(n), member(n)))
            .collect();
        let links: BTreeMap<_, _> = servers
            .keys()
            .map(|c| (c.clone(), Link::perfect()))
            .collect();
        let who = || Identity::service_account("lifeboat-system", "lifeboat-hub");
        let clients = servers
            .iter()
            .map(|(c, s)| (c.clone(), s.client(who(), &links[c])))
            .collect();
        let sites = Arc::new(Sites {
            clients,
            log: Mutex::default(),
        });
        let hub = ApiServer::new("hub", SimClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
        let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lifeboat-system"}});
        hub.apply_yaml(&system.to_string()).unwrap();
        let archive = Arc::new(SecretsArchive::new(hub.admin(), "lifeboat-system"));
        let captures = Arc::new(ArchiveView::new(
            archive,
            Arc::new(|_: &Scope, _: &ClusterId| "same".to_owned()),
        ));
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::at(Timestamp::UNIX_EPOCH));
        let executor = Executor::new(
            sites.clone(),
            captures,
            clock,
            hub.admin(),
            Duration::from_secs(5),
            Arc::new(|_| {}),
        );
        let world = Self {
            servers,
            links,
            sites,
            executor,
            scope: scope(),
        };
        world.application();
        world
    }

    pub(crate) fn apply(&self, cluster: &str, object: &Value) {
        self.servers[&id(cluster)]
            .apply_yaml(&object.to_string())
            .unwrap();
    }

    pub(crate) fn application(&self) {
        let app = json!({"app": "web"});
        self.apply(
            "dr1",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}),
        );
        self.apply("dr1", &json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-db"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": NS, "name": "db"},
                "csi": {"driver": DRIVER, "volumeHandle": "h-db"}},
        }));
        self.apply("dr1", &json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "db", "namespace": NS, "labels": app},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast", "volumeName": "pv-db"},
        }));
        self.apply("dr1", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NS}, "data": {"a": "1"}}));
        self.apply("dr1", &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NS},
            "spec": {"selector": app, "ports": [{"port": 80}]}}));
        self.apply("dr1", &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": NS, "labels": app},
            "spec": {"replicas": 3, "selector": {"matchLabels": app}, "template": {"metadata": {"labels": app}, "spec": {
                "containers": [{"name": "web", "image": "web", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
                "volumes": [{"name": "db", "persistentVolumeClaim": {"claimName": "db"}}]}}},
        }));
    }

    pub(crate) async fn bind(&self, cluster: &str) {
        let api: Api<k8s_openapi::api::core::v1::PersistentVolumeClaim> =
            Api::namespaced(self.servers[&id(cluster)].admin(), NS);
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        api.patch_status("db", &PatchParams::default(), &bound)
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, cluster: &str, kind: &str, name: &str) -> Option<Value> {
        let (group, version, plural, namespaced) = match kind {
            "PersistentVolume" => ("", "v1", "persistentvolumes", false),
            "PersistentVolumeClaim" => ("", "v1", "persistentvolumeclaims", true),
            "ConfigMap" => ("", "v1", "configmaps", true),
            "Deployment" => ("apps", "v1", "deployments", true),
            "DROwnership" => ("lifeboat.dev", "v1alpha1", "drownerships", true),
            _ => (
                "replication.storage.openshift.io",
                "v1alpha1",
                "volumereplications",
                true,
            ),
        };
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        };
        let client = self.servers[&id(cluster)].admin();
        let api: Api<DynamicObject> = if namespaced {
            Api::namespaced_with(client, NS, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        api.get_opt(name)
            .await
            .unwrap()
            .map(|o| serde_json::to_value(o).unwrap())
    }

    pub(crate) async fn run(&self, step: &Step) -> Outcome {
        self.executor.run_step(step, &self.scope).await
    }

    /// Does a step twice: both times it is done.
    pub(crate) async fn twice(&self, step: Step) {
        assert_eq!(self.run(&step).await, Outcome::Done, "{step:?}");
        assert_eq!(self.run(&step).await, Outcome::Done, "again: {step:?}");
    }

    pub(crate) async fn refused(&self, step: Step) -> Reason {
        match self.run(&step).await {
            Outcome::Failed(blocker) => {
                assert!(!blocker.message.is_empty() && !blocker.remedy.is_empty());
                blocker.reason
            }
            other => panic!("must be refused: {step:?} gave {other:?}"),
        }
    }

    pub(crate) fn link(&self, cluster: &str) -> &Link {
        &self.links[&id(cluster)]
    }
}

pub(crate) fn scope() -> Scope {
    Scope {
        key: PlacementKey {
            namespace: NS.into(),
            name: "web".into(),
        },
        uid: UID.into(),
        own_uid: UID.into(),
        ownership: names::ownership_name("web", UID),
        epoch: Epoch(1),
        namespaces: vec![NS.into()],
        pvc_selector: [("app", "web")].into_iter().collect(),
        workload: Some((
            [("app", "web")].into_iter().collect(),
            vec![WorkloadKind::Deployment, WorkloadKind::StatefulSet],
        )),
        clusters: vec![id("dr1"), id("dr2")],
        mapping: BTreeMap::new(),
    }
}

pub(crate) fn record(cluster: &str, owner: &str, epoch: i64, force: Force) -> Step {
    Step::Record {
        cluster: id(cluster),
        owner: id(owner),
        epoch: Epoch(epoch),
        force,
        served: Some("dr1|-|-|-".into()),
    }
}
pub(crate) fn retain() -> Step {
    Step::Retain {
        cluster: id("dr1"),
        claims: BTreeMap::from([(claim(), "pv-db".to_owned())]),
    }
}
pub(crate) fn replicate(cluster: &str, role: Role, epoch: i64) -> Step {
    Step::Replicate {
        cluster: id(cluster),
        claims: BTreeMap::from([(claim(), "gold".to_owned())]),
        role,
        epoch: Epoch(epoch),
    }
}
pub(crate) fn resync(
    cluster: &str,
    epoch: i64,
    until: &str,
    (number, salvage): (u32, Option<i64>),
) -> Step {
    let class = "gold".to_owned();
    Step::Resync {
        cluster: id(cluster),
        claims: BTreeMap::from([(claim(), ResyncOrder { class, number })]),
        epoch: Epoch(epoch),
        until: until.parse().unwrap(),
        salvage,
    }
}
pub(crate) fn capture() -> Step {
    Step::Capture {
        cluster: id("dr1"),
        epoch: Epoch(1),
        claims: vec![claim()],
    }
}
pub(crate) fn restore() -> Step {
    Step::Restore {
        cluster: id("dr2"),
        capture: 1,
        epoch: Epoch(2),
    }
}
pub(crate) fn start() -> Step {
    Step::Start {
        cluster: id("dr2"),
        capture: 1,
        epoch: Epoch(2),
    }
}
pub(crate) fn claims() -> BTreeMap<ClaimKey, Option<String>> {
    BTreeMap::from([(claim(), None)])
}
