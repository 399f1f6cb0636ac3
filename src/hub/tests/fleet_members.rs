//! Clusters that come, go, fall silent and return.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is how a failure is told"
)]

mod fleet_common;

use std::time::Duration;

use fleet_common::*;
use lifeboat_core::observed::{AgentFacts, ArchiveFacts, Contact};
use lifeboat_hub::fleet::Wake;
use lifeboat_hub::observe::observe;
use lifeboat_kit::Clock;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_cluster_joins_and_leaves() {
    let world = world();
    let _dr1 = site(&world, "dr1");
    world.join("dr1");
    assert!(matches!(world.contact("dr1"), Contact::Never { .. }));
    world.fresh("dr1").await;
    let status = world.fleet.status(&id("dr1")).unwrap();
    assert!(status.cluster_uid.is_some());
    assert!(status.kubernetes_version.is_some());
    assert!(world.fleet.client(&id("dr1")).is_some());
    assert!(world.take_wakes().contains(&Wake::Cluster(id("dr1"))));

    world.fleet.remove(&id("dr1"));
    assert!(world.fleet.status(&id("dr1")).is_none());
    assert!(world.fleet.client(&id("dr1")).is_none());
    assert_eq!(world.take_wakes(), [Wake::Cluster(id("dr1"))]);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_kept_rotated_and_refused() {
    let world = world();
    let _dr1 = site(&world, "dr1");
    world.join("dr1");
    world.fresh("dr1").await;
    world.join("dr1");
    assert!(
        world.contact("dr1").is_fresh(),
        "the same credentials change nothing"
    );
    world
        .fleet
        .set(&id("dr1"), Ok(kubeconfig("dr1", "t2")), None);
    assert!(
        !world.contact("dr1").is_fresh(),
        "new credentials prove nothing yet"
    );
    world.fresh("dr1").await;

    let hostile = String::from_utf8(kubeconfig("dr1", "t"))
        .unwrap()
        .replace("token: t", "exec: {command: sh}");
    world.fleet.set(&id("dr1"), Ok(hostile.into_bytes()), None);
    let Contact::Refused { why, .. } = world.contact("dr1") else {
        panic!("not refused")
    };
    assert!(why.contains("exec"), "{why}");
    assert!(world.fleet.client(&id("dr1")).is_none());
    world
        .fleet
        .set(&id("dr1"), Err("Secret dr1 does not exist".into()), None);
    let Contact::Refused { why, .. } = world.contact("dr1") else {
        panic!("not refused")
    };
    assert_eq!(why, "Secret dr1 does not exist");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_another_than_it_was_is_refused() {
    let world = world();
    let (_dr1, dr2) = (site(&world, "dr1"), site(&world, "dr2"));
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    put(&dr2, &shop);
    world.join("dr1");
    world.fresh("dr1").await;
    let uid = world.fleet.status(&id("dr1")).unwrap().cluster_uid;
    let scope = scope(&lifeboat_core::Journal::default());
    let lead = |host: &str| {
        let credentials = Ok(kubeconfig(host, "t"));
        world.fleet.set(&id("dr1"), credentials, uid.clone());
    };
    lead("dr2");
    let refused = || {
        let client = world.fleet.client(&id("dr1"));
        let seen = world.observe(&scope).clusters.remove(&id("dr1")).unwrap();
        assert!(client.is_none() && seen.namespaces.is_empty() && !seen.contact.is_fresh());
        matches!(world.contact("dr1"), Contact::Replaced { why, .. } if why.contains("was registered with the cluster of uid"))
    };
    world.until("dr1 is refused", refused).await;
    lead("dr1");
    world.fresh("dr1").await;
    assert!(world.fleet.client(&id("dr1")).is_some());

    // The same when nothing but the expectation changes: the DRCluster was deleted and created again.
    lead("dr2");
    world.until("dr1 is refused again", refused).await;
    let again = Ok(kubeconfig("dr2", "t"));
    world.fleet.set(&id("dr1"), again, None);
    world.fresh("dr1").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_not_looked_at_yet_is_not_taken_for_gone() {
    let world = world();
    let scope = scope(&lifeboat_core::Journal::default());
    let (archive, now) = (ArchiveFacts::default(), world.clock.now());
    let seen = observe(&world.fleet, &scope, archive, now, |c| *c == id("dr1"));
    let contact = |name: &str| seen.cluster(&id(name)).contact.clone();
    assert!(matches!(contact("dr1"), Contact::Never { .. }));
    assert!(matches!(contact("dr2"), Contact::Unregistered { .. }));
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_in_time_and_what_was_missed_is_read_anew() {
    let world = world();
    let (dr1, _dr2) = (site(&world, "dr1"), site(&world, "dr2"));
    world.join("dr1");
    world.join("dr2");
    world.fresh("dr1").await;
    world.fresh("dr2").await;
    world.take_wakes();

    dr1.link.cut();
    let noticed = world
        .until("dr1 is stale", || {
            matches!(world.contact("dr1"), Contact::Stale { .. })
        })
        .await;
    assert!(noticed <= Duration::from_secs(7), "{noticed:?}");
    world
        .until("told", || {
            world.wakes.lock().contains(&Wake::Cluster(id("dr1")))
        })
        .await;
    assert!(
        world.contact("dr2").is_fresh(),
        "one cluster's silence is its own"
    );

    put(
        &dr1,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
    );
    dr1.link.heal();
    world.fresh("dr1").await;
    let seen = world.observe(&scope(&lifeboat_core::Journal::default()));
    assert!(seen.cluster(&id("dr1")).namespaces.contains_key("shop"));
    assert!(seen.cluster(&id("dr1")).contact.is_fresh());
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_is_named_until_it_is_installed() {
    let world = world();
    let dr1 = bare_site(&world, "dr1");
    world.join("dr1");
    world
        .until("the CRD is named", || {
            matches!(world.contact("dr1"), Contact::Behind { why, .. } if why.contains("CRD is not installed"))
        })
        .await;
    install_crds(&dr1);
    world.fresh("dr1").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_and_a_broken_watch_heal() {
    let world = world();
    let dr1 = site(&world, "dr1");
    world.join("dr1");
    world.fresh("dr1").await;
    dr1.link.refuse();
    world
        .until("stale", || !world.contact("dr1").is_fresh())
        .await;
    dr1.link.heal();
    world.fresh("dr1").await;
    dr1.link.drop_watches();
    world.fresh("dr1").await;
}

#[tokio::test(start_paused = true)]
async fn agents_are_seen_by_their_renewals() {
    let world = world();
    let dr1 = site(&world, "dr1");
    world.join("dr1");
    world.fresh("dr1").await;
    let lease = |at: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": "lifeboat-system", "name": "lifeboat-agent-d", "labels": {"lifeboat.dev/lease": "driver"}},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": at}})
    };
    let agent = || world.fleet.status(&id("dr1")).unwrap().agent;
    put(&dr1, &lease("2026-01-01T12:00:00.000000Z"));
    world
        .until("alive", || matches!(agent(), AgentFacts::Alive { .. }))
        .await;
    let gone = world
        .until("silent", || matches!(agent(), AgentFacts::Silent { .. }))
        .await;
    assert!(
        gone >= Duration::from_secs(14) && gone <= Duration::from_secs(16),
        "{gone:?}"
    );
    put(&dr1, &lease("1999-01-01T12:00:00.000000Z"));
    world
        .until("alive by a wrong clock", || {
            matches!(agent(), AgentFacts::Alive { .. })
        })
        .await;
}
