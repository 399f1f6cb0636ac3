//! Rows 64, 67-69, 72 and 81: kinds that come late, what their rules refuse, and drivers that offer more or less.

use kube::api::{Patch, PatchParams};
use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::{Value, json};
use tonic::Code;

use crate::on::On;
use crate::rows::promote::info;
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
    let class = world.named("gold");
    world
        .apply(&json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": "db", "namespace": world.ns}, "spec": {
                "volumeReplicationClass": class, "replicationState": "primary",
                "dataSource": {"kind": "PersistentVolumeClaim", "name": "db"},
            },
        }))
        .await;
    world.until_status("db", PROMOTED).await;
    assert!(!world.volume("db").await.spec.auto_resync, "row 68");
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
        let said = classes
            .patch(&world.named("gold"), &PatchParams::default(), &patch)
            .await;
        let said = said.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

/// What `kubectl get` prints: the server's own table, without the column of names.
async fn printed(world: &World, path: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let request = http::Request::get(path).header(
        http::header::ACCEPT,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    );
    let request = request.body(Vec::new()).unwrap();
    let table: Value = world.admin.request(request).await.unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let columns = list(&table["columnDefinitions"]);
    let columns = columns
        .iter()
        .skip(1)
        .map(|c| c["name"].as_str().unwrap().to_owned());
    let rows = list(&table["rows"]).into_iter().map(|row| {
        let cells = list(&row["cells"]).into_iter().skip(1);
        cells
            .map(|cell| cell.as_str().unwrap_or_default().to_owned())
            .collect()
    });
    (columns.collect(), rows.collect())
}

pub(crate) async fn row_70_what_kubectl_get_shows(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let base = "/apis/replication.storage.openshift.io/v1alpha1";
    let here = format!("{base}/namespaces/{}/volumereplications", world.ns);
    let (columns, rows) = printed(&world, &here).await;
    let wanted = [
        "Age",
        "volumeReplicationClass",
        "SourceKind",
        "SourceName",
        "desiredState",
        "currentState",
    ];
    assert_eq!(columns, wanted);
    let class = world.named("gold");
    let cells = [
        class.as_str(),
        "PersistentVolumeClaim",
        "db",
        "primary",
        "Primary",
    ];
    assert_eq!(rows[0][1..], cells);
    let class = format!("{base}/volumereplicationclasses/{}", world.named("gold"));
    let (columns, rows) = printed(&world, &class).await;
    assert_eq!(columns, ["provisioner", "Age"]);
    assert_eq!(rows[0][0], DRIVER);
    let request = http::Request::get(base).body(Vec::new()).unwrap();
    let list: Value = world.admin.request(request).await.unwrap();
    let short = |plural: &str| {
        let kinds = list["resources"].as_array().unwrap();
        let kind = kinds.iter().find(|kind| kind["name"] == plural).unwrap();
        kind["shortNames"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    for (plural, name) in [
        ("volumereplications", "vr"),
        ("volumereplicationclasses", "vrc"),
        ("volumegroupreplications", "vgr"),
        ("volumegroupreplicationclasses", "vgrc"),
        ("volumegroupreplicationcontents", "vgrcontent"),
    ] {
        assert_eq!(short(plural), name);
    }
}

/// Upstream's kind of 2022: nothing about the last sync or the peer, and no default for autoResync.
pub(crate) async fn kinds_of_an_older_version_are_served_without_what_they_lack(on: &On) {
    let mut world = World::cold(on).await;
    world.older_volume_kind().await;
    world.driver.destination(Ok("h-db-there"));
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.start();
    world.claim("db").await;
    world.ask("db", "primary").await;
    let whole = format!(
        "{PROMOTED} Degraded=False/Healthy Resyncing=False/NotResyncing Replicating=True/Replicating"
    );
    world.until_status("db", &whole).await;
    world.pass(60).await;
    let status = world.volume("db").await.status.unwrap();
    assert_eq!(
        (status.last_sync_time, status.destination_volume_id),
        (None, None)
    );
    let trace = world.driver.full_trace("h-db");
    assert_eq!(trace, "E P I X", "asked once, whatever could not be stored");
    world.ask("db", "secondary").await;
    world.until_status("db", "Secondary | volume is marked secondary | Completed=True/Demoted Degraded=False/Healthy").await;
    world.delete_volume("db").await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db").split(' ').next_back(), Some("D"));
}

pub(crate) async fn row_72_what_a_volume_is_called_at_the_peer_holds_nothing_back(on: &On) {
    let mut world = World::cold(on).await;
    world.driver.destination(Err(Code::Unavailable));
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.start();
    world
        .class("often", DRIVER, &json!({"schedulingInterval": "10s"}))
        .await;
    world.claim("db").await;
    world
        .ask_with(
            "db",
            "primary",
            &json!({"volumeReplicationClass": "often"}),
            &json!({}),
        )
        .await;
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
