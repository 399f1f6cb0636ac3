//! Rows 36-49: becoming secondary, resync, and changes of mind.

use std::time::Duration;

use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::promote::info;
use crate::world::World;

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const DEMOTED: &str = "Secondary | volume is marked secondary and is degraded | Completed=True/Demoted Degraded=True/VolumeDegraded Resyncing=False/NotResyncing";
const BEHIND: &str = "Secondary | volume is degraded | Completed=True/Demoted Degraded=True/VolumeDegraded Resyncing=True/ResyncTriggered";
const IN_STEP: &str = "Secondary | volume is marked secondary | Completed=True/Demoted Degraded=False/Healthy Resyncing=False/NotResyncing";

async fn primary(on: &On) -> World {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.ask("db", "primary").await;
    world
        .until_status("db", "Replicating=True/Replicating")
        .await;
    world
}

fn gaps(times: &[Duration]) -> Vec<u128> {
    times
        .windows(2)
        .map(|w| w[1].abs_diff(w[0]).as_millis())
        .collect()
}

pub(crate) async fn rows_36_to_38_and_44_demoted_then_behind_then_in_step_then_idle(on: &On) {
    let world = primary(on).await;
    world.driver.next("R", Answer::NotReady);
    world.driver.next("R", Answer::NotReady);
    world.ask("db", "secondary").await;
    world.until_status("db", DEMOTED).await;
    world.until_status("db", BEHIND).await;
    world.until_status("db", IN_STEP).await;
    assert_eq!(world.driver.trace("h-db"), "E P M M R M R M R");
    let (demotions, checks) = (world.driver.times("M"), world.driver.times("R"));
    assert_eq!(demotions[1].abs_diff(demotions[0]).as_secs(), 15);
    assert!(
        gaps(&checks)
            .iter()
            .all(|gap| (30_000..30_200).contains(gap)),
        "{checks:?}"
    );
    let status = world.volume("db").await.status.unwrap();
    assert_eq!(
        (
            status.last_sync_time,
            status.last_sync_duration,
            status.last_sync_bytes
        ),
        (None, None, None)
    );
    assert!(status.last_completion_time.is_some());
    assert!(!world.summary("db").await.contains("Replicating"));
    world.pass(600).await;
    assert_eq!(world.driver.trace("h-db"), "E P M M R M R M R", "idle");
}

pub(crate) async fn row_39_auto_resync_is_force_on_the_wire(on: &On) {
    for (auto, letter) in [(false, "R"), (true, "Rf")] {
        let world = World::new(on).await;
        world.claim("db").await;
        world
            .ask_with("db", "secondary", &json!({"autoResync": auto}), &json!({}))
            .await;
        world.until_status("db", IN_STEP).await;
        assert_eq!(world.driver.trace("h-db"), format!("E M M {letter}"));
    }
}

pub(crate) async fn row_45_a_fresh_secondary_is_enabled_first(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "secondary").await;
    world.until_status("db", DEMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E M");
}

pub(crate) async fn rows_40_42_43_a_demotion_that_fails_keeps_the_state_and_is_never_forced(
    on: &On,
) {
    for code in [
        Code::Internal,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::Unavailable,
    ] {
        let world = primary(on).await;
        world.driver.always("M", Answer::Fail(code, "in use"));
        world.ask("db", "secondary").await;
        world.until_status("db", "Primary | in use | Completed=False/FailedToDemote Degraded=True/Error Resyncing=False/NotResyncing").await;
        world.pass(60).await;
        let trace = world.driver.trace("h-db");
        assert!(
            !trace.contains("Mf") && !trace.contains('R'),
            "{code:?}: {trace}"
        );
        let tries = world.driver.times("M").len();
        assert!(
            (4..=12).contains(&tries),
            "{code:?}: {tries} tries in a minute"
        );
        world.driver.always("M", Answer::Ok);
        world.until_status("db", DEMOTED).await;
    }
}

