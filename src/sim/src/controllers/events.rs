//! Events that tell why something waits.

use k8s_openapi::api::core::v1::Event;
use kube::{Resource, ResourceExt, api::PostParams};
use serde_json::json;

use super::cluster::Cluster;
use crate::storage::fnv;

/// Who speaks in an event.
const COMPONENT: &str = "lifeboat-sim";

/// What an event says.
pub(super) struct Say<'s> {
    pub(super) kind: &'s str,
    pub(super) reason: &'s str,
    pub(super) message: &'s str,
}

impl Cluster {
    /// Tells something about an object. Its name follows from what is said, so that the same is said once.
    pub(super) async fn say<K>(&self, about: &K, say: Say<'_>) -> kube::Result<()>
    where
        K: Resource<DynamicType = ()>,
    {
        let Say {
            kind,
            reason,
            message,
        } = say;
        let namespace = about.namespace().unwrap_or_else(|| "default".to_owned());
        let uid = about.uid().unwrap_or_default();
        let sum = fnv([uid.as_str(), reason, message].join("\n").bytes());
        let now = self.with.clock.stamp();
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{}.{sum:016x}", about.name_any()), "namespace": namespace},
            "involvedObject": {
                "apiVersion": K::api_version(&()), "kind": K::kind(&()),
                "name": about.name_any(), "namespace": about.namespace(), "uid": uid,
            },
            "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": COMPONENT}, "reportingComponent": COMPONENT, "reportingInstance": COMPONENT,
        });
        let event: Event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
        match self
            .api(&namespace)
            .create(&PostParams::default(), &event)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }
}
