//! What a broken link or a server without power looks like from a client.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, PostParams, WatchParams};
use lifeboat_sim::apiserver::{Identity, Link};
use tokio::time::{Instant, timeout};

use super::world::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn is_connection_error<T>(r: &Result<T, kube::Error>) -> bool {
    matches!(r, Err(kube::Error::Service(_)))
}

#[tokio::test(start_paused = true)]
async fn on_a_cut_link_requests_hang_until_it_is_mended() {
    let (server, link) = (server(), Link::new());
    let api = config_maps(&server.client(Identity::admin(), &link));
    link.cut();
    assert!(
        timeout(PATIENCE, api.list(&ListParams::default()))
            .await
            .is_err()
    );
    let late = tokio::spawn({
        let api = api.clone();
        async move { api.list(&ListParams::default()).await }
    });
    tokio::task::yield_now().await;
    assert!(
        config_maps(&server.admin())
            .list(&ListParams::default())
            .await
            .is_ok(),
        "other links work"
    );
    link.heal();
    assert!(late.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_fails_at_once() {
    let (server, link) = (server(), Link::new());
    let api = config_maps(&server.client(Identity::admin(), &link));
    link.refuse();
    let before = Instant::now();
    assert!(is_connection_error(&api.list(&ListParams::default()).await));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_hides_a_write_that_happened() {
    let (server, link) = (server(), Link::new());
    let api = config_maps(&server.client(Identity::admin(), &link));
    link.lose_next_replies(1);
    assert!(is_connection_error(
        &api.create(&PostParams::default(), &config_map("a")).await
    ));
    assert!(api.get("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn injected_failures_and_latency_come_as_told() {
    let (server, link) = (server(), Link::new());
    let api = config_maps(&server.client(Identity::admin(), &link));
    link.fail_next(2, 503);
    assert_eq!(
        refusal(api.create(&PostParams::default(), &config_map("a")).await).0,
        503
    );
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 503);
    assert!(
        api.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty(),
        "nothing was executed"
    );
    link.set_latency(Duration::from_millis(200));
    let before = Instant::now();
    api.list(&ListParams::default()).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_cut_silences_watches_and_a_drop_ends_them() {
    let (server, link) = (server(), Link::new());
    let near = config_maps(&server.admin());
    let far = config_maps(&server.client(Identity::admin(), &link));
    let mut events = far
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    link.cut();
    near.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    assert!(timeout(PATIENCE, events.next()).await.is_err());
    link.heal();
    assert!(events.next().await.unwrap().is_ok());
    link.drop_watches();
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_refuses_breaks_watches_and_keeps_its_data() {
    let server = server();
    let api: Api<ConfigMap> = config_maps(&server.admin());
    api.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let mut events = api
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    assert!(events.next().await.unwrap().is_ok());
    server.stop();
    assert!(events.next().await.unwrap().is_err());
    assert!(is_connection_error(&api.get("a").await));
    server.start();
    assert!(api.get("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_is_silent_until_it_thaws() {
    let server = server();
    let api = config_maps(&server.admin());
    let mut events = api
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    server.freeze();
    assert!(
        timeout(
            PATIENCE,
            api.create(&PostParams::default(), &config_map("a"))
        )
        .await
        .is_err()
    );
    assert!(timeout(PATIENCE, events.next()).await.is_err());
    server.thaw();
    api.create(&PostParams::default(), &config_map("b"))
        .await
        .unwrap();
    assert!(events.next().await.unwrap().is_ok());
}
