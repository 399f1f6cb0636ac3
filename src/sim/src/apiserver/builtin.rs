//! What the real API server does to built-in kinds that tests can notice: defaults, and fields that cannot change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::{ApiError, Cause, Result};
use super::resource::Resource;
use super::tree::{
    list_at, meta_mut, meta_text, object, set_default, slot, slot_at, text, text_at,
};

/// Nodes report their status when they register.
pub(crate) fn keeps_status_on_create(res: &Resource) -> bool {
    res.is("", "Node")
}

/// A pod that runs on a node is only marked; its node deletes it with a grace period of zero.
pub(crate) fn ends_gracefully(res: &Resource, live: &Value) -> bool {
    let over = matches!(text_at(live, "/status/phase"), "Succeeded" | "Failed");
    res.is("", "Pod") && !text_at(live, "/spec/nodeName").is_empty() && !over
}

/// Defaults of a new object.
pub(crate) fn on_create(res: &Resource, obj: &mut Value) {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Namespace") => {
            let name = meta_text(obj, "name").to_owned();
            let labels = object(meta_mut(obj).entry("labels").or_insert(Value::Null));
            set_default(labels, "kubernetes.io/metadata.name", name);
            *slot_at(obj, &["spec", "finalizers"]) = json!(["kubernetes"]);
            *slot(obj, "status") = json!({"phase": "Active"});
        }
        ("", "Pod") => *slot(obj, "status") = json!({"phase": "Pending", "qosClass": "BestEffort"}),
        ("", "PersistentVolumeClaim" | "PersistentVolume") => {
            *slot(obj, "status") = json!({"phase": "Pending"});
        }
        ("apps" | "batch", _) => *slot(obj, "status") = json!({}),
        _ => {}
    }
    defaults(res, obj);
}

/// What a write to a stored object completes.
pub(crate) fn on_update(res: &Resource, live: &Value, want: &mut Value) {
    if res.is("", "Namespace") {
        super::tree::copy_key(&live["spec"], object(slot(want, "spec")), "finalizers");
    }
    defaults(res, want);
}

fn defaults(res: &Resource, obj: &mut Value) {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Secret") => secret(obj),
        ("", "PersistentVolumeClaim") => {
            set_default(object(slot(obj, "spec")), "volumeMode", "Filesystem");
        }
        ("", "PersistentVolume") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "volumeMode", "Filesystem");
            set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        }
        ("", "Pod") => pod(slot(obj, "spec")),
        ("", "Service") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "type", "ClusterIP");
            set_default(spec, "sessionAffinity", "None");
            ports(obj, "/spec/ports", "port");
        }
        ("apps", "Deployment") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "replicas", 1);
            set_default(spec, "revisionHistoryLimit", 10);
            set_default(spec, "progressDeadlineSeconds", 600);
            set_default(
                spec,
                "strategy",
                json!({"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
            );
            pod(slot_at(obj, &["spec", "template", "spec"]));
        }
        ("apps", "StatefulSet") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "replicas", 1);
            set_default(spec, "revisionHistoryLimit", 10);
            set_default(spec, "podManagementPolicy", "OrderedReady");
            set_default(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            );
            set_default(
                spec,
                "persistentVolumeClaimRetentionPolicy",
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            );
            pod(slot_at(obj, &["spec", "template", "spec"]));
        }
        ("apps", "ReplicaSet") => {
            set_default(object(slot(obj, "spec")), "replicas", 1);
            pod(slot_at(obj, &["spec", "template", "spec"]));
        }
        ("storage.k8s.io", "StorageClass") => {
            let m = object(obj);
            set_default(m, "reclaimPolicy", "Delete");
            set_default(m, "volumeBindingMode", "Immediate");
        }
        _ => {}
    }
}

fn secret(obj: &mut Value) {
    let m = object(obj);
    set_default(m, "type", "Opaque");
    if let Some(Value::Object(plain)) = m.remove("stringData") {
        let data = object(m.entry("data").or_insert(Value::Null));
        for (key, v) in plain {
            data.insert(key, STANDARD.encode(v.as_str().unwrap_or_default()).into());
        }
    }
}

fn pod(spec: &mut Value) {
    let m = object(spec);
    set_default(m, "restartPolicy", "Always");
    set_default(m, "terminationGracePeriodSeconds", 30);
    set_default(m, "dnsPolicy", "ClusterFirst");
    set_default(m, "schedulerName", "default-scheduler");
    set_default(m, "securityContext", Map::new());
    for key in ["containers", "initContainers"] {
        for c in m
            .get_mut(key)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let c = object(c);
            set_default(c, "resources", Map::new());
            set_default(c, "terminationMessagePath", "/dev/termination-log");
            set_default(c, "terminationMessagePolicy", "File");
            let latest = c
                .get("image")
                .and_then(Value::as_str)
                .is_none_or(|i| !i.contains(':') || i.ends_with(":latest"));
            set_default(
                c,
                "imagePullPolicy",
                if latest { "Always" } else { "IfNotPresent" },
            );
            for port in c
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                set_default(object(port), "protocol", "TCP");
            }
        }
    }
}

fn ports(obj: &mut Value, pointer: &str, target_from: &str) {
    for port in obj
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let port = object(port);
        set_default(port, "protocol", "TCP");
        if let Some(number) = port.get(target_from).cloned() {
            set_default(port, "targetPort", number);
        }
    }
}

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
    let frozen = |v: &Value| {
        let mut spec = v["spec"].clone();
        let m = object(&mut spec);
        m.remove("resources");
        m.remove("volumeAttributesClassName");
        spec
    };
    let (old, mut new) = (frozen(live), frozen(want));
    if text(&old, "volumeName").is_empty() {
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
    fixed(want, Some(live), &["spec", "volumeMode"], out);
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
