//! How objects end: finalizers, owners, namespaces, grace.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _, ResourceExt};
use serde_json::json;

use super::world::*;

fn owned(name: &str, by: &[&ConfigMap]) -> ConfigMap {
    let mut cm = config_map(name);
    cm.metadata.owner_references = Some(by.iter().map(|o| o.owner_ref(&()).unwrap()).collect());
    cm
}

async fn exists(api: &Api<ConfigMap>, name: &str) -> bool {
    api.get_opt(name).await.unwrap().is_some()
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let api = config_maps(&server().admin());
    let mut held = config_map("a");
    held.metadata.finalizers = Some(vec!["x.example.io/hold".into()]);
    api.create(&PostParams::default(), &held).await.unwrap();
    let pending = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(
        pending.metadata.deletion_timestamp.unwrap().0.to_string(),
        START
    );
    let another = json!({"metadata": {"finalizers": ["x.example.io/hold", "x.example.io/more"]}});
    let (code, _, message) = refusal(
        api.patch("a", &PatchParams::default(), &Patch::Merge(another))
            .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.contains("no new finalizers can be added if the object is being deleted"),
        "{message}"
    );
    api.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(!exists(&api, "a").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_owned_goes_with_its_last_owner() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let b = api
        .create(&PostParams::default(), &config_map("b"))
        .await
        .unwrap();
    let child = api
        .create(&PostParams::default(), &owned("child", &[&a, &b]))
        .await
        .unwrap();
    api.create(&PostParams::default(), &owned("grandchild", &[&child]))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        api.get("child").await.unwrap().owner_references().len(),
        1,
        "b is left"
    );
    api.delete("b", &DeleteParams::default()).await.unwrap();
    assert!(!exists(&api, "child").await && !exists(&api, "grandchild").await);
}

#[tokio::test(start_paused = true)]
async fn orphaned_dependents_stay() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    api.create(&PostParams::default(), &owned("child", &[&a]))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::orphan()).await.unwrap();
    assert!(!exists(&api, "a").await);
    assert!(
        api.get("child")
            .await
            .unwrap()
            .owner_references()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_foreground_deletion_waits_for_the_dependents() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let mut child = owned("child", &[]);
    let owner = OwnerReference {
        block_owner_deletion: Some(true),
        ..a.owner_ref(&()).unwrap()
    };
    child.metadata.owner_references = Some(vec![owner]);
    child.metadata.finalizers = Some(vec!["x.example.io/hold".into()]);
    api.create(&PostParams::default(), &child).await.unwrap();
    api.delete("a", &DeleteParams::foreground()).await.unwrap();
    assert!(
        api.get("a")
            .await
            .unwrap()
            .finalizers()
            .contains(&"foregroundDeletion".to_owned())
    );
    api.patch(
        "child",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(!exists(&api, "child").await && !exists(&api, "a").await);
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_owner_was_never_here_is_collected() {
    let api = config_maps(&server().admin());
    let mut foreign = config_map("a");
    foreign.metadata.uid = Some("11111111-2222-4333-8444-555555555555".into());
    let copied = owned("copied", &[&foreign]);
    api.create(&PostParams::default(), &copied).await.unwrap();
    assert!(
        !exists(&api, "copied").await,
        "this is what happens to objects copied with their owner references"
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_ends_after_its_contents_and_takes_nothing_new() {
    let k = server().admin();
    let spaces: Api<Namespace> = Api::all(k.clone());
    let ns: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    let made = spaces.create(&PostParams::default(), &ns).await.unwrap();
    assert_eq!(made.labels()["kubernetes.io/metadata.name"], "shop");
    let api: Api<ConfigMap> = Api::namespaced(k, "shop");
    let mut held = config_map("held");
    held.metadata.finalizers = Some(vec!["x.example.io/hold".into()]);
    api.create(&PostParams::default(), &held).await.unwrap();
    api.create(&PostParams::default(), &config_map("free"))
        .await
        .unwrap();
    spaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(
        spaces
            .get("shop")
            .await
            .unwrap()
            .status
            .unwrap()
            .phase
            .as_deref(),
        Some("Terminating")
    );
    assert!(!exists(&api, "free").await);
    let (code, reason, message) =
        refusal(api.create(&PostParams::default(), &config_map("new")).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert!(
        message.contains(
            "unable to create new content in namespace shop because it is being terminated"
        ),
        "{message}"
    );
    api.patch(
        "held",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(spaces.get_opt("shop").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_is_only_marked_until_its_node_lets_it_go() {
    let api: Api<Pod> = Api::namespaced(server().admin(), "default");
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}})).unwrap();
    api.create(&PostParams::default(), &pod).await.unwrap();
    let marked = api
        .delete("p", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert_eq!(
        marked.metadata.deletion_timestamp.unwrap().0.to_string(),
        "2026-03-01T00:00:30Z"
    );
    api.patch_status(
        "p",
        &PatchParams::default(),
        &Patch::Merge(json!({"status": {"phase": "Running"}})),
    )
    .await
    .unwrap();
    assert!(
        api.get_opt("p").await.unwrap().is_some(),
        "a status write does not end it"
    );
    api.delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unscheduled_pod_goes_at_once() {
    let api: Api<Pod> = Api::namespaced(server().admin(), "default");
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}),
    )
    .unwrap();
    api.create(&PostParams::default(), &pod).await.unwrap();
    api.delete("p", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
}
