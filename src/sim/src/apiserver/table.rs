//! Objects as the rows `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::present::partial;
use super::resource::{PrinterColumn, Resource};
use super::tree::{meta, meta_text};

mod builtin;
mod jsonpath;

/// What a row carries besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Metadata,
    Object,
    Nothing,
}

impl Rows {
    pub(crate) fn parse(include_object: &str) -> Self {
        match include_object {
            "Object" => Self::Object,
            "None" => Self::Nothing,
            _ => Self::Metadata,
        }
    }
}

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request \
     the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration \
     definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in \
     happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\
     \n\nPopulated by the system. Read-only. Null for lists. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// A table of objects.
pub(crate) fn render(
    res: &Resource,
    rows: Rows,
    items: &[&Value],
    now: Timestamp,
    version: Option<Value>,
) -> Value {
    let custom = res.custom.as_deref().map(|c| c.columns.as_slice());
    let mut columns = match custom {
        // The name of an event tells nobody anything: it comes last, when all columns are asked for.
        None if res.kind == "Event" => Vec::new(),
        Some(_) | None => vec![definition("Name", "string", "name", 0, NAME)],
    };
    match custom {
        Some([]) => columns.push(definition("Age", "date", "", 0, CREATED)),
        Some(own) => columns.extend(
            own.iter()
                .map(|c| definition(&c.name, &c.kind, &c.format, c.priority, &described(c))),
        ),
        None => columns.extend(
            builtin::columns(res)
                .iter()
                .map(|c| definition(c.name, c.kind, c.format, c.priority, "")),
        ),
    }
    let row = |obj: &&Value| {
        let mut cells = Vec::new();
        if !(custom.is_none() && res.kind == "Event") {
            cells.push(meta(obj)["name"].clone());
        }
        match custom {
            Some([]) => cells.push(age(meta_text(obj, "creationTimestamp"), now)),
            Some(own) => cells.extend(own.iter().map(|c| custom_cell(c, obj, now))),
            None => cells.extend(builtin::columns(res).iter().map(|c| (c.cell)(obj, now))),
        }
        let object = match rows {
            Rows::Metadata => partial(obj),
            Rows::Object => (*obj).clone(),
            Rows::Nothing => Value::Null,
        };
        json!({"cells": cells, "object": object})
    };
    let metadata = version.map_or_else(|| json!({}), |rv| json!({"resourceVersion": rv}));
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": items.iter().map(row).collect::<Vec<_>>(),
    })
}

fn described(c: &PrinterColumn) -> String {
    if c.description.is_empty() {
        return format!(
            "Custom resource definition column (in JSONPath format): {}",
            c.json_path
        );
    }
    c.description.clone()
}

fn definition(name: &str, kind: &str, format: &str, priority: i64, description: &str) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

fn custom_cell(column: &PrinterColumn, obj: &Value, now: Timestamp) -> Value {
    let found = jsonpath::find(obj, &column.json_path);
    match (column.kind.as_str(), found.as_slice()) {
        (_, []) => Value::Null,
        ("date", [Value::String(at), ..]) => age(at, now),
        ("integer" | "number" | "boolean", [one, ..]) => (*one).clone(),
        // Of several only the first is shown.
        (_, [Value::String(s), ..]) => s.clone().into(),
        (_, [one, ..]) => one.to_string().into(),
    }
}

/// How long ago something was, as kubectl writes it; `<unknown>` without a time.
fn age(at: &str, now: Timestamp) -> Value {
    match at.parse::<Timestamp>() {
        Ok(at) => duration(now.duration_since(at).as_secs()).into(),
        Err(_) => "<unknown>".into(),
    }
}

/// Seconds as `kubectl` shortens them: 90s, 5m3s, 3h20m, 2d4h, 40d, 2y.
fn duration(seconds: i64) -> String {
    let two = |big: i64, small: i64, units: (&str, &str)| {
        if small == 0 {
            format!("{big}{}", units.0)
        } else {
            format!("{big}{}{small}{}", units.0, units.1)
        }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, seconds % 60, ("m", "s")),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, minutes % 60, ("h", "m")),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, hours % 24, ("d", "h")),
        _ if days < 730 => format!("{days}d"),
        _ => two(days / 365, days % 365, ("y", "d")),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn ages_are_shortened_as_kubectl_does() {
        let shown: Vec<String> = [0, 90, 303, 600, 12_000, 86_400, 187_200, 3_456_000]
            .iter()
            .map(|&s| duration(s))
            .collect();
        assert_eq!(
            shown,
            ["0s", "90s", "5m3s", "10m", "3h20m", "24h", "2d4h", "40d"]
        );
    }
}
