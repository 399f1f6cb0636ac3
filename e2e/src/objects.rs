//! Objects tests make again and again, and waiting until they are usable and not only there.

use std::fmt::Debug;

use anyhow::{Context, Result};
use k8s_openapi::{
    api::core::v1::{Namespace, PersistentVolumeClaim, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::wait;

/// Server-side apply as `manager`, without force. Puts the name into the body: without it an apply is refused.
pub async fn apply<K>(api: &Api<K>, name: &str, manager: &str, mut body: Value) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    if let Some(fields) = body.as_object_mut() {
        let meta = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(meta) = meta.as_object_mut() {
            meta.insert("name".to_owned(), name.into());
        }
    }
    let params = PatchParams::apply(manager);
    api.patch(name, &params, &Patch::Apply(body)).await
}

/// Applies every document of a YAML text by force, of whatever kinds. Their kinds must be served.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<()> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    for body in all.iter().filter(|b| !b.is_null()) {
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion")
            .rsplit_once('/')
            .unwrap_or(("", text("/apiVersion")));
        let kind = GroupVersionKind::gvk(group, version, text("/kind"));
        let kind = ApiResource::from_gvk(&kind);
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let api = match namespace {
            "" => Api::<DynamicObject>::all_with(client.clone(), &kind),
            namespace => Api::namespaced_with(client.clone(), namespace, &kind),
        };
        let params = PatchParams::apply("e2e").force();
        api.patch(name, &params, &Patch::Apply(body))
            .await
            .with_context(|| format!("could not apply {} {namespace}/{name}", kind.kind))?;
    }
    Ok(())
}

/// A DRPolicy over these clusters, as YAML: one storage class, replicated as that class of replication says.
pub fn policy(name: &str, clusters: &[&str], storage: &str, replication: &str) -> String {
    format!(
        "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPolicy
metadata: {{name: {name}}}
spec:
  clusters: [{}]
  rpo: 1m
  classes: [{{storageClassName: {storage}, volumeReplicationClassName: {replication}}}]
",
        clusters.join(", ")
    )
}

/// Makes a namespace and waits until pods can be made in it: before its default service account is there they are refused.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace"});
    apply(&Api::<Namespace>::all(client.clone()), name, "e2e", body).await?;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), name);
    wait::until_some(&accounts, "default", "it is made", |_| true).await?;
    Ok(())
}

/// Installs kinds and waits until the API server serves them, which is a moment after it calls them Established.
pub async fn install(client: &Client, crds: &[CustomResourceDefinition]) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for crd in crds {
        let mut body = serde_json::to_value(crd)?;
        if let Some(fields) = body.as_object_mut() {
            fields.insert("apiVersion".to_owned(), "apiextensions.k8s.io/v1".into());
            fields.insert("kind".to_owned(), "CustomResourceDefinition".into());
        }
        apply(&api, &crd.name_any(), "e2e", body).await?;
    }
    for crd in crds {
        let names = &crd.spec.names;
        let version = crd.spec.versions.iter().find(|v| v.served);
        let version = &version
            .with_context(|| format!("{} serves no version", crd.name_any()))?
            .name;
        let kind = GroupVersionKind::gvk(&crd.spec.group, version, &names.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &names.plural);
        let all = Api::<DynamicObject>::all_with(client.clone(), &kind);
        let what = format!("{} are served", names.plural);
        let list = || async { Ok(Some(all.list(&ListParams::default().limit(1)).await?)) };
        wait::until_answer(&what, list).await?;
    }
    Ok(())
}

/// Waits until a claim is Bound, and wakes the binder.
///
/// That of Kubernetes before 1.36 can lose a race against itself and looks again only after 15 s; any change wakes it.
pub async fn bound(claims: &Api<PersistentVolumeClaim>, name: &str) -> Result<()> {
    let mut turn = 0;
    wait::until_answer("the claim is Bound", || {
        turn += 1;
        let wake =
            json!({"metadata": {"annotations": {"e2e.lifeboat.dev/wake": turn.to_string()}}});
        async move {
            let claim = claims
                .patch(name, &PatchParams::default(), &Patch::Merge(wake))
                .await?;
            let phase = claim.status.and_then(|s| s.phase);
            Ok((phase.as_deref() == Some("Bound")).then_some(()))
        }
    })
    .await
}
