//! Events are stored as core/v1; `events.k8s.io/v1` shows the same objects under other field names.

use serde_json::{Map, Value};

use super::resource::{Resource, View};

/// Core name, `events.k8s.io` name.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// A stored object as this resource shows it.
pub(crate) fn shown(res: &Resource, obj: Value) -> Value {
    match res.view {
        View::Stored => obj,
        View::EventsV1 => {
            let mut out = with_kind(res, renamed(obj, |(core, new)| (core, new)));
            let said = |v: &Value| v.as_str() != Some("");
            for key in ["reportingController", "reportingInstance"] {
                if let Value::Object(m) = &mut out
                    && !m.get(key).is_none_or(said)
                {
                    m.remove(key);
                }
            }
            out
        }
    }
}

/// What a client of this resource sent, as it is stored.
pub(crate) fn stored(res: &Resource, stored: &Resource, obj: Value) -> Value {
    match res.view {
        View::Stored => obj,
        View::EventsV1 => {
            let typed = obj.get("kind").is_some();
            let out = renamed(obj, |(core, new)| (new, core));
            if typed { with_kind(stored, out) } else { out }
        }
    }
}

fn renamed(
    mut obj: Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    if let Value::Object(m) = &mut obj {
        for pair in RENAMED {
            rename(m, direction(pair));
        }
    }
    obj
}

fn rename(m: &mut Map<String, Value>, (from, to): (&str, &str)) {
    if let Some(v) = m.remove(from) {
        m.insert(to.to_owned(), v);
    }
}

fn with_kind(res: &Resource, mut obj: Value) -> Value {
    res.stamp_kind(&mut obj);
    obj
}
