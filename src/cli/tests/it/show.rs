//! status and explain.

use serde_json::Value;

use super::world::World;

#[tokio::test]
async fn status_shows_the_fleet_one_placement_and_objects() {
    let world = World::with_placement().await;
    let fleet = world.run(&["status"]).await;
    assert_eq!((fleet.code, fleet.err.as_str()), (0, ""));
    assert!(fleet.out.contains("db    east     Steady"), "{}", fleet.out);
    assert!(fleet.out.contains("No clusters."), "{}", fleet.out);

    let one = world.run(&["status", "db"]).await;
    assert!(one.out.contains("Runs on:   east"), "{}", one.out);
    assert!(one.out.contains("default/data-1  Primary"), "{}", one.out);

    let all = world.run(&["status", "-A", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&all.out).unwrap();
    assert_eq!(
        list.pointer("/items/0/status/cluster"),
        Some(&Value::from("east"))
    );

    let yaml = world.run(&["status", "db", "-o", "yaml"]).await;
    assert!(yaml.out.contains("preferredCluster: east"), "{}", yaml.out);
}

#[tokio::test]
async fn what_is_not_there_is_said_on_standard_error() {
    let world = World::new(&[]).await;
    let gone = world.run(&["status", "nothing"]).await;
    assert_eq!((gone.code, gone.out.as_str()), (1, ""));
    assert!(gone.err.contains("nothing"), "{}", gone.err);
    let usage = world.run(&["relocate", "db"]).await;
    assert_eq!(usage.code, 2);
    let context = world.run(&["status", "--context", "mars"]).await;
    assert_eq!(context.code, 1);
    assert!(context.err.contains("mars"), "{}", context.err);
}

#[tokio::test]
async fn explain_speaks() {
    let world = World::with_placement().await;
    let ended = world.run(&["explain", "db"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.contains("east owns db (epoch 1)"),
        "{}",
        ended.out
    );
    assert!(
        ended
            .out
            .contains("lifeboat relocate db --to west (or north)"),
        "{}",
        ended.out
    );
    let json = world.run(&["explain", "db", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        list.pointer("/items/0/kind"),
        Some(&Value::from("DRPlacement"))
    );
    assert_eq!(
        list.pointer("/items/1/kind"),
        Some(&Value::from("DRPolicy"))
    );
}
