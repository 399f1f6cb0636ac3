//! Small readers and writers of JSON trees that never panic.

use serde_json::{Map, Value};

/// The string at `key`, or the empty string.
pub(crate) fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The string at a JSON pointer, or the empty string.
pub(crate) fn text_at<'a>(v: &'a Value, pointer: &str) -> &'a str {
    v.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(crate) fn list_at<'a>(v: &'a Value, pointer: &str) -> &'a [Value] {
    v.pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The strings of the list at a JSON pointer.
pub(crate) fn strings_at(v: &Value, pointer: &str) -> Vec<String> {
    list_at(v, pointer)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Whether the flag at a JSON pointer is set.
pub(crate) fn flag_at(v: &Value, pointer: &str) -> bool {
    v.pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// The metadata of an object.
pub(crate) fn meta(v: &Value) -> &Value {
    v.get("metadata").unwrap_or(&Value::Null)
}

/// A field of an object's metadata, as text.
pub(crate) fn meta_text<'a>(v: &'a Value, key: &str) -> &'a str {
    text(meta(v), key)
}

/// `v` as an object, made an empty one first if it was something else.
pub(crate) fn object(v: &mut Value) -> &mut Map<String, Value> {
    if !v.is_object() {
        *v = Value::Object(Map::new());
    }
    match v {
        Value::Object(m) => m,
        _ => unreachable!("was made an object above"),
    }
}

/// `v` as a list, made an empty one first if it was something else.
pub(crate) fn array(v: &mut Value) -> &mut Vec<Value> {
    if !v.is_array() {
        *v = Value::Array(Vec::new());
    }
    match v {
        Value::Array(a) => a,
        _ => unreachable!("was made a list above"),
    }
}

/// The slot at `key` of `v`, which becomes an object if it was none.
pub(crate) fn slot<'a>(v: &'a mut Value, key: &str) -> &'a mut Value {
    object(v).entry(key).or_insert(Value::Null)
}

/// The slot at a path of keys.
pub(crate) fn slot_at<'a>(v: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(v, |v, key| slot(v, key))
}

/// The metadata of an object, to write to.
pub(crate) fn meta_mut(v: &mut Value) -> &mut Map<String, Value> {
    object(slot(v, "metadata"))
}

/// Sets `key` where it is not set (missing or null).
pub(crate) fn set_default(m: &mut Map<String, Value>, key: &str, default: impl Into<Value>) {
    if m.get(key).is_none_or(Value::is_null) {
        m.insert(key.to_owned(), default.into());
    }
}

/// Copies `key` from one place to another, or removes it there.
pub(crate) fn copy_key(from: &Value, to: &mut Map<String, Value>, key: &str) {
    match from.get(key) {
        Some(x) => {
            to.insert(key.to_owned(), x.clone());
        }
        None => {
            to.remove(key);
        }
    }
}

/// A whole number that fits, from JSON.
pub(crate) fn number(v: &Value) -> Option<i64> {
    v.as_i64()
        .or_else(|| v.as_str().and_then(|s| s.parse().ok()))
}

/// The bytes of a tree. Writing to memory cannot fail, so there is no error to give.
pub(crate) fn bytes(v: &Value) -> Vec<u8> {
    serde_json::to_vec(v).unwrap_or_default()
}
