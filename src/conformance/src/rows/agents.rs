//! Several agents on one cluster, and agents beside CSI-Addons sidecars: one of them serves a driver at a time.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::names;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::on::On;
use crate::world::{DRIVER, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const OTHER: &str = "cephfs.csi.example.com";

pub(crate) async fn agents_with_a_driver_each_work_side_by_side_and_another_takes_over_one_alone(
    on: &On,
) {
    let mut world = World::new(on).await;
    let other = world.other_driver(OTHER, "silver").await;
    let beside = world.agent_of("agent-1", &[&other]);
    world
        .until("both serve", async |w| w.holder_of(OTHER).await.is_some())
        .await;
    let spare = world.agent_of("agent-2", &[&world.driver, &other]);
    world.claim("db").await;
    world.claim_of("files", OTHER).await;
    let ask = async |state: &str| {
        world.ask("db", state).await;
        let spec = json!({"volumeReplicationClass": "silver"});
        world.ask_with("files", state, &spec, &json!({})).await;
    };
    ask("primary").await;
    world.until_status("db", PROMOTED).await;
    world.until_status("files", PROMOTED).await;
    world.pass(60).await;
    assert_eq!(world.driver.story(), ["E h-db", "P h-db"]);
    assert_eq!(other.story(), ["E h-files", "P h-files"]);

    world.kill();
    let start = Instant::now();
    world.ask("db", "secondary").await;
    let spec = json!({"volumeReplicationClass": "silver"});
    world
        .ask_with("files", "secondary", &spec, &json!({}))
        .await;
    world.until_status("files", "Secondary |").await;
    assert!(start.elapsed() < Duration::from_secs(2), "its agent lives");
    assert_eq!(world.driver.trace("h-db"), "E P", "its agent does not");
    world.until_status("db", "Secondary |").await;
    let taken = start.elapsed().as_secs();
    assert!((10..=20).contains(&taken), "{taken} s");
    assert_eq!(world.lease_holder().await.as_deref(), Some("agent-2"));
    assert_eq!(world.holder_of(OTHER).await.as_deref(), Some("agent-1"));
    for driver in [&world.driver, &other] {
        assert!(driver.overlaps().is_empty());
    }
    drop((beside, spare));
}

/// The rights of a sidecar's account on the Leases in its own namespace.
const ACCOUNT: &str = include_str!("../../../../spoke-deploy/sidecar/account.yaml");

impl World {
    async fn allow_driver_leases(&self) {
        let all: Vec<Value> = serde_saphyr::from_multiple(ACCOUNT).unwrap();
        let there = |object: &Value| object["metadata"]["namespace"] == "ceph-csi-rbd";
        let mut found = 0;
        for mut object in all.into_iter().filter(there) {
            object["metadata"]["namespace"] = json!(self.ns);
            if let Some(subjects) = object.get_mut("subjects") {
                subjects[0]["namespace"] = json!(names::SYSTEM_NAMESPACE);
                subjects[0]["name"] = json!("lifeboat-agent");
            }
            let rules = object.get_mut("rules").and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten() {
                if rule["resourceNames"] == json!([names::csi_addons_lease("rbd.csi.ceph.com")]) {
                    rule["resourceNames"] = json!([names::csi_addons_lease(DRIVER)]);
                    found += 1;
                }
            }
            self.apply(&object).await;
        }
        assert_eq!(found, 1);
    }

    /// A sidecar takes the Lease of the driver's sidecars, or gives it up.
    async fn sidecar_lease(&self, holder: &str) {
        let seconds = if holder.is_empty() { 1 } else { 3_600 };
        let name = names::csi_addons_lease(DRIVER);
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds});
        self.apply(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": self.ns}, "spec": spec,
        }))
        .await;
    }

    async fn sidecar_holder(&self) -> Option<String> {
        use k8s_openapi::api::coordination::v1::Lease;
        let api: Api<Lease> = Api::namespaced(self.admin.clone(), &self.ns);
        let lease = api.get_opt(&names::csi_addons_lease(DRIVER)).await.unwrap();
        lease?.spec?.holder_identity
    }

    fn start_beside_sidecars(&mut self) {
        let ns = self.ns.clone();
        self.start_with(|config| config.driver_namespace = Some(ns));
    }
}

pub(crate) async fn an_agent_stands_aside_while_a_csi_addons_sidecar_serves_the_driver(on: &On) {
    let mut world = World::cold(on).await;
    world.allow_driver_leases().await;
    world.sidecar_lease("csi-rbdplugin-provisioner-0").await;
    world.start_beside_sidecars();
    world.claim("db").await;
    world.ask("db", "primary").await;
    world
        .until("said", async |w| {
            w.driver_annotation()
                .await
                .contains("CSI-Addons sidecar csi-rbdplugin-provisioner-0 holds Lease")
        })
        .await;
    world.pass(60).await;
    assert!(world.driver.seen().is_empty());
    assert_eq!(world.volume("db").await.status, None);
    assert_eq!(world.volume("db").await.metadata.finalizers, None);
    world.until_told_in_system("StandsAside").await;

    world.sidecar_lease("").await;
    let start = Instant::now();
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(world.driver_annotation().await.contains("\"Ready\""));
    assert_eq!(
        world.sidecar_holder().await.as_deref(),
        Some("agent-0-lifeboat")
    );
    world.stop().await;
    assert_eq!(world.sidecar_holder().await, None);
}

pub(crate) async fn an_agent_without_replication_only_tells_how_the_drivers_do(on: &On) {
    let mut world = World::cold(on).await;
    world.start_with(|config| config.replication = lifeboat_agent::Replication::Off);
    world.claim("db").await;
    world.ask("db", "primary").await;
    world
        .until("told", async |w| {
            let told = w.driver_annotation().await;
            told.contains("\"Ready\"") && told.contains("\"leftTo\":\"Upstream\"")
        })
        .await;
    world.pass(60).await;
    assert!(world.driver.seen().is_empty());
    assert_eq!(world.volume("db").await.status, None);
    assert_eq!(world.volume("db").await.metadata.finalizers, None);
    world.driver.go_away();
    world
        .until("told", async |w| {
            w.driver_annotation().await.contains("NotReady")
        })
        .await;
}

pub(crate) async fn an_agent_that_loses_the_lease_of_the_sidecars_leaves_the_driver_alone(on: &On) {
    let mut world = World::cold(on).await;
    world.allow_driver_leases().await;
    world.start_beside_sidecars();
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let api: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(world.admin.clone(), &world.ns);
    let taken = json!({"spec": {"holderIdentity": "sidecar", "leaseDurationSeconds": 3600}});
    let name = names::csi_addons_lease(DRIVER);
    let params = PatchParams::default();
    api.patch(&name, &params, &Patch::Merge(&taken))
        .await
        .unwrap();
    world
        .until("told", async |w| {
            w.driver_annotation().await.contains("sidecar holds Lease")
        })
        .await;
    world.ask("db", "secondary").await;
    world.pass(60).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
}
