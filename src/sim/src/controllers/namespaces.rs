//! What each namespace has from the start.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{Api, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{cache::Key, cluster::Cluster};

impl Cluster {
    /// The default `ServiceAccount` and the cluster's root CA.
    pub(super) async fn clean_namespace(&mut self, key: &Key) -> kube::Result<()> {
        let Some(namespace) = self.namespaces.get(key) else {
            return Ok(());
        };
        if namespace.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let name = &key.1;
        ensure::<ServiceAccount>(&self.api(name), json!({"metadata": {"name": "default"}})).await?;
        let ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": format!("CA of {}\n", self.with.array.site())}});
        ensure::<ConfigMap>(&self.api(name), ca).await
    }
}

/// Creates an object unless it is there.
pub(super) async fn ensure<K>(api: &Api<K>, object: Value) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}
