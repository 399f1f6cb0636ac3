//! The same servers behind HTTPS, as other processes see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use lifeboat_sim::apiserver::{ApiServer, Identity, Link, ServeHandle, serve};

use super::world::*;

async fn served() -> (Arc<ApiServer>, ServeHandle) {
    let server = server();
    let handle = serve(
        "127.0.0.1:0".parse().unwrap(),
        BTreeMap::from([("east".to_owned(), server.clone())]),
    )
    .await
    .unwrap();
    (server, handle)
}

async fn client(kubeconfig: &str) -> Client {
    let parsed = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn a_kubeconfig_with_a_certificate_works() {
    let (_server, handle) = served().await;
    let k = client(&handle.kubeconfig("east", &Identity::admin()).unwrap()).await;
    assert_eq!(
        k.apiserver_version().await.unwrap().git_version,
        "v1.33.0-sim"
    );
    let api = config_maps(&k);
    api.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let mut events = Box::pin(watcher(api, watcher::Config::default()).applied_objects());
    assert_eq!(events.try_next().await.unwrap().unwrap().name_any(), "a");
}

#[tokio::test]
async fn tokens_are_known_or_refused_and_strangers_may_do_little() {
    let (server, handle) = served().await;
    server.add_token("secret", Identity::admin());
    let k = client(&handle.kubeconfig_with_token("east", "secret")).await;
    assert!(config_maps(&k).list(&ListParams::default()).await.is_ok());
    let k = client(&handle.kubeconfig_with_token("east", "guess")).await;
    assert_eq!(
        refusal(config_maps(&k).list(&ListParams::default()).await).0,
        401
    );
    let k = client(
        &handle
            .kubeconfig("east", &Identity::user("jane", &[]))
            .unwrap(),
    )
    .await;
    let (code, _, message) = refusal(config_maps(&k).list(&ListParams::default()).await);
    assert_eq!(code, 403);
    assert!(message.contains("User \"jane\" cannot list"), "{message}");
}

#[tokio::test]
async fn a_stopped_server_drops_connections_and_a_cut_route_hangs() {
    let (server, handle) = served().await;
    let link = Link::new();
    handle.route("far", server.clone(), link.clone());
    let far = config_maps(&client(&handle.kubeconfig("far", &Identity::admin()).unwrap()).await);
    let near = config_maps(&client(&handle.kubeconfig("east", &Identity::admin()).unwrap()).await);
    assert!(far.list(&ListParams::default()).await.is_ok());
    link.cut();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), far.list(&ListParams::default()))
            .await
            .is_err()
    );
    assert!(near.list(&ListParams::default()).await.is_ok());
    server.stop();
    assert!(matches!(
        near.list(&ListParams::default()).await,
        Err(kube::Error::Service(_) | kube::Error::HyperError(_))
    ));
    server.start();
    assert!(near.list(&ListParams::default()).await.is_ok());
}
