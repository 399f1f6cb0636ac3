//! The columns of the built-in kinds people look at.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::resource::Resource;
use super::super::tree::{list_at, meta, meta_text, number, strings_at, text, text_at};
use super::age;

/// A column and how its cell is read off an object.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) format: &'static str,
    pub(super) priority: i64,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

const fn column(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 0,
        cell,
    }
}

const fn integer(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "integer",
        ..column(name, cell)
    }
}

const fn flag(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "boolean",
        ..column(name, cell)
    }
}

const fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 1,
        cell,
    }
}

const AGE: Column = column("Age", |o, now| age(meta_text(o, "creationTimestamp"), now));

/// The columns after the name.
pub(super) fn columns(res: &Resource) -> &'static [Column] {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => &PODS,
        ("", "PersistentVolumeClaim") => &CLAIMS,
        ("", "PersistentVolume") => &VOLUMES,
        ("", "Namespace") => &NAMESPACES,
        ("", "Node") => &NODES,
        ("", "Secret") => &SECRETS,
        ("", "ConfigMap") => &CONFIG_MAPS,
        ("", "Service") => &SERVICES,
        ("", "ServiceAccount") => &SERVICE_ACCOUNTS,
        (_, "Event") => &EVENTS,
        ("apps", "Deployment") => &DEPLOYMENTS,
        ("apps", "StatefulSet") => &STATEFUL_SETS,
        ("apps", "ReplicaSet") => &REPLICA_SETS,
        ("autoscaling", "Scale") => &SCALES,
        ("batch", "Job") => &JOBS,
        ("coordination.k8s.io", "Lease") => &LEASES,
        ("storage.k8s.io", "StorageClass") => &STORAGE_CLASSES,
        ("storage.k8s.io", "VolumeAttachment") => &ATTACHMENTS,
        ("storage.k8s.io", "CSIDriver") => &DRIVERS,
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

static PODS: [Column; 8] = [
    column("Ready", |o, _| {
        let all = list_at(o, "/spec/containers").len();
        let ready = list_at(o, "/status/containerStatuses")
            .iter()
            .filter(|c| c["ready"] == json!(true))
            .count();
        format!("{ready}/{all}").into()
    }),
    column("Status", |o, _| {
        if meta(o).get("deletionTimestamp").is_some() {
            return "Terminating".into();
        }
        let waiting = list_at(o, "/status/containerStatuses")
            .iter()
            .map(|c| text_at(c, "/state/waiting/reason"));
        let reason = waiting
            .into_iter()
            .find(|r| !r.is_empty())
            .unwrap_or_else(|| text_at(o, "/status/reason"));
        or_none(if reason.is_empty() {
            text_at(o, "/status/phase")
        } else {
            reason
        })
    }),
    column("Restarts", |o, _| {
        let counts = list_at(o, "/status/containerStatuses")
            .iter()
            .filter_map(|c| c["restartCount"].as_i64());
        counts.sum::<i64>().to_string().into()
    }),
    AGE,
    wide("IP", |o, _| or_none(text_at(o, "/status/podIP"))),
    wide("Node", |o, _| or_none(text_at(o, "/spec/nodeName"))),
    wide("Nominated Node", |o, _| {
        or_none(text_at(o, "/status/nominatedNodeName"))
    }),
    wide("Readiness Gates", |_, _| "<none>".into()),
];

static CLAIMS: [Column; 8] = [
    column("Status", |o, _| phase(o)),
    column("Volume", |o, _| text_at(o, "/spec/volumeName").into()),
    column("Capacity", |o, _| {
        text_at(o, "/status/capacity/storage").into()
    }),
    column("Access Modes", |o, _| {
        modes(&strings_at(o, "/status/accessModes"))
    }),
    column("StorageClass", |o, _| {
        text_at(o, "/spec/storageClassName").into()
    }),
    column("VolumeAttributesClass", |o, _| {
        or_unset(text_at(o, "/spec/volumeAttributesClassName"))
    }),
    AGE,
    wide("VolumeMode", |o, _| text_at(o, "/spec/volumeMode").into()),
];

