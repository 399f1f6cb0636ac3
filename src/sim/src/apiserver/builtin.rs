//! What the real API server does to built-in kinds that tests can notice: defaults, and fields that cannot change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::resource::Resource;
use super::tree::{meta_mut, meta_text, object, set_default, slot, slot_at, text, text_at};

mod rules;

const RBAC: &str = "rbac.authorization.k8s.io";

pub(crate) use rules::validate;

/// Nodes report their status when they register.
pub(crate) fn keeps_status_on_create(res: &Resource) -> bool {
    res.is("", "Node")
}

/// Kinds whose deletion is answered with the object, not with a `Status`.
pub(crate) fn is_shown_when_gone(res: &Resource) -> bool {
    let kinds = [
        "Pod",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ServiceAccount",
        "StorageClass",
        "VolumeAttachment",
        "CSIDriver",
        "Service",
    ];
    res.custom.is_none() && kinds.contains(&res.kind.as_str())
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
        ("", "Service") => *slot(obj, "status") = json!({"loadBalancer": {}}),
        ("apps", "ReplicaSet") => *slot(obj, "status") = json!({"replicas": 0}),
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

/// What admission adds to a new object: nobody is recorded to manage it.
pub(crate) fn on_admission(res: &Resource, obj: &mut Value) {
    if res.is("", "Service") {
        addresses(obj);
    }
    if !res.is("", "Pod") {
        return;
    }
    let spec = object(slot(obj, "spec"));
    service_account(spec);
    set_default(spec, "priority", 0);
    set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
    let tolerations = super::tree::array(spec.entry("tolerations").or_insert(Value::Null));
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if !tolerations.iter().any(|t| text(t, "key") == key) {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
}

/// Services get an address: always another one, for nobody uses it.
fn addresses(obj: &mut Value) {
    let uid = meta_text(obj, "uid").to_owned();
    let spec = object(slot(obj, "spec"));
    if spec.get("type") == Some(&json!("ExternalName")) {
        return;
    }
    let part = |at: usize| uid.get(at..at + 2).map(|hex| u8::from_str_radix(hex, 16));
    let byte = |at| part(at).and_then(Result::ok).unwrap_or_default();
    set_default(
        spec,
        "clusterIP",
        format!("10.96.{}.{}", byte(0), byte(2).max(1)),
    );
    let all = json!([spec.get("clusterIP")]);
    set_default(spec, "clusterIPs", all);
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    set_default(spec, "ipFamilyPolicy", "SingleStack");
}

/// What a write to a stored object completes.
pub(crate) fn on_update(res: &Resource, live: &Value, want: &mut Value) {
    if res.is("", "Namespace") {
        super::tree::copy_key(&live["spec"], object(slot(want, "spec")), "finalizers");
    }
    defaults(res, want);
}

/// A role without rules says so, and knows no list without any: whoever wrote one is recorded all the same.
pub(crate) fn no_rules(res: &Resource, obj: &mut Value) {
    if res.is(RBAC, "Role") || res.is(RBAC, "ClusterRole") {
        let rules = slot(obj, "rules");
        if rules.as_array().is_some_and(Vec::is_empty) {
            *rules = Value::Null;
        }
    }
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
        (_, "Event") => event(obj),
        ("", "PersistentVolumeClaim") => {
            set_default(object(slot(obj, "spec")), "volumeMode", "Filesystem");
        }
        ("", "PersistentVolume") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "volumeMode", "Filesystem");
            set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => super::crd::complete_names(obj),
        ("", "Pod") => {
            let spec = slot(obj, "spec");
            pod(spec);
            set_default(object(spec), "enableServiceLinks", true);
        }
        ("", "Service") => {
            let spec = object(slot(obj, "spec"));
            set_default(spec, "type", "ClusterIP");
            set_default(spec, "sessionAffinity", "None");
            set_default(spec, "internalTrafficPolicy", "Cluster");
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
            template(obj);
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
            template(obj);
        }
        ("apps", "ReplicaSet") => {
            set_default(object(slot(obj, "spec")), "replicas", 1);
            template(obj);
        }
        ("storage.k8s.io", "StorageClass") => {
            let m = object(obj);
            set_default(m, "reclaimPolicy", "Delete");
            set_default(m, "volumeBindingMode", "Immediate");
        }
        (RBAC, "ClusterRoleBinding" | "RoleBinding") => {
            let role = object(slot(obj, "roleRef"));
            set_default(role, "apiGroup", RBAC);
            let subjects = obj.get_mut("subjects").and_then(Value::as_array_mut);
            for subject in subjects.into_iter().flatten() {
                if matches!(text(subject, "kind"), "User" | "Group") {
                    set_default(object(subject), "apiGroup", RBAC);
                }
            }
        }
        _ => {}
    }
}

/// The template of a workload's pods. Its type always shows a creation time.
fn template(obj: &mut Value) {
    pod(slot_at(obj, &["spec", "template", "spec"]));
    let metadata = object(slot_at(obj, &["spec", "template", "metadata"]));
    metadata.insert("creationTimestamp".into(), Value::Null);
}

/// Fields that the type of an event always shows.
fn event(obj: &mut Value) {
    let m = object(obj);
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        m.entry(time).or_insert(Value::Null);
    }
    set_default(m, "reportingComponent", "");
    set_default(m, "reportingInstance", "");
    set_default(m, "source", Map::new());
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
        let metadata = object(slot(template, "metadata"));
        metadata.insert("creationTimestamp".into(), Value::Null);
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
