//! Create, read, update, delete.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::world::*;

#[tokio::test(start_paused = true)]
async fn an_object_is_made_read_changed_and_deleted() {
    let k = server().admin();
    let api = config_maps(&k);
    let made = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    assert_eq!(
        made.metadata
            .creation_timestamp
            .as_ref()
            .unwrap()
            .0
            .to_string(),
        START
    );
    assert!(made.metadata.resource_version.as_deref().unwrap() > "1000");
    let mut changed = api.get("a").await.unwrap();
    changed.data = Some([("k".to_owned(), "v".to_owned())].into());
    let replaced = api
        .replace("a", &PostParams::default(), &changed)
        .await
        .unwrap();
    assert_ne!(made.resource_version(), replaced.resource_version());
    let gone = api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(gone.right().unwrap().is_success());
    assert!(api.get_opt("a").await.unwrap().is_none());
    let (code, reason, message) = refusal(api.get("a").await);
    assert_eq!(
        (code, reason.as_str(), message.as_str()),
        (404, "NotFound", "configmaps \"a\" not found")
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_requests_give_the_same_identifiers() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let api = config_maps(&server().admin());
        let named = ConfigMap {
            metadata: ObjectMeta {
                generate_name: Some("x-".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let a = api.create(&PostParams::default(), &named).await.unwrap();
        let b = api.create(&PostParams::default(), &named).await.unwrap();
        assert_ne!(a.name_any(), b.name_any());
        seen.push((
            a.name_any(),
            a.uid(),
            a.resource_version(),
            b.name_any(),
            b.uid(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn a_name_can_be_taken_only_once() {
    let api = config_maps(&server().admin());
    api.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let (code, reason, message) =
        refusal(api.create(&PostParams::default(), &config_map("a")).await);
    assert_eq!(
        (code, reason.as_str(), message.as_str()),
        (409, "AlreadyExists", "configmaps \"a\" already exists")
    );
}

#[tokio::test(start_paused = true)]
async fn names_and_namespaces_are_checked() {
    let k = server().admin();
    let (code, ..) = refusal(
        config_maps(&k)
            .create(&PostParams::default(), &config_map("Not_A_Name"))
            .await,
    );
    assert_eq!(code, 422);
    let nowhere: Api<ConfigMap> = Api::namespaced(k, "nowhere");
    let (code, _, message) = refusal(
        nowhere
            .create(&PostParams::default(), &config_map("a"))
            .await,
    );
    assert_eq!(
        (code, message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
}

#[tokio::test(start_paused = true)]
async fn labels_and_finalizers_follow_their_syntax() {
    let api = config_maps(&server().admin());
    let mut cm = config_map("a");
    cm.metadata.labels = Some([("a b".to_owned(), "x".to_owned())].into());
    assert_eq!(
        refusal(api.create(&PostParams::default(), &cm).await).0,
        422
    );
    cm.metadata.labels = Some([("a".to_owned(), "x y".to_owned())].into());
    assert_eq!(
        refusal(api.create(&PostParams::default(), &cm).await).0,
        422
    );
    cm.metadata.labels = None;
    cm.metadata.finalizers = Some(vec!["bare".into()]);
    let (_, _, message) = refusal(api.create(&PostParams::default(), &cm).await);
    assert!(
        message.contains("neither a standard finalizer name nor is it fully qualified"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_with_an_old_version_is_refused() {
    let api = config_maps(&server().admin());
    let old = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    api.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"k": "1"}})),
    )
    .await
    .unwrap();
    let (code, reason, message) = refusal(api.replace("a", &PostParams::default(), &old).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(
        message.contains(
            "the object has been modified; please apply your changes to the latest version"
        ),
        "{message}"
    );
    let stale =
        json!({"metadata": {"resourceVersion": old.resource_version()}, "data": {"k": "2"}});
    assert_eq!(
        refusal(
            api.patch("a", &PatchParams::default(), &Patch::Merge(stale))
                .await
        )
        .0,
        409
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let b = api.replace("a", &PostParams::default(), &a).await.unwrap();
    let c = api
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": null}})),
        )
        .await
        .unwrap();
    assert_eq!(a.resource_version(), b.resource_version());
    assert_eq!(a.resource_version(), c.resource_version());
}

#[tokio::test(start_paused = true)]
async fn a_delete_honours_its_preconditions() {
    let api = config_maps(&server().admin());
    let a = api
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let with = |uid: Option<String>, rv: Option<String>| DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: rv,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(
        refusal(api.delete("a", &with(Some("other".into()), None)).await).0,
        409
    );
    assert_eq!(
        refusal(api.delete("a", &with(None, Some("1".into()))).await).0,
        409
    );
    api.delete("a", &with(a.uid(), a.resource_version()))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let api = config_maps(&server().admin());
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    api.create(&dry, &config_map("a")).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn lists_select_and_come_in_pages() {
    let k = server().admin();
    let api = config_maps(&k);
    for i in 0..7 {
        let mut cm = config_map(&format!("c{i}"));
        cm.metadata.labels = Some([("odd".to_owned(), (i % 2 == 1).to_string())].into());
        api.create(&PostParams::default(), &cm).await.unwrap();
    }
    let odd = api
        .list(&ListParams::default().labels("odd in (true)"))
        .await
        .unwrap();
    assert_eq!(odd.items.len(), 3);
    let one = api
        .list(&ListParams::default().fields("metadata.name=c2"))
        .await
        .unwrap();
    assert_eq!(one.items.len(), 1);
    let first = api.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!(
        (first.items.len(), first.metadata.remaining_item_count),
        (3, Some(4))
    );
    let token = first.metadata.continue_.unwrap();
    let second = api
        .list(&ListParams::default().limit(10).continue_token(&token))
        .await
        .unwrap();
    let names: Vec<String> = second.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        (names, second.metadata.continue_),
        (
            vec!["c3".into(), "c4".into(), "c5".into(), "c6".into()],
            None
        )
    );
    api.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().labels("odd=false"),
    )
    .await
    .unwrap();
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        3
    );
    let partial: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(k, "default");
    assert_eq!(
        partial
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn json_patches_test_before_they_write() {
    let api = config_maps(&server().admin());
    api.create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    let patch = |ops| Patch::<()>::Json(serde_json::from_value(ops).unwrap());
    let good = json!([{"op": "test", "path": "/data", "value": null}, {"op": "add", "path": "/data", "value": {"k": "v"}}]);
    api.patch("a", &PatchParams::default(), &patch(good))
        .await
        .unwrap();
    let bad = json!([{"op": "test", "path": "/data/k", "value": "other"}, {"op": "remove", "path": "/data"}]);
    assert_eq!(
        refusal(api.patch("a", &PatchParams::default(), &patch(bad)).await).0,
        422
    );
    assert_eq!(api.get("a").await.unwrap().data.unwrap()["k"], "v");
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_scaled_through_its_scale() {
    let k = server().admin();
    let api: Api<StatefulSet> = Api::namespaced(k, "default");
    let body = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "i:1"}]}}}});
    let made = api
        .create(
            &PostParams::default(),
            &serde_json::from_value(body).unwrap(),
        )
        .await
        .unwrap();
    let scale = api.get_scale("db").await.unwrap();
    assert_eq!(
        (
            scale.spec.unwrap().replicas,
            scale.status.unwrap().selector.as_deref()
        ),
        (Some(3), Some("a=b"))
    );
    let patched = api
        .patch_scale(
            "db",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 0}})),
        )
        .await
        .unwrap();
    assert_eq!(
        patched.spec.unwrap().replicas,
        None,
        "zero is left out, as Kubernetes does"
    );
    let now = api.get("db").await.unwrap();
    assert_eq!(now.spec.unwrap().replicas, Some(0));
    assert_eq!(
        now.metadata.generation,
        made.metadata.generation.map(|g| g + 1)
    );
}
