//! Rows 64, 67-69, 72 and 81: kinds that come late, what their rules refuse, and drivers that offer more or less.

use kube::api::{Patch, PatchParams};
use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::{Value, json};
use tonic::Code;

use crate::rows::promote::info;
use crate::on::On;
use crate::world::{DRIVER, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";

pub(crate) async fn row_64_kinds_may_be_installed_after_the_agent(on: &On) {
    for missing in ["volumegroup", "networkfence", "volumereplication"] {
        let mut world = World::without(on, missing).await;
        world.start();
        world.pass(30).await;
        assert!(world.agent_runs());
        if missing != "volumereplication" {
            world.class("gold", DRIVER, &json!({})).await;
            world.claim("db").await;
            world.ask("db", "primary").await;
            world.until_status("db", PROMOTED).await;
        }
        world.install_all().await;
        world.class("gold", DRIVER, &json!({})).await;
        world.claim("late").await;
        world.ask("late", "primary").await;
        world.until_status("late", PROMOTED).await;
    }
}

async fn refusal(world: &World, patch: &Value) -> String {
    let patched = world
        .volumes()
        .patch("db", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

pub(crate) async fn row_64_fences_are_served_where_their_classes_are_not_installed(on: &On) {
    let mut world = World::without(on, "networkfenceclasses").await;
    world.start();
    world.fence(&crate::rows::fence::direct(&world)).await;
    world
        .until_fence("Succeeded | fencing operation successful")
        .await;
}

pub(crate) async fn rows_67_to_69_what_the_kinds_refuse(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    assert!(!world.volume("db").await.spec.auto_resync);
    let cases = [
        (
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}}),
            "dataSource is immutable",
        ),
        (
            json!({"volumeReplicationClass": "other"}),
            "volumeReplicationClass is immutable",
        ),
        (json!({"replicationState": "Primary"}), "replicationState"),
        (json!({"autoResync": true}), "accepted"),
    ];
    for (spec, expected) in cases {
        let said = refusal(&world, &json!({ "spec": spec })).await;
        assert!(said.contains(expected), "{said}");
    }
    let classes: kube::Api<lifeboat_api::VolumeReplicationClass> =
        kube::Api::all(world.admin.clone());
    for (spec, expected) in [
        (json!({"provisioner": "x"}), "provisioner is immutable"),
        (
            json!({"parameters": {"a": "b"}}),
            "parameters are immutable",
        ),
        (json!({"parameters": null}), "parameters are immutable"),
    ] {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let said = classes.patch(&world.named("gold"), &PatchParams::default(), &patch).await;
        let said = said.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

pub(crate) async fn row_72_what_a_volume_is_called_at_the_peer_holds_nothing_back(on: &On) {
    let mut world = World::cold(on).await;
    world.driver.destination(Err(Code::Unavailable));
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.start();
    world.class("often", DRIVER, &json!({"schedulingInterval": "10s"})).await;
    world.claim("db").await;
    world.ask_with(
        "db",
        "primary",
        &json!({"volumeReplicationClass": "often"}),
        &json!({}),
    ).await;
    world
        .until_status(
            "db",
            "DestinationInfoAvailable=False/FailedToGetDestinationInfo",
        )
        .await;
    assert!(world.summary("db").await.starts_with(PROMOTED));
    assert!(world.driver.full_trace("h-db").starts_with("E P I X"));
    world.driver.destination(Ok("h-db-there"));
    world
        .until_status("db", "DestinationInfoAvailable=True/DestinationInfoUpdated")
        .await;
    let status = world.volume("db").await.status.unwrap();
    assert_eq!(status.destination_volume_id.as_deref(), Some("h-db-there"));
}

pub(crate) async fn row_81_a_driver_that_does_not_replicate_is_said_and_not_called(on: &On) {
    let mut world = World::cold(on).await;
    world.driver.lacks("VOLUME_REPLICATION");
    world.start();
    world.claim("db").await;
    world.ask("db", "primary").await;
    world
        .until_status("db", "does not offer volume replication")
        .await;
    assert!(world.driver.seen().is_empty());
}
