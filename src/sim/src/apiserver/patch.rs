//! The patch formats other than server-side apply.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Map, Value, json};

use super::error::{ApiError, Result};
use super::resource::Resource;
use super::tree::{array, list_at, object, text};

/// A patch format, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    pub(crate) fn parse(content_type: &str) -> Result<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(ApiError::media_type("415: Unsupported Media Type").with_details(json!({}))),
        }
    }
}

/// What `patch` makes of `live`.
pub(crate) fn apply(res: &Resource, format: Format, live: &Value, patch: &Value) -> Result<Value> {
    let mut out = live.clone();
    match format {
        Format::Json => operations(&mut out, patch)?,
        Format::Merge => json_patch::merge(&mut out, patch),
        Format::Strategic if res.custom.is_some() => {
            let why = "the body of the request was in an unknown format - accepted media types include: \
                       application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(ApiError::media_type(why));
        }
        Format::Strategic => strategic(&mut out, patch, 0),
        Format::Apply => return Err(ApiError::bad("server-side apply is not a plain patch")),
    }
    Ok(out)
}

fn operations(v: &mut Value, patch: &Value) -> Result<()> {
    if patch.is_object() {
        let why = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        return Err(ApiError::bad(why));
    }
    let patch: Patch =
        serde_json::from_value(patch.clone()).map_err(|e| ApiError::bad(e.to_string()))?;
    // The API server lets `test <missing path> null` pass, and kube's finalizer() sends it; json-patch refuses it.
    for op in patch.0 {
        if let PatchOperation::Test(t) = &op
            && t.value.is_null()
            && v.pointer(t.path.as_str()).is_none()
        {
            continue;
        }
        // It also takes `replace` of a field that is not there for `add`.
        let op = match op {
            PatchOperation::Replace(r) if v.pointer(r.path.as_str()).is_none() => {
                PatchOperation::Add(AddOperation {
                    path: r.path,
                    value: r.value,
                })
            }
            op => op,
        };
        let why = "the server rejected our request due to an error in our request";
        let failed = |_| ApiError::new(422, "Invalid", why).with_details(Value::Object(Map::new()));
        json_patch::patch(v, &[op]).map_err(failed)?;
    }
    Ok(())
}

/// The key by which a list of a built-in kind is merged, if it is.
fn merge_key(list: &str, depth: usize) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets" => "name",
        "secrets" if depth == 0 => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "conditions" | "addresses" => "type",
        "ownerReferences" => "uid",
        "hostAliases" => "ip",
        "taints" => "key",
        "topologySpreadConstraints" => "topologyKey",
        "ports" if depth > 1 => "containerPort",
        "ports" => "port",
        _ => return None,
    })
}

/// Lists of plain values that are merged as sets.
fn is_merged_set(list: &str) -> bool {
    matches!(list, "finalizers" | "volumesInUse")
}

fn strategic(v: &mut Value, patch: &Value, depth: usize) {
    let Some(p) = patch.as_object() else {
        patch.clone_into(v);
        return;
    };
    let own = |key: &str| !key.starts_with('$');
    match text(patch, "$patch") {
        "replace" => {
            *v = p
                .iter()
                .filter(|(k, _)| own(k))
                .map(|(k, x)| (k.clone(), x.clone()))
                .collect();
            return;
        }
        "delete" => {
            *v = Value::Null;
            return;
        }
        _ => {}
    }
    let retained: Option<Vec<&str>> = p
        .get("$retainKeys")
        .and_then(Value::as_array)
        .map(|k| k.iter().filter_map(Value::as_str).collect());
    let m = object(v);
    if let Some(retained) = retained {
        m.retain(|key, _| retained.contains(&key.as_str()));
    }
    for (key, x) in p {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = x.as_array().cloned().unwrap_or_default();
            array(m.entry(list).or_insert(Value::Null)).retain(|have| !gone.contains(have));
            continue;
        }
        if !own(key) {
            continue;
        }
        if x.is_null() {
            m.remove(key);
            continue;
        }
        let order = list_at(patch, &format!("/$setElementOrder~1{key}"));
        let slot = m.entry(key.clone()).or_insert(Value::Null);
        match x {
            Value::Array(items) => list(slot, (items, order), key, depth),
            Value::Object(_) => strategic(slot, x, depth + 1),
            scalar => scalar.clone_into(slot),
        }
        if slot.is_null() {
            m.remove(key);
        }
    }
    for (key, order) in p {
        let Some(name) = key.strip_prefix("$setElementOrder/") else {
            continue;
        };
        if let (Some(slot), false) = (m.get_mut(name), p.contains_key(name)) {
            let wanted = order.as_array().map(Vec::as_slice).unwrap_or_default();
            let live = array(slot).clone();
            arrange(array(slot), wanted, &live, merge_key(name, depth));
        }
    }
}

