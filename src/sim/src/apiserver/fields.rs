//! Field paths, as managedFields write them, and how lists and objects at a path are merged.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::resource::Resource;
use super::tree::{list_at, object, text};

/// One step of a path: a field, an item of a keyed list (by its keys, rendered), or a member of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Field(String),
    Item(Vec<(String, String)>),
    Member(String),
}

pub(crate) type Path = Vec<Step>;
pub(crate) type FieldSet = BTreeSet<Path>;

/// How a value is merged with what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge<'a> {
    Granular,
    Atomic,
    Set,
    Keyed(Vec<&'a str>),
}

/// Where in an object we are, as far as merging goes: by schema for custom resources, by field name for built-ins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    schema: Option<&'a Value>,
    parent: &'a str,
    name: &'a str,
    depth: usize,
    in_meta: bool,
}

impl<'a> Shape<'a> {
    pub(crate) fn root(res: &'a Resource) -> Self {
        Self {
            schema: res.schema().map(|s| &s.root),
            parent: "",
            name: "",
            depth: 0,
            in_meta: false,
        }
    }

    pub(crate) fn field(self, name: &'a str) -> Self {
        let child = |s: &'a Value| {
            s.get("properties")
                .and_then(|p| p.get(name))
                .or_else(|| s.get("additionalProperties"))
        };
        Self {
            schema: self.schema.map(|s| child(s).unwrap_or(&Value::Null)),
            parent: self.name,
            name,
            depth: self.depth + 1,
            in_meta: self.in_meta || (self.depth == 0 && name == "metadata"),
        }
    }

    pub(crate) fn item(self) -> Self {
        let schema = self.schema.map(|s| s.get("items").unwrap_or(&Value::Null));
        Self {
            schema,
            depth: self.depth + 1,
            ..self
        }
    }

    pub(crate) fn merge(self, v: &Value) -> Merge<'a> {
        if self.in_meta {
            return match self.name {
                "finalizers" => Merge::Set,
                "ownerReferences" if v.is_array() => Merge::Keyed(vec!["uid"]),
                "ownerReferences" => Merge::Atomic,
                _ if v.is_array() => Merge::Atomic,
                _ => Merge::Granular,
            };
        }
        match (self.schema, v) {
            (Some(schema), _) => by_schema(schema, v),
            (None, Value::Array(_)) => self.builtin_list(),
            (None, _) if self.is_atomic_struct(v) => Merge::Atomic,
            (None, _) => Merge::Granular,
        }
    }

    fn builtin_list(self) -> Merge<'a> {
        match self.name {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets" => Merge::Keyed(vec!["name"]),
            "secrets" if self.depth == 1 => Merge::Keyed(vec!["name"]),
            "volumeMounts" => Merge::Keyed(vec!["mountPath"]),
            "volumeDevices" => Merge::Keyed(vec!["devicePath"]),
            "conditions" | "addresses" => Merge::Keyed(vec!["type"]),
            "hostAliases" | "podIPs" => Merge::Keyed(vec!["ip"]),
            "topologySpreadConstraints" => Merge::Keyed(vec!["topologyKey", "whenUnsatisfiable"]),
            "ports" if self.depth > 2 => Merge::Keyed(vec!["containerPort", "protocol"]),
            "ports" => Merge::Keyed(vec!["port", "protocol"]),
            "volumeLifecycleModes" => Merge::Set,
            _ => Merge::Atomic,
        }
    }

    /// Parts that every object of a type has, so that nobody adds them.
    fn is_always_there(self) -> bool {
        let skeleton = [
            "spec",
            "status",
            "template",
            "strategy",
            "containers",
            "metadata",
        ];
        let outer = [
            "names",
            "acceptedNames",
            "resources",
            "source",
            "updateStrategy",
        ];
        (self.depth == 1 && self.in_meta)
            || (self.schema.is_none()
                && (skeleton.contains(&self.name)
                    || (self.depth <= 2 && outer.contains(&self.name))))
    }

    /// Objects that are replaced as a whole: selectors and references to objects.
    fn is_atomic_struct(self, v: &Value) -> bool {
        match self.name {
            "selector" => {
                v.get("matchLabels").is_some()
                    || v.get("matchExpressions").is_some()
                    || self.parent == "spec"
            }
            "nodeSelector" | "secretRef" | "involvedObject" | "roleRef" | "dataSource"
            | "required" | "imagePullSecrets" => true,
            "secrets" => self.depth == 2,
            name => name.ends_with("SecretRef"),
        }
    }
}

