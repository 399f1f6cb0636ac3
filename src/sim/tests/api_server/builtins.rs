//! Built-in kinds: what cannot change, what is filled in, and events in both of their versions.

use k8s_openapi::api::core::v1::{
    Event as CoreEvent, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Resource as _};
use serde_json::{Value, json};

use super::world::*;

fn typed<T: serde::de::DeserializeOwned>(v: Value) -> T {
    serde_json::from_value(v).unwrap()
}

fn claim() -> PersistentVolumeClaim {
    typed(
        json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
        "resources": {"requests": {"storage": "1Gi"}}}}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_claim_can_be_given_a_volume_once_and_grow_when_bound() {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(server().admin(), "default");
    let made = api.create(&PostParams::default(), &claim()).await.unwrap();
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Pending"));
    let patch = async |spec: Value| {
        api.patch(
            "c",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": spec})),
        )
        .await
    };
    let larger = json!({"resources": {"requests": {"storage": "2Gi"}}});
    assert_eq!(refusal(patch(larger.clone()).await).0, 422, "not bound yet");
    patch(json!({"volumeName": "pv"})).await.unwrap();
    let (code, _, message) = refusal(patch(json!({"volumeName": "other"})).await);
    assert_eq!(code, 422);
    assert!(
        message.contains("spec is immutable after creation"),
        "{message}"
    );
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    api.patch_status("c", &PatchParams::default(), &bound)
        .await
        .unwrap();
    patch(larger).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn items_of_a_list_of_built_in_kinds_do_not_say_what_they_are() {
    let k = server().admin();
    config_maps(&k)
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let raw = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        k.request::<Value>(request).await.unwrap()
    };
    let list = raw("/api/v1/namespaces/default/configmaps").await;
    assert_eq!(
        (list["kind"].as_str(), list["items"][0].get("kind")),
        (Some("ConfigMapList"), None)
    );
    let one = raw("/api/v1/namespaces/default/configmaps/a").await;
    assert_eq!(one["kind"], "ConfigMap");
}

#[tokio::test(start_paused = true)]
async fn fields_of_the_wrong_type_are_refused_and_unknown_ones_pruned() {
    let k = server().admin();
    let post = async |spec: Value| {
        let body = json!({"metadata": {"name": "c"}, "spec": spec});
        let path = "/api/v1/namespaces/default/persistentvolumeclaims";
        let request = http::Request::post(path).header("content-type", "application/json");
        k.request::<Value>(request.body(body.to_string().into_bytes()).unwrap())
            .await
    };
    let (code, _, message) = refusal(post(json!({"accessModes": "ReadWriteOnce"})).await);
    assert_eq!(code, 400);
    assert!(
        message.starts_with("PersistentVolumeClaim in version \"v1\" cannot be handled as a"),
        "{message}"
    );
    let good = json!({"accessModes": ["ReadWriteOnce"], "junk": 1, "resources": {"requests": {"storage": "1Gi"}}});
    assert_eq!(post(good).await.unwrap()["spec"].get("junk"), None);
}

#[tokio::test(start_paused = true)]
async fn a_volume_keeps_its_source_but_not_its_claim() {
    let api: Api<PersistentVolume> = Api::all(server().admin());
    let pv = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d", "volumeHandle": "h"}, "claimRef": {"namespace": "n", "name": "c", "uid": "u"}}});
    let made = api
        .create(&PostParams::default(), &typed(pv))
        .await
        .unwrap();
    assert_eq!(
        made.spec
            .unwrap()
            .persistent_volume_reclaim_policy
            .as_deref(),
        Some("Retain")
    );
    let patch = async |spec: Value| {
        api.patch(
            "v",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": spec})),
        )
        .await
    };
    let scrubbed = patch(json!({"claimRef": {"uid": null}})).await.unwrap();
    assert_eq!(scrubbed.spec.unwrap().claim_ref.unwrap().uid, None);
    assert_eq!(
        refusal(patch(json!({"csi": {"volumeHandle": "other"}})).await).0,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn string_data_of_a_secret_becomes_data() {
    let api: Api<Secret> = Api::namespaced(server().admin(), "default");
    let made = api
        .create(
            &PostParams::default(),
            &typed(json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})),
        )
        .await
        .unwrap();
    assert_eq!(made.data.unwrap()["k"].0, b"v");
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let k = server().admin();
    let api: Api<Pod> = Api::namespaced(k.clone(), "default");
    api.create(
        &PostParams::default(),
        &typed(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})),
    )
    .await
    .unwrap();
    let bind = async || {
        let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
        api.create_subresource::<Value, Value>("binding", "p", &PostParams::default(), &body)
            .await
    };
    bind().await.unwrap();
    assert_eq!(
        api.get("p")
            .await
            .unwrap()
            .spec
            .unwrap()
            .node_name
            .as_deref(),
        Some("n1")
    );
    assert_eq!(refusal(bind().await).0, 409);
    let on_node = api
        .list(&ListParams::default().fields("spec.nodeName=n1"))
        .await
        .unwrap();
    assert_eq!(on_node.items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_event_is_one_object_in_both_versions() {
    let k = server().admin();
    let cm = config_maps(&k)
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let recorder = Recorder::new(
        k.clone(),
        Reporter {
            controller: "hub".into(),
            instance: None,
        },
    );
    let event = Event {
        type_: EventType::Normal,
        reason: "Moved".into(),
        note: Some("to west".into()),
        action: "Move".into(),
        secondary: None,
    };
    recorder.publish(&event, &cm.object_ref(&())).await.unwrap();
    let core: Api<CoreEvent> = Api::namespaced(k.clone(), "default");
    let seen = core
        .list(&ListParams::default().fields("involvedObject.name=a"))
        .await
        .unwrap()
        .items;
    assert_eq!(
        (
            seen.len(),
            seen[0].message.as_deref(),
            seen[0].reporting_component.as_deref()
        ),
        (1, Some("to west"), Some("hub"))
    );
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(k, "default");
    let seen = new
        .list(&ListParams::default().fields("regarding.name=a"))
        .await
        .unwrap()
        .items;
    assert_eq!((seen.len(), seen[0].note.as_deref()), (1, Some("to west")));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_machine_says_so() {
    let api: Api<Pod> = Api::namespaced(server().admin(), "default");
    let logs = async || refusal(api.logs("p", &kube::api::LogParams::default()).await);
    assert_eq!(logs().await.0, 404);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    api.create(&PostParams::default(), &typed(pod))
        .await
        .unwrap();
    let (code, _, message) = logs().await;
    assert_eq!(
        (code, message.as_str()),
        (501, "the simulated API server has no container logs")
    );
}
