//! Label and field selectors.

use serde_json::{Map, Value};

use super::error::{ApiError, Result};
use super::log::Facts;
use super::resource::Resource;
use super::tree::meta;

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Different,
}

/// What a request selects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, Compare, String)>,
}

impl Selector {
    pub(crate) fn parse(res: &Resource, labels: &str, fields: &str) -> Result<Self> {
        let labels = split(labels)
            .iter()
            .map(|p| requirement(p))
            .collect::<Result<_>>()?;
        let fields = fields
            .split(',')
            .filter(|p| !p.is_empty())
            .map(|p| field(res, fields, p))
            .collect::<Result<_>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything matches.
    pub(crate) fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object matches. Nothing is copied of one whose labels do not.
    pub(crate) fn matches_object(&self, res: &Resource, obj: &Value) -> bool {
        let none = Map::new();
        let labels = meta(obj).get("labels").and_then(Value::as_object);
        let labels = labels.unwrap_or(&none);
        self.labels.iter().all(|r| holds(r, labels))
            && (self.fields.is_empty() || self.matches(&Facts::of(res, obj)))
    }

    pub(crate) fn matches(&self, facts: &Facts) -> bool {
        self.labels.iter().all(|r| holds(r, &facts.labels))
            && self
                .fields
                .iter()
                .all(|(f, op, want)| compare(facts, f, *op, want))
    }
}

fn compare(facts: &Facts, name: &str, op: Compare, want: &str) -> bool {
    let have = match name {
        "metadata.name" => &facts.key.1,
        "metadata.namespace" => &facts.key.0,
        _ => match facts.fields.iter().find(|(f, _)| f == name) {
            Some((_, v)) => v,
            None => "",
        },
    };
    (have == want) == (op == Compare::Equal)
}

fn holds(r: &Requirement, labels: &Map<String, Value>) -> bool {
    let label = |key: &String| labels.get(key).and_then(Value::as_str);
    match r {
        Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|x| x == v)),
        Requirement::NotIn(key, values) => {
            !label(key).is_some_and(|v| values.iter().any(|x| x == v))
        }
        Requirement::Exists(key) => label(key).is_some(),
        Requirement::Missing(key) => label(key).is_none(),
    }
}

/// The parts between commas that are not inside parentheses.
fn split(selector: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0_u32);
    for c in selector.chars() {
        match c {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth = match c {
                    '(' => depth + 1,
                    ')' => depth.saturating_sub(1),
                    _ => depth,
                };
                part.push(c);
            }
        }
    }
    parts.push(part);
    parts
        .iter()
        .map(|p| p.trim().to_owned())
        .filter(|p| !p.is_empty())
        .collect()
}

fn requirement(part: &str) -> Result<Requirement> {
    let wrong = |why: String| ApiError::bad(format!("unable to parse requirement: {why}"));
    let (negated, rest) = match part.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, part),
    };
    let end = rest
        .find(|c: char| c.is_whitespace() || "=!(),".contains(c))
        .unwrap_or(rest.len());
    let (key, rest) = rest.split_at(end);
    let (key, rest) = (key.to_owned(), rest.trim());
    if negated {
        return Ok(Requirement::Missing(key));
    }
    if rest.is_empty() {
        return Ok(Requirement::Exists(key));
    }
    for (operator, negates) in [("!=", true), ("==", false), ("=", false)] {
        if let Some(value) = rest.strip_prefix(operator) {
            let mut words = value.split_whitespace();
            let value = words.next().unwrap_or_default().to_owned();
            if let Some(more) = words.next() {
                let why = format!("found '{more}', expected: ',' or 'end of string'");
                return Err(ApiError::bad(why));
            }
            return Ok(if negates {
                Requirement::NotIn(key, vec![value])
            } else {
                Requirement::In(key, vec![value])
            });
        }
    }
    let end = rest.find([' ', '(']).unwrap_or(rest.len());
    let (operator, values) = rest.split_at(end);
    let values = values.trim();
    if !matches!(operator, "in" | "notin") {
        let why = format!("found '{operator}', expected: in, notin, =, ==, !=, gt, lt");
        return Err(wrong(why));
    }
    let Some(inner) = values.strip_prefix('(').and_then(|v| v.strip_suffix(')')) else {
        return Err(wrong(format!("found '{values}' expected: '('")));
    };
    let set = inner.split(',').map(|x| x.trim().to_owned()).collect();
    Ok(if operator == "in" {
        Requirement::In(key, set)
    } else {
        Requirement::NotIn(key, set)
    })
}

fn field(res: &Resource, whole: &str, part: &str) -> Result<(String, Compare, String)> {
    let (name, op, want) = if let Some((k, v)) = part.split_once("!=") {
        (k, Compare::Different, v)
    } else if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (k, Compare::Equal, v)
    } else {
        return Err(ApiError::bad(format!(
            "invalid selector: '{whole}'; can't understand '{part}'"
        )));
    };
    let name = events_alias(res, name);
    let known = matches!(name, "metadata.name" | "metadata.namespace")
        || res.selectable.iter().any(|f| f == name);
    if !known {
        return Err(ApiError::bad(if res.selectable.is_empty() {
            format!(
                "\"{name}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        } else {
            format!("field label not supported: {name}")
        }));
    }
    Ok((name.to_owned(), op, want.to_owned()))
}

/// `events.k8s.io` says `regarding` where the stored core event says `involvedObject`.
fn events_alias<'a>(res: &Resource, name: &'a str) -> &'a str {
    if res.group != "events.k8s.io" {
        return name;
    }
    match name {
        "regarding.kind" => "involvedObject.kind",
        "regarding.namespace" => "involvedObject.namespace",
        "regarding.name" => "involvedObject.name",
        "regarding.uid" => "involvedObject.uid",
        "reportingController" => "reportingComponent",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resource::{Resource, Scope};
    use super::*;

    fn facts(labels: &Value) -> Facts {
        Facts {
            labels: labels.as_object().cloned().unwrap(),
            ..Facts::default()
        }
    }

    #[test]
    fn label_selectors_understand_every_operator() {
        let res = Resource::builtin(("", "v1"), "configmaps", "ConfigMap", Scope::Namespaced);
        let f = facts(&json!({"app": "db", "tier": "back"}));
        for (selector, want) in [
            ("app=db", true),
            ("app==db,tier!=front", true),
            ("app in (db, web)", true),
            ("app notin (db)", false),
            ("tier", true),
            ("!tier", false),
            ("!other,app in (x,db),tier=back", true),
            ("other=1", false),
            ("other!=1", true),
        ] {
            let s = Selector::parse(&res, selector, "").unwrap();
            assert_eq!(s.matches(&f), want, "{selector}");
        }
    }

    #[test]
    fn a_field_selector_on_an_unknown_field_is_refused() {
        let res = Resource::builtin(("", "v1"), "configmaps", "ConfigMap", Scope::Namespaced);
        assert!(Selector::parse(&res, "", "metadata.name=a").is_ok());
        assert_eq!(Selector::parse(&res, "", "spec.x=a").unwrap_err().code, 400);
    }
}
