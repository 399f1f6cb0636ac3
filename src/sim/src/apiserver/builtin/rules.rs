//! What cannot be in a built-in object, or cannot change in it.

use serde_json::Value;

use super::super::error::{ApiError, Cause, Result};
use super::super::resource::Resource;
use super::super::tree::{list_at, meta_text, object, text, text_at};

/// Refuses what the real API server would refuse of the kinds whose rules matter to moving volumes.
pub(crate) fn validate(res: &Resource, want: &Value, live: Option<&Value>) -> Result<()> {
    let mut causes = Vec::new();
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "PersistentVolumeClaim") => claim(want, live, &mut causes),
        ("", "PersistentVolume") => volume(want, live, &mut causes),
        ("", "ConfigMap" | "Secret") => immutable_data(want, live, &mut causes),
        ("", "Pod") => pod_rules(want, live, &mut causes),
        ("apps", "StatefulSet") => stateful_set(want, live, &mut causes),
        ("apps", "Deployment" | "ReplicaSet") => workload(want, live, &mut causes),
        ("storage.k8s.io", "StorageClass") => storage_class(want, live, &mut causes),
        ("storage.k8s.io", "VolumeAttachment") => fixed(want, live, &["spec"], &mut causes),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => {
            role_ref(want, live, &mut causes);
        }
        _ => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(res, meta_text(want, "name"), &causes))
    }
}

const CLAIM_FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                           bound claims";

fn claim(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if list_at(want, "/spec/accessModes").is_empty() {
        out.push(Cause {
            message: "Required value: at least 1 access mode is required".into(),
            ..Cause::required("spec.accessModes")
        });
    }
    if want.pointer("/spec/resources/requests/storage").is_none() {
        out.push(Cause::required("spec.resources[storage]"));
    }
    let Some(live) = live else { return };
    let bound = text_at(live, "/status/phase") == "Bound";
    let frozen = |v: &Value| {
        let mut spec = v["spec"].clone();
        let m = object(&mut spec);
        if bound {
            m.remove("resources");
        }
        m.remove("volumeAttributesClassName");
        spec
    };
    let (mut old, mut new) = (frozen(live), frozen(want));
    if text(&old, "volumeName").is_empty() {
        object(&mut old).remove("volumeName");
        object(&mut new).remove("volumeName");
    }
    if old.get("storageClassName").is_none() {
        object(&mut new).remove("storageClassName");
    }
    if old != new {
        out.push(Cause::forbidden("spec", CLAIM_FIXED));
    }
}

fn volume(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if list_at(want, "/spec/accessModes").is_empty() {
        out.push(Cause::required("spec.accessModes"));
    }
    if want.pointer("/spec/capacity/storage").is_none() {
        out.push(Cause::required("spec.capacity"));
    }
    let sources = [
        "csi", "hostPath", "nfs", "local", "iscsi", "rbd", "cephfs", "fc",
    ];
    let spec = want["spec"].as_object();
    let has_source = spec.is_some_and(|m| sources.iter().any(|s| m.contains_key(*s)));
    if !has_source {
        out.push(Cause {
            message: "Required value: must specify a volume type".into(),
            ..Cause::required("spec")
        });
    }
    let policy = text_at(want, "/spec/persistentVolumeReclaimPolicy");
    if !matches!(policy, "Delete" | "Recycle" | "Retain") {
        let why = format!("\"{policy}\": supported values: \"Delete\", \"Recycle\", \"Retain\"");
        out.push(Cause::unsupported(
            "spec.persistentVolumeReclaimPolicy",
            why,
        ));
    }
    let Some(live) = live else { return };
    if sources
        .iter()
        .any(|s| live["spec"].get(s) != want["spec"].get(s))
    {
        out.push(Cause::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    if live["spec"].get("volumeMode") != want["spec"].get("volumeMode") {
        out.push(Cause::invalid(
            "volumeMode",
            format!("{}: field is immutable", want["spec"]["volumeMode"]),
        ));
    }
}

fn fixed(want: &Value, live: Option<&Value>, path: &[&str], out: &mut Vec<Cause>) {
    let Some(live) = live else { return };
    let at = |v: &Value| {
        path.iter()
            .fold(v, |v, key| v.get(*key).unwrap_or(&Value::Null))
            .clone()
    };
    if at(live) != at(want) {
        out.push(Cause::invalid(
            path.join("."),
            format!("{}: field is immutable", at(want)),
        ));
    }
}

fn immutable_data(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    let Some(live) = live else { return };
    if live.get("immutable") == Some(&Value::Bool(true)) {
        for key in ["data", "binaryData", "immutable"] {
            if live.get(key) != want.get(key) {
                out.push(Cause::forbidden(
                    key,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    if live.get("type") != want.get("type") {
        fixed(want, Some(live), &["type"], out);
    }
}

fn pod_rules(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if list_at(want, "/spec/containers").is_empty() {
        out.push(Cause::required("spec.containers"));
    }
    let Some(live) = live else { return };
    let node = text_at(live, "/spec/nodeName");
    let changed = node != text_at(want, "/spec/nodeName")
        || live.pointer("/spec/volumes") != want.pointer("/spec/volumes");
    if changed {
        out.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn workload(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    let selector = want
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    if want.pointer("/spec/selector").is_none() {
        out.push(Cause::required("spec.selector"));
    }
    let labels = want
        .pointer("/spec/template/metadata/labels")
        .unwrap_or(&Value::Null);
    if selector.is_some_and(|s| s.iter().any(|(k, v)| labels.get(k) != Some(v))) {
        out.push(Cause::invalid(
            "spec.template.metadata.labels",
            format!("{labels}: `selector` does not match template `labels`"),
        ));
    }
    fixed(want, live, &["spec", "selector"], out);
}

fn stateful_set(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    workload(want, None, out);
    let Some(live) = live else { return };
    let frozen = |v: &Value| {
        let mut spec = v["spec"].clone();
        let m = object(&mut spec);
        for free in [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ] {
            m.remove(free);
        }
        spec
    };
    if frozen(live) != frozen(want) {
        out.push(Cause::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn storage_class(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if text(want, "provisioner").is_empty() {
        out.push(Cause::required("provisioner"));
    }
    let Some(live) = live else { return };
    for key in [
        "parameters",
        "provisioner",
        "reclaimPolicy",
        "volumeBindingMode",
    ] {
        if live.get(key) != want.get(key) {
            out.push(Cause::forbidden(
                key,
                format!("updates to {key} are forbidden."),
            ));
        }
    }
}

fn role_ref(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    let Some(live) = live else { return };
    if live.get("roleRef") != want.get("roleRef") {
        out.push(Cause::invalid(
            "roleRef",
            format!("{}: cannot change roleRef", want["roleRef"]),
        ));
    }
}
