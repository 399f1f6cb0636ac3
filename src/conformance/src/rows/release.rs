//! Rows 50-53, 55-57: letting go.

use kube::api::DeleteParams;
use serde_json::{Value, json};
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::world::World;

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";

async fn primary(on: &On) -> World {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    world
}

async fn gone(world: &World) {
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
}

async fn assert_claim_is_free(world: &World) {
    let claim = world.claims().get("db").await.unwrap().metadata;
    assert!(
        !claim
            .annotations
            .unwrap_or_default()
            .keys()
            .any(|k| k.contains("volume-replication-name"))
    );
    assert!(
        !claim
            .finalizers
            .unwrap_or_default()
            .iter()
            .any(|f| f.contains("pvc-protection") && f.contains("replication"))
    );
}

pub(crate) async fn rows_50_and_51_deletion_disables_and_takes_every_mark_away(on: &On) {
    for answer in [Answer::Ok, Answer::Fail(Code::NotFound, "no such image")] {
        let world = primary(on).await;
        world.driver.next("D", answer);
        world.reset_writes();
        world.delete_volume("db").await;
        gone(&world).await;
        assert_eq!(world.driver.trace("h-db"), "E P D");
        let mut writes = world.writes();
        writes.dedup();
        assert_eq!(writes.len(), 2, "{writes:?}");
        assert!(writes[0].ends_with("persistentvolumeclaims"), "{writes:?}");
        assert!(writes[1].ends_with("volumereplications"), "{writes:?}");
        assert_claim_is_free(&world).await;
    }
}

pub(crate) async fn row_52_a_driver_that_does_not_let_go_is_asked_again_and_no_condition_moves(
    on: &On,
) {
    let world = primary(on).await;
    let before = world.volume("db").await.status.unwrap().conditions;
    world
        .driver
        .always("D", Answer::Fail(Code::Internal, "rbd is busy"));
    world.delete_volume("db").await;
    world
        .until("explained", async |w| {
            w.summary("db").await.contains("rbd is busy")
        })
        .await;
    world.pass(60).await;
    let volume = world.volume("db").await;
    assert_eq!(volume.status.unwrap().conditions, before);
    assert_eq!(
        volume.metadata.finalizers.unwrap(),
        ["replication.storage.openshift.io"]
    );
    world.until_told("DeletionBlocked").await;
    let tries = world.driver.times("D").len();
    assert!((4..=12).contains(&tries), "{tries} tries in a minute");
    world.driver.always("D", Answer::Ok);
    gone(&world).await;
    assert_claim_is_free(&world).await;
}

pub(crate) async fn row_53_a_claim_that_is_deleted_first_waits_for_the_volume_replication(on: &On) {
    let world = primary(on).await;
    world
        .claims()
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    world.pass(60).await;
    assert!(
        world
            .claims()
            .get("db")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    assert_eq!(world.driver.trace("h-db"), "E P");
    world.delete_volume("db").await;
    gone(&world).await;
    world
        .until("claim gone", async |w| {
            w.claims().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db"), "E P D");
}

pub(crate) async fn row_55_a_claim_that_is_gone_by_force_holds_nobody(on: &On) {
    let world = primary(on).await;
    world
        .claims()
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    world.patch_claim("db", &json!({"finalizers": null})).await;
    world
        .until("claim gone", async |w| {
            w.claims().get_opt("db").await.unwrap().is_none()
        })
        .await;
    world.until_status("db", "\"db\" does not exist").await;
    world.delete_volume("db").await;
    gone(&world).await;
    assert_eq!(world.driver.trace("h-db"), "E P", "no handle to name");
    world.until_told("ReleasedWithoutDisable").await;
}

pub(crate) async fn row_56_a_volume_replication_without_our_finalizer_just_goes(on: &On) {
    let world = World::new(on).await;
    world.ask("db", "primary").await;
    world.until_status("db", "does not exist").await;
    world.delete_volume("db").await;
    gone(&world).await;
    assert!(world.driver.seen().is_empty());
}

pub(crate) async fn row_57_a_crash_between_disable_and_the_marks_disables_again(on: &On) {
    let mut world = primary(on).await;
    world
        .driver
        .next("D", Answer::Fail(Code::Unavailable, "crashing"));
    world.delete_volume("db").await;
    world
        .until("tried", async |w| w.driver.trace("h-db").ends_with('D'))
        .await;
    world.kill();
    world.start();
    gone(&world).await;
    assert_eq!(world.driver.trace("h-db"), "E P D D");
    assert_claim_is_free(&world).await;
}

async fn owned(on: &On) -> World {
    let world = World::new(on).await;
    world.claim("db").await;
    world.grant("east", 1, None).await;
    world.ask_as_hub("db", "primary", 1).await;
    world.until_status("db", PROMOTED).await;
    world
}

/// The hub's, that replication is to be switched off.
fn word() -> Value {
    json!({"metadata": {"annotations": {"lifeboat.dev/disable": "true"}}})
}

pub(crate) async fn a_hub_managed_volume_deleted_by_hand_stays_on_and_says_so_until_it_is_written_anew(
    on: &On,
) {
    let world = owned(on).await;
    world.delete_volume("db").await;
    gone(&world).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
    assert_claim_is_free(&world).await;
    world.until_told("ReleasedWithoutDisable").await;
    world.ask_as_hub("db", "primary", 1).await;
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E P E P");
}

pub(crate) async fn a_hub_managed_volume_is_switched_off_on_the_hubs_word(on: &On) {
    let world = owned(on).await;
    world.patch_volume("db", &word()).await;
    world.delete_volume("db").await;
    gone(&world).await;
    assert_eq!(world.driver.trace("h-db"), "E P D");
    assert_claim_is_free(&world).await;
}

pub(crate) async fn the_volume_of_a_cluster_that_was_left_goes_quietly_and_never_off(on: &On) {
    let world = owned(on).await;
    world.grant("west", 2, None).await;
    world.ask_as_hub("db", "secondary", 2).await;
    world.until_status("db", "Secondary | ").await;
    world.patch_volume("db", &word()).await;
    world.delete_volume("db").await;
    gone(&world).await;
    assert!(!world.driver.trace("h-db").contains('D'));
    assert_claim_is_free(&world).await;
    world.pass(60).await;
    let told = world.event_reasons().await;
    assert!(
        !told.contains(&"ReleasedWithoutDisable".to_owned()),
        "{told:?}"
    );
}