pub(crate) async fn row_41_a_secondary_that_fails_is_tried_every_15_seconds(on: &On) {
    for (letter, reason, resyncing) in [
        ("M", "FailedToDemote", "NotResyncing"),
        ("R", "FailedToResync", "FailedToResync"),
    ] {
        let world = primary(on).await;
        world.ask("db", "secondary").await;
        world.until_status("db", DEMOTED).await;
        world
            .driver
            .always(letter, Answer::Fail(Code::Internal, "no"));
        let expected = format!(
            "Secondary | no | Completed=False/{reason} Degraded=True/Error Resyncing=False/{resyncing}"
        );
        world.until_status("db", &expected).await;
        world.pass(90).await;
        let times = world.driver.times(letter);
        let late: Vec<u128> = gaps(&times[times.len() - 5..]);
        assert!(
            late.iter().all(|gap| (15_000..15_200).contains(gap)),
            "{letter}: {late:?}"
        );
        world.driver.always(letter, Answer::Ok);
        world.until_status("db", IN_STEP).await;
    }
}

pub(crate) async fn row_46_resync_by_name(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.driver.next("Rf", Answer::NotReady);
    world.ask("db", "resync").await;
    world.until_status("db", "Unknown | volume is degraded | Completed=True/Demoted Degraded=True/VolumeDegraded Resyncing=True/ResyncTriggered").await;
    world.until_status("db", "Secondary | volume is marked for resyncing | Completed=True/Demoted Degraded=False/Healthy").await;
    assert_eq!(world.driver.trace("h-db"), "E Rf Rf");
    assert!((30_000..30_200).contains(&gaps(&world.driver.times("Rf"))[0]));
    world.pass(300).await;
    assert_eq!(world.driver.trace("h-db"), "E Rf Rf", "idle");
}

pub(crate) async fn row_47_a_primary_cannot_be_resynced(on: &On) {
    let world = primary(on).await;
    world.driver.always(
        "Rf",
        Answer::Fail(Code::InvalidArgument, "image is primary"),
    );
    world.ask("db", "resync").await;
    world.until_status("db", "Primary | image is primary | Completed=False/FailedToResync Degraded=True/Error Resyncing=False/FailedToResync").await;
    world.pass(60).await;
    assert!(world.driver.times("Rf").len() < 12);
}

pub(crate) async fn row_48_a_secondary_is_promoted_again_and_no_check_goes_on(on: &On) {
    let world = primary(on).await;
    world.driver.always("R", Answer::NotReady);
    world.ask("db", "secondary").await;
    world.until_status("db", BEHIND).await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let checks = world.driver.times("R").len();
    world.pass(120).await;
    assert_eq!(world.driver.times("R").len(), checks);
    assert!(world.driver.trace("h-db").ends_with("E P"));
}

pub(crate) async fn row_49_a_change_of_mind_cuts_every_wait_short(on: &On) {
    let world = primary(on).await;
    world.ask("db", "secondary").await;
    world.until_status("db", DEMOTED).await;
    let start = tokio::time::Instant::now();
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed().as_millis() < 500, "not after the 15 s");
    world.driver.always("M", Answer::Fail(Code::Internal, "no"));
    world.ask("db", "secondary").await;
    world.pass(60).await;
    let (start, tries) = (tokio::time::Instant::now(), world.driver.times("M").len());
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed().as_millis() < 500, "not after the backoff");
    world.pass(60).await;
    assert_eq!(
        world.driver.times("M").len(),
        tries,
        "no call for the old wish"
    );
}

pub(crate) async fn row_49_a_wish_that_changes_during_a_call_stops_the_next_one(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .next("E", Answer::Slow(Duration::from_secs(10)));
    world.ask("db", "primary").await;
    world
        .until("in flight", async |w| w.driver.trace("h-db") == "E")
        .await;
    world.ask("db", "secondary").await;
    world.until_status("db", DEMOTED).await;
    assert_eq!(
        world.driver.trace("h-db"),
        "E E M",
        "no promotion for a wish that was withdrawn"
    );
}
