//! Rows 1-3, 18-28: becoming and staying primary.

use std::time::Duration;

use lifeboat_proto::replication::{
    GetVolumeReplicationInfoResponse, get_volume_replication_info_response::Status,
};
use serde_json::json;
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::world::{SECRET, World};

const WELL: &str = "Primary | volume is marked primary | Completed=True/Promoted Degraded=False/Healthy Resyncing=False/NotResyncing";

pub(crate) fn info(status: Status, synced: Option<i64>) -> Answer {
    Answer::Info(GetVolumeReplicationInfoResponse {
        last_sync_time: synced.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        last_sync_duration: synced.map(|_| prost_types::Duration {
            seconds: 2,
            nanos: 0,
        }),
        last_sync_bytes: synced.map_or(0, |_| 4096),
        status: status.into(),
        status_message: "as told".into(),
    })
}

pub(crate) async fn row_1_a_fresh_primary_is_enabled_promoted_and_asked_about(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.reset_writes();
    world.ask("db", "primary").await;
    world.until_status("db", WELL).await;
    world
        .until("asked", async |w| w.driver.full_trace("h-db") == "E P I")
        .await;
    let status = world.volume("db").await.status.unwrap();
    assert!(status.last_completion_time.is_some() && status.last_start_time.is_some());
    let writes = world.writes();
    assert!(writes.len() <= 4, "{writes:?}");
}

pub(crate) async fn row_2_every_call_carries_handle_parameters_secrets_and_replication_id(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.driver.always("I", info(Status::Healthy, None));
    world
        .ask_with(
            "db",
            "primary",
            &json!({"replicationHandle": "rep-1"}),
            &json!({}),
        )
        .await;
    world
        .until("asked", async |w| {
            w.driver.full_trace("h-db").contains("E P I")
        })
        .await;
    for seen in world.driver.seen() {
        assert_eq!(
            (seen.handle.as_str(), seen.volume_id.as_str()),
            ("h-db", "h-db"),
            "{}",
            seen.letter
        );
        assert_eq!(seen.replication_id, "rep-1", "{}", seen.letter);
        assert_eq!(
            seen.secrets.get("userKey").map(String::as_str),
            Some(SECRET),
            "{}",
            seen.letter
        );
        if seen.letter != "I" {
            let parameters: Vec<_> = seen
                .parameters
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            assert_eq!(
                parameters,
                [("mirroringMode", "snapshot")],
                "{}",
                seen.letter
            );
        }
    }
}

pub(crate) async fn row_3_and_71_marks_are_stored_before_the_first_call_and_move_no_generation(
    on: &On,
) {
    let world = World::new(on).await;
    world.claim("db").await;
    let (volumes, claims) = (world.volumes(), world.claims());
    *world.driver.before.lock().await = Some(Box::new(move |_| {
        let (volumes, claims) = (volumes.clone(), claims.clone());
        Box::pin(async move {
            let (volume, claim) = (
                volumes.get("db").await.unwrap(),
                claims.get("db").await.unwrap(),
            );
            assert_eq!(volume.metadata.generation, Some(1));
            assert_eq!(
                volume.metadata.finalizers.unwrap(),
                ["replication.storage.openshift.io"]
            );
            let owner = claim.metadata.annotations.unwrap();
            assert_eq!(
                owner["replication.storage.openshift.io/volume-replication-name"],
                "db"
            );
            assert!(
                claim
                    .metadata
                    .finalizers
                    .unwrap()
                    .contains(&"replication.storage.openshift.io/pvc-protection".into())
            );
        })
    }));
    world.ask("db", "primary").await;
    world.until_status("db", WELL).await;
}

pub(crate) async fn rows_18_to_22_how_promotion_fails(on: &On) {
    let no = |code| Answer::Fail(code, "no");
    let failed = "Completed=False/FailedToPromote Degraded=True/Error Resyncing=False/NotResyncing";
    let other = [
        Code::Internal,
        Code::Aborted,
        Code::Unavailable,
        Code::Unknown,
        Code::NotFound,
        Code::DeadlineExceeded,
    ];
    let mut cases = vec![
        (
            "18",
            vec![("P", no(Code::FailedPrecondition))],
            WELL.to_owned(),
            "E P Pf",
        ),
        (
            "19",
            vec![
                ("P", no(Code::FailedPrecondition)),
                ("Pf", no(Code::Internal)),
            ],
            format!("Unknown | no | {failed}"),
            "E P Pf",
        ),
        (
            "21",
            vec![("E", no(Code::Internal))],
            format!("Unknown | no | {failed}"),
            "E",
        ),
        (
            "22",
            vec![("E", no(Code::FailedPrecondition))],
            format!("Unknown | no | {failed} Validated=False/PrerequisiteNotMet"),
            "E",
        ),
    ];
    cases.extend(other.map(|code| {
        (
            "20",
            vec![("P", no(code))],
            format!("Unknown | no | {failed}"),
            "E P",
        )
    }));
    for (row, answers, expected, trace) in cases {
        let world = World::new(on).await;
        world.claim("db").await;
        for (letter, answer) in answers {
            world.driver.next(letter, answer);
        }
        world.ask("db", "primary").await;
        world.until_status("db", &expected).await;
        assert!(
            world.driver.trace("h-db").starts_with(trace),
            "row {row}: {}",
            world.driver.trace("h-db")
        );
        if trace == "E P" {
            assert!(!world.driver.trace("h-db").contains("Pf"), "row {row}");
        }
        world.until_status("db", WELL).await;
    }
}

