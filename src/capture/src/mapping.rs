//! How names differ between the cluster an application was read on and the one it is made on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names;
use crate::object::{map_at, set, text};

/// Names on the target cluster for names in a capture; a name that is not listed stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mapping {
    /// Storage class in the capture to storage class on the target.
    pub storage_class: BTreeMap<String, String>,
    /// Namespace in the capture to namespace on the target.
    pub namespace: BTreeMap<String, String>,
    /// Storage class on the target to what it says about reaching its volumes, see [`Mapping::learn`].
    pub access: BTreeMap<String, Access>,
}

/// What a storage class says about reaching its volumes: these belong to the cluster, not to the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// Field of a PV's `csi` to the Secret (name, namespace) that the driver is handed there.
    pub secrets: BTreeMap<String, SecretRef>,
    /// The storage cluster, for drivers that have a `clusterID` parameter.
    pub cluster_id: Option<String>,
}

/// Name and namespace of a Secret that a driver is handed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Prefix of a storage class's Secret parameters, and the field of a PV's `csi` they fill.
const SECRET_FIELDS: [(&str, &str); 4] = [
    ("controller-publish", "controllerPublishSecretRef"),
    ("controller-expand", "controllerExpandSecretRef"),
    ("node-stage", "nodeStageSecretRef"),
    ("node-publish", "nodePublishSecretRef"),
];

impl Mapping {
    /// The storage class on the target for one in a capture.
    pub fn storage_class<'a>(&'a self, captured: &'a str) -> &'a str {
        self.storage_class
            .get(captured)
            .map_or(captured, String::as_str)
    }

    /// The namespace on the target for one in a capture.
    pub fn namespace<'a>(&'a self, captured: &'a str) -> &'a str {
        self.namespace
            .get(captured)
            .map_or(captured, String::as_str)
    }

    /// Takes from a `StorageClass` of the target what its volumes need there: the Secrets handed to the driver and the
    /// storage cluster. A Secret whose name is made from the claim (`${…}`) is left as captured.
    pub fn learn(&mut self, storage_class: &Value) {
        let Some(name) = text(storage_class, "/metadata/name") else {
            return;
        };
        let parameter = |key: &str| {
            let parameters = storage_class.get("parameters")?;
            parameters
                .get(key)?
                .as_str()
                .filter(|v| !v.is_empty() && !v.contains("${"))
                .map(str::to_owned)
        };
        let secrets = SECRET_FIELDS.iter().filter_map(|(prefix, field)| {
            let name = parameter(&format!("csi.storage.k8s.io/{prefix}-secret-name"))?;
            let namespace = parameter(&format!("csi.storage.k8s.io/{prefix}-secret-namespace"))?;
            Some(((*field).to_owned(), SecretRef { name, namespace }))
        });
        let access = Access {
            secrets: secrets.collect(),
            cluster_id: parameter("clusterID"),
        };
        self.access.insert(name.to_owned(), access);
    }

    /// Points a PV's `csi` section at the Secrets and the storage cluster of the target's storage class.
    pub(crate) fn apply_access(&self, target_class: &str, pv: &mut Value) {
        let Some(access) = self.access.get(target_class) else {
            return;
        };
        if let Some(csi) = map_at(pv, &["spec", "csi"]) {
            for (field, secret) in &access.secrets {
                // Only where the volume had one: a Secret the volume was made without is not its business.
                if let Some(slot) = csi.get_mut(field) {
                    *slot =
                        serde_json::json!({ "name": secret.name, "namespace": secret.namespace });
                }
            }
        }
        if let Some(id) = &access.cluster_id
            && pv.pointer("/spec/csi/volumeAttributes/clusterID").is_some()
        {
            set(
                pv,
                &["spec", "csi", "volumeAttributes"],
                "clusterID",
                id.as_str(),
            );
        }
    }
}

/// Whom an object is made for, and in which epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// `namespace/name` of the placement.
    pub placement: String,
    /// Its uid.
    pub placement_uid: String,
    /// The ownership epoch.
    pub epoch: u64,
}

impl Marks {
    /// Writes the marks on an object.
    pub(crate) fn apply(&self, object: &mut Value) {
        set(
            object,
            &["metadata", "labels"],
            names::PLACEMENT_UID,
            self.placement_uid.as_str(),
        );
        set(
            object,
            &["metadata", "annotations"],
            names::PLACEMENT,
            self.placement.as_str(),
        );
        set(
            object,
            &["metadata", "annotations"],
            names::RESTORED_EPOCH,
            self.epoch.to_string(),
        );
    }
}
