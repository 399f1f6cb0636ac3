//! Where a world stands: a simulated API server of its own, or a namespace of a real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::{Api, Client, Config, ResourceExt};
use lifeboat_sim::apiserver::{ApiServer, Identity as Who, Link};
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::gate::Gate;
use crate::wire::{self, ROW, Shared};

/// The files that a real cluster gets.
const RIGHTS: [&str; 3] = [
    include_str!("../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../spoke-deploy/base/agent-role.yaml"),
];
/// Where those files put the agent.
const SYSTEM: &str = "lifeboat-system";

/// A real API server, for any number of worlds at once.
pub struct Kube {
    admin: Config,
    agent: Config,
    version: String,
    worlds: AtomicUsize,
}

impl Kube {
    /// Installs the kinds and the agent's rights on an empty cluster.
    pub async fn prepare(admin: Config, version: &str) -> Self {
        let client = Client::try_from(admin.clone()).unwrap();
        install(&client, "no kind is called that").await;
        for rights in RIGHTS {
            apply_all(&client, rights).await;
        }
        Self {
            agent: admin.clone(),
            admin,
            version: version.to_owned(),
            worlds: AtomicUsize::new(0),
        }
    }

    /// With this the agent signs in: as the `ServiceAccount` `lifeboat-system/lifeboat-agent`.
    #[must_use]
    pub fn sign_in(self, agent: Config) -> Self {
        Self { agent, ..self }
    }

    pub(crate) fn admin(&self) -> Config {
        self.admin.clone()
    }

    /// Installs the kinds as they should be.
    pub(crate) async fn install(&self) {
        let client = Client::try_from(self.admin.clone()).unwrap();
        install(&client, "no kind is called that").await;
    }
}

/// The kind of API server.
#[derive(Clone)]
pub(crate) enum Server {
    Simulated,
    Kube(Arc<Kube>),
}

impl Server {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Simulated => "the simulated API server".to_owned(),
            Self::Kube(kube) => format!("kube-apiserver {}", kube.version),
        }
    }
}

pub(crate) enum Ground {
    Simulated { server: Arc<ApiServer>, link: Link },
    Kube(KubeGround),
}

pub(crate) struct KubeGround {
    kube: Arc<Kube>,
    pub(crate) shared: Arc<Shared>,
    suffix: String,
    clock: Arc<SimClock>,
}

impl Ground {
    /// A place with the kinds whose names do not start with `without`, and the agent's rights.
    pub(crate) async fn new(server: &Server, without: &str, paused: bool) -> Self {
        match server {
            Server::Simulated => {
                let clock = SimClock::at("2026-01-02T03:04:05Z".parse().unwrap());
                let server = ApiServer::new("east", clock);
                let ground = Self::Simulated {
                    server,
                    link: Link::perfect(),
                };
                let client = ground.admin();
                install(&client, without).await;
                for rights in RIGHTS {
                    apply_all(&client, rights).await;
                }
                ground
            }
            Server::Kube(kube) => {
                let id = kube.worlds.fetch_add(1, Ordering::Relaxed);
                let ground = KubeGround::new(kube, id, paused);
                let client = ground.admin();
                if lifeboat_api::spoke_crds()
                    .iter()
                    .any(|crd| crd.spec.names.plural.starts_with(without))
                {
                    uninstall(&client, without).await;
                }
                ground.allow(&client).await;
                Self::Kube(ground)
            }
        }
    }

    pub(crate) fn ns(&self) -> String {
        match self {
            Self::Simulated { .. } => "shop".to_owned(),
            Self::Kube(ground) => ground.shared.ns.clone(),
        }
    }

    /// The agent's own namespace.
    pub(crate) fn system(&self) -> String {
        match self {
            Self::Simulated { .. } => SYSTEM.to_owned(),
            Self::Kube(ground) => ground.shared.ns.clone(),
        }
    }

    /// The name that an object without a namespace has here: on a real server others have one of that name too.
    pub(crate) fn named(&self, name: &str) -> String {
        match self {
            Self::Simulated { .. } => name.to_owned(),
            Self::Kube(ground) => format!("{name}{}", ground.suffix),
        }
    }

    pub(crate) fn clock(&self) -> Arc<SimClock> {
        match self {
            Self::Simulated { server, .. } => server.clock().clone(),
            Self::Kube(ground) => ground.clock.clone(),
        }
    }

    pub(crate) fn admin(&self) -> Client {
        match self {
            Self::Simulated { server, .. } => server.admin(),
            Self::Kube(ground) => ground.admin(),
        }
    }

    pub(crate) fn agent(&self) -> Client {
        match self {
            Self::Simulated { server, link } => {
                server.client(Who::service_account(SYSTEM, "lifeboat-agent"), link)
            }
            Self::Kube(ground) => ground.agent(),
        }
    }

    pub(crate) fn gate(&self) -> Option<&Arc<Gate>> {
        match self {
            Self::Simulated { .. } => None,
            Self::Kube(ground) => Some(&ground.shared.gate),
        }
    }

