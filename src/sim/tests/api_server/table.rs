//! What `kubectl get` would print.

use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::world::*;

async fn table(client: &Client, path: &str) -> Value {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let request = http::Request::get(path)
        .header("accept", accept)
        .body(Vec::new())
        .unwrap();
    client.request(request).await.unwrap()
}

fn names(table: &Value) -> Vec<&str> {
    table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn custom_resources_have_their_own_columns() {
    let k = server().admin();
    let api = with_ships(&k).await;
    api.create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    let status = json!({"status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}});
    api.patch_status("s", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    tokio::time::advance(Duration::from_secs(303)).await;
    let t = table(&k, "/apis/sea.example.io/v1alpha1/namespaces/default/ships").await;
    assert_eq!(names(&t), ["Name", "Port", "Ready", "Age"]);
    assert_eq!(t["rows"][0]["cells"], json!(["s", "a", "True", "5m3s"]));
    assert_eq!(t["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test(start_paused = true)]
async fn claims_look_as_they_do_on_a_real_cluster() {
    let server = server();
    server
        .apply_yaml("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: default}, spec: {accessModes: [ReadWriteOnce], storageClassName: s, resources: {requests: {storage: 1Gi}}}}")
        .unwrap();
    let t = table(
        &server.admin(),
        "/api/v1/namespaces/default/persistentvolumeclaims/c",
    )
    .await;
    assert_eq!(
        t["rows"][0]["cells"],
        json!([
            "c",
            "Pending",
            "",
            "",
            "",
            "s",
            "<unset>",
            "0s",
            "Filesystem"
        ])
    );
}
