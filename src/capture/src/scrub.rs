//! Removing from an object what belongs to the cluster it was read on.
//!
//! Used on the way out and again on the way in, so that a record made by hand or by an older version is as clean.

use serde_json::{Map, Value};

use crate::names;
use crate::object::{TEMPLATE, kind, remove};

/// Metadata that the API server or a controller of the source cluster wrote.
const METADATA: [&str; 10] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    // A finalizer belongs to a controller of the source; on the target nobody might ever lift it.
    "finalizers",
    "selfLink",
];

/// Annotations written by controllers about the source cluster.
const ANNOTATION_PREFIXES: [&str; 6] = [
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "replication.storage.openshift.io/",
    "deployment.kubernetes.io/",
    names::PREFIX,
];

const ANNOTATIONS: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.daemonset.template.generation",
];

/// Annotations of a PV that stay: without them the provisioner would never delete the image once the reclaim policy is
/// `Delete` again.
const PV_ANNOTATIONS: [&str; 3] = [
    "pv.kubernetes.io/provisioned-by",
    "volume.kubernetes.io/provisioner-deletion-secret-name",
    "volume.kubernetes.io/provisioner-deletion-secret-namespace",
];

/// Labels of a PV that name a place in the source cluster.
const PLACE_LABELS: [&str; 2] = [
    "topology.kubernetes.io/",
    "failure-domain.beta.kubernetes.io/",
];

/// Removes what any object has of its cluster: status, identity, ownership, our own annotations and mark.
pub(crate) fn common(object: &mut Value) {
    remove(object, "", &["status"]);
    remove(object, "/metadata", &METADATA);
    let is_pv = kind(object) == "PersistentVolume";
    retain(object, "annotations", |key| {
        (is_pv && PV_ANNOTATIONS.contains(&key))
            || !(ANNOTATIONS.contains(&key)
                || ANNOTATION_PREFIXES.iter().any(|p| key.starts_with(p)))
    });
    retain(object, "labels", |key| key != names::PLACEMENT_UID);
}

fn retain(object: &mut Value, field: &str, keep: impl Fn(&str) -> bool) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
        map.retain(|key, _| keep(key));
    }
    // An empty map and no map mean the same, and must not differ in a fingerprint.
    if metadata
        .get(field)
        .is_some_and(|v| v.is_null() || v.as_object().is_some_and(Map::is_empty))
    {
        metadata.remove(field);
    }
}

/// Scrubs a `PersistentVolume`.
pub(crate) fn pv(object: &mut Value) {
    common(object);
    retain(object, "labels", |key| {
        !PLACE_LABELS.iter().any(|p| key.starts_with(p))
    });
    // Zones and nodes of the source do not exist on the target; the driver there knows where the image is.
    remove(object, "/spec", &["nodeAffinity"]);
    remove(
        object,
        "/spec/claimRef",
        &["uid", "resourceVersion", "fieldPath"],
    );
}

/// Scrubs a `PersistentVolumeClaim`.
pub(crate) fn pvc(object: &mut Value) {
    common(object);
    // The volume exists: a source to fill a new one from would be wrong, and is often gone.
    remove(object, "/spec", &["dataSource", "dataSourceRef"]);
}

/// Scrubs a workload.
pub(crate) fn workload(object: &mut Value) {
    common(object);
    remove(object, &format!("{TEMPLATE}/metadata"), &METADATA);
    let templates = object
        .pointer_mut("/spec/volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for claim in templates.into_iter().flatten() {
        common(claim);
    }
}

/// Scrubs a `ConfigMap`, Secret, Service or `ServiceAccount`.
pub(crate) fn supporting(object: &mut Value) {
    common(object);
    match kind(object) {
        "Service" => service(object),
        // Tokens of the source cluster; the target makes its own.
        "ServiceAccount" => remove(object, "", &["secrets"]),
        _ => {}
    }
}

/// Addresses and ports that the source cluster gave out. `clusterIP: None` is not one: it makes a Service headless.
fn service(object: &mut Value) {
    let headless = object.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None");
    if !headless {
        remove(object, "/spec", &["clusterIP", "clusterIPs"]);
    }
    remove(object, "/spec", &["healthCheckNodePort", "ipFamilies"]);
    for port in object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        remove(port, "", &["nodePort"]);
    }
}
