//! Watches, through kube's own watcher.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use lifeboat_sim::apiserver::{Identity, Link};
use serde_json::json;

use super::world::*;

async fn label(api: &Api<ConfigMap>, name: &str, odd: &str) {
    let body = json!({"metadata": {"labels": {"odd": odd}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_ways_of_listing_fill_a_store() {
    let api = config_maps(&server().admin());
    for i in 0..1100 {
        api.create(&PostParams::default(), &config_map(&format!("c{i:04}")))
            .await
            .unwrap();
    }
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let (store, writer) = reflector::store();
        let mut events = watcher(api.clone(), config).reflect(writer).boxed();
        while !matches!(
            events.next().await.unwrap().unwrap(),
            watcher::Event::InitDone
        ) {}
        assert_eq!(store.len(), 1100);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_can_be_watched_alone() {
    let k = server().admin();
    config_maps(&k)
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(k.clone(), "default");
    let mut events = watcher(api, watcher::Config::default())
        .applied_objects()
        .boxed();
    assert_eq!(events.try_next().await.unwrap().unwrap().name_any(), "a");
    label(&config_maps(&k), "a", "y").await;
    assert_eq!(
        events.try_next().await.unwrap().unwrap().labels()["odd"],
        "y"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_stops_matching_looks_deleted() {
    let api = config_maps(&server().admin());
    for (name, odd) in [("a", "y"), ("b", "n")] {
        api.create(&PostParams::default(), &config_map(name))
            .await
            .unwrap();
        label(&api, name, odd).await;
    }
    let mut events = watcher(api.clone(), watcher::Config::default().labels("odd=y")).boxed();
    while !matches!(
        events.next().await.unwrap().unwrap(),
        watcher::Event::InitDone
    ) {}
    // The watch is opened when it is first polled.
    let watching = tokio::spawn(async move {
        (
            events.next().await.unwrap().unwrap(),
            events.next().await.unwrap().unwrap(),
        )
    });
    label(&api, "a", "n").await;
    label(&api, "b", "y").await;
    let (first, second) = watching.await.unwrap();
    assert!(matches!(first, watcher::Event::Delete(o) if o.name_any() == "a"));
    assert!(matches!(second, watcher::Event::Apply(o) if o.name_any() == "b"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_starts_after_it_and_sees_every_change() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    label(&api, "a", "y").await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let mut events = api
        .watch(&WatchParams::default(), &a.resource_version().unwrap())
        .await
        .unwrap()
        .boxed();
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => "other",
        });
    }
    assert_eq!(seen, ["modified", "deleted"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks_and_ends_in_time() {
    let api = config_maps(&server().admin());
    let mut events = api
        .watch(&WatchParams::default().timeout(90), "0")
        .await
        .unwrap()
        .boxed();
    let before = tokio::time::Instant::now();
    // One a minute, and one shortly before the end.
    for second in [60, 88] {
        assert!(matches!(
            events.try_next().await.unwrap().unwrap(),
            WatchEvent::Bookmark(_)
        ));
        assert_eq!(before.elapsed(), Duration::from_secs(second));
    }
    assert!(events.try_next().await.unwrap().is_none());
    assert_eq!(before.elapsed(), Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn who_missed_too_much_gets_410_and_lists_again() {
    let server = server();
    server.set_log_cap(64);
    let api = config_maps(&server.admin());
    api.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let link = Link::new();
    let far: Api<ConfigMap> = Api::namespaced(server.client(Identity::admin(), &link), "default");
    let mut events = watcher(far, watcher::Config::default()).boxed();
    while !matches!(
        events.next().await.unwrap().unwrap(),
        watcher::Event::InitDone
    ) {}
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(match events.next().await.unwrap() {
                Ok(watcher::Event::Init) => "init",
                Ok(_) => "event",
                Err(watcher::Error::WatchError(e)) if e.code == 410 => "410",
                Err(e) => panic!("{e:?}"),
            });
        }
        seen
    });
    tokio::task::yield_now().await;
    link.cut();
    for i in 0..100 {
        label(&api, "a", &i.to_string()).await;
    }
    link.heal();
    assert_eq!(watching.await.unwrap(), ["410", "init", "event"]);
}
