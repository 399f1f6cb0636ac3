//! What kubectl asks before it does anything: discovery and OpenAPI.

use kube::Client;
use kube::discovery::{Discovery, verbs};
use serde_json::Value;

use super::world::*;

async fn get(client: &Client, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    client.request(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn discovery_finds_built_in_and_custom_kinds() {
    let k = server().admin();
    with_ships(&k).await;
    let found = Discovery::new(k).run().await.unwrap();
    let ships = found.get("sea.example.io").unwrap();
    let (ship, able) = ships.recommended_kind("Ship").unwrap();
    assert_eq!(ship.plural, "ships");
    assert!(able.supports_operation(verbs::WATCH));
    assert!(
        found
            .get("apps")
            .unwrap()
            .recommended_kind("StatefulSet")
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn openapi_describes_fields_and_says_that_the_server_validates() {
    let k = server().admin();
    with_ships(&k).await;
    let index = get(&k, "/openapi/v3").await;
    let url = index["paths"]["apis/sea.example.io/v1alpha1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = get(&k, url).await;
    let ship = &document["components"]["schemas"]["io.example.sea.v1alpha1.Ship"];
    assert_eq!(ship["x-kubernetes-group-version-kind"][0]["kind"], "Ship");
    assert!(
        ship["properties"]["spec"]["properties"]["boats"]["description"]
            .as_str()
            .unwrap()
            .contains("lifeboats")
    );
    let patch = &document["paths"]["/apis/sea.example.io/v1alpha1/namespaces/{namespace}/ships/{name}"]
        ["patch"];
    assert!(
        patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["name"] == "fieldValidation")
    );
    let apps = get(&k, "/openapi/v3/apis/apps/v1").await;
    assert!(apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"].is_object());
}

#[tokio::test(start_paused = true)]
async fn protobuf_is_refused_in_words() {
    let k = server().admin();
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(b"k8s\0".to_vec())
        .unwrap();
    let (code, _, message) = refusal(k.request::<Value>(request).await);
    assert_eq!(code, 415);
    assert!(message.contains("does not read protobuf"), "{message}");
}
