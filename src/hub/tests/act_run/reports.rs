//! What the hub says of clusters and placements.

use std::time::Duration;

use kube::Api;
use lifeboat_api::common::condition;
use lifeboat_api::{DRPolicy, names};
use serde_json::json;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_driver_whose_agent_is_silent_is_named_though_others_live() {
    let world = World::new();
    world.register("dr1", "dr1");
    world.health("dr1", "Healthy").await;
    let lease = |driver: &str, second: u64| {
        let told = json!({"name": driver, "state": "Ready"});
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": "lifeboat-system", "name": names::driver_lease(driver),
                "labels": {names::LEASE: names::DRIVER_LEASE}, "annotations": {names::DRIVER: told.to_string()}},
            "spec": {"holderIdentity": driver, "leaseDurationSeconds": 15,
                "renewTime": format!("2026-01-02T03:{:02}:{:02}.000000Z", 4 + second / 60, second % 60)}})
    };
    let put = |w: &World, driver: &str, second: u64| {
        let body = lease(driver, second).to_string();
        w.members["dr1"].apply_yaml(&body).unwrap();
    };
    let mut second = 0;
    for (both, reason, status) in [
        (true, "Renews", "True"),
        (false, "DriverSilent", "False"),
        (true, "Renews", "True"),
    ] {
        let found = world
            .until(reason, async |w| {
                second += 1;
                put(w, "d1", second);
                if both {
                    put(w, "d2", second);
                }
                let all = w.cluster("dr1").await.status?.conditions;
                (condition(&all, "AgentAlive")?.reason == reason).then_some(all)
            })
            .await;
        let alive = condition(&found, "AgentAlive").unwrap();
        assert_eq!(alive.status, status);
        let named = alive.message.contains("d2 since") && !alive.message.contains("d1");
        assert_eq!(named, !both, "{}", alive.message);
        let ready = condition(&found, "DriversReady").unwrap();
        assert_eq!(ready.status, status, "{}", ready.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_healthy_then_suspect_then_lost_then_healthy() {
    let world = World::new();
    world.register("dr1", "dr1");
    let found = world.health("dr1", "Healthy").await;
    let status = found.status.unwrap();
    assert_eq!(
        condition(&status.conditions, "Reachable").unwrap().status,
        "True"
    );
    assert_eq!(
        condition(&status.conditions, "AgentAlive").unwrap().reason,
        "NoLease"
    );
    world.links["dr1"].cut();
    let found = world.health("dr1", "Suspect").await;
    assert_eq!(
        condition(&found.status.unwrap().conditions, "AgentAlive")
            .unwrap()
            .status,
        "Unknown"
    );
    world.health("dr1", "Lost").await;
    world.links["dr1"].heal();
    world.health("dr1", "Healthy").await;
}

#[tokio::test(start_paused = true)]
async fn one_cluster_under_two_names_is_used_under_the_one_that_had_it_first() {
    let world = World::new();
    world.register("dr1", "dr1");
    world.health("dr1", "Healthy").await;
    // Its age and its name would put it first.
    world.register("another", "dr1");
    let found = world
        .until("the double is seen", async |w| {
            let found = w.cluster("another").await;
            let reason = condition(&found.status.as_ref()?.conditions, "Reachable")?
                .reason
                .clone();
            (reason == "DuplicateCluster").then_some(found)
        })
        .await;
    assert_ne!(found.status.unwrap().health.as_deref(), Some("Healthy"));
    world.health("dr1", "Healthy").await;
}

#[tokio::test(start_paused = true)]
async fn a_placement_without_its_policy_says_so_and_goes_on_when_it_comes() {
    let world = World::new();
    world.placement("gold");
    let found = world.accepted("False").await;
    let status = found.status.unwrap();
    assert_eq!(
        condition(&status.conditions, "Accepted").unwrap().reason,
        "PolicyMissing"
    );
    assert_eq!(
        condition(&status.conditions, "Available").unwrap().status,
        "Unknown"
    );
    world.both_healthy().await;
    world.policy();
    let found = world.accepted("True").await;
    assert!(
        found
            .metadata
            .finalizers
            .unwrap()
            .iter()
            .any(|f| f == names::FINALIZER)
    );
    let policy = world
        .until("the policy is judged", async |w| {
            let found: DRPolicy = Api::all(w.hub.admin()).get("gold").await.ok()?;
            Some(
                condition(&found.status.as_ref()?.conditions, "Valid")?
                    .reason
                    .clone(),
            )
            .filter(|r| r != "ClusterNotFresh")
        })
        .await;
    assert_eq!(policy, "ClassMissing");
    assert_eq!(world.members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    let world = World::new();
    world.both_healthy().await;
    world.policy();
    world.placement("gold");
    world.accepted("True").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.hub.reset_request_counts();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let counts = world.hub.request_counts();
    let writes = counts
        .iter()
        .filter(|((_, verb, what), _)| verb == "patch" && what.contains("drplacements"));
    assert_eq!(writes.count(), 0, "{counts:?}");
    let reads = counts
        .iter()
        .filter(|((_, verb, what), _)| verb == "get" && what.contains("drplacements"));
    assert_eq!(reads.count(), 0, "{counts:?}");
}
