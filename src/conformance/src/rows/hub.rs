//! Volumes that the hub manages: epochs, grants of force, and the one resync.

use std::time::Duration;

use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::promote::info;
use crate::world::World;

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const RESYNCED: &str = "Secondary | volume is marked for resyncing";

async fn world(on: &On) -> World {
    let world = World::new(on).await;
    world.claim("db").await;
    world
}

/// Waits until a copy was asked to be taken anew, by force, so many times in all.
async fn until_sent(world: &World, times: usize) {
    let what = format!("sent {times} times");
    let sent = async |w: &World| w.driver.times("Rf").len() == times;
    world.until(&what, sent).await;
}

pub(crate) async fn promotion_waits_for_the_grant_and_stores_the_epoch_first(on: &On) {
    let world = world(on).await;
    world.ask_as_hub("db", "primary", 7).await;
    world.until_status("db", "epoch 7 is not granted").await;
    world.until_told("NoGrant").await;
    let (admin, ns) = (world.admin.clone(), world.ns.clone());
    *world.driver.before.lock().await = Some(Box::new(move |_| {
        let api: kube::Api<lifeboat_api::DROwnership> = kube::Api::namespaced(admin.clone(), &ns);
        Box::pin(async move {
            let status = api.get("own").await.unwrap().status.unwrap();
            assert_eq!(
                status.observed_epoch,
                Some(7),
                "stored before the first call"
            );
        })
    }));
    world.grant("east", 7, None).await;
    world.until_status("db", PROMOTED).await;
    let status = world.ownership().await.status.unwrap();
    assert_eq!(
        (
            status.conditions[0].type_.as_str(),
            status.conditions[0].status.as_str()
        ),
        ("Accepted", "True")
    );
}

pub(crate) async fn a_stale_or_foreign_epoch_is_refused_without_a_call(on: &On) {
    for (asked, owner, epoch, reason) in [
        (6, "east", 7, "StaleEpoch"),
        (8, "east", 7, "NoGrant"),
        (7, "west", 7, "NoGrant"),
        (6, "west", 7, "StaleEpoch"),
    ] {
        let world = world(on).await;
        world.grant(owner, epoch, Some(epoch)).await;
        world.ask_as_hub("db", "primary", asked).await;
        world
            .until_status("db", "Completed=False/FailedToPromote")
            .await;
        world.until_told(reason).await;
        world.pass(60).await;
        assert_eq!(
            world.driver.full_trace("h-db"),
            "",
            "{asked} {owner} {epoch}"
        );
    }
}

pub(crate) async fn force_needs_a_grant_for_the_very_epoch(on: &On) {
    let world = world(on).await;
    world.driver.always(
        "P",
        Answer::Fail(Code::FailedPrecondition, "peer is primary"),
    );
    world.grant("east", 7, Some(6)).await;
    world.ask_as_hub("db", "primary", 7).await;
    world
        .until_status("db", "no force grant for epoch 7: peer is primary")
        .await;
    world.pass(60).await;
    assert!(!world.driver.trace("h-db").contains("Pf"));
    assert!(
        world.driver.times("P").len() > 8,
        "an unforced try every few seconds"
    );
    let start = tokio::time::Instant::now();
    world.grant("east", 7, Some(7)).await;
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed().as_millis() < 500);
    assert!(world.driver.trace("h-db").ends_with("E P Pf"));
}

pub(crate) async fn drained_is_seen_within_a_fraction_of_a_second(on: &On) {
    let world = world(on).await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.grant("east", 1, None).await;
    world.ask_as_hub("db", "primary", 1).await;
    world
        .until_status("db", "Replicating=True/Replicating")
        .await;
    world.driver.next("R", Answer::NotReady);
    let start = tokio::time::Instant::now();
    world.ask_as_hub("db", "secondary", 1).await;
    world.until_status("db", "Secondary | volume is marked secondary | Completed=True/Demoted Degraded=False/Healthy").await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(world.driver.trace("h-db"), "E P M R R");
}

