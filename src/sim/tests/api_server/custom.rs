//! Custom resources: what their definition does to them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition as _;
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

use super::world::*;

fn raw(spec: &Value) -> Patch<Value> {
    Patch::Apply(
        json!({"apiVersion": "sea.example.io/v1alpha1", "kind": "Ship", "metadata": {"name": "s"}, "spec": spec}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_established_and_its_kind_exists() {
    let k = server().admin();
    let ships: Api<Ship> = Api::namespaced(k.clone(), "default");
    assert_eq!(refusal(ships.list(&ListParams::default()).await).0, 404);
    with_ships(&k).await;
    let crds: Api<CustomResourceDefinition> = Api::all(k);
    let crd = crds.get("ships.sea.example.io").await.unwrap();
    assert!(is_crd_established().matches_object(Some(&crd)));
    assert!(
        ships
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_definition_with_a_broken_rule_is_refused() {
    let mut crd = serde_json::to_value(Ship::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.(("}]);
    let crds: Api<CustomResourceDefinition> = Api::all(server().admin());
    let (code, ..) = refusal(
        crds.create(
            &PostParams::default(),
            &serde_json::from_value(crd).unwrap(),
        )
        .await,
    );
    assert_eq!(code, 422);
}

#[tokio::test(start_paused = true)]
async fn rules_ranges_and_required_fields_are_enforced() {
    let api = with_ships(&server().admin()).await;
    let mut same = ship("s");
    same.spec.away = "a".into();
    let (code, _, message) = refusal(api.create(&PostParams::default(), &same).await);
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "Ship.sea.example.io \"s\" is invalid: spec: Invalid value: \"object\": home and away must differ"
    );
    let mut many = ship("s");
    many.spec.boats = 21;
    let (_, _, message) = refusal(api.create(&PostParams::default(), &many).await);
    assert!(
        message.contains(
            "spec.boats: Invalid value: 21: spec.boats in body should be less than or equal to 20"
        ),
        "{message}"
    );
    let (_, _, message) = refusal(
        api.patch("s", &PatchParams::apply("m"), &raw(&json!({"home": "a"})))
            .await,
    );
    assert!(message.contains("spec.away: Required value"), "{message}");
    let wrong = json!({"home": "a", "away": "b", "boats": "many"});
    let (_, _, message) = refusal(api.patch("s", &PatchParams::apply("m"), &raw(&wrong)).await);
    assert!(
        message.contains("spec.boats in body must be of type integer"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transition_rule_sees_the_old_object() {
    let api = with_ships(&server().admin()).await;
    api.create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    let (code, _, message) = refusal(
        api.patch(
            "s",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"home": "z"}})),
        )
        .await,
    );
    assert_eq!(code, 422);
    assert!(message.contains("home is immutable"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_pruned_and_defaults_are_set() {
    let api = with_ships(&server().admin()).await;
    let spec = json!({"home": "a", "away": "b", "junk": 1});
    let mut half = serde_json::to_value(ship("s")).unwrap();
    half["spec"] = spec.clone();
    let raw_api: Api<DynamicObject> = Api::namespaced_with(
        api.clone().into_client(),
        "default",
        &ApiResource::erase::<Ship>(&()),
    );
    let half: DynamicObject = serde_json::from_value(half).unwrap();
    let made = raw_api.create(&PostParams::default(), &half).await.unwrap();
    assert_eq!(
        made.data["spec"],
        json!({"home": "a", "away": "b", "boats": 2})
    );
    // An apply has to know what it owns.
    let (code, _, message) = refusal(api.patch("s", &PatchParams::apply("m"), &raw(&spec)).await);
    assert_eq!(code, 500);
    assert!(
        message.ends_with(".spec.junk: field not declared in schema"),
        "{message}"
    );
    let strict = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::default()
    };
    let junk = Patch::Merge(json!({"spec": {"junk": 1}}));
    let (code, _, message) = refusal(api.patch("s", &strict, &junk).await);
    assert_eq!(code, 422, "{message}");
    assert!(message.contains("unknown field \"spec.junk\""), "{message}");
}

#[tokio::test(start_paused = true)]
async fn spec_and_status_are_written_apart_and_only_the_spec_counts_generations() {
    let api = with_ships(&server().admin()).await;
    let mut s = ship("s");
    s.status = Some(ShipStatus {
        phase: Some("Lost".into()),
        ..ShipStatus::default()
    });
    let made = api.create(&PostParams::default(), &s).await.unwrap();
    assert_eq!(
        (made.status.clone(), made.metadata.generation),
        (None, Some(1))
    );
    let status = json!({"status": {"phase": "Sailing"}, "spec": {"boats": 9}, "metadata": {"labels": {"x": "y"}}});
    let set = api
        .patch_status("s", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    assert_eq!(
        (set.spec.boats, set.metadata.generation, set.metadata.labels),
        (2, Some(1), None)
    );
    let body = json!({"spec": {"boats": 9}, "status": {"phase": "Sunk"}});
    let set = api
        .patch("s", &PatchParams::default(), &Patch::Merge(body))
        .await
        .unwrap();
    assert_eq!(
        (
            set.metadata.generation,
            set.status.unwrap().phase.as_deref()
        ),
        (Some(2), Some("Sailing"))
    );
    let mut versionless = api.get("s").await.unwrap();
    versionless.metadata.resource_version = None;
    assert_eq!(
        refusal(api.replace("s", &PostParams::default(), &versionless).await).0,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_can_be_scaled() {
    let api = with_ships(&server().admin()).await;
    api.create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    api.patch_scale(
        "s",
        &PatchParams::default(),
        &Patch::Merge(json!({"spec": {"replicas": 7}})),
    )
    .await
    .unwrap();
    assert_eq!(api.get("s").await.unwrap().spec.boats, 7);
}

#[tokio::test(start_paused = true)]
async fn a_strategic_patch_of_a_custom_resource_is_refused() {
    let api = with_ships(&server().admin()).await;
    api.create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    assert_eq!(
        refusal(
            api.patch(
                "s",
                &PatchParams::default(),
                &Patch::Strategic(json!({"spec": {}}))
            )
            .await
        )
        .0,
        415
    );
}

#[tokio::test(start_paused = true)]
async fn a_definition_goes_after_its_last_object() {
    let k = server().admin();
    let api = with_ships(&k).await;
    let mut held = ship("s");
    held.metadata.finalizers = Some(vec!["x.example.io/hold".into()]);
    api.create(&PostParams::default(), &held).await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(k);
    let going = crds
        .delete("ships.sea.example.io", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    assert!(
        api.get("s")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    api.patch(
        "s",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(
        crds.get_opt("ships.sea.example.io")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 404);
}
