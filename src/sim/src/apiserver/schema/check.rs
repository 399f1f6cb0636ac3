//! Value validation by an `OpenAPI` v3 schema, in the API server's words.

use serde_json::{Map, Number, Value};

use super::super::error::Cause;
use super::super::tree::{flag_at, list_at, text};

/// Validates an object against the root schema, whose metadata is checked elsewhere.
pub(super) fn object_root(schema: &Value, obj: &Value, out: &mut Vec<Cause>) {
    let Some(m) = obj.as_object() else { return };
    required(schema, m, "", out);
    for (key, sub) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(v) = m.get(key) {
            value(sub, v, key, out);
        }
    }
    combinations(schema, obj, "", out);
}

/// How a failed rule shows a value: by its type.
pub(super) fn type_name(v: &Value) -> String {
    format!("\"{}\"", name_of(v))
}

/// How an error message shows a value: scalars as they are, the rest by type.
fn shown(v: &Value) -> String {
    match v {
        Value::Object(_) => "\"object\"".into(),
        Value::Array(_) => "\"array\"".into(),
        other => other.to_string(),
    }
}

/// Validates a value at a path.
pub(super) fn value(schema: &Value, v: &Value, at: &str, out: &mut Vec<Cause>) {
    if v.is_null() && flag_at(schema, "/nullable") {
        return;
    }
    if !has_type(schema, v) {
        let either = flag_at(schema, "/x-kubernetes-int-or-string");
        let t = if either {
            "integer,string"
        } else {
            text(schema, "type")
        };
        out.push(wrong_type(at, name_of(v), t));
        listed(schema, v, at, out);
        return;
    }
    listed(schema, v, at, out);
    match v {
        Value::Number(n) => number(schema, n, at, out),
        Value::String(s) => string(schema, s, at, out),
        Value::Array(items) => array(schema, items, at, out),
        Value::Object(m) => object(schema, m, at, out),
        Value::Null | Value::Bool(_) => {}
    }
    combinations(schema, v, at, out);
}

/// Refuses a value that is not one of those a schema lists.
fn listed(schema: &Value, v: &Value, at: &str, out: &mut Vec<Cause>) {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(v)
    {
        let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        out.push(Cause::unsupported(
            at,
            format!("{v}: supported values: {}", list.join(", ")),
        ));
    }
}

fn wrong_type(at: &str, found: &str, wanted: &str) -> Cause {
    let message = format!("\"{found}\": {at} in body must be of type {wanted}: \"{found}\"");
    Cause {
        reason: "FieldValueTypeInvalid",
        ..Cause::invalid(at, message)
    }
}

fn has_type(schema: &Value, v: &Value) -> bool {
    if flag_at(schema, "/x-kubernetes-int-or-string") {
        return v.is_string() || v.is_i64() || v.is_u64();
    }
    match text(schema, "type") {
        "object" => v.is_object(),
        "array" => v.is_array(),
        "string" => v.is_string(),
        "boolean" => v.is_boolean(),
        "integer" => v.is_i64() || v.is_u64() || v.as_f64().is_some_and(|f| f.fract() == 0.0),
        "number" => v.is_number(),
        _ => true,
    }
}