pub(crate) async fn the_first_sync_of_a_primary_is_seen_soon_and_then_asked_about_every_few_seconds(
    on: &On,
) {
    let world = world(on).await;
    for _ in 0..4 {
        world
            .driver
            .next("I", Answer::Fail(Code::FailedPrecondition, "no sync yet"));
    }
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.grant("east", 1, None).await;
    world.ask_as_hub("db", "primary", 1).await;
    world
        .until_status("db", "Replicating=True/Replicating")
        .await;
    let asked = world.driver.times("I");
    assert!(
        asked[4].abs_diff(asked[0]) < Duration::from_secs(4),
        "{asked:?}"
    );
    world.pass(60).await;
    let steady = world.driver.times("I").len() - asked.len();
    assert!((11..=13).contains(&steady), "{steady} in a minute");
}

pub(crate) async fn a_forced_resync_is_sent_once_per_epoch_even_across_a_crash(on: &On) {
    let mut world = world(on).await;
    world.grant("west", 2, None).await;
    world.driver.always("R", Answer::NotReady);
    world.driver.always("Rf", Answer::NotReady);
    world.ask_as_hub("db", "secondary", 2).await;
    world
        .until_status("db", "Secondary | volume is degraded")
        .await;
    let volumes = world.volumes();
    *world.driver.before.lock().await = Some(Box::new(move |letter| {
        let volumes = volumes.clone();
        Box::pin(async move {
            if letter == "Rf" {
                let annotations = volumes
                    .get("db")
                    .await
                    .unwrap()
                    .metadata
                    .annotations
                    .unwrap();
                assert_eq!(
                    annotations["lifeboat.dev/resync-issued"], annotations["lifeboat.dev/epoch"],
                    "noted before it is sent"
                );
            }
        })
    }));
    world.ask_as_hub("db", "resync", 2).await;
    until_sent(&world, 1).await;
    world.kill();
    world.pass(1).await;
    world.start();
    world.pass(120).await;
    assert_eq!(world.driver.times("Rf").len(), 1);
    assert_eq!(world.driver.times("E").len(), 1, "enabled already");
    world.driver.always("R", Answer::Ok);
    world.until_status("db", "Secondary | volume is marked for resyncing | Completed=True/Demoted Degraded=False/Healthy").await;
    world.grant("west", 3, None).await;
    world.ask_as_hub("db", "resync", 3).await;
    until_sent(&world, 2).await;
}

pub(crate) async fn a_forced_resync_that_the_driver_refused_may_be_sent_again(on: &On) {
    for (code, sent, asked_after) in [
        (Code::InvalidArgument, 2, 0),
        // In doubt it was sent.
        (Code::Unavailable, 1, 1),
    ] {
        let world = world(on).await;
        world.grant("west", 2, None).await;
        world
            .driver
            .next("Rf", Answer::Fail(code, "no, or perhaps"));
        world.ask_as_hub("db", "resync", 2).await;
        world.until_status("db", RESYNCED).await;
        let times = |letter| world.driver.times(letter).len();
        assert_eq!((times("Rf"), times("R")), (sent, asked_after), "{code}");
    }
}

pub(crate) async fn an_order_to_resync_that_has_lapsed_is_not_carried_out_until_it_is_renewed(
    on: &On,
) {
    for holds in [Some(0), Some(-3_600), None] {
        let world = world(on).await;
        world.driver.always("R", Answer::NotReady);
        world.driver.always("Rf", Answer::NotReady);
        world.grant("west", 2, None).await;
        world.order_as_hub("db", "resync", 2, holds).await;
        world
            .until_status("db", "the order to throw this copy away")
            .await;
        world.until_told("ResyncLapsed").await;
        world.pass(120).await;
        assert!(!world.driver.trace("h-db").contains('R'), "{holds:?}");
        world.order_as_hub("db", "resync", 2, Some(300)).await;
        until_sent(&world, 1).await;
        // One that was carried out is followed to its end, however long that takes.
        world.pass(900).await;
        world.driver.always("R", Answer::Ok);
        world.until_status("db", RESYNCED).await;
        assert_eq!(world.driver.times("Rf").len(), 1);
    }
}