pub(crate) async fn row_20_failures_back_off_without_a_storm(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.driver.always("P", Answer::Fail(Code::Internal, "no"));
    world.ask("db", "primary").await;
    world.pass(120).await;
    let tries = world.driver.times("P").len();
    assert!((8..=16).contains(&tries), "{tries} tries in two minutes");
}

pub(crate) async fn row_23_a_prerequisite_that_is_met_later_is_said_to_be_met(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .next("E", Answer::Fail(Code::FailedPrecondition, "flatten first"));
    world.ask("db", "primary").await;
    world
        .until_status("db", "Validated=False/PrerequisiteNotMet")
        .await;
    world
        .until_status("db", &format!("{WELL} Validated=True/PrerequisiteMet"))
        .await;
}

pub(crate) async fn row_24_a_new_generation_of_a_primary_is_only_asked_about(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.ask("db", "primary").await;
    world
        .until_status("db", &format!("{WELL} Replicating=True/Replicating"))
        .await;
    world
        .patch_volume("db", &json!({"spec": {"replicationHandle": "other"}}))
        .await;
    assert_eq!(world.volume("db").await.metadata.generation, Some(2));
    world
        .until_status("db", &format!("{WELL} Replicating=True/Replicating"))
        .await;
    world.pass(5).await;
    assert_eq!(world.driver.full_trace("h-db"), "E P I I");
}

pub(crate) async fn row_25_a_restart_repeats_nothing_and_moves_no_condition(on: &On) {
    let mut world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_000)));
    world.ask("db", "primary").await;
    world
        .until_status("db", &format!("{WELL} Replicating=True/Replicating"))
        .await;
    let before = world.volume("db").await.status;
    world.kill();
    world.pass(60).await;
    world.start();
    world
        .until("asked again", async |w| {
            w.driver.full_trace("h-db") == "E P I I"
        })
        .await;
    world.pass(30).await;
    assert_eq!(world.driver.full_trace("h-db"), "E P I I");
    assert_eq!(world.volume("db").await.status, before);
}

pub(crate) async fn row_26_a_class_that_vanishes_and_returns_costs_no_call(on: &On) {
    use lifeboat_api::VolumeReplicationClass;
    let world = World::new(on).await;
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", WELL).await;
    let classes: kube::Api<VolumeReplicationClass> = kube::Api::all(world.admin.clone());
    classes
        .delete(&world.named("gold"), &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world
        .until_status("db", "Completed=False/FailedToPromote")
        .await;
    assert!(world.summary("db").await.starts_with("Primary |"));
    world.class("gold", crate::world::DRIVER, &json!({})).await;
    world.until_status("db", WELL).await;
    assert_eq!(world.driver.trace("h-db"), "E P");
}

pub(crate) async fn rows_27_to_33_what_a_primary_is_told_about_its_copies(on: &On) {
    let cases = [
        (
            "27",
            info(Status::Healthy, Some(1_700_000_000)),
            "Replicating=True/Replicating",
        ),
        (
            "28",
            info(Status::Degraded, None),
            "Replicating=False/NotReplicating",
        ),
        (
            "28",
            info(Status::Error, None),
            "Replicating=False/NotReplicating",
        ),
        (
            "28",
            info(Status::Unknown, None),
            "Replicating=Unknown/Replicating",
        ),
        ("29", Answer::Fail(Code::NotFound, "no"), ""),
        ("30", Answer::Fail(Code::Unimplemented, "no"), ""),
        (
            "31",
            Answer::Fail(Code::FailedPrecondition, "no"),
            "Replicating=Unknown/Replicating",
        ),
        (
            "32",
            Answer::Fail(Code::Internal, "no"),
            "Replicating=Unknown/Replicating",
        ),
    ];
    for (row, answer, expected) in cases {
        let world = World::cold(on).await;
        world
            .class(
                "silver",
                crate::world::DRIVER,
                &json!({"schedulingInterval": "1m"}),
            )
            .await;
        let mut world = world;
        world.start();
        world.claim("db").await;
        world.driver.always("I", answer);
        world
            .ask_with(
                "db",
                "primary",
                &json!({"volumeReplicationClass": "silver"}),
                &json!({}),
            )
            .await;
        world
            .until("asked", async |w| !w.driver.times("I").is_empty())
            .await;
        let whole = format!("{WELL} {expected}");
        world.until_status("db", whole.trim_end()).await;
        world.pass(185).await;
        assert_eq!(world.driver.times("I").len(), 4, "row {row}: once a minute");
        assert_eq!(world.summary("db").await, whole.trim_end(), "row {row}");
        let status = world.volume("db").await.status.unwrap();
        if row == "27" {
            assert_eq!(status.last_sync_duration.as_deref(), Some("2s"));
            assert_eq!(status.last_sync_bytes, Some(4096));
            assert_eq!(status.last_sync_time.unwrap().0.as_second(), 1_700_000_000);
        } else {
            assert_eq!(status.last_sync_time, None, "row {row}");
        }
    }
}

pub(crate) async fn row_61_a_call_that_never_answers_ends_at_its_deadline_and_is_tried_again_alone(
    on: &On,
) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .next("P", Answer::Slow(Duration::from_secs(3600)));
    world.ask("db", "primary").await;
    world
        .until_status("db", "Completed=False/FailedToPromote")
        .await;
    assert!(world.summary("db").await.contains("no answer within 60s"));
    world.until_status("db", WELL).await;
    assert!(world.driver.overlaps().is_empty());
}

