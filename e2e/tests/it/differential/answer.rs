//! An answer in the form in which it is compared: with everything named that a server makes up.

use anyhow::{Context, Result};
use http::Response;
use kube::client::Body;
use serde_json::{Map, Value, json};

use super::script::Step;
use crate::twins::text::{AGE, Names};

/// What a server said.
pub(crate) struct Answer {
    pub(crate) code: u16,
    warnings: Vec<String>,
    media: String,
    /// The body, or the events of a watch; a text where it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// Reads an answer to its end.
    pub(crate) async fn read(response: Response<Body>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let all = |name: &str| -> Vec<String> {
            let values = parts.headers.get_all(name).iter();
            values
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                .collect()
        };
        let bytes = body.collect_bytes().await.context("the answer broke off")?;
        let text = String::from_utf8_lossy(&bytes);
        let events: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let body = match (serde_json::from_str(&text), events) {
            (Ok(one), _) if !is_event(&one) => one,
            (_, Ok(events)) => Value::Array(events),
            (_, Err(_)) => text.into_owned().into(),
        };
        Ok(Self {
            code: parts.status.as_u16(),
            warnings: all("warning"),
            media: all("content-type").join(","),
            body,
        })
    }

    /// The form in which it is compared.
    pub(crate) fn normal(&self, step: &Step, names: &mut Names) -> Value {
        let mut body = self.body.clone();
        if !step.of.is_empty() {
            keep(&mut body, &step.of);
        }
        named(&mut body, names);
        if !step.is_custom() {
            undescribed(&mut body);
        }
        if let Value::Array(events) = &mut body {
            // Whether a short watch ends with a bookmark is a matter of time; that of its initial events always comes.
            let marks = |e: &Value| e.pointer("/object/metadata/annotations").is_some();
            events.retain(|e| e["type"] != "BOOKMARK" || marks(e));
        }
        let warnings: Vec<String> = self.warnings.iter().map(|w| names.within(w)).collect();
        json!({"code": self.code, "media": self.media, "warnings": warnings, "body": body})
    }
}

fn is_event(v: &Value) -> bool {
    v.get("type").is_some() && v.get("object").is_some()
}

/// Leaves in every list only the elements with these names.
fn keep(v: &mut Value, wanted: &[String]) {
    let name = |x: &Value| {
        let at = ["/name", "/metadata/name", "/resource", "/groupVersion"];
        at.iter()
            .find_map(|p| x.pointer(p)?.as_str())
            .map(str::to_owned)
    };
    match v {
        Value::Array(items) => {
            items.retain(|x| name(x).is_none_or(|n| wanted.contains(&n)));
            for x in items.iter_mut() {
                keep(x, wanted);
            }
        }
        Value::Object(m) => m.values_mut().for_each(|x| keep(x, wanted)),
        _ => {}
    }
}

/// Drops the documentation of columns: the simulated server has it of custom resources only, and kubectl does not print it.
fn undescribed(v: &mut Value) {
    match v {
        Value::Object(m) => {
            let columns = m.get_mut("columnDefinitions").and_then(Value::as_array_mut);
            for column in columns.into_iter().flatten() {
                column.as_object_mut().map(|c| c.remove("description"));
            }
            m.get_mut("object").map(undescribed);
        }
        Value::Array(items) => items.iter_mut().for_each(undescribed),
        _ => {}
    }
}

/// Names what is made up, in place.
fn named(v: &mut Value, names: &mut Names) {
    match v {
        Value::Object(m) => object(m, names),
        Value::Array(items) => {
            for x in items.iter_mut() {
                named(x, names);
            }
        }
        Value::String(s) => *s = names.within(s),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(m: &mut Map<String, Value>, names: &mut Names) {
    if m.get("kind") == Some(&json!("Table")) {
        ages(m);
    }
    // A bookmark has the version of the whole server.
    let is_bookmark = text(m, "type") == "BOOKMARK";
    if let (Some(object), true) = (m.get_mut("object"), is_bookmark) {
        object["metadata"]["resourceVersion"] = json!("<version of the bookmark>");
    }
    m.remove("storageVersionHash");
    // The real server lists groups, and what is in the group of a definition, in no order.
    for (key, name) in [
        ("groups", "/name"),
        ("resources", "/name"),
        ("items", "/metadata/name"),
    ] {
        let is_discovery = text(m, "kind").starts_with("API") || m.contains_key("freshness");
        if let (Some(Value::Array(all)), true) = (m.get_mut(key), is_discovery) {
            all.sort_by_key(|x| x.pointer(name).map(ToString::to_string));
        }
    }
    let is_list = m.contains_key("items") || m.contains_key("rows");
    if let Some(meta) = m.get_mut("metadata").and_then(Value::as_object_mut) {
        if is_list && meta.contains_key("resourceVersion") {
            meta.insert("resourceVersion".into(), "<version of the list>".into());
        }
        generated(meta);
    }
    let old = std::mem::take(m);
    for (key, mut x) in old {
        match (key.as_str(), &mut x) {
            ("resourceVersion", Value::String(rv)) if rv.parse::<u64>().is_ok() => {
                *rv = names.of("version", rv);
            }
            ("continue" | "token", Value::String(s)) if !s.is_empty() => {
                "<token>".clone_into(s);
            }
            ("managedFields", Value::Array(managers)) => {
                managers.sort_by_key(|m| {
                    ["operation", "manager", "subresource"].map(|k| m[k].to_string())
                });
                for x in managers.iter_mut() {
                    named(x, names);
                }
            }
            _ => named(&mut x, names),
        }
        m.insert(names.within(&key), x);
    }
    m.sort_keys();
}

fn text<'a>(m: &'a Map<String, Value>, key: &str) -> &'a str {
    m.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The part of a name that the server made.
fn generated(meta: &mut Map<String, Value>) {
    let Some(prefix) = meta.get("generateName").and_then(Value::as_str) else {
        return;
    };
    let suffix = meta.get("name").and_then(Value::as_str);
    let suffix = suffix.and_then(|n| n.strip_prefix(prefix));
    let known = |c: char| "bcdfghjklmnpqrstvwxz2456789".contains(c);
    if suffix.is_some_and(|s| s.len() == 5 && s.chars().all(known)) {
        let name = format!("{prefix}<suffix>");
        meta.insert("name".into(), name.into());
    }
}

/// The cells of a table that say how long ago something was.
fn ages(table: &mut Map<String, Value>) {
    let columns = table.get("columnDefinitions").and_then(Value::as_array);
    // In a watch only the first table says which column is which.
    let is_headed = columns.is_some();
    let is_age = |c: &Value| matches!(c["name"].as_str(), Some("Age" | "Last Seen" | "First Seen"));
    let at: Vec<usize> = columns
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, c)| is_age(c))
        .map(|(i, _)| i)
        .collect();
    let rows = table.get_mut("rows").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten() {
        let cells = row.get_mut("cells").and_then(Value::as_array_mut);
        for (i, cell) in cells.into_iter().flatten().enumerate() {
            if let Value::String(s) = cell
                && AGE.is_match(s)
                && (at.contains(&i) || !is_headed)
            {
                "<age>".clone_into(s);
            }
        }
    }
}