static VOLUMES: [Column; 10] = [
    column("Capacity", |o, _| {
        text_at(o, "/spec/capacity/storage").into()
    }),
    column("Access Modes", |o, _| {
        modes(&strings_at(o, "/spec/accessModes"))
    }),
    column("Reclaim Policy", |o, _| {
        text_at(o, "/spec/persistentVolumeReclaimPolicy").into()
    }),
    column("Status", |o, _| phase(o)),
    column("Claim", |o, _| {
        let (ns, name) = (
            text_at(o, "/spec/claimRef/namespace"),
            text_at(o, "/spec/claimRef/name"),
        );
        if name.is_empty() {
            "".into()
        } else {
            format!("{ns}/{name}").into()
        }
    }),
    column("StorageClass", |o, _| {
        text_at(o, "/spec/storageClassName").into()
    }),
    column("VolumeAttributesClass", |o, _| {
        or_unset(text_at(o, "/spec/volumeAttributesClassName"))
    }),
    column("Reason", |o, _| text_at(o, "/status/reason").into()),
    AGE,
    wide("VolumeMode", |o, _| text_at(o, "/spec/volumeMode").into()),
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

static DEPLOYMENTS: [Column; 7] = [
    column("Ready", |o, _| ready(o)),
    column("Up-to-date", |o, _| {
        count(o, "/status/updatedReplicas").into()
    }),
    column("Available", |o, _| {
        count(o, "/status/availableReplicas").into()
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

static STATEFUL_SETS: [Column; 4] = [column("Ready", |o, _| ready(o)), AGE, CONTAINERS, IMAGES];

static REPLICA_SETS: [Column; 7] = [
    integer("Desired", |o, _| count(o, "/spec/replicas").into()),
    integer("Current", |o, _| count(o, "/status/replicas").into()),
    integer("Ready", |o, _| count(o, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

static SCALES: [Column; 3] = [
    integer("Desired", |o, _| count(o, "/spec/replicas").into()),
    integer("Available", |o, _| count(o, "/status/replicas").into()),
    AGE,
];

static JOBS: [Column; 3] = [
    column("Status", |o, _| {
        let done = list_at(o, "/status/conditions")
            .iter()
            .find(|c| text(c, "status") == "True");
        done.map_or_else(|| "Running".into(), |c| text(c, "type").into())
    }),
    column("Completions", |o, _| {
        let wanted = o.pointer("/spec/completions").and_then(number).unwrap_or(1);
        format!("{}/{wanted}", count(o, "/status/succeeded")).into()
    }),
    AGE,
];

static LEASES: [Column; 2] = [
    column("Holder", |o, _| text_at(o, "/spec/holderIdentity").into()),
    AGE,
];

static STORAGE_CLASSES: [Column; 5] = [
    column("Provisioner", |o, _| text(o, "provisioner").into()),
    column("ReclaimPolicy", |o, _| text(o, "reclaimPolicy").into()),
    column("VolumeBindingMode", |o, _| {
        text(o, "volumeBindingMode").into()
    }),
    column("AllowVolumeExpansion", |o, _| {
        (o["allowVolumeExpansion"] == json!(true)).into()
    }),
    AGE,
];

static ATTACHMENTS: [Column; 5] = [
    Column {
        format: "name",
        ..column("Attacher", |o, _| text_at(o, "/spec/attacher").into())
    },
    column("PV", |o, _| {
        text_at(o, "/spec/source/persistentVolumeName").into()
    }),
    column("Node", |o, _| text_at(o, "/spec/nodeName").into()),
    flag("Attached", |o, _| {
        (o.pointer("/status/attached") == Some(&json!(true))).into()
    }),
    AGE,
];

static DRIVERS: [Column; 7] = [
    flag("AttachRequired", |o, _| o["spec"]["attachRequired"].clone()),
    flag("PodInfoOnMount", |o, _| o["spec"]["podInfoOnMount"].clone()),
    flag("StorageCapacity", |o, _| {
        o["spec"]["storageCapacity"].clone()
    }),
    column("TokenRequests", |_, _| "<unset>".into()),
    flag("RequiresRepublish", |o, _| {
        o["spec"]["requiresRepublish"].clone()
    }),
    column("Modes", |o, _| {
        or_none(&strings_at(o, "/spec/volumeLifecycleModes").join(","))
    }),
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

const CONTAINERS: Column = wide("Containers", |o, _| of_containers(o, "name"));
const IMAGES: Column = wide("Images", |o, _| of_containers(o, "image"));
const SELECTOR: Column = wide("Selector", |o, _| {
    pairs(o.pointer("/spec/selector/matchLabels")).into()
});

fn pairs(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object);
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

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

fn of_containers(o: &Value, key: &str) -> Value {
    let all = list_at(o, "/spec/template/spec/containers")
        .iter()
        .map(|c| text(c, key));
    all.collect::<Vec<_>>().join(",").into()
}

fn or_none(s: &str) -> Value {
    if s.is_empty() {
        "<none>".into()
    } else {
        s.into()
    }
}

fn or_unset(s: &str) -> Value {
    if s.is_empty() {
        "<unset>".into()
    } else {
        s.into()
    }
}

fn phase(o: &Value) -> Value {
    let going = meta(o).get("deletionTimestamp").is_some();
    if going {
        "Terminating".into()
    } else {
        text_at(o, "/status/phase").into()
    }
}

fn count(o: &Value, pointer: &str) -> i64 {
    o.pointer(pointer).and_then(number).unwrap_or_default()
}

fn ready(o: &Value) -> Value {
    format!(
        "{}/{}",
        count(o, "/status/readyReplicas"),
        count(o, "/spec/replicas")
    )
    .into()
}

fn size(v: &Value) -> usize {
    v.as_object().map(serde_json::Map::len).unwrap_or_default()
}

fn modes(all: &[String]) -> Value {
    let short = all.iter().map(|m| match m.as_str() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",").into()
}
