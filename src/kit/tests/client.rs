//! A server that takes a request and never answers.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Config};
use lifeboat_kit::client::bounded;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    let client = bounded(
        Config::new(address.parse().unwrap()),
        Duration::from_secs(30),
    )
    .unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let asked = tokio::spawn(async move { maps.list(&ListParams::default()).await });
    let (mut taken, _) = server.accept().await.unwrap();
    let mut request = [0; 64];
    assert!(taken.read(&mut request).await.unwrap() > 0);
    // From here on nothing comes from outside, and time passes by itself.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    asked.await.unwrap().unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 40);
}
