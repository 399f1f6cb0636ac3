//! A column, and what cells of several kinds have in common.

use jiff::Timestamp;
use serde_json::Value;

use super::super::super::tree::{meta, meta_text, number, text_at};
use super::super::age;

/// A column and how its cell is read off an object.
pub(in super::super) struct Column {
    pub(in super::super) name: &'static str,
    pub(in super::super) kind: &'static str,
    pub(in super::super) format: &'static str,
    pub(in super::super) priority: i64,
    pub(in super::super) cell: fn(&Value, Timestamp) -> Value,
}

pub(super) const fn column(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 0,
        cell,
    }
}

pub(super) const fn integer(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "integer",
        ..column(name, cell)
    }
}

pub(super) const fn flag(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "boolean",
        ..column(name, cell)
    }
}

pub(super) const fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 1,
        cell,
    }
}

pub(super) const AGE: Column = column("Age", |o, now| age(meta_text(o, "creationTimestamp"), now));

pub(super) fn or_none(s: &str) -> Value {
    if s.is_empty() {
        "<none>".into()
    } else {
        s.into()
    }
}

pub(super) fn or_unset(s: &str) -> Value {
    if s.is_empty() {
        "<unset>".into()
    } else {
        s.into()
    }
}

pub(super) fn count(o: &Value, pointer: &str) -> i64 {
    o.pointer(pointer).and_then(number).unwrap_or_default()
}

pub(super) fn size(v: &Value) -> usize {
    v.as_object().map(serde_json::Map::len).unwrap_or_default()
}

pub(super) fn pairs(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object);
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

pub(super) fn phase(o: &Value) -> Value {
    let going = meta(o).get("deletionTimestamp").is_some();
    if going {
        "Terminating".into()
    } else {
        text_at(o, "/status/phase").into()
    }
}
