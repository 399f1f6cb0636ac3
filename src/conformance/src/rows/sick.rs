//! Drivers in trouble: each code at each call, a socket that is replaced, one sick driver beside another that is well, and a
//! thousand volumes on a driver that hangs or refuses.

use std::time::Duration;

use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use lifeboat_sim::csi_addons::{CODES, Code};
use serde_json::json;
use tokio::time::Instant;

use crate::driver::Answer;
use crate::on::On;
use crate::rows::fence::{FENCED, direct};
use crate::rows::promote::info;
use crate::world::{DRIVER, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const IN_STEP: &str = "Secondary | volume is marked secondary | Completed=True/Demoted";
const OTHER: &str = "cephfs.csi.example.com";

/// What is called when the call of this letter is answered with the code once, and the calls after it with success.
fn story(letter: &str, code: Code) -> &'static str {
    match (letter, code) {
        ("E", _) => "E E P",
        ("P", Code::FailedPrecondition) => "E P Pf",
        ("P", _) => "E P E P",
        ("M", _) => "E M E M M R",
        ("R", _) => "E M M R M R",
        ("D", Code::NotFound) => "E P D",
        ("D", _) => "E P D D",
        (_, _) => "E P",
    }
}

pub(crate) async fn each_code_at_each_call_is_said_and_got_over(on: &On) {
    let mut world = World::cold(on).await;
    world
        .class("often", DRIVER, &json!({"schedulingInterval": "10s"}))
        .await;
    let healthy = info(Status::Healthy, Some(1_760_000_000));
    world.driver.always("I", healthy);
    let cases = ["E", "P", "I", "M", "R", "D"].iter().flat_map(|letter| {
        let of = |code: &Code| {
            (
                format!("{letter}-{}", i32::from(*code)).to_lowercase(),
                *letter,
                *code,
            )
        };
        CODES.iter().map(of).collect::<Vec<_>>()
    });
    let cases: Vec<(String, &'static str, Code)> = cases.collect();
    for (name, letter, code) in &cases {
        world.claim(name).await;
        let handle = format!("h-{name}");
        world
            .driver
            .once_for(&handle, letter, Answer::Fail(*code, "not now"));
        let state = if ["M", "R"].contains(letter) {
            "secondary"
        } else {
            "primary"
        };
        let class = json!({"volumeReplicationClass": "often"});
        world.ask_with(name, state, &class, &json!({})).await;
    }
    world.start();
    for (name, letter, _) in &cases {
        let told = if ["M", "R"].contains(letter) {
            IN_STEP
        } else {
            PROMOTED
        };
        world.until_status(name, told).await;
        if *letter == "D" {
            world.delete_volume(name).await;
        }
    }
    world
        .until("deleted", async |w| {
            let all = w.volumes().list(&kube::api::ListParams::default()).await;
            all.unwrap().items.len() == cases.len() - CODES.len()
        })
        .await;
    for (name, letter, code) in &cases {
        let handle = format!("h-{name}");
        assert_eq!(
            world.driver.trace(&handle),
            story(letter, *code),
            "{letter} {code:?}"
        );
        if *letter == "I" {
            // The answer to a question is no verdict on the role.
            world
                .until_status(name, "Replicating=True/Replicating")
                .await;
        }
    }
    assert!(world.agent_runs());
    assert!(world.driver.overlaps().is_empty());
}

/// Without the paused clock: a real socket does not know it.
pub(crate) async fn a_socket_that_another_process_takes_over_is_dialled_anew_over_a_unix_socket(
    on: &On,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("csi-addons.sock");
    let mut world = World::cold(on).await;
    let first = world.driver.listen_until(&path);
    let endpoint = lifeboat_drivers::Endpoint::Unix(path.clone());
    world.start_with(|config| config.drivers = vec![(DRIVER.to_owned(), endpoint)]);
    world.claim("db").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    // The file is another one, and whoever had the old one open speaks to nobody.
    first.cancel();
    std::fs::remove_file(&path).unwrap();
    let _second = world.driver.listen_until(&path);
    let start = Instant::now();
    world.ask("db", "secondary").await;
    world.until_status("db", "Secondary |").await;
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(
        world.driver.trace("h-db").starts_with("E P M"),
        "{}",
        world.driver.trace("h-db")
    );
    assert!(world.agent_runs());
}

/// So many volumes at once.
fn many(on: &On) -> usize {
    // Of a real server each costs three objects that nobody waits for otherwise.
    if on.is_simulated() { 1_000 } else { 100 }
}

/// Volumes of the sick driver, and one of a driver that is well.
async fn crowd(on: &On) -> (World, Vec<String>, std::sync::Arc<crate::driver::Driver>) {
    let world = World::cold(on).await;
    let well = world.other_driver(OTHER, "silver").await;
    let names: Vec<String> = (0..many(on)).map(|n| format!("v{n}")).collect();
    for name in &names {
        world.claim(name).await;
        world.ask(name, "primary").await;
    }
    (world, names, well)
}

async fn serve_both(world: &mut World, well: &std::sync::Arc<crate::driver::Driver>) {
    let theirs = (OTHER.to_owned(), well.endpoint());
    world.start_with(|config| config.drivers.push(theirs));
    world
        .until("both served", async |w| {
            w.lease_holder().await.is_some() && w.holder_of(OTHER).await.is_some()
        })
        .await;
}

/// A volume of the driver that is well is served as ever.
async fn other_is_served(world: &World, name: &str) {
    world.claim_of(name, OTHER).await;
    let class = json!({"volumeReplicationClass": "silver"});
    let start = Instant::now();
    world.ask_with(name, "primary", &class, &json!({})).await;
    world.until_status(name, PROMOTED).await;
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

pub(crate) async fn a_thousand_volumes_on_a_driver_that_hangs_or_refuses_hold_up_nobody_elses(
    on: &On,
) {
    let (mut world, names, well) = crowd(on).await;
    let hour = Duration::from_secs(3_600);
    world.driver.always("E", Answer::Slow(hour));
    serve_both(&mut world, &well).await;
    world.pass(30).await;
    let calls = |world: &World| world.driver.count("E");
    assert_eq!(calls(&world), 64, "so many at once, a minute for each");
    other_is_served(&world, "other").await;
    let start = Instant::now();
    world.fence(&direct(&world)).await;
    world.until_fence(FENCED).await;
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "a fence stands in line behind volumes: {took:?}"
    );
    world.pass(120).await;
    assert!((64 * 2..=64 * 3).contains(&calls(&world)));
    other_is_served(&world, "another").await;

    // It is started again, and takes its time.
    world.driver.go_away();
    world
        .until("told", async |w| {
            w.driver_annotation().await.contains("NotReady")
        })
        .await;
    let starting = Answer::Fail(Code::Unavailable, "starting");
    world.driver.always("E", starting);
    world.pass(10).await;
    world.driver.come_back();
    world.pass(150).await;
    let (before, writes) = (calls(&world), world.writes().len());
    world.pass(60).await;
    // Each once in 24 to 30 s: twice or three times in any minute.
    let tries = calls(&world) - before;
    let (least, most) = (names.len() * 2, names.len() * 3);
    assert!((least..=most).contains(&tries), "{tries} tries in a minute");
    assert_eq!(world.writes().len(), writes, "nothing new to say");

    world.driver.always("E", Answer::Ok);
    let start = Instant::now();
    world
        .until("all promoted", async |w| {
            // To read them all takes long, and is not done before there is a chance.
            if w.driver.count("P") < names.len() {
                return false;
            }
            let params = kube::api::ListParams::default();
            let all = w.volumes().list(&params).await.unwrap();
            let primary = |v: &lifeboat_api::VolumeReplication| {
                v.status.as_ref().and_then(|s| s.state.as_deref()) == Some("Primary")
            };
            all.iter().all(primary)
        })
        .await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(33), "{took:?}");
    assert!(world.driver.overlaps().is_empty());
    assert!(world.agent_runs());
}
