//! Rows 4-17: what is not in order is said and not called for.

use kube::api::DeleteParams;
use lifeboat_api::VolumeReplicationClass;
use serde_json::json;

use crate::on::On;
use crate::world::{DRIVER, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const NAME_KEY: &str = "replication.storage.openshift.io/replication-secret-name";
const NAMESPACE_KEY: &str = "replication.storage.openshift.io/replication-secret-namespace";

pub(crate) async fn rows_4_to_6_what_a_class_may_say_about_its_secret(on: &On) {
    let cases = [
        (json!({NAME_KEY: null, NAMESPACE_KEY: null}), PROMOTED),
        (json!({NAMESPACE_KEY: null}), PROMOTED),
        (
            json!({NAME_KEY: ""}),
            "Unknown | secret name cannot be empty | Completed=False/FailedToPromote",
        ),
        (
            json!({NAMESPACE_KEY: ""}),
            "Unknown | secret namespace cannot be empty | Completed=False/FailedToPromote",
        ),
        (
            json!({"replication.storage.openshift.io/typo": "x"}),
            "replication.storage.openshift.io/typo",
        ),
    ];
    for (parameters, expected) in cases {
        let world = World::new(on).await;
        world.claim("db").await;
        world.class("odd", DRIVER, &parameters).await;
        world
            .ask_with(
                "db",
                "primary",
                &json!({"volumeReplicationClass": "odd"}),
                &json!({}),
            )
            .await;
        world.until_status("db", expected).await;
        if expected == PROMOTED {
            assert!(world.driver.seen().iter().all(|s| s.secrets.is_empty()));
        } else {
            assert_eq!(world.driver.trace("h-db"), "");
        }
    }
}

pub(crate) async fn row_7_a_secret_may_come_late(on: &On) {
    use k8s_openapi::api::core::v1::Secret;
    let world = World::new(on).await;
    world.claim("db").await;
    let secrets: kube::Api<Secret> = kube::Api::namespaced(world.admin.clone(), &world.ns);
    secrets
        .delete("creds", &DeleteParams::default())
        .await
        .unwrap();
    world.ask("db", "primary").await;
    world
        .until_status("db", &format!("Secret {}/creds does not exist", world.ns))
        .await;
    assert_eq!(
        (
            world.driver.trace("h-db").as_str(),
            world.volume("db").await.metadata.finalizers
        ),
        ("", None)
    );
    world.secret().await;
    let start = tokio::time::Instant::now();
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed().as_secs() < 5);
}

pub(crate) async fn row_8_a_class_may_come_late_whatever_the_role(on: &On) {
    let cases = [
        ("primary", "FailedToPromote", "Primary |"),
        ("secondary", "FailedToDemote", "Secondary |"),
        ("resync", "FailedToResync", "Secondary |"),
    ];
    for (state, reason, reached) in cases {
        let world = World::new(on).await;
        world.claim("db").await;
        world
            .ask_with(
                "db",
                state,
                &json!({"volumeReplicationClass": "later"}),
                &json!({}),
            )
            .await;
        world
            .until_status(
                "db",
                &format!("Completed=False/{reason} Degraded=True/Error"),
            )
            .await;
        assert!(world.summary("db").await.starts_with("Unknown |"));
        assert_eq!(world.volume("db").await.metadata.finalizers, None);
        world.class("later", DRIVER, &json!({})).await;
        world.until_status("db", reached).await;
    }
}

pub(crate) async fn row_9_another_drivers_objects_are_left_alone(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .class("foreign", "other.csi.example.com", &json!({}))
        .await;
    world
        .ask_with(
            "db",
            "primary",
            &json!({"volumeReplicationClass": "foreign"}),
            &json!({}),
        )
        .await;
    world.pass(60).await;
    let volume = world.volume("db").await;
    assert_eq!((volume.metadata.finalizers, volume.status), (None, None));
}

pub(crate) async fn row_10_a_claim_may_come_and_be_bound_late(on: &On) {
    let world = World::new(on).await;
    world.ask("db", "primary").await;
    world.until_status("db", "\"db\" does not exist").await;
    world.pv("db", DRIVER).await;
    world.unbound("db").await;
    world.until_status("db", "is not bound").await;
    assert_eq!(world.volume("db").await.metadata.finalizers, None);
    world.pass(600).await;
    world.bind("db").await;
    let start = tokio::time::Instant::now();
    world.until_status("db", PROMOTED).await;
    assert!(
        start.elapsed().as_millis() < 500,
        "found by watch, not by poll"
    );
}

