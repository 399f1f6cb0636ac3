//! Rows 73, 74 and 78: groups of volumes that are replicated as one.

use kube::Api;
use kube::api::DeleteParams;
use lifeboat_api::{VolumeGroupReplication, VolumeGroupReplicationContent};
use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::promote::info;
use crate::world::{DRIVER, SECRET, World};

pub(crate) mod asks;

use asks::{FINALIZER, PROMOTED, credentials, primary, shop};

async fn assert_row_73(world: &World) {
    let group = world.group().await;
    let uid = group.metadata.uid.clone().unwrap();
    let (content_name, volume_name) = (format!("vgrcontent-{uid}"), format!("vr-{uid}"));
    assert_eq!(
        world.driver.story(),
        [
            format!("Create {content_name} h-a,h-b,h-c"),
            "E g-1".to_owned(),
            "P g-1".to_owned()
        ]
    );
    let seen = world.driver.seen();
    assert!(seen.iter().all(|s| s.secrets["userKey"] == SECRET));
    assert_eq!(seen[0].parameters["consistency"], "crash");
    assert!(seen.iter().all(|s| s.volume_id.is_empty()));
    assert!(seen.iter().any(|s| s.letter == "I" && s.handle == "g-1"));

    let content = world.content().await.unwrap();
    let spec = content.spec;
    assert_eq!(spec.volume_group_replication_handle.as_deref(), Some("g-1"));
    assert_eq!(spec.volume_group_attributes.unwrap()["pool"], "fast");
    assert_eq!(spec.source.volume_handles, ["h-a", "h-b", "h-c"]);
    assert_eq!(spec.provisioner, DRIVER);
    assert_eq!(
        spec.volume_group_replication_ref.unwrap().uid.as_ref(),
        Some(&uid)
    );
    let annotations = content.metadata.annotations.unwrap();
    assert_eq!(
        annotations["replication.storage.openshift.io/provisioned-by"],
        DRIVER
    );
    assert_eq!(
        annotations["replication.storage.openshift.io/volumegroupref"],
        format!("{}/all", world.ns)
    );
    let mut finalizers = content.metadata.finalizers.unwrap();
    finalizers.sort();
    assert_eq!(finalizers, ["replication.storage.openshift.io", FINALIZER]);
    let told = content.status.unwrap().persistent_volume_mapping_list;
    assert_eq!(told[0].name, world.named("pv-a"));

    let volume = world.volume(&volume_name).await;
    assert_eq!(volume.spec.data_source.kind, "VolumeGroupReplication");
    assert_eq!(volume.spec.data_source.name, "all");
    assert_eq!(volume.metadata.owner_references.unwrap()[0].uid, uid);
    let status = group.status.unwrap();
    let theirs = volume.status.unwrap();
    assert_eq!(status.replication.last_sync_time, theirs.last_sync_time);
    assert!(
        status.replication.conditions[0]
            .message
            .starts_with("volume group is promoted")
    );
    assert_eq!(world.members().await, ["a", "b", "c"]);
    let annotations = group.metadata.annotations.unwrap();
    assert_eq!(annotations["pvcSelector"], "app=shop");
    assert_eq!(
        annotations["replication.storage.openshift.io/volume-replication-name"],
        volume_name
    );
    assert_eq!(
        group.spec.volume_group_replication_content_name,
        Some(content_name)
    );
    assert_eq!(group.metadata.finalizers.unwrap(), [FINALIZER]);
    for claim in ["a", "b", "c"] {
        assert!(world.is_marked(claim).await, "{claim}");
    }
}

pub(crate) async fn row_73_three_claims_become_one_group_that_is_promoted_as_one(on: &On) {
    assert_row_73(&primary(on).await).await;
}

/// Without the paused clock: a real socket does not know it.
pub(crate) async fn row_73_over_a_unix_socket(on: &On) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::cold(on).await;
    let endpoint = world.driver.listen(&dir.path().join("csi-addons.sock"));
    world.start_with(|config| config.drivers = vec![(DRIVER.to_owned(), endpoint)]);
    world
        .group_class("together", DRIVER, &credentials(&world))
        .await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.labelled(&["a", "b", "c"]).await;
    world.group_with("primary", &json!({})).await;
    world.until_group("Replicating=True/Replicating").await;
    assert_row_73(&world).await;
}

