//! The agents without a hub, as any other CSI-Addons controller is used: a person moves volumes from cluster to cluster
//! by plain patches of VolumeReplications. What they tell at each step is what other tools wait for.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use lifeboat_api::VolumeReplication;
use lifeboat_lab::{Lab, LabSpec, lab::Start};
use lifeboat_sim::storage::RoleChange;
use lifeboat_sim::told::{COPY, DRAINED, PRIMARY, told};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::paused;

/// Longer than any step takes: a demotion is looked at again after 15 s, a resync after 30 s.
const WITHIN: Duration = Duration::from_secs(300);

/// An application of so many volumes on east, and no hub.
struct ByHand(Lab);

impl ByHand {
    async fn start(volumes: usize) -> Self {
        let spec = LabSpec {
            start: Start::Unplaced,
            clusters: ["east", "west"].map(str::to_owned).to_vec(),
            ..LabSpec::paused(volumes)
        };
        let hands = Self(Lab::start(spec).await.unwrap());
        hands.0.kill_hub();
        hands.bound("east").await;
        hands
    }

    fn api<K>(&self, site: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let client = self.0.world().admin(site).unwrap();
        Api::namespaced(client, &self.0.app().namespace)
    }

    fn install(&self, site: &str, object: &Value) {
        self.0.world().install(site, &object.to_string()).unwrap();
    }

    /// Waits until of the objects of a kind as many as there are volumes are as wanted.
    async fn until_all<K>(&self, site: &str, what: &str, is: impl Fn(&K) -> bool)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api = self.api::<K>(site);
        let count = || async {
            let all = api.list(&ListParams::default()).await.unwrap();
            Ok(all.iter().filter(|o| is(o)).count() == self.0.app().volumes)
        };
        let what = format!("{what} on {site}");
        if let Err(error) = self.0.poll(&what, WITHIN, count).await {
            panic!("{}", error.full());
        }
    }

    async fn bound(&self, site: &str) {
        let phase = |c: &PersistentVolumeClaim| c.status.as_ref()?.phase.clone();
        let is = |c: &PersistentVolumeClaim| phase(c).as_deref() == Some("Bound");
        self.until_all(site, "every claim is bound", is).await;
    }

    /// Makes a VolumeReplication for each claim.
    fn replicate(&self, site: &str, state: &str) {
        for claim in self.0.app().claims() {
            self.install(
                site,
                &json!({
                    "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
                    "metadata": {"name": claim, "namespace": self.0.app().namespace},
                    "spec": {"volumeReplicationClass": "fast-mirror", "replicationState": state, "autoResync": false,
                        "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": claim}},
                }),
            );
        }
    }

    /// Asks for another role of every volume.
    async fn ask(&self, site: &str, state: &str) {
        let api = self.api::<VolumeReplication>(site);
        let wish = Patch::Merge(json!({"spec": {"replicationState": state}}));
        for claim in self.0.app().claims() {
            let done = api.patch(&claim, &PatchParams::default(), &wish).await;
            done.unwrap();
        }
    }

    async fn until(&self, site: &str, want: &str) {
        let api = self.api::<VolumeReplication>(site);
        let all = || async {
            let all = api.list(&ListParams::default()).await.unwrap();
            let told = |vr: &VolumeReplication| told(&serde_json::to_value(vr).unwrap());
            all.iter().map(told).collect::<Vec<_>>()
        };
        let same = || async {
            let all = all().await;
            Ok(all.len() == self.0.app().volumes && all.iter().all(|t| t == want))
        };
        let seen = self.0.poll(want, WITHIN, same).await;
        assert!(
            seen.is_ok(),
            "{site}: wanted {want}, got {:#?}",
            all().await
        );
    }

    /// The application with its volumes as they are on east, stopped.
    async fn bring(&self, site: &str) {
        let volumes = Api::<PersistentVolume>::all(self.0.world().admin("east").unwrap());
        for mut pv in volumes.list(&ListParams::default()).await.unwrap() {
            let name = pv.name_any();
            pv.metadata = serde_json::from_value(json!({"name": name})).unwrap();
            pv.status = None;
            let spec = pv.spec.as_mut().unwrap();
            let claim = spec.claim_ref.as_mut().unwrap();
            (claim.uid, claim.resource_version) = (None, None);
            let driver = self.0.world().site(site).unwrap().driver.name().to_owned();
            spec.csi.as_mut().unwrap().driver = driver;
            self.install(site, &serde_json::to_value(&pv).unwrap());
        }
        let stopped = self.0.app().yaml().replace("replicas: 1", "replicas: 0");
        self.0.world().install(site, &stopped).unwrap();
        self.bound(site).await;
    }

    async fn scale(&self, site: &str, replicas: usize) {
        let api = self.api::<Deployment>(site);
        let wish = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let name = &self.0.app().name;
        api.patch(name, &PatchParams::default(), &wish)
            .await
            .unwrap();
        let pods = self.api::<Pod>(site);
        let there = || async {
            let pods = pods.list(&ListParams::default()).await.unwrap();
            Ok(pods.items.len() == replicas)
        };
        let what = format!("{replicas} pods on {site}");
        self.0.poll(&what, WITHIN, there).await.unwrap();
    }

    /// Lets the application write some more.
    async fn written(&self) {
        let before = self.0.ledger().acked;
        let more = || async { Ok(self.0.ledger().acked >= before + 5 * self.0.app().volumes) };
        self.0.poll("more records", WITHIN, more).await.unwrap();
    }

    /// Waits until a copy holds something of every volume.
    async fn mirrored(&self, site: &str) {
        let array = &self.0.world().site(site).unwrap().array;
        let copied = || async {
            let images = array.images();
            let full = images.iter().filter(|i| !array.content(i).is_empty());
            Ok(full.count() == self.0.app().volumes)
        };
        self.0.poll("a first copy", WITHIN, copied).await.unwrap();
    }

    /// Has what is written on east mirrored to west.
    async fn protect(&self) {
        self.replicate("east", "primary");
        self.until("east", PRIMARY).await;
        self.written().await;
        self.mirrored("west").await;
    }

    /// Moves from west to east, where nothing runs and every volume is asked to be secondary.
    async fn take_back(&self) {
        self.scale("west", 0).await;
        self.ask("west", "secondary").await;
        // Only whoever steps down now can tell: a side that was drained once is not asked again.
        self.until("west", DRAINED).await;
        self.until("east", DRAINED).await;
        self.ask("east", "primary").await;
        self.until("east", PRIMARY).await;
        self.scale("east", 1).await;
        self.written().await;
    }

    /// How often something happened to volumes on a site.
    fn count(&self, site: &str, what: RoleChange) -> usize {
        let events = self.0.world().fabric().events();
        let is = |e: &&lifeboat_sim::storage::Event| e.site == site && e.what == what;
        events.iter().filter(is).count()
    }
}

