//! Who may do what: roles, tokens, reviews, counts.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lifeboat_sim::apiserver::{Identity, Link};
use serde_json::json;

use super::world::*;

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch]}
  - {apiGroups: ["sea.example.io"], resources: ["ships/status"], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, namespace: default, name: robot}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: one, namespace: default}
rules:
  - {apiGroups: [""], resources: [configmaps], resourceNames: [a], verbs: [delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: one, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one}
subjects: [{kind: Group, name: "system:serviceaccounts:default"}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: default}
"#;

#[tokio::test(start_paused = true)]
async fn roles_decide_and_refusals_say_what_is_missing() {
    let server = server();
    server.apply_yaml(ROLES).unwrap();
    let k = server.client(
        Identity::service_account("default", "robot"),
        &Link::perfect(),
    );
    let api = config_maps(&k);
    config_maps(&server.admin())
        .create(&PostParams::default(), &config_map("a"))
        .await
        .unwrap();
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    let (code, reason, message) =
        refusal(api.create(&PostParams::default(), &config_map("b")).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    let want = "configmaps is forbidden: User \"system:serviceaccount:default:robot\" cannot create resource \"configmaps\" \
                in API group \"\" in the namespace \"default\"";
    assert_eq!(message, want);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        refusal(api.delete("b", &DeleteParams::default()).await).0,
        403,
        "only the named one"
    );
    let everywhere: Api<ServiceAccount> = Api::all(k);
    let (_, _, message) = refusal(everywhere.list(&ListParams::default()).await);
    assert!(
        message.ends_with("in API group \"\" at the cluster scope"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_subresource_needs_a_rule_of_its_own() {
    let server = server();
    server.apply_yaml(ROLES).unwrap();
    let admin = with_ships(&server.admin()).await;
    admin
        .create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    let k = server.client(
        Identity::service_account("default", "robot"),
        &Link::perfect(),
    );
    let api: Api<Ship> = Api::namespaced(k, "default");
    let body = Patch::Merge(json!({"status": {"phase": "x"}}));
    api.patch_status("s", &PatchParams::default(), &body)
        .await
        .unwrap();
    assert_eq!(
        refusal(api.patch("s", &PatchParams::default(), &body).await).0,
        403
    );
}

#[tokio::test(start_paused = true)]
async fn health_and_version_are_open_to_all_and_rbac_can_be_switched_off() {
    let server = server();
    let k = server.client(Identity::user("nobody", &[]), &Link::perfect());
    assert_eq!(k.apiserver_version().await.unwrap().minor, "33");
    assert_eq!(
        refusal(config_maps(&k).list(&ListParams::default()).await).0,
        403
    );
    server.enforce_rbac(false);
    assert!(config_maps(&k).list(&ListParams::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_requested_token_stands_for_its_account_until_it_expires() {
    let server = server();
    server.apply_yaml(ROLES).unwrap();
    let k = server.admin();
    let accounts: Api<ServiceAccount> = Api::namespaced(k.clone(), "default");
    let request: TokenRequest = serde_json::from_value(
        json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 600}}),
    )
    .unwrap();
    let made = accounts
        .create_token_request("robot", &PostParams::default(), &request)
        .await
        .unwrap();
    let token = made.status.unwrap().token;
    assert_eq!(
        server.authenticate(&token),
        Some(Identity::service_account("default", "robot"))
    );
    let review: TokenReview =
        serde_json::from_value(json!({"metadata": {}, "spec": {"token": token}})).unwrap();
    let reviews: Api<TokenReview> = Api::all(k);
    let status = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(
        status.user.unwrap().username.as_deref(),
        Some("system:serviceaccount:default:robot")
    );
    tokio::time::advance(std::time::Duration::from_secs(601)).await;
    assert_eq!(server.authenticate(&token), None);
}

#[tokio::test(start_paused = true)]
async fn deleting_the_account_revokes_its_tokens() {
    let server = server();
    server.apply_yaml(ROLES).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(server.admin(), "default");
    let request: TokenRequest =
        serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}})).unwrap();
    let token = accounts
        .create_token_request("robot", &PostParams::default(), &request)
        .await
        .unwrap()
        .status
        .unwrap()
        .token;
    accounts
        .delete("robot", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(server.authenticate(&token), None);
}

#[tokio::test(start_paused = true)]
async fn anyone_may_ask_what_they_may_do() {
    let server = server();
    server.apply_yaml(ROLES).unwrap();
    let k = server.client(
        Identity::service_account("default", "robot"),
        &Link::perfect(),
    );
    let reviews: Api<SelfSubjectAccessReview> = Api::all(k);
    for (verb, want) in [("list", true), ("update", false)] {
        let ask = json!({"metadata": {}, "spec": {"resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": "default"}}});
        let answer = reviews
            .create(
                &PostParams::default(),
                &serde_json::from_value(ask).unwrap(),
            )
            .await
            .unwrap();
        assert_eq!(answer.status.unwrap().allowed, want, "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_user_verb_and_resource_but_not_the_admins_own() {
    let server = server();
    let k = server.client(Identity::user("hub", &["system:masters"]), &Link::perfect());
    let api: Api<ConfigMap> = config_maps(&k);
    api.list(&ListParams::default()).await.unwrap();
    api.list(&ListParams::default()).await.unwrap();
    config_maps(&server.admin())
        .list(&ListParams::default())
        .await
        .unwrap();
    let counts: Vec<_> = server.request_counts().into_iter().collect();
    assert_eq!(
        counts,
        [(
            ("hub".to_owned(), "list".to_owned(), "configmaps".to_owned()),
            2
        )]
    );
}