    /// The agent's requests hang.
    pub(crate) fn cut(&self) {
        match self {
            Self::Simulated { link, .. } => link.cut(),
            Self::Kube(ground) => drop(ground.shared.open.send_replace(false)),
        }
    }

    pub(crate) fn heal(&self) {
        match self {
            Self::Simulated { link, .. } => link.heal(),
            Self::Kube(ground) => drop(ground.shared.open.send_replace(true)),
        }
    }

    /// The agent's next requests are answered with this code.
    pub(crate) fn fail_next(&self, n: u32, code: u16) {
        match self {
            Self::Simulated { link, .. } => link.fail_next(n, code),
            Self::Kube(ground) => {
                (0..n).for_each(|_| ground.shared.failures.lock().push_back(code));
            }
        }
    }

    pub(crate) fn reset_writes(&self) {
        match self {
            Self::Simulated { server, .. } => server.reset_request_counts(),
            Self::Kube(ground) => ground.shared.writes.lock().clear(),
        }
    }

    /// What the agent wrote, but for its Lease and events.
    pub(crate) fn writes(&self) -> Vec<String> {
        match self {
            Self::Simulated { server, .. } => {
                let all = server.request_counts().into_iter();
                let writes = all.filter(|((_, verb, what), _)| {
                    !["get", "list", "watch"].contains(&verb.as_str())
                        && !what.contains("lease")
                        && !what.contains("event")
                });
                writes
                    .flat_map(|((_, verb, what), n)| (0..n).map(move |_| format!("{verb} {what}")))
                    .collect()
            }
            Self::Kube(ground) => ground.shared.writes.lock().clone(),
        }
    }

    /// The label that objects without a namespace need here.
    pub(crate) fn label(&self, object: &mut Value) {
        if let Self::Kube(ground) = self
            && object["metadata"].get("namespace").is_none()
        {
            object["metadata"]["labels"][ROW] = json!(ground.shared.ns);
        }
    }
}

impl KubeGround {
    fn new(kube: &Arc<Kube>, id: usize, paused: bool) -> Self {
        let shared = Shared {
            gate: Gate::new(paused),
            open: watch::Sender::new(true),
            failures: Mutex::default(),
            writes: Mutex::default(),
            parked: Mutex::default(),
            ns: format!("shop-{id}"),
        };
        Self {
            kube: kube.clone(),
            shared: Arc::new(shared),
            suffix: format!("-{id}"),
            clock: SimClock::system(),
        }
    }

    fn admin(&self) -> Client {
        wire::client(
            self.kube.admin.clone(),
            self.shared.clone(),
            wire::Who::Admin,
        )
    }

    fn agent(&self) -> Client {
        wire::client(
            self.kube.agent.clone(),
            self.shared.clone(),
            wire::Who::Agent,
        )
    }

    /// Its namespace is also that of the agent's Lease, so that each row's agent has one of its own.
    async fn allow(&self, client: &Client) {
        let ns = &self.shared.ns;
        apply(
            client,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}),
        )
        .await;
        let all: Vec<Value> = serde_saphyr::from_multiple(RIGHTS[2]).unwrap();
        for mut object in all {
            if object["metadata"]["namespace"] == json!(SYSTEM) {
                object["metadata"]["namespace"] = json!(ns);
                apply(client, object).await;
            }
        }
    }
}

/// Applies an object by force.
pub(crate) async fn apply(client: &Client, object: Value) {
    let text = |at: &str| {
        object
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = text("/apiVersion");
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let (namespace, name) = (
        text("/metadata/namespace"),
        text("/metadata/name").to_owned(),
    );
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &kind),
        namespace => Api::namespaced_with(client.clone(), namespace, &kind),
    };
    let params = PatchParams::apply("rows").force();
    let answer = api.patch(&name, &params, &Patch::Apply(&object)).await;
    answer.unwrap_or_else(|error| panic!("{error}: {object}"));
}

async fn apply_all(client: &Client, yaml: &str) {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    for object in all.into_iter().filter(|object| !object.is_null()) {
        apply(client, object).await;
    }
}

/// Asks again and again, for what a server's own controllers do. Those of a real one keep no virtual time: so many looks take
/// them many seconds.
async fn until(what: &str, is: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not reached: {what}");
}

/// Installs the kinds, but for those whose names start like this, and waits until they are served.
pub(crate) async fn install(client: &Client, without: &str) {
    let all = lifeboat_api::spoke_crds();
    let wanted: Vec<_> = all
        .iter()
        .filter(|crd| !crd.spec.names.plural.starts_with(without))
        .collect();
    for crd in &wanted {
        apply(client, whole(crd)).await;
    }
    for crd in wanted {
        let api = instances(client, crd);
        let one = ListParams::default().limit(1);
        until("the kind is served", async || api.list(&one).await.is_ok()).await;
    }
}

