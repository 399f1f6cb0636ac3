//! The columns of the built-in kinds people look at.

mod cell;
mod storage;
mod workloads;

use serde_json::{Value, json};

use super::super::resource::Resource;
use super::super::tree::{list_at, meta, meta_text, text, text_at};
use super::age;
use cell::{AGE, column, count, or_none, pairs, size, wide};

pub(super) use cell::Column;

/// The columns after the name.
pub(super) fn columns(res: &Resource) -> &'static [Column] {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => &workloads::PODS,
        ("", "PersistentVolumeClaim") => &storage::CLAIMS,
        ("", "PersistentVolume") => &storage::VOLUMES,
        ("", "Namespace") => &NAMESPACES,
        ("", "Node") => &NODES,
        ("", "Secret") => &SECRETS,
        ("", "ConfigMap") => &CONFIG_MAPS,
        ("", "Service") => &SERVICES,
        ("", "ServiceAccount") => &SERVICE_ACCOUNTS,
        (_, "Event") => &EVENTS,
        ("apps", "Deployment") => &workloads::DEPLOYMENTS,
        ("apps", "StatefulSet") => &workloads::STATEFUL_SETS,
        ("apps", "ReplicaSet") => &workloads::REPLICA_SETS,
        ("autoscaling", "Scale") => &workloads::SCALES,
        ("batch", "Job") => &workloads::JOBS,
        ("coordination.k8s.io", "Lease") => &LEASES,
        ("storage.k8s.io", "StorageClass") => &storage::STORAGE_CLASSES,
        ("storage.k8s.io", "VolumeAttachment") => &storage::ATTACHMENTS,
        ("storage.k8s.io", "CSIDriver") => &storage::DRIVERS,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => &BINDINGS,
        _ => &PLAIN,
    }
}

/// Kinds with no columns of their own.
static PLAIN: [Column; 1] = [Column {
    kind: "date",
    ..column("Created At", |o, _| {
        meta_text(o, "creationTimestamp").into()
    })
}];

static SERVICE_ACCOUNTS: [Column; 2] = [
    column("Secrets", |o, _| list_at(o, "/secrets").len().into()),
    AGE,
];

static NAMESPACES: [Column; 2] = [
    column("Status", |o, _| text_at(o, "/status/phase").into()),
    AGE,
];

static NODES: [Column; 9] = [
    column("Status", |o, _| {
        let ready = list_at(o, "/status/conditions")
            .iter()
            .find(|c| text(c, "type") == "Ready");
        let state = match ready.map(|c| text(c, "status")) {
            Some("True") => "Ready",
            Some(_) => "NotReady",
            None => "Unknown",
        };
        let off = o.pointer("/spec/unschedulable") == Some(&json!(true));
        if off {
            format!("{state},SchedulingDisabled").into()
        } else {
            state.into()
        }
    }),
    column("Roles", |o, _| {
        let labels = meta(o).get("labels").and_then(Value::as_object);
        let roles = labels
            .into_iter()
            .flatten()
            .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"));
        or_none(&roles.collect::<Vec<_>>().join(","))
    }),
    AGE,
    column("Version", |o, _| {
        text_at(o, "/status/nodeInfo/kubeletVersion").into()
    }),
    wide("Internal-IP", |o, _| address(o, "InternalIP")),
    wide("External-IP", |o, _| address(o, "ExternalIP")),
    wide("OS-Image", |o, _| node_info(o, "osImage")),
    wide("Kernel-Version", |o, _| node_info(o, "kernelVersion")),
    wide("Container-Runtime", |o, _| {
        node_info(o, "containerRuntimeVersion")
    }),
];

static SECRETS: [Column; 3] = [
    column("Type", |o, _| text(o, "type").into()),
    column("Data", |o, _| size(&o["data"]).into()),
    AGE,
];

static CONFIG_MAPS: [Column; 2] = [
    column("Data", |o, _| {
        (size(&o["data"]) + size(&o["binaryData"])).into()
    }),
    AGE,
];