/// Puts the items that `wanted` names into its order, and the others where they stood in `live`, as far as that goes.
fn arrange(items: &mut Vec<Value>, wanted: &[Value], live: &[Value], key: Option<&str>) {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    };
    let at = |list: &[Value], x: &Value| list.iter().position(|y| same(x, y));
    let (mut first, rest): (Vec<Value>, Vec<Value>) = std::mem::take(items)
        .into_iter()
        .partition(|x| at(wanted, x).is_some());
    first.sort_by_key(|x| at(wanted, x));
    let (mut first, mut rest) = (first.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(right), Some(left)) = (first.peek(), rest.peek()) {
        let before = matches!((at(live, left), at(live, right)), (Some(l), Some(r)) if l < r);
        items.extend(if before { rest.next() } else { first.next() });
    }
    items.extend(first);
    items.extend(rest);
}

fn list(slot: &mut Value, (items, order): (&[Value], &[Value]), name: &str, depth: usize) {
    let wanted = if order.is_empty() { items } else { order };
    if is_merged_set(name) {
        let have = array(slot);
        let live = have.clone();
        for x in items {
            if !have.contains(x) {
                have.push(x.clone());
            }
        }
        arrange(have, wanted, &live, None);
        return;
    }
    let replaces = items
        .iter()
        .any(|x| text(x, "$patch") == "replace" && x.as_object().is_some_and(|m| m.len() == 1));
    let Some(key) = merge_key(name, depth).filter(|_| !replaces) else {
        let plain = items.iter().filter(|x| text(x, "$patch") != "replace");
        *slot = plain.cloned().collect();
        return;
    };
    let have = array(slot);
    let live = have.clone();
    for x in items {
        let found = have
            .iter()
            .position(|h| h.get(key).is_some() && h.get(key) == x.get(key));
        match (text(x, "$patch"), found) {
            ("delete", Some(at)) => drop(have.remove(at)),
            ("delete", None) => {}
            (_, Some(at)) => {
                if let Some(slot) = have.get_mut(at) {
                    strategic(slot, x, depth + 1);
                }
            }
            (_, None) => {
                let mut fresh = Value::Null;
                strategic(&mut fresh, x, depth + 1);
                have.push(fresh);
            }
        }
    }
    arrange(have, wanted, &live, Some(key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(live: Value, patch: &Value) -> Value {
        let mut v = live;
        strategic(&mut v, patch, 0);
        v
    }

    #[test]
    fn merges_containers_by_name_and_deletes_on_demand() {
        let live = json!({"spec": {"containers": [{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]}, {"name": "b", "$patch": "delete"}],
        }});
        let want = json!({"spec": {"containers": [
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]}});
        assert_eq!(merged(live, &patch), want);
    }

    #[test]
    fn replaces_lists_that_have_no_key() {
        let live = json!({"spec": {"accessModes": ["A"], "finalizers": ["x"]}});
        let patch = json!({"spec": {"accessModes": ["B"], "finalizers": ["y"]}});
        assert_eq!(
            merged(live, &patch),
            json!({"spec": {"accessModes": ["B"], "finalizers": ["y", "x"]}})
        );
    }

    #[test]
    fn a_test_for_null_passes_on_a_missing_path() {
        let mut v = json!({"metadata": {}});
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
        ]);
        operations(&mut v, &patch).unwrap();
        assert_eq!(v, json!({"metadata": {"finalizers": ["x"]}}));
    }
}