#[test]
fn a_planned_move_there_and_back_loses_nothing() {
    for volumes in [1, 20] {
        paused(there_and_back(volumes));
    }
}

async fn there_and_back(volumes: usize) {
    let hands = ByHand::start(volumes).await;
    hands.protect().await;
    hands.scale("east", 0).await;
    hands.ask("east", "secondary").await;
    hands.until("east", DRAINED).await;
    hands.bring("west").await;
    hands.replicate("west", "primary");
    hands.until("west", PRIMARY).await;
    hands.scale("west", 1).await;
    hands.written().await;

    hands.take_back().await;
    hands.until("west", DRAINED).await;

    let records = hands.0.ledger();
    assert_eq!((records.lost, records.forked, records.doubled), (0, 0, 0));
    for site in ["east", "west"] {
        let forced = [
            RoleChange::ForcePromoted,
            RoleChange::SplitBrain,
            RoleChange::Resynced,
        ];
        assert_eq!(
            forced.map(|what| hands.count(site, what)),
            [0, 0, 0],
            "{site}"
        );
    }
}

#[test]
fn a_lost_cluster_is_left_by_force_and_taken_back_after_a_resync() {
    for volumes in [1, 20] {
        paused(lost_and_regained(volumes));
    }
}

async fn lost_and_regained(volumes: usize) {
    let hands = ByHand::start(volumes).await;
    hands.protect().await;
    hands.bring("west").await;

    hands.0.kill_site("east").unwrap();
    hands.replicate("west", "primary");
    hands.until("west", PRIMARY).await;
    // The driver refused the plain promotion, for nobody could ask east.
    assert_eq!(hands.count("west", RoleChange::ForcePromoted), volumes);
    hands.scale("west", 1).await;
    hands.written().await;
    let lost = hands.0.ledger().lost;
    assert!(lost > 0, "what east had not sent is lost, and only that");

    hands.0.revive_site("east").unwrap();
    hands.scale("east", 0).await;
    hands.ask("east", "secondary").await;
    hands.until("east", COPY).await;
    assert_eq!(
        hands.count("east", RoleChange::Resynced),
        0,
        "not without being asked"
    );
    hands.ask("east", "resync").await;
    hands.until("east", COPY).await;
    let again = || async { Ok(hands.count("east", RoleChange::Resynced) == volumes) };
    hands.0.poll("a copy anew", WITHIN, again).await.unwrap();

    hands.ask("east", "secondary").await;
    hands.take_back().await;
    assert_eq!(
        hands.count("east", RoleChange::Resynced),
        volumes,
        "once each"
    );
    assert_eq!(hands.count("east", RoleChange::ForcePromoted), 0);
    assert_eq!(hands.0.ledger().lost, lost);
}
