//! The log of changes of a table.
//!
//! An entry holds the rendered line and not the tree: with many watchers and many events, trees cost several times
//! the memory.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::resource::Resource;
use super::store::{Key, key_of};
use super::tree::meta;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What selectors look at, kept for each logged version of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) key: Key,
    pub(crate) labels: Map<String, Value>,
    pub(crate) fields: Vec<(String, String)>,
}

impl Facts {
    pub(crate) fn of(res: &Resource, obj: &Value) -> Self {
        let labels = meta(obj)
            .get("labels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let fields = res
            .selectable
            .iter()
            .map(|f| (f.clone(), field(obj, f)))
            .collect();
        Self {
            key: key_of(obj),
            labels,
            fields,
        }
    }
}

/// The value of a dotted scalar field, as a field selector compares it.
pub(crate) fn field(obj: &Value, dotted: &str) -> String {
    match dotted
        .split('.')
        .fold(obj, |v, key| v.get(key).unwrap_or(&Value::Null))
    {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// One change, as watches see it.
#[derive(Debug)]
pub(crate) struct LogEntry {
    pub(crate) rv: u64,
    pub(crate) change: Change,
    pub(crate) line: Bytes,
    pub(crate) facts: Facts,
    pub(crate) before: Option<Facts>,
}

impl LogEntry {
    /// The object of the entry, read back from the rendered line.
    pub(crate) fn object(&self) -> Value {
        let mut event: Value = serde_json::from_slice(&self.line).unwrap_or_default();
        event.get_mut("object").map(Value::take).unwrap_or_default()
    }
}

/// One line of a watch stream.
pub(crate) fn render(kind: &str, obj: &Value) -> Bytes {
    let mut line = Vec::with_capacity(512);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.append(&mut super::tree::bytes(obj));
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}