/// Replaces the kind `VolumeReplication` by its version of 2022.
pub(crate) async fn install_older(client: &Client) {
    let crds = lifeboat_api::spoke_crds();
    let new = crds
        .iter()
        .find(|crd| crd.spec.names.plural == "volumereplications");
    let mut old = whole(new.unwrap());
    let root = &mut old["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    root.as_object_mut().unwrap().remove("required");
    let (spec, none) = (&mut root["properties"]["spec"], Value::Null);
    for rules in ["x-kubernetes-validations", "x-kubernetes-map-type"] {
        spec.as_object_mut().unwrap().remove(rules);
        let fields = spec["properties"].as_object_mut().unwrap();
        fields
            .values_mut()
            .for_each(|field| drop(field.as_object_mut().unwrap().remove(rules)));
    }
    let auto = spec["properties"]["autoResync"].as_object_mut().unwrap();
    assert_ne!(auto.remove("default").unwrap_or(none), Value::Null);
    spec["required"]
        .as_array_mut()
        .unwrap()
        .push(json!("autoResync"));
    let status = root["properties"]["status"]["properties"]
        .as_object_mut()
        .unwrap();
    for newer in [
        "lastSyncTime",
        "lastSyncDuration",
        "lastSyncBytes",
        "destinationVolumeID",
    ] {
        assert!(status.remove(newer).is_some(), "{newer}");
    }
    apply(client, old).await;
    // The server takes it up when it sees it itself: until then fields of the newer kind are kept.
    let probe = json!({
        "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
        "metadata": {"name": "probe", "namespace": "default"}, "spec": {
            "volumeReplicationClass": "x", "replicationState": "primary", "dataSource": {"kind": "x", "name": "x"},
        },
    });
    let kind = GroupVersionKind::gvk(
        "replication.storage.openshift.io",
        "v1alpha1",
        "VolumeReplication",
    );
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind));
    let params = PatchParams::apply("rows").force();
    until("the older kind is served", async || {
        let taken = api.patch("probe", &params, &Patch::Apply(&probe)).await;
        drop(api.delete("probe", &DeleteParams::default()).await);
        taken.is_err()
    })
    .await;
}

/// Replaces the kind `DROwnership` by one whose status has no `divergence`.
pub(crate) async fn install_older_ownerships(client: &Client) {
    let crds = lifeboat_api::spoke_crds();
    let new = crds
        .iter()
        .find(|crd| crd.spec.names.plural == "drownerships");
    let mut old = whole(new.unwrap());
    let root = &mut old["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let status = root["properties"]["status"]["properties"].as_object_mut();
    assert!(status.unwrap().remove("divergence").is_some());
    apply(client, old).await;
    let record = json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership", "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"placementUID": "1", "placement": "a/b", "cluster": "c", "clusterUID": "2", "owner": "c", "epoch": 1},
    });
    let told = json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership", "status": {"divergence": []},
    });
    let kind = GroupVersionKind::gvk("lifeboat.dev", "v1alpha1", "DROwnership");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind));
    let params = PatchParams::apply("rows").force();
    until("the older kind is served", async || {
        let made = api.patch("probe", &params, &Patch::Apply(&record)).await;
        assert!(made.is_ok(), "{made:?}");
        let taken = api
            .patch_status("probe", &params, &Patch::Apply(&told))
            .await;
        drop(api.delete("probe", &DeleteParams::default()).await);
        taken.is_err()
    })
    .await;
}

pub(crate) fn whole(crd: &CustomResourceDefinition) -> Value {
    let mut object = serde_json::to_value(crd).unwrap();
    object["apiVersion"] = json!("apiextensions.k8s.io/v1");
    object["kind"] = json!("CustomResourceDefinition");
    object
}

fn instances(client: &Client, crd: &CustomResourceDefinition) -> Api<DynamicObject> {
    let (names, version) = (&crd.spec.names, &crd.spec.versions[0].name);
    let kind = GroupVersionKind::gvk(&crd.spec.group, version, &names.kind);
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, &names.plural),
    )
}

/// Removes kinds with all their objects, whatever those wait for.
async fn uninstall(client: &Client, prefix: &str) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in lifeboat_api::spoke_crds() {
        if !crd.spec.names.plural.starts_with(prefix) {
            continue;
        }
        let all = instances(client, &crd);
        for object in all.list(&ListParams::default()).await.unwrap() {
            let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let name = object.name_any();
            let version = &crd.spec.versions[0].name;
            let kind = GroupVersionKind::gvk(&crd.spec.group, version, &crd.spec.names.kind);
            let kind = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
            let api: Api<DynamicObject> = match object.namespace() {
                Some(ns) => Api::namespaced_with(client.clone(), &ns, &kind),
                None => Api::all_with(client.clone(), &kind),
            };
            drop(api.patch(&name, &PatchParams::default(), &free).await);
        }
        let name = crd.name_any();
        drop(crds.delete(&name, &DeleteParams::default()).await);
        until("the kind is gone", async || {
            crds.get_opt(&name).await.unwrap().is_none()
                && all.list(&ListParams::default()).await.is_err()
        })
        .await;
    }
}