pub(crate) async fn row_73_marks_are_stored_before_the_first_call_and_a_restart_repeats_nothing(
    on: &On,
) {
    let mut world = primary(on).await;
    let before = world.group().await;
    world.kill();
    world.start();
    world.pass(60).await;
    let after = world.group().await;
    assert_eq!(world.driver.story().len(), 3, "{:?}", world.driver.story());
    let since = |group: &VolumeGroupReplication| {
        let conditions = group.status.clone().unwrap().replication.conditions;
        let times = conditions.into_iter().map(|c| c.last_transition_time);
        times.collect::<Vec<_>>()
    };
    assert_eq!(since(&before), since(&after));

    let world = shop(on).await;
    world.labelled(&["a"]).await;
    let claims = world.claims();
    *world.driver.before.lock().await = Some(Box::new(move |letter| {
        let claims = claims.clone();
        Box::pin(async move {
            let claim = claims.get("a").await.unwrap().metadata;
            assert!(
                claim.finalizers.unwrap().contains(&FINALIZER.to_owned()),
                "{letter}"
            );
        })
    }));
    world.group_with("primary", &json!({})).await;
    world.until_group(PROMOTED).await;
}

pub(crate) async fn a_group_follows_its_role_there_and_back(on: &On) {
    let world = primary(on).await;
    world.ask_group("secondary").await;
    world
        .until_group("Secondary | volume is marked secondary | Completed=True/Demoted")
        .await;
    world.ask_group("primary").await;
    world.until_group(PROMOTED).await;
    let story = world.driver.story()[3..].join(" ");
    assert_eq!(story, "M g-1 M g-1 R g-1 E g-1 P g-1");
}

pub(crate) async fn row_74_a_claim_leaves_and_another_joins(on: &On) {
    let world = primary(on).await;
    world
        .patch_claim("b", &json!({"labels": {"app": null}}))
        .await;
    world
        .until("left", async |w| w.members().await == ["a", "c"])
        .await;
    assert!(!world.is_marked("b").await);
    assert_eq!(world.driver.story()[3], "Modify g-1 h-a,h-c");
    world.labelled(&["d"]).await;
    world
        .until("joined", async |w| w.members().await == ["a", "c", "d"])
        .await;
    assert!(world.is_marked("d").await);
    assert_eq!(world.driver.story()[4], "Modify g-1 h-a,h-c,h-d");
    world.pass(600).await;
    assert_eq!(world.driver.story().len(), 5, "told once");
    assert!(world.group_summary().await.starts_with(PROMOTED));
}

pub(crate) async fn row_74_who_leaves_is_freed_only_after_the_driver_knows(on: &On) {
    let world = primary(on).await;
    world
        .driver
        .always("Modify", Answer::Fail(Code::ResourceExhausted, "too many"));
    world
        .patch_claim("b", &json!({"labels": {"app": null}}))
        .await;
    world.until_group("too many").await;
    assert!(world.is_marked("b").await);
    // A role is passed on all the same.
    world.ask_group("secondary").await;
    world
        .until("demoted", async |w| !w.driver.times("R").is_empty())
        .await;
    world.driver.always("Modify", Answer::Ok);
    world
        .until("freed", async |w| !w.is_marked("b").await)
        .await;
    world.until_group("Secondary |").await;
}

pub(crate) async fn row_78_a_group_is_deleted_in_order(on: &On) {
    let world = primary(on).await;
    world
        .driver
        .always("Modify", Answer::Fail(Code::Internal, "not now"));
    let group = world.group().await;
    let gone = group.metadata.uid.clone();
    world
        .groups()
        .delete("all", &DeleteParams::default())
        .await
        .unwrap();
    world
        .until("explained", async |w| {
            w.group_summary().await.contains("not now")
        })
        .await;
    assert!(world.is_marked("a").await, "claims are freed last");
    let conditions = world.group().await.status.unwrap().replication.conditions;
    assert_eq!(
        conditions,
        group.status.unwrap().replication.conditions,
        "no condition moves"
    );
    world
        .driver
        .always("Modify", Answer::Fail(Code::NotFound, "no such group"));
    world
        .until("gone", async |w| {
            w.groups().get_opt("all").await.unwrap().is_none()
        })
        .await;
    let mut story = world.driver.story()[3..].to_vec();
    story.dedup();
    assert_eq!(story, ["D g-1", "Modify g-1", "Delete g-1"]);
    let contents: Api<VolumeGroupReplicationContent> = Api::all(world.admin.clone());
    let left = contents.list(&kube::api::ListParams::default()).await;
    let left = left.unwrap().into_iter().filter(|content| {
        let group = content.spec.volume_group_replication_ref.as_ref();
        group.is_some_and(|group| group.uid == gone)
    });
    assert_eq!(left.count(), 0);
    let volumes = world
        .volumes()
        .list(&kube::api::ListParams::default())
        .await;
    assert!(volumes.unwrap().items.is_empty());
    for claim in ["a", "b", "c"] {
        assert!(!world.is_marked(claim).await, "{claim}");
    }
}
