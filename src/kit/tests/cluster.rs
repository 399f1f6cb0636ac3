//! Lease, watch, apply and events against a simulated API server, under a paused clock.
#![allow(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use lifeboat_kit::events::{EventKind, News, Recorder};
use lifeboat_kit::lease::{Annotations, Held, Lease, LeaseConfig};
use lifeboat_kit::task::{Task, spawn};
use lifeboat_kit::{Conflicts, SharedClock, TokioClock, WatchEvent, apply, watch_into};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link};
use lifeboat_sim::clock::SimClock;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn server() -> Arc<ApiServer> {
    ApiServer::new(
        "east",
        SimClock::at("2026-01-02T03:04:05Z".parse().unwrap()),
    )
}

fn clock() -> SharedClock {
    Arc::new(TokioClock::at("2026-01-02T03:04:05Z".parse().unwrap()))
}

struct Contender {
    held: watch::Receiver<Held>,
    annotations: Annotations,
    cancel: CancellationToken,
    task: Task<()>,
}

fn contender(client: Client, identity: &str) -> Contender {
    let config = LeaseConfig {
        namespace: "default".into(),
        name: "turn".into(),
        labels: BTreeMap::from([("kind".to_owned(), "turn".to_owned())]),
        identity: identity.into(),
        ttl: Duration::from_secs(15),
    };
    let (lease, held, annotations) = Lease::new(client, config, clock());
    let cancel = CancellationToken::new();
    let task = spawn(identity.to_owned(), lease.run(cancel.clone()));
    Contender {
        held,
        annotations,
        cancel,
        task,
    }
}

/// Looks again and again until it holds; panics if it does not within this time.
async fn until(what: &str, within: Duration, holds: impl AsyncFn() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(within, look).await;
    assert!(seen.is_ok(), "never: {what}");
}

async fn until_held(contender: &mut Contender) -> Duration {
    let start = Instant::now();
    contender.held.wait_for(Held::is_yes).await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_holds_a_lease_and_a_crash_costs_its_duration() {
    let server = server();
    let mut first = contender(server.admin(), "a");
    assert!(until_held(&mut first).await < Duration::from_secs(1));
    let mut second = contender(server.admin(), "b");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(first.held.borrow().is_yes() && !second.held.borrow().is_yes());
    drop(first.task);
    let taken = until_held(&mut second).await;
    assert!((10..=18).contains(&taken.as_secs()), "{taken:?}");
    assert!(matches!(
        *second.held.borrow(),
        Held::Yes { transitions: 1, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn who_waits_knows_for_whom_and_a_lease_has_its_labels() {
    let server = server();
    let mut first = contender(server.admin(), "a");
    until_held(&mut first).await;
    let mut second = contender(server.admin(), "b");
    let other = Held::No {
        holder: Some("a".into()),
    };
    second.held.wait_for(|held| *held == other).await.unwrap();
    let leases: Api<LeaseObject> = Api::namespaced(server.admin(), "default");
    let labels = leases.get("turn").await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["kind"], "turn");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_up_is_taken_within_seconds() {
    let server = server();
    let mut first = contender(server.admin(), "a");
    until_held(&mut first).await;
    let mut second = contender(server.admin(), "b");
    first.cancel.cancel();
    first.task.join().await.unwrap();
    assert!(until_held(&mut second).await < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_stops_before_anyone_else_may_start() {
    let server = server();
    let link = Link::new();
    let mut first = contender(server.client(Identity::admin(), &link), "a");
    until_held(&mut first).await;
    let mut second = contender(server.admin(), "b");
    tokio::time::sleep(Duration::from_secs(7)).await;
    link.cut();
    let (mut a, mut b) = (first.held.clone(), second.held.clone());
    let stopped = spawn("stopped", async move {
        a.wait_for(|held| !held.is_yes()).await.unwrap();
        Instant::now()
    });
    let started = spawn("started", async move {
        b.wait_for(Held::is_yes).await.unwrap();
        Instant::now()
    });
    assert!(stopped.join().await.unwrap() < started.join().await.unwrap());
    link.heal();
    until_held(&mut second).await;
    assert!(!first.held.borrow().is_yes());
}

#[tokio::test(start_paused = true)]
async fn an_annotation_is_written_at_once() {
    let server = server();
    let mut only = contender(server.admin(), "a");
    until_held(&mut only).await;
    only.annotations
        .send_modify(|all| drop(all.insert("example.com/x".into(), "1".into())));
    let api: Api<LeaseObject> = Api::namespaced(server.admin(), "default");
    until("it is written", Duration::from_secs(1), async || {
        let annotations = api.get("turn").await.unwrap().metadata.annotations;
        annotations.is_some_and(|all| all.get("example.com/x").is_some_and(|v| v == "1"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_says_when_it_is_lost_and_starts_from_a_full_list() {
    let server = server();
    let link = Link::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(Identity::admin(), &link), "default");
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let sink = move |event: WatchEvent<ConfigMap>| {
        let name = |object: &ConfigMap| {
            assert!(object.metadata.managed_fields.is_none());
            object.metadata.name.clone().unwrap_or_default()
        };
        log.lock().push(match event {
            WatchEvent::Synced(all) => {
                format!("synced {:?}", all.iter().map(name).collect::<Vec<_>>())
            }
            WatchEvent::Apply(object) => format!("apply {}", name(&object)),
            WatchEvent::Delete(object) => format!("delete {}", name(&object)),
            WatchEvent::Lost(_) => "lost".to_owned(),
        });
    };
    let admin: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let task = spawn(
        "watch",
        watch_into(
            api,
            watcher::Config::default(),
            sink,
            CancellationToken::new(),
        ),
    );
    let told = async |news: &str| {
        let is_last = async || seen.lock().last().is_some_and(|last| last == news);
        until(news, Duration::from_secs(60), is_last).await;
    };
    told("synced []").await;
    apply(&admin, "a", "test", &map("a"), Conflicts::Force)
        .await
        .unwrap();
    told("apply a").await;
    link.refuse();
    link.drop_watches();
    apply(&admin, "b", "test", &map("b"), Conflicts::Force)
        .await
        .unwrap();
    told("lost").await;
    link.heal();
    told("synced [\"a\", \"b\"]").await;
    admin
        .delete("a", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    told("delete a").await;
    // Nothing comes twice, but that it is lost.
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(task);
    let mut seen = seen.lock().clone();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "synced []",
            "apply a",
            "lost",
            "synced [\"a\", \"b\"]",
            "delete a"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_news_is_counted_and_not_repeated() {
    let server = server();
    let recorder = Recorder::new(server.admin(), "lifeboat-agent", "agent-0", clock());
    let about = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("ConfigMap".into()),
        namespace: Some("default".into()),
        name: Some("a".into()),
        ..ObjectReference::default()
    };
    let news = |note: &str| News {
        kind: EventKind::Warning,
        reason: "Trouble",
        action: "Try",
        note: note.into(),
    };
    for _ in 0..10 {
        recorder.tell(&about, news("the same")).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    recorder.tell(&about, news("another")).await;
    let api: Api<Event> = Api::namespaced(server.admin(), "default");
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let mut counts: Vec<i32> = all
        .iter()
        .map(|e| e.series.as_ref().map_or(1, |s| s.count))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts.len(), 2);
    assert!(counts[1] >= 8, "{counts:?}");
}