static SERVICES: [Column; 6] = [
    column("Type", |o, _| text_at(o, "/spec/type").into()),
    column("Cluster-IP", |o, _| or_none(text_at(o, "/spec/clusterIP"))),
    column("External-IP", |_, _| "<none>".into()),
    column("Port(s)", |o, _| {
        let ports = list_at(o, "/spec/ports")
            .iter()
            .map(|p| format!("{}/{}", p["port"], text(p, "protocol")));
        or_none(&ports.collect::<Vec<_>>().join(","))
    }),
    AGE,
    wide("Selector", |o, _| {
        or_none(&pairs(o.pointer("/spec/selector")))
    }),
];

static EVENTS: [Column; 10] = [
    column("Last Seen", |o, now| {
        let times = [
            text(o, "lastTimestamp"),
            text_at(o, "/series/lastObservedTime"),
            text(o, "eventTime"),
            meta_text(o, "creationTimestamp"),
        ];
        age(
            times
                .into_iter()
                .find(|t| !t.is_empty())
                .unwrap_or_default(),
            now,
        )
    }),
    column("Type", |o, _| text(o, "type").into()),
    column("Reason", |o, _| text(o, "reason").into()),
    column("Object", |o, _| {
        let target = o
            .get("involvedObject")
            .or_else(|| o.get("regarding"))
            .unwrap_or(&Value::Null);
        format!(
            "{}/{}",
            text(target, "kind").to_lowercase(),
            text(target, "name")
        )
        .into()
    }),
    wide("Subobject", |o, _| {
        text_at(o, "/involvedObject/fieldPath").into()
    }),
    wide("Source", |o, _| {
        let source = [text_at(o, "/source/component"), text_at(o, "/source/host")];
        let said = source.into_iter().filter(|s| !s.is_empty());
        said.collect::<Vec<_>>().join(", ").into()
    }),
    column("Message", |o, _| {
        let message = text(o, "message");
        if message.is_empty() {
            text(o, "note").into()
        } else {
            message.into()
        }
    }),
    wide("First Seen", |o, now| {
        let times = [text(o, "firstTimestamp"), text(o, "eventTime")];
        let first = times.into_iter().find(|t| !t.is_empty());
        age(first.unwrap_or_default(), now)
    }),
    wide("Count", |o, _| count(o, "/count").max(1).into()),
    Column {
        format: "name",
        ..wide("Name", |o, _| meta_text(o, "name").into())
    },
];

static LEASES: [Column; 2] = [
    column("Holder", |o, _| text_at(o, "/spec/holderIdentity").into()),
    AGE,
];

static BINDINGS: [Column; 5] = [
    column("Role", |o, _| {
        format!(
            "{}/{}",
            text_at(o, "/roleRef/kind"),
            text_at(o, "/roleRef/name")
        )
        .into()
    }),
    AGE,
    wide("Users", |o, _| subjects(o, "User")),
    wide("Groups", |o, _| subjects(o, "Group")),
    wide("ServiceAccounts", |o, _| subjects(o, "ServiceAccount")),
];

fn address(o: &Value, kind: &str) -> Value {
    let all = list_at(o, "/status/addresses").iter();
    let found = all
        .filter(|a| text(a, "type") == kind)
        .map(|a| text(a, "address"))
        .next_back();
    or_none(found.unwrap_or_default())
}

fn node_info(o: &Value, key: &str) -> Value {
    match text_at(o, &format!("/status/nodeInfo/{key}")) {
        "" => "<unknown>".into(),
        known => known.into(),
    }
}

fn subjects(o: &Value, kind: &str) -> Value {
    let name = |s: &Value| match text(s, "namespace") {
        "" => text(s, "name").to_owned(),
        ns => format!("{ns}/{}", text(s, "name")),
    };
    let all = list_at(o, "/subjects").iter();
    let of_kind: Vec<String> = all.filter(|s| text(s, "kind") == kind).map(name).collect();
    of_kind.join(", ").into()
}