fn by_schema<'a>(schema: &'a Value, v: &Value) -> Merge<'a> {
    match (
        v,
        text(schema, "x-kubernetes-list-type"),
        text(schema, "x-kubernetes-map-type"),
    ) {
        (Value::Array(_), "map", _) => {
            let keys = list_at(schema, "/x-kubernetes-list-map-keys")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            Merge::Keyed(keys)
        }
        (Value::Array(_), "set", _) => Merge::Set,
        (Value::Array(_), _, _) | (_, _, "atomic") => Merge::Atomic,
        _ => Merge::Granular,
    }
}

/// The step to an item of a keyed list.
pub(crate) fn item_step(keys: &[&str], item: &Value) -> Step {
    let rendered = |key: &str| match item.get(key) {
        Some(v) => v.to_string(),
        None if key == "protocol" => "\"TCP\"".to_owned(),
        None => "null".to_owned(),
    };
    let mut pairs: Vec<(String, String)> =
        keys.iter().map(|&k| (k.to_owned(), rendered(k))).collect();
    pairs.sort();
    Step::Item(pairs)
}

/// Whether a value renders as `text`; strings, the common case, without rendering.
fn rendered_as(v: &Value, text: &str) -> bool {
    match v {
        Value::String(s) if !s.contains(['"', '\\']) && !s.contains(char::is_control) => {
            text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(s)
        }
        other => text == other.to_string().as_str(),
    }
}

fn is_item(item: &Value, pairs: &[(String, String)]) -> bool {
    pairs.iter().all(|(key, want)| match item.get(key) {
        Some(v) => rendered_as(v, want),
        None => want == "null" || (key == "protocol" && want == "\"TCP\""),
    })
}

/// The position in a list that a step names.
pub(crate) fn position(items: &[Value], step: &Step) -> Option<usize> {
    items.iter().position(|x| match step {
        Step::Item(pairs) => is_item(x, pairs),
        Step::Member(rendered) => rendered_as(x, rendered),
        Step::Field(_) => false,
    })
}

/// The value at a path.
pub(crate) fn get<'a>(v: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(v, |v, step| match step {
        Step::Field(name) => v.get(name),
        Step::Item(_) | Step::Member(_) => {
            let items = v.as_array()?;
            items.get(position(items, step)?)
        }
    })
}

/// Removes the value at a path, and what becomes empty by it.
pub(crate) fn remove(v: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match (step, v) {
        (Step::Field(name), Value::Object(m)) => {
            let emptied = m.get_mut(name).is_some_and(|child| {
                remove(child, rest);
                child.as_object().is_some_and(Map::is_empty)
                    || child.as_array().is_some_and(Vec::is_empty)
            });
            if rest.is_empty() || emptied {
                m.remove(name);
            }
        }
        (Step::Item(_) | Step::Member(_), Value::Array(items)) => {
            let Some(at) = position(items, step) else {
                return;
            };
            if rest.is_empty() {
                items.remove(at);
            } else if let Some(x) = items.get_mut(at) {
                remove(x, rest);
            }
        }
        _ => {}
    }
}

/// Metadata that nobody manages.
const UNMANAGED: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The paths of a value: its leaves, and what holds them.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    pub(crate) leaves: FieldSet,
    pub(crate) holders: FieldSet,
    /// Where a built-in type is told that there is nothing.
    nulls: FieldSet,
}

impl Paths {
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.leaves.contains(path) || self.holders.contains(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.leaves.iter().chain(&self.holders)
    }
}

/// Every leaf that a value states, also that there is nothing: what its applier manages.
pub(crate) fn leaves(res: &Resource, v: &Value) -> FieldSet {
    let mut all = paths(res, v);
    all.leaves.append(&mut all.nulls);
    all.leaves
}

/// Every path of a value.
pub(crate) fn paths(res: &Resource, v: &Value) -> Paths {
    let mut out = Paths::default();
    collect(Shape::root(res), v, &mut Vec::new(), &mut out);
    out
}

fn collect<'a>(shape: Shape<'a>, v: &'a Value, path: &mut Path, out: &mut Paths) {
    match (v, shape.merge(v)) {
        (Value::Object(m), Merge::Granular) => {
            hold(shape, path, m.is_empty(), out);
            for (key, x) in m {
                let typed = shape.depth == 0 && matches!(key.as_str(), "apiVersion" | "kind");
                let owned_by_server =
                    shape.depth == 1 && shape.in_meta && UNMANAGED.contains(&key.as_str());
                if typed || owned_by_server {
                    continue;
                }
                path.push(Step::Field(key.clone()));
                if x.is_null() && shape.schema.is_none() {
                    out.nulls.insert(path.clone());
                } else {
                    collect(shape.field(key), x, path, out);
                }
                path.pop();
            }
        }
        (Value::Array(items), Merge::Keyed(keys)) => {
            hold(shape, path, items.is_empty(), out);
            for x in items {
                path.push(item_step(&keys, x));
                out.leaves.insert(path.clone());
                collect(shape.item(), x, path, out);
                path.pop();
            }
        }
        (Value::Array(items), Merge::Set) => {
            hold(shape, path, items.is_empty(), out);
            for x in items {
                path.push(Step::Member(x.to_string()));
                out.leaves.insert(path.clone());
                path.pop();
            }
        }
        _ if path.is_empty() => {}
        _ => {
            out.leaves.insert(path.clone());
        }
    }
}

