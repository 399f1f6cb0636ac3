//! Reading untyped objects.

use lifeboat_api::names;
use serde_json::Value;

/// The text at a JSON pointer, unless it is empty.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

/// A label.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// An annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The name.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

/// The namespace; empty for a cluster-scoped object.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or_default()
}

/// The uid.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid").unwrap_or_default()
}

/// The resourceVersion.
pub(crate) fn version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion").unwrap_or_default()
}

/// Whether it is being deleted.
pub(crate) fn is_deleting(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    Nobodys,
    Other(String),
}

/// Whose an object is: only the mark counts.
pub(crate) fn whose(object: &Value, placement_uid: &str) -> Whose {
    match label(object, names::PLACEMENT_UID) {
        None => Whose::Nobodys,
        Some(uid) if uid == placement_uid => Whose::Ours,
        Some(uid) => {
            let known = annotation(object, names::PLACEMENT)
                .map_or_else(|| format!("with uid {uid}"), str::to_owned);
            Whose::Other(known)
        }
    }
}