pub(crate) async fn an_order_that_lapses_while_the_driver_is_away_is_not_carried_out_when_it_is_back(
    on: &On,
) {
    let world = world(on).await;
    world
        .driver
        .always("E", Answer::Fail(Code::Unavailable, "away"));
    world.grant("west", 2, None).await;
    world.order_as_hub("db", "resync", 2, Some(30)).await;
    world
        .until("tried", async |w| w.driver.trace("h-db").contains('E'))
        .await;
    world.pass(60).await;
    world.driver.always("E", Answer::Ok);
    world.pass(60).await;
    assert!(!world.driver.trace("h-db").contains("Rf"));
}

/// What the agent says of the last request.
async fn failed(world: &World) -> Option<String> {
    let annotations = world.volume("db").await.metadata.annotations;
    annotations?.get("lifeboat.dev/resync-failed").cloned()
}

/// A request that the driver refused for good, and then the next one.
async fn failed_once(world: &World) {
    world.grant("west", 2, None).await;
    world.driver.always("Rf", Answer::NotReady);
    let refused = Answer::Fail(Code::FailedPrecondition, "split-brain");
    world.driver.always("R", refused);
    world.ask_as_hub("db", "resync", 2).await;
    world
        .until("it is called failed", async |w| {
            failed(w).await.as_deref() == Some("2")
        })
        .await;
    world.driver.always("R", Answer::NotReady);
}

pub(crate) async fn a_resync_that_the_driver_refuses_again_and_again_is_called_failed_and_sent_anew_when_asked(
    on: &On,
) {
    let world = world(on).await;
    failed_once(&world).await;
    assert!(
        world.driver.times("R").len() > 5,
        "not at the first refusal"
    );
    world.pass(600).await;
    assert_eq!(world.driver.times("Rf").len(), 1, "nobody has asked again");
    world.ask_again_as_hub("db", 2, 2).await;
    until_sent(&world, 2).await;
    world
        .until("the failure is over", async |w| failed(w).await.is_none())
        .await;
    world.pass(600).await;
    assert_eq!(world.driver.times("Rf").len(), 2);
    // An older request that comes late is none.
    world.ask_as_hub("db", "resync", 2).await;
    world.pass(60).await;
    assert_eq!(world.driver.times("Rf").len(), 2);
}

pub(crate) async fn a_copy_that_was_thrown_away_once_is_known_to_be_none_though_the_next_request_is_refused(
    on: &On,
) {
    let world = world(on).await;
    failed_once(&world).await;
    let gone = Answer::Fail(Code::NotFound, "there is no such image");
    world.driver.always("Rf", gone);
    world.ask_again_as_hub("db", 2, 2).await;
    // While a call is under way the note is that of the next request.
    world
        .until("asked, and taken back", async |w| {
            let annotations = w.volume("db").await.metadata.annotations.unwrap();
            w.driver.times("Rf").len() >= 3 && annotations["lifeboat.dev/resync-issued"] == "2"
        })
        .await;
    assert_eq!(failed(&world).await.as_deref(), Some("2"));
    world.driver.always("Rf", Answer::NotReady);
    world
        .until("sent", async |w| failed(w).await.is_none())
        .await;
    let annotations = world.volume("db").await.metadata.annotations.unwrap();
    assert_eq!(annotations["lifeboat.dev/resync-issued"], "2.2");
}

pub(crate) async fn a_request_that_was_answered_has_not_failed_because_that_could_not_be_written(
    on: &On,
) {
    let world = world(on).await;
    failed_once(&world).await;
    let later = Answer::NotReadyAfter(Duration::from_secs(2));
    world.driver.always("Rf", later);
    world.ask_again_as_hub("db", 2, 2).await;
    until_sent(&world, 2).await;
    world.fail_next(3, 500);
    world
        .until("the failure is over", async |w| failed(w).await.is_none())
        .await;
    world.pass(60).await;
    assert_eq!(failed(&world).await, None);
    assert_eq!(world.driver.times("Rf").len(), 2);
}

