//! Rows 58-66: drivers, API servers and agents that come and go.

use serde_json::json;
use tonic::Code;

use crate::driver::{Answer, Identity};
use crate::on::On;
use crate::world::World;

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";

pub(crate) async fn row_58_a_driver_may_come_after_the_agent(on: &On) {
    let mut world = World::cold(on).await;
    world.driver.go_away();
    world.start();
    world.claim("db").await;
    world.ask("db", "primary").await;
    world
        .until_status("db", "driver rbd.csi.example.com is not ready")
        .await;
    world.pass(120).await;
    assert!(world.agent_runs());
    assert!(world.driver_annotation().await.contains("NotReady"));
    world.driver.come_back();
    let start = tokio::time::Instant::now();
    world.until_status("db", PROMOTED).await;
    assert!(start.elapsed().as_secs() < 3);
    world
        .until("told", async |w| {
            w.driver_annotation().await.contains("\"Ready\"")
        })
        .await;
}

pub(crate) async fn row_58_a_driver_that_says_it_is_not_ready_is_waited_for(on: &On) {
    for identity in [Identity::Addons, Identity::Csi] {
        let mut world = World::with_identity(on, identity).await;
        world.driver.says_ready(false);
        world.start();
        world.claim("db").await;
        world.ask("db", "primary").await;
        world
            .until_status("db", "is not ready: it says it is not ready")
            .await;
        world.pass(120).await;
        assert!(world.driver.seen().is_empty());
        assert!(world.driver_annotation().await.contains("NotReady"));
        world.driver.says_ready(true);
        let start = tokio::time::Instant::now();
        world.until_status("db", PROMOTED).await;
        assert!(start.elapsed().as_secs() < 3);
    }
}

pub(crate) async fn row_59_a_socket_that_is_lost_for_a_minute_changes_no_state(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.claim("late").await;
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    let before = world.volume("db").await.status;
    world.driver.go_away();
    world
        .until("told", async |w| {
            w.driver_annotation().await.contains("NotReady")
        })
        .await;
    world.ask("late", "primary").await;
    world.pass(60).await;
    assert_eq!(world.volume("db").await.status, before);
    assert!(world.agent_runs());
    world.driver.come_back();
    world.until_status("late", PROMOTED).await;
    assert_eq!(world.volume("db").await.status, before);
    assert_eq!(world.driver.trace("h-db"), "E P");
}

pub(crate) async fn row_59_a_call_that_is_lost_with_the_socket_is_made_again(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    let hour = std::time::Duration::from_secs(3600);
    world.driver.next("P", Answer::Slow(hour));
    world.ask("db", "primary").await;
    world
        .until("in flight", async |w| w.driver.trace("h-db") == "E P")
        .await;
    world.driver.go_away();
    world
        .until_status("db", "Completed=False/FailedToPromote")
        .await;
    world.pass(60).await;
    assert!(world.agent_runs());
    assert_eq!(
        world.driver.trace("h-db"),
        "E P",
        "nobody is there to be called"
    );
    world.driver.come_back();
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E P E P");
}

pub(crate) async fn row_60_either_identity_service_will_do(on: &On) {
    for identity in [Identity::Addons, Identity::Csi] {
        let mut world = World::with_identity(on, identity).await;
        world.start();
        world.claim("db").await;
        world.ask("db", "primary").await;
        world.until_status("db", PROMOTED).await;
        assert!(world.driver.probes() > 0);
    }
}

pub(crate) async fn row_62_many_events_never_make_two_calls_for_one_handle(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    for letter in ["E", "P", "M", "R"] {
        world
            .driver
            .always(letter, Answer::Slow(std::time::Duration::from_millis(300)));
    }
    for round in 0..20 {
        let state = if round % 2 == 0 {
            "primary"
        } else {
            "secondary"
        };
        world
            .ask_with(
                "db",
                state,
                &json!({"replicationHandle": format!("r{round}")}),
                &json!({}),
            )
            .await;
        tokio::time::sleep(std::time::Duration::from_millis(170)).await;
    }
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    assert!(world.driver.overlaps().is_empty());
}

pub(crate) async fn row_63_a_conflict_or_a_lost_api_server_repeats_no_call(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world
        .driver
        .next("P", Answer::Slow(std::time::Duration::from_secs(5)));
    world.ask("db", "primary").await;
    world
        .until("in flight", async |w| w.driver.trace("h-db") == "E P")
        .await;
    // The object moves on while the call is under way: the version that the agent knows is old.
    world
        .patch_volume("db", &json!({"metadata": {"labels": {"touched": "yes"}}}))
        .await;
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.trace("h-db"), "E P");

    world
        .driver
        .next("M", Answer::Slow(std::time::Duration::from_secs(2)));
    world.ask("db", "secondary").await;
    world
        .until("in flight", async |w| w.driver.trace("h-db") == "E P M")
        .await;
    world.cut();
    world.pass(8).await;
    world.heal();
    world.until_status("db", "Secondary |").await;
    assert_eq!(
        world.driver.trace("h-db").matches('M').count(),
        1,
        "{}",
        world.driver.trace("h-db")
    );
}

pub(crate) async fn row_65_a_second_agent_waits_and_takes_over(on: &On) {
    let mut first = World::new(on).await;
    first.claim("db").await;
    let second = first.second("agent-1");
    first.ask("db", "primary").await;
    first.until_status("db", PROMOTED).await;
    first.pass(60).await;
    assert_eq!(first.lease_holder().await.as_deref(), Some("agent-0"));
    first.kill();
    let start = tokio::time::Instant::now();
    first.ask("db", "secondary").await;
    first.until_status("db", "Secondary |").await;
    let taken = start.elapsed().as_secs();
    assert!(
        (10..=20).contains(&taken),
        "after the lease ran out, {taken} s"
    );
    assert!(first.driver.trace("h-db").starts_with("E P M"));
    drop(second);
}

pub(crate) async fn a_stop_gives_the_lease_up_at_once(on: &On) {
    let mut world = World::new(on).await;
    world.stop().await;
    assert_eq!(world.lease_holder().await, None);
}

pub(crate) async fn an_api_server_that_fails_does_not_end_the_agent(on: &On) {
    let world = World::new(on).await;
    world.claim("db").await;
    world.fail_next(20, 500);
    world.ask("db", "primary").await;
    world.until_status("db", PROMOTED).await;
    world.driver.always("P", Answer::Fail(Code::Internal, "no"));
    assert!(world.agent_runs());
}

pub(crate) async fn the_same_script_twice_gives_the_same_calls_at_the_same_times(on: &On) {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let world = World::new(on).await;
        // The script begins here; how often the test had to look for the Lease before is no part of it.
        let begun = world.driver.clock();
        for name in ["a", "b", "c", "d"] {
            world.claim(name).await;
            world.driver.next("P", Answer::Fail(Code::Internal, "no"));
            world.ask(name, "primary").await;
        }
        for name in ["a", "b", "c", "d"] {
            world.until_status(name, PROMOTED).await;
            world.ask(name, "secondary").await;
        }
        world.pass(60).await;
        runs.push(
            world
                .driver
                .seen()
                .iter()
                .map(|s| format!("{:?} {} {}", s.at.abs_diff(begun), s.letter, s.handle))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(runs[0], runs[1]);
}
