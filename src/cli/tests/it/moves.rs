//! relocate and failover.

use lifeboat_api::placement::Action;
use serde_json::{Value, json};

use super::world::{World, end, said, status};

fn edit(mut status: Value, key: &str, value: Value) -> Value {
    status[key] = value;
    status
}

#[tokio::test]
async fn relocate_writes_the_wish_once_and_asks_again_with_a_ticket() {
    let world = World::with_placement().await;
    let ended = world.run(&["relocate", "db", "--to", "west"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let spec = world.placement().await.spec;
    assert_eq!(
        (spec.preferred_cluster.as_str(), spec.action),
        ("west", Some(Action::Relocate))
    );
    assert_eq!(spec.request_id, None);

    assert_eq!(world.run(&["relocate", "db", "--to", "west"]).await.code, 0);
    assert!(world.placement().await.spec.request_id.is_some());
}

#[tokio::test]
async fn a_program_that_asks_for_a_move_is_answered_with_the_object() {
    let world = World::with_placement().await;
    let look = ["failover", "db", "--to", "west", "--dry-run", "-o", "json"];
    let look = world.run(&look).await;
    let object: Value = serde_json::from_str(&look.out).unwrap();
    assert_eq!(object.pointer("/status/cluster"), Some(&json!("east")));
    assert!(look.err.contains("may be lost"), "{}", look.err);
    let asked = ["relocate", "db", "--to", "west", "-o", "json"];
    let asked = world.run(&asked).await;
    let object: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!(
        object.pointer("/spec/preferredCluster"),
        Some(&json!("west"))
    );
    assert!(asked.err.contains("is asked for"), "{}", asked.err);
}

#[tokio::test]
async fn relocate_to_where_it_is_changes_nothing_and_to_nowhere_is_refused() {
    let world = World::with_placement().await;
    let before = world.placement().await;
    let here = world.run(&["relocate", "db", "--to", "east"]).await;
    assert_eq!(here.code, 0);
    assert!(here.out.contains("nothing to do"), "{}", here.out);
    let nowhere = world.run(&["relocate", "db", "--to", "mars"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.err.contains("does not name cluster mars"),
        "{}",
        nowhere.err
    );
    assert_eq!(
        world.placement().await.metadata.resource_version,
        before.metadata.resource_version
    );
}

#[tokio::test]
async fn waiting_ends_when_the_move_is_over() {
    let world = World::with_placement().await;
    let child = world.start(&["relocate", "db", "--to", "west", "--wait"]);
    let generation = world
        .until(|p| p.spec.preferred_cluster == "west")
        .await
        .metadata
        .generation;
    world
        .report(&status("east", "Relocating", generation))
        .await;
    world
        .report(&status("west", "CleaningUp", generation))
        .await;
    let moved = json!([{
        "type": "Relocate", "from": "east", "to": "west", "epoch": 2, "result": "Succeeded",
        "startTime": "2026-01-02T03:04:05Z", "availableTime": "2026-01-02T03:04:09Z", "completeTime": "2026-01-02T03:04:10Z",
        "steps": [{"name": "Promote", "startTime": "2026-01-02T03:04:06Z", "milliseconds": 1500}],
    }]);
    world
        .report(&edit(
            status("west", "Steady", generation),
            "actions",
            moved,
        ))
        .await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("done: on west"), "{}", ended.out);
    assert!(ended.out.contains("available after 4s"), "{}", ended.out);
}

#[tokio::test]
async fn waiting_ends_when_a_person_must_act() {
    let world = World::with_placement().await;
    let child = world.start(&["relocate", "db", "--to", "west", "--wait"]);
    let generation = world
        .until(|p| p.spec.preferred_cluster == "west")
        .await
        .metadata
        .generation;
    let blocker = json!([{"reason": "SourceUnreachable", "message": "east does not answer", "remedy": "mend east"}]);
    world
        .report(&edit(
            status("east", "Steady", generation),
            "blockers",
            blocker,
        ))
        .await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("east does not answer") && ended.err.contains("mend east"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn waiting_ends_at_its_time() {
    let world = World::with_placement().await;
    let ended = world
        .run(&[
            "relocate",
            "db",
            "--to",
            "west",
            "--wait",
            "--timeout",
            "300ms",
        ])
        .await;
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("not over within 300ms"), "{}", ended.err);
}

#[tokio::test]
async fn a_failover_shows_the_loss_and_is_refused_where_nobody_can_be_asked() {
    let world = World::with_placement().await;
    for (args, code) in [(vec!["--dry-run"], 0), (vec![], 2)] {
        let ended = world
            .run(&[vec!["failover", "db", "--to", "west"], args].concat())
            .await;
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(ended.out.contains("may be lost"), "{}", ended.out);
        assert!(ended.out.contains("default/data-0"), "{}", ended.out);
        assert!(ended.out.contains("TargetHealthy"), "{}", ended.out);
    }
    assert_eq!(world.placement().await.spec.action, None);
}

#[tokio::test]
async fn a_failover_that_is_accepted_is_asked_for_and_over_when_it_runs() {
    let world = World::with_placement().await;
    let child = world.start(&["failover", "db", "--to", "west", "--yes", "--wait"]);
    let asked = world
        .until(|p| p.spec.action == Some(Action::Failover))
        .await;
    assert_eq!(asked.spec.failover_cluster.as_deref(), Some("west"));
    assert_eq!(asked.spec.preferred_cluster, "east");
    world
        .report(&status("west", "CleaningUp", asked.metadata.generation))
        .await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);

    let again = world
        .run(&["failover", "db", "--to", "west", "--yes"])
        .await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is on west already"), "{}", again.err);
}

#[tokio::test]
async fn a_failover_is_not_over_before_the_application_ran() {
    let world = World::with_placement().await;
    let mut child = world.start(&["failover", "db", "--to", "west", "--yes", "--wait"]);
    let asked = world
        .until(|p| p.spec.action == Some(Action::Failover))
        .await;
    let mut moved = json!({
        "type": "Failover", "from": "east", "to": "west", "epoch": 1, "result": "Running",
        "startTime": "2026-01-02T03:04:05Z",
    });
    let crashing = status("west", "CleaningUp", asked.metadata.generation);
    world
        .report(&edit(crashing.clone(), "actions", json!([moved])))
        .await;
    said(&mut child, "CleaningUp").await;
    moved["availableTime"] = json!("2026-01-02T03:09:05Z");
    world
        .report(&edit(crashing, "actions", json!([moved])))
        .await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("available after 5m"), "{}", ended.out);
}

#[tokio::test]
async fn taking_a_move_back_is_followed_to_its_end() {
    let world = World::with_placement().await;
    assert_eq!(world.run(&["relocate", "db", "--to", "west"]).await.code, 0);
    let generation = world.placement().await.metadata.generation;
    world
        .report(&status("east", "Relocating", generation))
        .await;
    let mut child = world.start(&["relocate", "db", "--to", "east", "--wait"]);
    let generation = world
        .until(|p| p.spec.preferred_cluster == "east")
        .await
        .metadata
        .generation;
    world
        .report(&status("east", "Cancelling", generation))
        .await;
    said(&mut child, "Cancelling").await;
    world.report(&status("east", "Steady", generation)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("done: on east"), "{}", ended.out);
}