pub(crate) async fn a_resync_that_is_slow_or_whose_driver_is_away_has_not_failed(on: &On) {
    for answer in [
        Answer::NotReady,
        Answer::Fail(Code::Unavailable, "away"),
        Answer::Fail(Code::NotFound, "being made anew"),
    ] {
        let world = world(on).await;
        world.grant("west", 2, None).await;
        world.driver.always("Rf", Answer::NotReady);
        world.driver.always("R", answer);
        world.ask_as_hub("db", "resync", 2).await;
        until_sent(&world, 1).await;
        world.pass(600).await;
        assert_eq!(failed(&world).await, None);
    }
}

pub(crate) async fn a_resync_that_died_between_its_note_and_its_answer_is_in_doubt_and_not_sent_again_unasked(
    on: &On,
) {
    let mut world = world(on).await;
    world.grant("west", 2, None).await;
    world.driver.always("R", Answer::NotReady);
    world
        .driver
        .always("Rf", Answer::Slow(Duration::from_secs(3_600)));
    world.ask_as_hub("db", "resync", 2).await;
    until_sent(&world, 1).await;
    world.kill();
    world.pass(1).await;
    world.driver.always("Rf", Answer::NotReady);
    world.start();
    world
        .until("it says so", async |w| {
            failed(w).await.as_deref() == Some("2")
        })
        .await;
    world.pass(120).await;
    assert_eq!(world.driver.times("Rf").len(), 1);
    world.ask_again_as_hub("db", 2, 2).await;
    until_sent(&world, 2).await;
}

pub(crate) async fn the_owner_is_never_resynced_and_auto_resync_means_nothing(on: &On) {
    let world = world(on).await;
    world.grant("east", 2, None).await;
    world.ask_as_hub("db", "resync", 2).await;
    world
        .until_status("db", "its copy is not thrown away")
        .await;
    assert_eq!(world.driver.full_trace("h-db"), "");
    let world = self::world(on).await;
    world.grant("west", 2, None).await;
    let annotations = json!({"lifeboat.dev/epoch": "2", "lifeboat.dev/ownership": "own"});
    world
        .ask_with(
            "db",
            "secondary",
            &json!({"autoResync": true}),
            &annotations,
        )
        .await;
    world
        .until_status("db", "Secondary | volume is marked secondary |")
        .await;
    assert!(!world.driver.trace("h-db").contains("Rf"));
}

pub(crate) async fn a_grant_of_another_cluster_is_refused_until_the_hub_writes_its_own(on: &On) {
    let world = world(on).await;
    world.grant_to("elsewhere", "east", 7, Some(7)).await;
    world.ask_as_hub("db", "primary", 7).await;
    world
        .until_status("db", "it was written for east with the uid elsewhere")
        .await;
    world.until_told("ForeignGrant").await;
    let accepted = async |w: &World| {
        let status = w.ownership().await.status.unwrap_or_default();
        let all = status.conditions.iter();
        all.map(|c| format!("{}/{}", c.status, c.reason))
            .collect::<Vec<_>>()
    };
    world
        .until("said", async |w| {
            accepted(w).await == ["False/ForeignCluster"]
        })
        .await;
    world.pass(60).await;
    for state in ["secondary", "resync"] {
        world.ask_as_hub("db", state, 7).await;
        world.pass(60).await;
    }
    assert!(world.driver.seen().is_empty(), "{:?}", world.driver.seen());

    world.ask_as_hub("db", "primary", 7).await;
    world.grant("east", 7, None).await;
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
    assert_eq!(accepted(&world).await, ["True/EpochStored"]);
}

pub(crate) async fn a_volume_of_another_clusters_grant_is_never_switched_off(on: &On) {
    let world = world(on).await;
    world.grant("east", 7, None).await;
    world.ask_as_hub("db", "primary", 7).await;
    world.until_status("db", PROMOTED).await;
    world.grant_to("elsewhere", "east", 7, None).await;
    let disable = json!({"metadata": {"annotations": {"lifeboat.dev/disable": "true"}}});
    world.patch_volume("db", &disable).await;
    world.delete_volume("db").await;
    world
        .until("gone", async |w| {
            w.volumes().get_opt("db").await.unwrap().is_none()
        })
        .await;
    assert_eq!(world.driver.trace("h-db"), "E P");
}
