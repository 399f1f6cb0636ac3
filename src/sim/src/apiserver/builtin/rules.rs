//! What cannot be in a built-in object, or cannot change in it.

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use serde_json::Value;

use super::super::error::{ApiError, Cause, Result};
use super::super::resource::Resource;
use super::super::tree::{list_at, meta_text, object, strings_at, text, text_at};

/// Refuses what the real API server would refuse of the kinds whose rules matter to moving volumes.
pub(crate) fn validate(res: &Resource, want: &Value, live: Option<&Value>) -> Result<()> {
    if res.is("", "Secret") {
        decodable(res, want)?;
    }
    let mut causes = Vec::new();
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "PersistentVolumeClaim") => claim(want, live, &mut causes),
        ("", "PersistentVolume") => volume(want, live, &mut causes),
        ("coordination.k8s.io", "Lease") => lease(want, &mut causes),
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

/// The data of a secret are bytes, written in base 64.
fn decodable(res: &Resource, want: &Value) -> Result<()> {
    let data = want["data"].as_object().into_iter().flatten();
    for text in data.filter_map(|(_, v)| v.as_str()) {
        let Err(e) = STANDARD.decode(text) else {
            continue;
        };
        let at = match e {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        let (kind, version) = (&res.kind, &res.version);
        return Err(ApiError::bad(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: illegal base64 data at input byte {at}"
        )));
    }
    Ok(())
}

fn lease(want: &Value, out: &mut Vec<Cause>) {
    if let Some(seconds) = want["spec"]["leaseDurationSeconds"].as_i64()
        && seconds <= 0
    {
        let why = format!("{seconds}: must be greater than 0");
        out.push(Cause::invalid("spec.leaseDurationSeconds", why));
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
    let modes = strings_at(want, "/spec/accessModes");
    for mode in modes.iter().filter(|m| !MODES.contains(&m.as_str())) {
        let why = format!("\"{mode}\": supported values: \"{}\"", MODES.join("\", \""));
        out.push(Cause::unsupported("spec.accessModes", why));
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
    let size = |v: &Value, at: &str| quantity(text_at(v, at));
    let asked = "/spec/resources/requests/storage";
    if bound && size(want, asked) < size(live, "/status/capacity/storage") {
        out.push(Cause::forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        ));
    }
}

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// A size in bytes, as far as sizes of volumes are written: a whole number and a unit.
fn quantity(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn volume(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if list_at(want, "/spec/accessModes").is_empty() {
        out.push(Cause::required("spec.accessModes"));
    }
    if want.pointer("/spec/capacity/storage").is_none() {
        out.push(Cause::required("spec.capacity"));
        let why = "core.ResourceList(nil): supported values: \"storage\"";
        out.push(Cause::unsupported("spec.capacity", why));
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
        let cause = Cause::unsupported("spec.persistentVolumeReclaimPolicy", why);
        // Two rules of the real server look at it in an update.
        out.extend(live.map(|_| cause.clone()));
        out.push(cause);
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

/// A map of texts as Go prints it.
fn as_go(map: &Value) -> String {
    let Some(m) = map.as_object() else {
        return "map[string]string(nil)".to_owned();
    };
    let mut pairs: Vec<String> = m.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
    pairs.sort();
    format!("map[string]string{{{}}}", pairs.join(", "))
}

fn workload(want: &Value, live: Option<&Value>, out: &mut Vec<Cause>) {
    if let Some(replicas) = want["spec"]["replicas"].as_i64()
        && replicas < 0
    {
        let why = format!("{replicas}: must be greater than or equal to 0");
        out.push(Cause::invalid("spec.replicas", why));
    }
    let is_set = text(want, "kind") == "StatefulSet";
    let selector = want
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    if want.pointer("/spec/selector").is_none() {
        out.push(Cause::required("spec.selector"));
    }
    let labels = want
        .pointer("/spec/template/metadata/labels")
        .unwrap_or(&Value::Null);
    if selector.is_none_or(|s| s.iter().any(|(k, v)| labels.get(k) != Some(v))) {
        out.push(Cause::invalid(
            "spec.template.metadata.labels",
            format!(
                "{}: `selector` does not match template `labels`",
                as_go(labels)
            ),
        ));
    }
    if !is_set && list_at(want, "/spec/template/spec/containers").is_empty() {
        out.push(Cause::required("spec.template.spec.containers"));
    }
    let Some(live) = live else { return };
    if want.pointer("/spec/selector").is_none() {
        out.push(Cause::invalid(
            "spec.selector",
            "\"null\": field is immutable",
        ));
    } else if live["spec"]["selector"] != want["spec"]["selector"] {
        let labels = as_go(&want["spec"]["selector"]["matchLabels"]);
        let why = format!(
            "v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}: field is immutable"
        );
        out.push(Cause::invalid("spec.selector", why));
    }
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
    let kind = text_at(want, "/roleRef/kind");
    if !matches!(kind, "Role" | "ClusterRole") {
        let why = format!("\"{kind}\": supported values: \"Role\", \"ClusterRole\"");
        out.push(Cause::unsupported("roleRef.kind", why));
    }
    let Some(live) = live else { return };
    if live.get("roleRef") != want.get("roleRef") {
        out.push(Cause::invalid(
            "roleRef",
            format!("{}: cannot change roleRef", want["roleRef"]),
        ));
    }
}
