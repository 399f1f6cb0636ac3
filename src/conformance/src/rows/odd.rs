//! Row 66, and input that is odd, or changes under the agent's feet.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lifeboat_proto::replication::{
    GetVolumeReplicationInfoResponse, get_volume_replication_info_response::Status,
};
use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::promote::info;
use crate::world::{DRIVER, SECRET, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
/// What a careless driver says.
const CARELESS: &str = "key marked-7c1e-hunter2 was refused";

pub(crate) async fn row_66_a_driver_that_repeats_its_credentials_is_not_quoted(on: &On) {
    assert!(CARELESS.contains(SECRET));
    let no = || Answer::Fail(Code::Internal, CARELESS);
    let world = World::new(on).await;
    world.claim("db").await;
    world.driver.next("E", no());
    world.driver.next("P", no());
    world.driver.always(
        "I",
        Answer::Info(GetVolumeReplicationInfoResponse {
            status: Status::Degraded.into(),
            status_message: CARELESS.to_owned(),
            ..Default::default()
        }),
    );
    world.ask("db", "primary").await;
    world
        .until_status("db", "Unknown | key (hidden) was refused")
        .await;
    world.until_status("db", "Replicating=False").await;
    let status = world.volume("db").await.status.unwrap();
    let told = status.conditions.iter().find(|c| c.type_ == "Replicating");
    assert!(told.unwrap().message.contains("key (hidden) was refused"));
    for letter in ["M", "R", "D"] {
        world.driver.next(letter, no());
    }
    world.ask("db", "secondary").await;
    world.until_status("db", "key (hidden) was refused").await;
    world
        .until_status("db", "Secondary | volume is marked secondary |")
        .await;
    world.delete_volume("db").await;
    world
        .until("explained", async |w| {
            match w.volumes().get_opt("db").await.unwrap() {
                Some(volume) => {
                    let message = volume.status.unwrap().message.unwrap_or_default();
                    message.contains("key (hidden) was refused")
                }
                None => true,
            }
        })
        .await;
    // Groups and fences speak to the same driver.
    world.driver.next("Fence", no());
    world.fence(&crate::rows::fence::direct(&world)).await;
    world.until_fence("Failed | key (hidden) was refused").await;
}

pub(crate) async fn a_secret_that_changes_is_read_again_when_the_driver_refuses_the_old_one(
    on: &On,
) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let rotated = "marked-7c1e-rotated";
    world.secret_of(rotated).await;
    world
        .driver
        .next("M", Answer::Fail(Code::Unauthenticated, "an old key"));
    world.ask("db", "secondary").await;
    world
        .until("demoted", async |w| w.driver.times("M").len() == 2)
        .await;
    let seen = world.driver.seen();
    let keys: Vec<&str> = (seen.iter().filter(|s| s.letter == "M"))
        .map(|s| s.secrets["userKey"].as_str())
        .collect();
    assert_eq!(keys, [SECRET, rotated]);
    // Without a refusal it is taken up in time for the next call that is made by the clock.
    world
        .until_status("db", "Secondary | volume is marked secondary |")
        .await;
    world.secret_of(SECRET).await;
    world.pass(60).await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let seen = world.driver.seen();
    let last = seen.iter().rfind(|s| s.letter == "P").unwrap();
    assert_eq!(last.secrets["userKey"], SECRET);
}

pub(crate) async fn a_secret_that_goes_harms_no_volume_that_needs_no_call(on: &On) {
    use k8s_openapi::api::core::v1::Secret;
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), &world.ns);
    secrets
        .delete("creds", &DeleteParams::default())
        .await
        .unwrap();
    world.pass(60).await;
    world.delete_volume("db").await;
    world
        .until("explained", async |w| {
            let volume = w.volumes().get_opt("db").await.unwrap();
            let message = volume.and_then(|v| v.status?.message).unwrap_or_default();
            message.contains("creds does not exist")
        })
        .await;
    world.secret().await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db"), "E P D");
}

pub(crate) async fn two_volume_replications_that_come_at_once_have_one_winner(on: &On) {
    let mut world = World::cold(on).await;
    world.claim("db").await;
    let source =
        json!({"dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "db"}});
    world.ask_with("one", "primary", &source, &json!({})).await;
    world
        .ask_with("two", "secondary", &source, &json!({}))
        .await;
    world.start();
    world
        .until("one is refused", async |w| {
            let both = format!("{} {}", w.summary("one").await, w.summary("two").await);
            both.contains("already replicated by VolumeReplication")
        })
        .await;
    world.pass(60).await;
    let both = [world.summary("one").await, world.summary("two").await];
    let refused = both.iter().filter(|s| s.contains("already replicated"));
    assert_eq!(refused.count(), 1, "{both:?}");
    let trace = world.driver.trace("h-db");
    assert!(!(trace.contains('P') && trace.contains('M')), "{trace}");
}

pub(crate) async fn a_volume_that_is_deleted_under_its_claim_is_said_and_may_come_back(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.ask("db", "primary").await;
    world
        .until_status("db", "Replicating=True/Replicating")
        .await;
    let volumes: Api<PersistentVolume> = Api::all(world.admin.clone());
    let name = world.named("pv-db");
    let remove = async || {
        volumes
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        // Without a finalizer it is gone already.
        drop(volumes.patch(&name, &PatchParams::default(), &free).await);
    };
    remove().await;
    world
        .until_status("db", &format!("{name:?} does not exist"))
        .await;
    assert!(world.summary("db").await.starts_with("Primary |"));
    world.pass(60).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
    world.pv("db", DRIVER).await;
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E P", "the role is as it was");
    // A deletion meanwhile waits for the handle, and says so.
    remove().await;
    world
        .until_status("db", &format!("{name:?} does not exist"))
        .await;
    world.delete_volume("db").await;
    world
        .until("explained", async |w| {
            w.summary("db").await.contains("not deleted yet")
        })
        .await;
    world.pv("db", DRIVER).await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db"), "E P D");
}

pub(crate) async fn reserved_parameters_of_a_fence_class_are_said(on: &On) {
    let world = World::new(on).await;
    let key = "csiaddons.openshift.io/typo";
    world
        .apply(&json!({
            "apiVersion": "csiaddons.openshift.io/v1alpha1", "kind": "NetworkFenceClass",
            "metadata": {"name": world.named("cut")},
            "spec": {"provisioner": DRIVER, "parameters": {key: "x"}},
        }))
        .await;
    world.fence(&json!({"networkFenceClassName": "cut"})).await;
    world
        .until_fence(&format!("Failed | parameter {key:?}"))
        .await;
    assert!(world.driver.seen().is_empty());
}
