//! Rows 75-77: what cannot be a group, or is not ours.

use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::group::asks::{PROMOTED, credentials, shop};
use crate::world::{DRIVER, World};

pub(crate) async fn row_75_what_cannot_be_a_group_is_said_and_not_called_for(on: &On) {
    let mut world = World::cold(on).await;
    world
        .group_class("together", DRIVER, &credentials(&world))
        .await;
    world.start_with(|config| config.max_group_claims = 2);
    world.labelled(&["a", "b", "c"]).await;
    world.group_with("primary", &json!({})).await;
    world
        .until_group("matches 3 PersistentVolumeClaims, and a group may have 2")
        .await;
    assert!(world.group_summary().await.starts_with("Unknown |"));
    // One less, and it is a group.
    world
        .patch_claim("c", &json!({"labels": {"app": null}}))
        .await;
    world.until_group(PROMOTED).await;

    let world = shop(on).await;
    world.pv("b", "other.csi.example.com").await;
    world.unbound("b").await;
    world.bind("b").await;
    world
        .patch_claim("b", &json!({"labels": {"app": "shop"}}))
        .await;
    world.labelled(&["a"]).await;
    world.group_with("primary", &json!({})).await;
    world
        .until_group(&format!(
            "{:?} is of driver other.csi.example.com",
            world.named("pv-b")
        ))
        .await;
    assert!(world.group_summary().await.starts_with("Unknown |"));
    assert!(world.driver.seen().is_empty());
    assert!(!world.is_marked("a").await);
    assert_eq!(world.group().await.metadata.finalizers, None);
}

pub(crate) async fn row_75_classes_that_make_no_sense_are_said(on: &On) {
    let misplaced = json!({"replication.storage.openshift.io/replication-secret-name": "creds"});
    let cases = [
        (
            json!({}),
            Some(misplaced),
            "is for a VolumeReplicationClass",
        ),
        (
            json!({}),
            Some(json!({"replication.storage.openshift.io/typo": "x"})),
            "typo\\\" of the class is reserved",
        ),
        (
            json!({"volumeGroupReplicationClassName": "none"}),
            None,
            "VolumeGroupReplicationClass \"{none}\" does not exist",
        ),
        (
            json!({"source": {"selector": {"matchLabels": {"app": "nothing"}}}}),
            None,
            "matches no PersistentVolumeClaim",
        ),
    ];
    for (spec, parameters, expected) in cases {
        let world = World::new(on).await;
        let parameters = parameters.unwrap_or_else(|| credentials(&world));
        world.group_class("together", DRIVER, &parameters).await;
        world.labelled(&["a"]).await;
        world.group_with("primary", &spec).await;
        let expected = expected.replace("\\\"", "\"");
        let expected = expected.replace("{none}", &world.named("none"));
        world.until_group(&expected).await;
        assert!(world.driver.seen().is_empty());
    }
}

pub(crate) async fn a_claim_has_one_owner_a_volume_replication_or_a_group(on: &On) {
    let world = shop(on).await;
    world.labelled(&["a", "b"]).await;
    world.ask("b", "primary").await;
    world.until_status("b", PROMOTED).await;
    world.group_with("primary", &json!({})).await;
    world
        .until_group("\"b\" is already replicated by VolumeReplication \"b\"")
        .await;
    assert_eq!(world.driver.trace("h-b"), "E P");
    // The group takes it when it is free, and then a VolumeReplication is refused.
    world.delete_volume("b").await;
    world.until_group(PROMOTED).await;
    world.ask("b", "primary").await;
    world
        .until_status("b", "already replicated by VolumeGroupReplication \"all\"")
        .await;
    world.delete_volume("b").await;
    world.pass(60).await;
    assert_eq!(world.driver.trace("h-b"), "E P D");
    assert!(world.is_marked("b").await);
    // Nor may a second VolumeReplication give the group a role.
    let source = json!({"dataSource": {
        "apiGroup": "replication.storage.openshift.io", "kind": "VolumeGroupReplication", "name": "all",
    }});
    world
        .ask_with("rival", "secondary", &source, &json!({}))
        .await;
    world
        .until_status(
            "rival",
            "\"all\" is already replicated by VolumeReplication",
        )
        .await;
    world.delete_volume("rival").await;
    world.pass(60).await;
    assert_eq!(world.driver.trace("g-1"), "E P");
}

pub(crate) async fn row_76_a_group_that_the_driver_does_not_make_is_tried_again_and_said(on: &On) {
    let world = shop(on).await;
    world.labelled(&["a"]).await;
    world
        .driver
        .always("Create", Answer::Fail(Code::FailedPrecondition, "no room"));
    world.group_with("primary", &json!({})).await;
    world
        .until_group("Unknown | no room | Completed=False/FailedToPromote")
        .await;
    world.pass(60).await;
    let tries = world.driver.times("Create").len();
    assert!((4..=12).contains(&tries), "{tries} tries in a minute");
    assert_eq!(world.driver.trace("g-1"), "");
    world.driver.always("Create", Answer::Ok);
    world.until_group(PROMOTED).await;
    world.until_told("FailedToGroup").await;

    let mut world = World::cold(on).await;
    world.driver.lacks("VOLUME_GROUP");
    world
        .group_class("together", DRIVER, &credentials(&world))
        .await;
    world.start();
    world.labelled(&["a"]).await;
    world.group_with("primary", &json!({})).await;
    world
        .until_group("does not offer volume_group.VOLUME_GROUP")
        .await;
}

pub(crate) async fn row_77_a_group_of_another_controller_is_left_alone(on: &On) {
    let world = shop(on).await;
    world.labelled(&["a"]).await;
    world
        .group_with("primary", &json!({"external": true}))
        .await;
    world.pass(60).await;
    let group = world.group().await;
    assert_eq!((group.metadata.finalizers, group.status), (None, None));
    assert!(world.driver.seen().is_empty());
    assert!(!world.is_marked("a").await);
}