pub(crate) async fn row_11_a_claim_that_is_going_is_not_taken(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .patch_claim("db", &json!({"finalizers": ["example.com/wait"]}))
        .await;
    world
        .claims()
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    world.ask("db", "primary").await;
    world.until_status("db", "marked for deletion").await;
    assert_eq!(world.driver.trace("h-db"), "");
}

pub(crate) async fn row_12_odd_volumes_harm_nobody_else(on: &On) {
    let world = World::new(on).await;
    for name in ["missing", "plain", "foreign", "good"] {
        world.unbound(name).await;
        world.bind(name).await;
        world.ask(name, "primary").await;
    }
    world.pv("foreign", "other.csi.example.com").await;
    world.pv("good", DRIVER).await;
    world.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": world.named("pv-plain")},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": world.ns, "name": "plain"}, "hostPath": {"path": "/x"}},
    })).await;
    world
        .until_status(
            "missing",
            &format!("{:?} does not exist", world.named("pv-missing")),
        )
        .await;
    world.until_status("plain", "not a CSI volume").await;
    world
        .until_status("foreign", "of driver other.csi.example.com")
        .await;
    world.until_status("good", PROMOTED).await;
    assert!(world.agent_runs());
}

pub(crate) async fn row_13_an_unknown_source_is_refused_once(on: &On) {
    let world = World::new(on).await;
    let source = json!({"dataSource": {"apiGroup": "apps", "kind": "Deployment", "name": "db"}});
    world.ask_with("db", "primary", &source, &json!({})).await;
    world
        .until_status(
            "db",
            "Unknown | unsupported datasource kind | Completed=False/FailedToPromote",
        )
        .await;
    let version = world.volume("db").await.metadata.resource_version;
    world.pass(600).await;
    assert_eq!(world.volume("db").await.metadata.resource_version, version);
}

pub(crate) async fn rows_14_and_15_a_second_owner_is_refused_and_leaves_without_harm(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let source =
        json!({"dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "db"}});
    world
        .ask_with("rival", "secondary", &source, &json!({}))
        .await;
    world
        .until_status("rival", "already replicated by VolumeReplication \"db\"")
        .await;
    world.delete_volume("rival").await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("rival").await.unwrap().is_none()
        })
        .await;
    world.pass(60).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
    let claim = world.claims().get("db").await.unwrap();
    assert_eq!(
        claim.metadata.annotations.unwrap()["replication.storage.openshift.io/volume-replication-name"],
        "db"
    );
    assert!(world.summary("db").await.starts_with(PROMOTED));
    // The claim is free when its owner goes.
    world.ask_with("heir", "primary", &source, &json!({})).await;
    world.until_status("heir", "already replicated").await;
    world.delete_volume("db").await;
    world.until_status("heir", PROMOTED).await;
}

pub(crate) async fn rows_16_and_17_marks_of_a_group_and_of_an_older_version(on: &On) {
    let mark = |key: &str, value: &str| json!({"annotations": {format!("replication.storage.openshift.io/{key}"): value}});
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .patch_claim("db", &mark("volume-group-replication-name", "all"))
        .await;
    world.ask("db", "primary").await;
    world
        .until_status("db", "VolumeGroupReplication \"all\"")
        .await;
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .patch_claim(
            "db",
            &mark("volume-replication-name", &format!("{}/db", world.ns)),
        )
        .await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
}

pub(crate) async fn row_54_deletion_without_a_class_says_so_and_goes_on_when_it_returns(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let classes: kube::Api<VolumeReplicationClass> = kube::Api::all(world.admin.clone());
    classes
        .delete(&world.named("gold"), &DeleteParams::default())
        .await
        .unwrap();
    world.delete_volume("db").await;
    world
        .until("explained", async |w| {
            w.summary("db")
                .await
                .contains("not deleted yet: VolumeReplicationClass")
        })
        .await;
    world.class("gold", DRIVER, &json!({})).await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db"), "E P D");
}