/// Notes an object or list: a leaf when it is empty, otherwise the holder of what is in it.
fn hold(shape: Shape<'_>, path: &Path, is_empty: bool, out: &mut Paths) {
    if path.is_empty() || matches!(path.last(), Some(Step::Item(_))) {
        return;
    }
    if is_empty {
        out.leaves.insert(path.clone());
    } else if !shape.is_always_there() {
        out.holders.insert(path.clone());
    }
}

/// Puts what an applied configuration states into the live object.
pub(crate) fn merge<'a>(shape: Shape<'a>, live: &mut Value, stated: &'a Value) {
    match (stated, shape.merge(stated)) {
        (Value::Object(m), Merge::Granular) => {
            let live = object(live);
            for (key, x) in m {
                merge(shape.field(key), live.entry(key).or_insert(Value::Null), x);
            }
        }
        (Value::Array(items), Merge::Keyed(keys)) => {
            let live = super::tree::array(live);
            for x in items {
                let step = item_step(&keys, x);
                let at = position(live, &step).unwrap_or_else(|| {
                    live.push(Value::Object(Map::new()));
                    live.len() - 1
                });
                if let Some(slot) = live.get_mut(at) {
                    merge(shape.item(), slot, x);
                }
            }
        }
        (Value::Array(items), Merge::Set) => {
            let live = super::tree::array(live);
            for x in items {
                if !live.contains(x) {
                    live.push(x.clone());
                }
            }
        }
        _ => stated.clone_into(live),
    }
}

/// A set of paths in the `FieldsV1` form. A path that others begin with is marked by a dot of its own.
pub(crate) fn to_v1(set: &FieldSet) -> Value {
    let mut root = Value::Object(Map::new());
    for path in set {
        node(&mut root, path);
    }
    for path in set {
        let node = object(node(&mut root, path));
        if !node.is_empty() {
            node.insert(".".into(), Value::Object(Map::new()));
        }
    }
    root
}

fn node<'a>(root: &'a mut Value, path: &Path) -> &'a mut Value {
    let empty = || Value::Object(Map::new());
    path.iter().fold(root, |node, step| {
        object(node).entry(key_of(step)).or_insert_with(empty)
    })
}

/// Reads the `FieldsV1` form.
pub(crate) fn from_v1(v: &Value) -> FieldSet {
    fn walk(v: &Value, path: &mut Path, out: &mut FieldSet) {
        let Some(m) = v.as_object() else { return };
        if m.is_empty() && !path.is_empty() {
            out.insert(path.clone());
        }
        for (key, child) in m {
            if key == "." {
                out.insert(path.clone());
            } else if let Some(step) = step_of(key) {
                path.push(step);
                walk(child, path, out);
                path.pop();
            }
        }
    }
    let mut out = FieldSet::new();
    walk(v, &mut Vec::new(), &mut out);
    out
}

fn key_of(step: &Step) -> String {
    match step {
        Step::Field(name) => format!("f:{name}"),
        Step::Member(rendered) => format!("v:{rendered}"),
        Step::Item(pairs) => format!("k:{}", keys_json(pairs)),
    }
}

fn step_of(key: &str) -> Option<Step> {
    if let Some(name) = key.strip_prefix("f:") {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(rendered) = key.strip_prefix("v:") {
        return Some(Step::Member(rendered.to_owned()));
    }
    let keys: Map<String, Value> = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    let mut pairs: Vec<(String, String)> =
        keys.into_iter().map(|(k, v)| (k, v.to_string())).collect();
    pairs.sort();
    Some(Step::Item(pairs))
}

fn keys_json(pairs: &[(String, String)]) -> String {
    let inner: Vec<String> = pairs.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
    format!("{{{}}}", inner.join(","))
}

/// A path as conflict messages show it: `.spec.containers[name="main"].image`.
pub(crate) fn dotted(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(name) => format!(".{name}"),
            Step::Member(rendered) => format!("[={rendered}]"),
            Step::Item(pairs) => {
                let inner: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("[{}]", inner.join(","))
            }
        })
        .collect()
}