/// The name of a value's type.
fn name_of(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn number(schema: &Value, n: &Number, at: &str, out: &mut Vec<Cause>) {
    let Some(x) = n.as_f64() else { return };
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let limit = |key: &str| schema.get(key).map(ToString::to_string).unwrap_or_default();
    let mut wrong = |what: String| {
        out.push(Cause::invalid(
            at,
            format!("{n}: {at} in body should be {what}"),
        ));
    };
    if let Some(min) = bound("minimum") {
        let exclusive = flag_at(schema, "/exclusiveMinimum");
        if exclusive && x <= min {
            wrong(format!("greater than {}", limit("minimum")));
        } else if x < min {
            wrong(format!("greater than or equal to {}", limit("minimum")));
        }
    }
    if let Some(max) = bound("maximum") {
        let exclusive = flag_at(schema, "/exclusiveMaximum");
        if exclusive && x >= max {
            wrong(format!("less than {}", limit("maximum")));
        } else if x > max {
            wrong(format!("less than or equal to {}", limit("maximum")));
        }
    }
    if let Some(step) = bound("multipleOf")
        && step > 0.0
        && (x / step).fract() != 0.0
    {
        wrong(format!("a multiple of {}", limit("multipleOf")));
    }
}

fn string(schema: &Value, s: &str, at: &str, out: &mut Vec<Cause>) {
    let count = s.chars().count() as u64;
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    if let Some(min) = bound("minLength").filter(|&min| count < min) {
        out.push(Cause::invalid(
            at,
            format!("\"{s}\": {at} in body should be at least {min} chars long"),
        ));
        // The real server stops at the first of these.
        return;
    }
    if let Some(max) = bound("maxLength").filter(|&max| count > max) {
        let message = format!("Too long: may not be more than {max} bytes");
        out.push(Cause {
            reason: "FieldValueTooLong",
            field: at.to_owned(),
            message,
        });
        return;
    }
    let pattern = text(schema, "pattern");
    if !pattern.is_empty() && regex::Regex::new(pattern).is_ok_and(|re| !re.is_match(s)) {
        out.push(Cause::invalid(
            at,
            format!("\"{s}\": {at} in body should match '{pattern}'"),
        ));
    }
    if text(schema, "format") == "date-time" && s.parse::<jiff::Timestamp>().is_err() {
        out.push(wrong_type(at, s, "date-time"));
    }
}

fn array(schema: &Value, items: &[Value], at: &str, out: &mut Vec<Cause>) {
    let count = items.len() as u64;
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    if let Some(min) = bound("minItems").filter(|&min| count < min) {
        out.push(Cause::invalid(
            at,
            format!("{count}: {at} in body should have at least {min} items"),
        ));
    }
    if let Some(max) = bound("maxItems").filter(|&max| count > max) {
        let message = format!("Too many: {count}: must have at most {max} items");
        out.push(Cause {
            reason: "FieldValueTooMany",
            field: at.to_owned(),
            message,
        });
    }
    if let Some(sub) = schema.get("items") {
        for (i, x) in items.iter().enumerate() {
            value(sub, x, &format!("{at}[{i}]"), out);
        }
    }
    duplicates(schema, items, at, out);
}

fn duplicates(schema: &Value, items: &[Value], at: &str, out: &mut Vec<Cause>) {
    let identity: Box<dyn Fn(&Value) -> Value> = match text(schema, "x-kubernetes-list-type") {
        "set" => Box::new(Value::clone),
        "map" => {
            let keys: Vec<&str> = list_at(schema, "/x-kubernetes-list-map-keys")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            Box::new(move |x| {
                keys.iter()
                    .map(|&k| (k.to_owned(), x.get(k).cloned().unwrap_or(Value::Null)))
                    .collect()
            })
        }
        _ => return,
    };
    let ids: Vec<Value> = items.iter().map(identity).collect();
    for (i, id) in ids.iter().enumerate() {
        if ids.iter().take(i).any(|earlier| earlier == id) {
            let field = format!("{at}[{i}]");
            out.push(Cause {
                reason: "FieldValueDuplicate",
                field,
                message: format!("Duplicate value: {}", as_go(id)),
            });
        }
    }
}

/// A list item as Go prints it.
fn as_go(v: &Value) -> String {
    if v.is_object() {
        format!("map[string]interface {{}}{v}")
    } else {
        v.to_string()
    }
}

fn object(schema: &Value, m: &Map<String, Value>, at: &str, out: &mut Vec<Cause>) {
    required(schema, m, at, out);
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    if let Some(max) = bound("maxProperties").filter(|&max| m.len() as u64 > max) {
        let message = format!("Too many: {}: must have at most {max} items", m.len());
        out.push(Cause {
            reason: "FieldValueTooMany",
            field: at.to_owned(),
            message,
        });
    }
    if let Some(min) = bound("minProperties").filter(|&min| (m.len() as u64) < min) {
        out.push(Cause::invalid(
            at,
            format!(
                "{}: {at} in body should have at least {min} properties",
                m.len()
            ),
        ));
    }
    let properties = schema.get("properties");
    let additional = schema.get("additionalProperties").filter(|a| a.is_object());
    for (key, x) in m {
        if let Some(sub) = properties.and_then(|p| p.get(key)).or(additional) {
            value(sub, x, &format!("{at}.{key}"), out);
        }
    }
}

fn required(schema: &Value, m: &Map<String, Value>, at: &str, out: &mut Vec<Cause>) {
    for key in list_at(schema, "/required")
        .iter()
        .filter_map(Value::as_str)
    {
        if !m.contains_key(key) {
            let field = if at.is_empty() {
                key.to_owned()
            } else {
                format!("{at}.{key}")
            };
            out.push(Cause::required(field));
        }
    }
}

fn combinations(schema: &Value, v: &Value, at: &str, out: &mut Vec<Cause>) {
    let passes = |sub: &Value| {
        let mut causes = Vec::new();
        value(sub, v, at, &mut causes);
        causes.is_empty()
    };
    for sub in list_at(schema, "/allOf") {
        value(sub, v, at, out);
    }
    let any = list_at(schema, "/anyOf");
    if !any.is_empty() && !any.iter().any(passes) {
        out.push(Cause::invalid(
            at,
            format!(
                "{}: {at} in body must validate at least one schema (anyOf)",
                shown(v)
            ),
        ));
    }
    let one = list_at(schema, "/oneOf");
    if !one.is_empty() && one.iter().filter(|s| passes(s)).count() != 1 {
        out.push(Cause::invalid(
            at,
            format!(
                "{}: {at} in body must validate one and only one schema (oneOf)",
                shown(v)
            ),
        ));
    }
    if let Some(not) = schema.get("not")
        && passes(not)
    {
        out.push(Cause::invalid(
            at,
            format!(
                "{}: {at} in body must not validate the schema (not)",
                shown(v)
            ),
        ));
    }
}
