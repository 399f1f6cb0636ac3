//! The part of kubectl's `JSONPath` that printer columns use: fields, indexes, `[*]`, and equality filters.

use serde_json::Value;

/// Every value a path selects.
pub(super) fn find<'a>(obj: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut at = vec![obj];
    for step in steps(path) {
        at = at.into_iter().flat_map(|v| take(v, &step)).collect();
    }
    at
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter {
        path: String,
        equal: bool,
        want: String,
    },
}

fn steps(path: &str) -> Vec<Step> {
    let mut out = Vec::new();
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (field, tail) = field(after);
            if !field.is_empty() {
                out.push(if field == "*" {
                    Step::All
                } else {
                    Step::Field(field)
                });
            }
            rest = tail;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inner, tail) = bracket(after);
            out.push(bracketed(inner));
            rest = tail;
        } else {
            let (field, tail) = field(rest);
            if field.is_empty() {
                break;
            }
            out.push(Step::Field(field));
            rest = tail;
        }
    }
    out
}

/// A field name up to the next `.` or `[`; a backslash takes the dot after it literally.
fn field(s: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = s.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, s.get(at..).unwrap_or_default()),
            c => name.push(c),
        }
    }
    (name, "")
}

/// What is inside a bracket, and what follows it; quotes hide brackets.
fn bracket(s: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, c) in s.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, ']') => {
                return (
                    s.get(..at).unwrap_or_default(),
                    s.get(at + 1..).unwrap_or_default(),
                );
            }
            _ => {}
        }
    }
    (s, "")
}

fn bracketed(inner: &str) -> Step {
    let unquoted = |s: &str| s.trim().trim_matches(['"', '\'']).to_owned();
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        let (path, equal, want) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some((p, w)), _) => (p, true, w),
            (None, Some((p, w))) => (p, false, w),
            (None, None) => (filter, false, ""),
        };
        return Step::Filter {
            path: path.trim().trim_start_matches('@').to_owned(),
            equal,
            want: unquoted(want),
        };
    }
    match inner.trim() {
        "*" => Step::All,
        index => index
            .parse()
            .map_or_else(|_| Step::Field(unquoted(index)), Step::Index),
    }
}

fn take<'a>(v: &'a Value, step: &Step) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => v.get(name).filter(|x| !x.is_null()).into_iter().collect(),
        Step::Index(i) => {
            let items = v.as_array().map(Vec::as_slice).unwrap_or_default();
            let from_end = items
                .len()
                .checked_sub(usize::try_from(i.unsigned_abs()).unwrap_or(usize::MAX));
            let at = if *i < 0 {
                from_end
            } else {
                usize::try_from(*i).ok()
            };
            at.and_then(|at| items.get(at)).into_iter().collect()
        }
        Step::All => match v {
            Value::Array(items) => items.iter().collect(),
            Value::Object(m) => m.values().collect(),
            _ => Vec::new(),
        },
        Step::Filter { path, equal, want } => {
            let items = v.as_array().map(Vec::as_slice).unwrap_or_default();
            let holds = |x: &&Value| {
                let found = find(x, path);
                let same = found.iter().any(|f| {
                    f.as_str()
                        .map_or_else(|| f.to_string() == *want, |s| s == want)
                });
                same == *equal
            };
            items.iter().filter(holds).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::find;

    #[test]
    fn finds_fields_items_and_conditions() {
        let obj = json!({
            "spec": {"list": [1, 2, 3], "a.b": "dotted"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        assert_eq!(
            find(&obj, ".status.conditions[?(@.type==\"Ready\")].status"),
            [&json!("True")]
        );
        assert_eq!(
            find(&obj, ".status.conditions[?(@.type=='Other')].status"),
            [&json!("False")]
        );
        assert_eq!(find(&obj, ".spec.list[1]"), [&json!(2)]);
        assert_eq!(find(&obj, ".spec.list[-1]"), [&json!(3)]);
        assert_eq!(find(&obj, ".spec.list[*]").len(), 3);
        assert_eq!(find(&obj, ".spec.a\\.b"), [&json!("dotted")]);
        assert!(find(&obj, ".spec.none.deeper").is_empty());
    }
}
