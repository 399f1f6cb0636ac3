//! What the real API server does to built-in kinds that tests can notice: defaults, and fields that cannot change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::resource::Resource;
use super::tree::{meta_mut, meta_text, object, set_default, slot, slot_at, text, text_at};

mod rules;

pub(crate) use rules::validate;

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
        ("apps", "StatefulSet") => {
            *slot(obj, "status") = json!({"replicas": 0, "availableReplicas": 0});
        }
        ("apps" | "batch", _) => *slot(obj, "status") = json!({}),
        ("storage.k8s.io", "VolumeAttachment") => *slot(obj, "status") = json!({"attached": false}),
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

/// A volume says since when it is in its phase.
pub(crate) fn stamp_phase(res: &Resource, live: Option<&Value>, want: &mut Value, now: &str) {
    if !res.is("", "PersistentVolume") {
        return;
    }
    let phase = |v: &Value| text_at(v, "/status/phase").to_owned();
    if live.is_none_or(|l| phase(l) != phase(want)) {
        *slot_at(want, &["status", "lastPhaseTransitionTime"]) = now.into();
    }
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
        ("", "Pod") => {
            let spec = slot(obj, "spec");
            pod(spec);
            set_default(object(spec), "enableServiceLinks", true);
            service_account(object(spec));
        }
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
            claim_templates(spec);
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
        ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => {
            let subjects = obj.get_mut("subjects").and_then(Value::as_array_mut);
            for subject in subjects.into_iter().flatten() {
                if matches!(text(subject, "kind"), "User" | "Group") {
                    set_default(object(subject), "apiGroup", "rbac.authorization.k8s.io");
                }
            }
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

/// The two names of a pod's service account say the same.
fn service_account(spec: &mut Map<String, Value>) {
    let named = |key: &str| {
        spec.get(key)
            .cloned()
            .filter(|v| v.as_str().is_some_and(|s| !s.is_empty()))
    };
    let account = named("serviceAccountName")
        .or_else(|| named("serviceAccount"))
        .unwrap_or_else(|| "default".into());
    spec.insert("serviceAccountName".into(), account.clone());
    spec.insert("serviceAccount".into(), account);
}

fn claim_templates(spec: &mut Map<String, Value>) {
    let templates = spec
        .get_mut("volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for template in templates.into_iter().flatten() {
        let m = object(template);
        set_default(m, "apiVersion", "v1");
        set_default(m, "kind", "PersistentVolumeClaim");
        set_default(m, "status", json!({"phase": "Pending"}));
        set_default(object(slot(template, "spec")), "volumeMode", "Filesystem");
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
