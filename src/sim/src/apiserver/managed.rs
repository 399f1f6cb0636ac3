//! managedFields: who wrote which field, and server-side apply on top of it.

use serde_json::{Value, json};

use super::error::{ApiError, Cause, Result};
use super::fields::{self, FieldSet, Path, Shape, Step};
use super::resource::Resource;
use super::tree::{copy_key, meta, meta_mut, meta_text, object, text};
use super::write::Conflicts;

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone)]
struct Manager {
    name: String,
    operation: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

impl Manager {
    fn is(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }
}

/// Who applies, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applier<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) conflicts: Conflicts,
    pub(crate) now: &'a str,
}

fn read(obj: &Value) -> Vec<Manager> {
    let list = meta(obj).get("managedFields").and_then(Value::as_array);
    let entry = |m: &Value| Manager {
        name: text(m, "manager").to_owned(),
        operation: text(m, "operation").to_owned(),
        subresource: text(m, "subresource").to_owned(),
        time: text(m, "time").to_owned(),
        fields: fields::from_v1(m.get("fieldsV1").unwrap_or(&Value::Null)),
    };
    list.into_iter().flatten().map(entry).collect()
}

fn write(res: &Resource, obj: &mut Value, mut managers: Vec<Manager>) {
    // Appliers first, then by age, as the real server does.
    managers.sort_by(|a, b| {
        let key = |m: &Manager| {
            (
                m.operation.clone(),
                m.time.clone(),
                m.name.clone(),
                m.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let entries = managers
        .into_iter()
        .filter(|m| !m.fields.is_empty())
        .map(|m| {
            let mut e = json!({
                "manager": m.name, "operation": m.operation, "apiVersion": res.api_version(),
                "fieldsType": "FieldsV1", "fieldsV1": fields::to_v1(&m.fields),
            });
            // The time of a change of scale is lost on the way through the scale.
            if m.subresource != "scale" && !m.time.is_empty() {
                object(&mut e).insert("time".into(), m.time.into());
            }
            if !m.subresource.is_empty() {
                object(&mut e).insert("subresource".into(), m.subresource.into());
            }
            e
        });
    let entries: Vec<Value> = entries.collect();
    if entries.is_empty() {
        meta_mut(obj).remove("managedFields");
    } else {
        meta_mut(obj).insert("managedFields".into(), entries.into());
    }
}

/// Whether two lists of managers say the same, times aside.
pub(crate) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let key = |m: &Value| {
        [
            m["manager"].clone(),
            m["operation"].clone(),
            m["subresource"].clone(),
            m["fieldsV1"].clone(),
        ]
    };
    let side = |v: Option<&Value>| {
        v.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(key)
            .collect::<Vec<_>>()
    };
    a == b || side(a) == side(b)
}

/// What the server sets itself on a write to this part of an object.
fn is_reset(res: &Resource, subresource: &str, path: &Path) -> bool {
    let is = |at: usize, name: &str| matches!(path.get(at), Some(Step::Field(f)) if f == name);
    let status = res.status && subresource.is_empty() && is(0, "status");
    status || (res.is("", "Namespace") && is(0, "spec") && is(1, "finalizers"))
}

/// Fields that the type of an event always has, while they say nothing: nobody adds them.
fn is_zero(res: &Resource, new: &Value, path: &Path) -> bool {
    let zero = |v: &Value| v.as_str() == Some("") || is_empty(v);
    res.kind == "Event" && path.len() == 1 && fields::get(new, path).is_some_and(zero)
}

/// After a write that is not an apply: what changed now belongs to `manager`, and to nobody else.
pub(crate) fn track(
    res: &Resource,
    old: &Value,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    now: &str,
) {
    let mut managers = read(old);
    // An object that nobody manages is not managed from its second write on either: until somebody applies.
    if managers.is_empty() && !old.is_null() {
        return;
    }
    let (before, after) = (fields::paths(res, old), fields::paths(res, new));
    let is_new = |p: &&Path| {
        let leaf = after.leaves.contains(*p) && !matches!(p.last(), Some(Step::Item(_)));
        if leaf && !before.holders.contains(*p) {
            fields::get(old, p) != fields::get(new, p)
        } else {
            !before.has(p)
        }
    };
    let tracked = |p: &&Path| !is_reset(res, subresource, p) && !is_zero(res, new, p);
    let changed: FieldSet = after
        .iter()
        .filter(tracked)
        .filter(is_new)
        .cloned()
        .collect();
    let removed: FieldSet = before
        .iter()
        .filter(tracked)
        .filter(|p| !after.has(p))
        .cloned()
        .collect();
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    for m in &mut managers {
        m.fields
            .retain(|p| !changed.contains(p) && !removed.contains(p));
    }
    match managers
        .iter_mut()
        .find(|m| m.is(manager, "Update", subresource))
    {
        Some(m) => {
            m.fields.extend(changed);
            now.clone_into(&mut m.time);
        }
        None => managers.push(Manager {
            name: manager.to_owned(),
            operation: "Update".to_owned(),
            subresource: subresource.to_owned(),
            time: now.to_owned(),
            fields: changed,
        }),
    }
    write(res, new, managers);
}

/// Server-side apply of `config` on `live`: the object that is wanted, with its managers.
pub(crate) fn apply(
    res: &Resource,
    live: &Value,
    config: &Value,
    by: Applier<'_>,
) -> Result<Value> {
    let whole = config;
    let config = stated(res, live, config, by.subresource)?;
    let want = fields::leaves(res, &config);
    let mut managers = read(live);
    if managers.is_empty() && !meta_text(live, "uid").is_empty() {
        managers.push(before_first_apply(res, live, by));
    }
    let mine = |m: &Manager| m.is(by.manager, "Apply", by.subresource);
    let before = managers
        .iter()
        .find(|m| mine(m))
        .map(|m| m.fields.clone())
        .unwrap_or_default();
    let of_kubectl = last_applied(live).filter(|_| by.manager == "kubectl");
    let mut clashes: Vec<(String, Path)> = Vec::new();
    for m in managers.iter_mut().filter(|m| !mine(m)) {
        let clash = |p: &&Path| {
            let there = fields::get(live, p);
            let item = matches!(p.last(), Some(Step::Item(_)));
            let here = fields::get(&config, p);
            // An empty object or list states that there is one, not that there is nothing in it.
            let holder =
                here.is_some_and(is_empty) && there.is_some_and(|t| t.is_object() || t.is_array());
            want.contains(*p) && !item && !holder && there.is_some() && there != here
        };
        let hits: Vec<Path> = m.fields.iter().filter(clash).cloned().collect();
        for p in hits {
            m.fields.remove(&p);
            clashes.push((described(res, m), p));
        }
    }
    // What kubectl applied itself before it did so on the server is no conflict, while it stands.
    let is_own = |(_, p): &(String, Path)| {
        let own = of_kubectl.as_ref().and_then(|own| fields::get(own, p));
        own.is_some() && own == fields::get(live, p)
    };
    if by.conflicts == Conflicts::Refuse && !clashes.iter().all(is_own) {
        return Err(refusal(&clashes));
    }
    let mut out = live.clone();
    fields::merge(Shape::root(res), &mut out, &config);
    for p in given_up(&before, &want, managers.iter().filter(|m| !mine(m))) {
        fields::remove(&mut out, p);
    }
    if of_kubectl.is_some() {
        let annotation = &mut out["metadata"]["annotations"][LAST_APPLIED];
        *annotation = format!("{whole}\n").into();
    }
    // An apply that changes nothing is not dated.
    let is_new = out != *live;
    match managers.iter_mut().find(|m| mine(m)) {
        Some(m) if m.fields == want => {}
        Some(m) => {
            if is_new {
                by.now.clone_into(&mut m.time);
            }
            m.fields = want;
        }
        None => managers.push(Manager {
            name: by.manager.to_owned(),
            operation: "Apply".to_owned(),
            subresource: by.subresource.to_owned(),
            time: if is_new { by.now } else { "" }.to_owned(),
            fields: want,
        }),
    }
    write(res, &mut out, managers);
    Ok(out)
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What kubectl applied when it did so by itself.
fn last_applied(live: &Value) -> Option<Value> {
    let annotation = meta(live).get("annotations")?.get(LAST_APPLIED)?;
    serde_json::from_str(annotation.as_str()?).ok()
}

/// Who wrote what nobody was recorded for.
fn before_first_apply(res: &Resource, live: &Value, by: Applier<'_>) -> Manager {
    let paths = fields::paths(res, live);
    let there = paths.iter().filter(|p| !is_reset(res, by.subresource, p));
    Manager {
        name: "before-first-apply".to_owned(),
        operation: "Update".to_owned(),
        subresource: String::new(),
        time: by.now.to_owned(),
        fields: there.cloned().collect(),
    }
}

fn is_empty(v: &Value) -> bool {
    v.as_object().is_some_and(serde_json::Map::is_empty) || v.as_array().is_some_and(Vec::is_empty)
}

/// The part of a configuration this request may state: status alone on `status`, everything else on the main resource.
fn stated(res: &Resource, live: &Value, config: &Value, subresource: &str) -> Result<Value> {
    let rv = meta_text(config, "resourceVersion");
    if !rv.is_empty() && rv != meta_text(live, "resourceVersion") {
        return Err(ApiError::stale(res, meta_text(live, "name")));
    }
    if meta(config)
        .get("managedFields")
        .is_some_and(|m| !m.is_null())
    {
        return Err(ApiError::bad("metadata.managedFields must be nil"));
    }
    let version = text(config, "apiVersion");
    if version != res.api_version() || text(config, "kind") != res.kind {
        let want = format!("{}, Kind={}", res.api_version(), res.kind);
        let have = format!("{version}, Kind={}", text(config, "kind"));
        return Err(ApiError::bad(if version.is_empty() {
            "invalid object type: /, Kind=".to_owned()
        } else {
            format!("invalid object type: {have} was applied to {want}")
        }));
    }
    if matches!(subresource, "" | "scale") {
        let mut config = config.clone();
        if res.status {
            object(&mut config).remove("status");
        }
        return Ok(config);
    }
    let mut narrowed = json!({});
    copy_key(config, object(&mut narrowed), subresource);
    Ok(narrowed)
}

/// What the applier had stated, states no more, and nobody else states: it goes. Items go before their fields.
fn given_up<'a>(
    before: &'a FieldSet,
    want: &'a FieldSet,
    others: impl Iterator<Item = &'a Manager>,
) -> Vec<&'a Path> {
    let others: Vec<&Manager> = others.collect();
    let held = |p: &Path| {
        let below = |set: &FieldSet| {
            set.range(p.clone()..)
                .next()
                .is_some_and(|q| q.starts_with(p))
        };
        below(want) || others.iter().any(|m| below(&m.fields))
    };
    let mut gone: Vec<&Path> = before.difference(want).filter(|p| !held(p)).collect();
    gone.sort_by_key(|p| p.len());
    gone
}

fn described(res: &Resource, m: &Manager) -> String {
    let sub = if m.subresource.is_empty() {
        String::new()
    } else {
        format!(" with subresource \"{}\"", m.subresource)
    };
    let how = if m.operation == "Update" {
        format!(" using {}", res.api_version())
    } else {
        String::new()
    };
    format!("\"{}\"{sub}{how}", m.name)
}

fn refusal(clashes: &[(String, Path)]) -> ApiError {
    let line =
        |(who, path): &(String, Path)| format!("conflict with {who}: {}", fields::dotted(path));
    let message = if let [one] = clashes {
        format!("Apply failed with 1 conflict: {}", line(one))
    } else {
        let mut managers: Vec<&String> = clashes.iter().map(|(who, _)| who).collect();
        managers.sort();
        managers.dedup();
        let mut lines = Vec::new();
        for manager in managers {
            lines.push(format!("conflicts with {manager}:"));
            let theirs = clashes.iter().filter(|(who, _)| who == manager);
            lines.extend(theirs.map(|(_, path)| format!("- {}", fields::dotted(path))));
        }
        let count = clashes.len();
        format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
    };
    let causes: Vec<Cause> = clashes
        .iter()
        .map(|(who, path)| Cause {
            reason: "FieldManagerConflict",
            field: fields::dotted(path),
            message: format!("conflict with {who}"),
        })
        .collect();
    ApiError::new(409, "Conflict", message).with_causes(&causes)
}