pub(crate) async fn rows_29_30_33_what_is_known_is_kept_until_the_driver_knows_more(on: &On) {
    let world = World::cold(on).await;
    world
        .class(
            "often",
            crate::world::DRIVER,
            &json!({"schedulingInterval": "1m"}),
        )
        .await;
    let mut world = world;
    world.start();
    world.claim("db").await;
    world
        .driver
        .next("I", Answer::Fail(Code::Unimplemented, "not yet"));
    world
        .driver
        .next("I", info(Status::Healthy, Some(1_700_000_000)));
    world.driver.next("I", Answer::Fail(Code::NotFound, "busy"));
    world.driver.next("I", info(Status::Healthy, None));
    world
        .driver
        .always("I", info(Status::Healthy, Some(1_700_000_900)));
    let class = json!({"volumeReplicationClass": "often"});
    world.ask_with("db", "primary", &class, &json!({})).await;
    world.until_status("db", WELL).await;
    world
        .until("asked", async |w| w.driver.times("I").len() == 1)
        .await;
    assert_eq!(world.summary("db").await, WELL, "row 30: no condition");
    for asked in [2, 3, 4] {
        world
            .until("asked again", async |w| w.driver.times("I").len() == asked)
            .await;
        let whole = format!("{WELL} Replicating=True/Replicating");
        world.until_status("db", &whole).await;
        let status = world.volume("db").await.status.unwrap();
        let known = (
            status.last_sync_time.map(|t| t.0.as_second()),
            status.last_sync_duration,
            status.last_sync_bytes,
        );
        assert_eq!(
            known,
            (Some(1_700_000_000), Some("2s".to_owned()), Some(4096)),
            "after {asked} questions"
        );
    }
    world
        .until("newer", async |w| {
            let status = w.volume("db").await.status.unwrap();
            status.last_sync_time.map(|t| t.0.as_second()) == Some(1_700_000_900)
        })
        .await;
}

pub(crate) async fn rows_34_and_35_how_often_a_primary_is_asked_about(on: &On) {
    // Those of a kind in one world: by the time that the slow ones are asked twice, a quick one is asked very often.
    for cases in [
        vec![("10s", 10), ("1m", 60), ("4m", 120)],
        vec![("1h", 1800), ("", 3600), ("2mm", 3600), ("1d", 43_200)],
    ] {
        let mut world = World::cold(on).await;
        // Nothing but the questions happens in those hours.
        world.start_with(|config| {
            config.lease_ttl = Duration::from_secs(200_000);
            config.polls.probe = Duration::from_secs(100_000);
        });
        world
            .driver
            .always("I", info(Status::Healthy, Some(1_700_000_000)));
        for (n, (interval, _)) in cases.iter().enumerate() {
            let (claim, class) = (format!("db{n}"), format!("every{n}"));
            let parameters = json!({"schedulingInterval": interval});
            world.class(&class, crate::world::DRIVER, &parameters).await;
            world.claim(&claim).await;
            let class = json!({"volumeReplicationClass": class});
            world.ask_with(&claim, "primary", &class, &json!({})).await;
        }
        for n in 0..cases.len() {
            let claim = format!("db{n}");
            world.until_status(&claim, WELL).await;
        }
        let longest = cases.iter().map(|(_, seconds)| *seconds).max().unwrap();
        world.pass(longest + 30).await;
        for (n, (interval, seconds)) in cases.iter().enumerate() {
            let times = world.driver.times_of("I", &format!("h-db{n}"));
            let gap = times[1].abs_diff(times[0]).as_secs_f64();
            let expected = f64::from(u32::try_from(*seconds).unwrap());
            assert!(
                (expected..expected + 1.0).contains(&gap),
                "{interval:?}: {gap}"
            );
        }
    }
}
