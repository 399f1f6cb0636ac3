//! What a managed cluster needs before the hub can work with it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use lifeboat_api::names;
use lifeboat_kit::{CallError, Conflicts, apply, deadline};
use serde_json::{Value, json};

use crate::client::READ_DEADLINE;
use crate::failure::Failure;
use crate::placement::MANAGER;

/// What the hub may do on a managed cluster: the same file that people install by hand.
const HUB_ROLE: &str = include_str!("../../../../../spoke-deploy/base/hub-role.yaml");
/// Marks what we installed, so that a definition from elsewhere is never overwritten.
pub(super) const PART_OF: &str = "app.kubernetes.io/part-of";

/// The namespace of hub and agent.
pub(super) async fn namespace(client: &Client, name: &str) -> Result<(), Failure> {
    // The labels of a namespace that is there are not ours to change: only a missing one is made.
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    if deadline(
        format!("get Namespace {name}"),
        READ_DEADLINE,
        api.get_opt(name),
    )
    .await?
    .is_some()
    {
        return Ok(());
    }
    object(
        client,
        &json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { PART_OF: "lifeboat" } },
        }),
    )
    .await
}

/// The account that the hub uses on the cluster, and what it may do.
pub(super) async fn account(client: &Client) -> Result<(), Failure> {
    object(
        client,
        &json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {
                "name": names::HUB_MANAGER, "namespace": names::SYSTEM_NAMESPACE,
                "labels": { PART_OF: "lifeboat" },
            },
        }),
    )
    .await?;
    for document in documents(HUB_ROLE)? {
        object(client, &document).await?;
    }
    Ok(())
}

/// Every document of a YAML text that is not empty.
fn documents(yaml: &str) -> Result<Vec<Value>, Failure> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)
        .map_err(|e| Failure::Refused(format!("the hub's role cannot be read: {e}")))?;
    Ok(all.into_iter().filter(|d| !d.is_null()).collect())
}

/// Applies one object of a built-in kind.
pub(super) async fn object(client: &Client, body: &Value) -> Result<(), Failure> {
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion")
        .rsplit_once('/')
        .unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    apply(
        &api,
        text("/metadata/name"),
        MANAGER,
        body,
        Conflicts::Force,
    )
    .await?;
    Ok(())
}

/// What was done about the kinds of a managed cluster.
pub(super) enum Kind {
    /// Installed or brought up to date.
    Ours(String),
    /// Somebody else's, left as it is.
    Theirs(String),
}

/// Installs the kinds. Those of the CSI-Addons project that somebody else has installed are left alone.
pub(super) async fn kinds(client: &Client) -> Result<Vec<Kind>, Failure> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut done = Vec::new();
    for mut crd in lifeboat_api::spoke_crds() {
        let name = crd.name_any();
        let there = deadline(
            format!("get CustomResourceDefinition {name}"),
            READ_DEADLINE,
            api.get_opt(&name),
        )
        .await?;
        if crd.spec.group != names::GROUP
            && there.is_some_and(|c| c.labels().get(PART_OF).is_none_or(|v| v != "lifeboat"))
        {
            done.push(Kind::Theirs(name));
            continue;
        }
        crd.labels_mut()
            .insert(PART_OF.to_owned(), "lifeboat".to_owned());
        apply(&api, &name, MANAGER, &crd, Conflicts::Force).await?;
        done.push(Kind::Ours(name));
    }
    Ok(done)
}

/// uid of the namespace kube-system: tells two clusters apart, whatever they are called.
pub(super) async fn cluster_uid(client: &Client) -> Result<Option<String>, CallError> {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let system = deadline(
        "get Namespace kube-system",
        READ_DEADLINE,
        api.get("kube-system"),
    )
    .await?;
    Ok(system.metadata.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_role_is_for_the_account_that_is_made() {
        let all = documents(HUB_ROLE).unwrap();
        let bindings: Vec<&Value> = all
            .iter()
            .filter(|d| d["kind"] == "ClusterRoleBinding" || d["kind"] == "RoleBinding")
            .collect();
        assert!(!bindings.is_empty());
        for binding in bindings {
            assert_eq!(binding["subjects"][0]["name"], names::HUB_MANAGER);
            assert_eq!(binding["subjects"][0]["namespace"], names::SYSTEM_NAMESPACE);
        }
    }
}
