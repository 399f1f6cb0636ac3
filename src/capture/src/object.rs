//! Reading and changing untyped Kubernetes objects without a panic.

use serde_json::{Map, Value};

/// The text at a JSON pointer, if it is there and not empty.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
}

/// The items of the list at a JSON pointer; nothing if there is no list.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The kind of an object, or "" for one that has none.
pub(crate) fn kind(object: &Value) -> &str {
    text(object, "/kind").unwrap_or_default()
}

/// The name of an object, or "" for one that has none.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

/// The namespace of an object, or "" for one that has none.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or_default()
}

/// `Kind namespace/name`, for messages.
pub(crate) fn describe(object: &Value) -> String {
    let (kind, name) = (kind(object), name(object));
    match namespace(object) {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

/// The value of an annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The map at `path`, made on the way if need be; none if something on the way is not a map.
pub(crate) fn map_at<'a>(
    object: &'a mut Value,
    path: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    let mut at = object;
    for key in path {
        at = at.as_object_mut()?.entry(*key).or_insert(Value::Null);
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    at.as_object_mut()
}

/// Sets one field of the map at `path`.
pub(crate) fn set(object: &mut Value, path: &[&str], key: &str, value: impl Into<Value>) {
    if let Some(map) = map_at(object, path) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Removes fields of the map at a JSON pointer.
pub(crate) fn remove(object: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// Where the pod template of a workload is.
pub(crate) const TEMPLATE: &str = "/spec/template";
