//! Server-side apply.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::world::*;

fn data(cm: &k8s_openapi::api::core::v1::ConfigMap) -> Value {
    serde_json::to_value(&cm.data).unwrap()
}

#[tokio::test(start_paused = true)]
async fn applying_the_same_again_is_no_change() {
    let api = config_maps(&server().admin());
    let a = apply_data(&api, "alice", json!({"x": "1"})).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let b = apply_data(&api, "alice", json!({"x": "1"})).await.unwrap();
    assert_eq!(a.resource_version(), b.resource_version());
}

#[tokio::test(start_paused = true)]
async fn the_same_value_is_shared_and_another_one_conflicts() {
    let api = config_maps(&server().admin());
    apply_data(&api, "alice", json!({"x": "1", "y": "1"}))
        .await
        .unwrap();
    apply_data(&api, "bob", json!({"x": "1", "z": "9"}))
        .await
        .unwrap();
    let (code, _, message) = refusal(apply_data(&api, "bob", json!({"y": "2", "z": "9"})).await);
    assert_eq!(code, 409);
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"alice\": .data.y"
    );
}

#[tokio::test(start_paused = true)]
async fn force_takes_fields_over_and_leaves_the_rest() {
    let api = config_maps(&server().admin());
    apply_data(&api, "alice", json!({"x": "1", "y": "1"}))
        .await
        .unwrap();
    apply_data(&api, "bob", json!({"x": "1", "z": "9"}))
        .await
        .unwrap();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"y": "2", "z": "9"}});
    let forced = api
        .patch("c", &PatchParams::apply("bob").force(), &Patch::Apply(body))
        .await
        .unwrap();
    assert_eq!(
        data(&forced),
        json!({"x": "1", "y": "2", "z": "9"}),
        "x is still alice's"
    );
    let left = apply_data(&api, "alice", json!({})).await.unwrap();
    assert_eq!(
        data(&left),
        json!({"y": "2", "z": "9"}),
        "alice gave up x alone: y is bob's by now"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_what_it_changes() {
    let api = config_maps(&server().admin());
    apply_data(&api, "bob", json!({"z": "9"})).await.unwrap();
    let by_hand = PatchParams {
        field_manager: Some("hand".into()),
        ..PatchParams::default()
    };
    api.patch("c", &by_hand, &Patch::Merge(json!({"data": {"z": "10"}})))
        .await
        .unwrap();
    let (code, _, message) = refusal(apply_data(&api, "bob", json!({"z": "9"})).await);
    assert_eq!(code, 409);
    assert!(
        message.contains("conflict with \"hand\" using v1: .data.z"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn containers_are_merged_by_name() {
    let api: Api<Deployment> = Api::namespaced(server().admin(), "default");
    let with = |containers: Value| {
        Patch::Apply(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}}),
        )
    };
    let names = |d: &Deployment| {
        let spec = d.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        spec.containers
            .iter()
            .map(|c| format!("{}={}", c.name, c.image.as_deref().unwrap()))
            .collect::<Vec<_>>()
    };
    api.patch(
        "d",
        &PatchParams::apply("app"),
        &with(json!([{"name": "main", "image": "m:1"}])),
    )
    .await
    .unwrap();
    let d = api
        .patch(
            "d",
            &PatchParams::apply("mesh"),
            &with(json!([{"name": "proxy", "image": "p:1"}])),
        )
        .await
        .unwrap();
    assert_eq!(names(&d), ["main=m:1", "proxy=p:1"]);
    let d = api
        .patch(
            "d",
            &PatchParams::apply("app"),
            &with(json!([{"name": "main", "image": "m:2"}])),
        )
        .await
        .unwrap();
    assert_eq!(names(&d), ["main=m:2", "proxy=p:1"]);
    let d = api
        .patch("d", &PatchParams::apply("mesh"), &with(json!([])))
        .await
        .unwrap();
    assert_eq!(names(&d), ["main=m:2"]);
}

#[tokio::test(start_paused = true)]
async fn an_apply_must_name_its_object_its_kind_and_its_manager() {
    let api = config_maps(&server().admin());
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}});
    assert_eq!(
        refusal(
            api.patch("c", &PatchParams::apply("a"), &Patch::Apply(nameless))
                .await
        )
        .0,
        400
    );
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}});
    assert_eq!(
        refusal(
            api.patch("c", &PatchParams::apply("a"), &Patch::Apply(other))
                .await
        )
        .0,
        400
    );
}

#[tokio::test(start_paused = true)]
async fn status_is_applied_apart_from_the_rest() {
    let k = server().admin();
    let api = with_ships(&k).await;
    let head =
        json!({"apiVersion": "sea.example.io/v1alpha1", "kind": "Ship", "metadata": {"name": "s"}});
    let mut main = head.clone();
    main["spec"] = json!({"home": "a", "away": "b"});
    main["status"] = json!({"phase": "Ignored"});
    let made = api
        .patch("s", &PatchParams::apply("m"), &Patch::Apply(main))
        .await
        .unwrap();
    assert_eq!(made.status, None);
    let mut status = head;
    status["spec"] = json!({"home": "ignored", "away": "b"});
    status["status"] = json!({"phase": "Sailing"});
    let set = api
        .patch_status("s", &PatchParams::apply("m"), &Patch::Apply(status))
        .await
        .unwrap();
    assert_eq!(set.status.unwrap().phase.as_deref(), Some("Sailing"));
    assert_eq!(
        (set.spec.home.as_str(), set.metadata.generation),
        ("a", Some(1))
    );
    let managers: Vec<_> = set
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .map(|m| m.subresource)
        .collect();
    assert_eq!(managers, [None, Some("status".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_field_whose_value_was_changed_by_apply_goes_when_the_next_apply_leaves_it_out() {
    let api = config_maps(&server().admin());
    for data in [json!({"x": "1"}), json!({"x": "2"})] {
        apply_data(&api, "alice", data).await.unwrap();
    }
    let left = apply_data(&api, "alice", json!({"y": "1"})).await.unwrap();
    assert_eq!(data(&left), json!({"y": "1"}));
    assert_eq!(left.managed_fields().len(), 1);
}
