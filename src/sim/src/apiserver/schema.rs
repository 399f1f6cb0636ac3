//! What the schema of a kind does to an object: prune, default, validate; and the CEL rules of custom resources.

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value};

use super::error::{ApiError, Cause, Result};
use super::kinds;
use super::resource::Resource;
use super::tree::{flag_at, meta_text};

mod check;

/// A structural schema with its rules compiled.
pub(crate) struct Schema {
    pub(crate) root: Value,
    rules: CompiledSchema,
    ruled: Ruled,
    validator: Validator,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles a schema; the errors are those of its CEL rules.
    pub(crate) fn compile(root: Value) -> std::result::Result<Self, Vec<String>> {
        let rules = compile_schema(&root);
        let wrong: Vec<String> = rules
            .compilation_errors()
            .iter()
            .map(ToString::to_string)
            .collect();
        if wrong.is_empty() {
            Ok(Self {
                ruled: Ruled::of(&root),
                root,
                rules,
                validator: Validator::new(),
            })
        } else {
            Err(wrong)
        }
    }

    fn rule_failures(&self, obj: &Value, old: Option<&Value>) -> Vec<Cause> {
        if self.ruled.is_untouched(obj, old) {
            return Vec::new();
        }
        let Err(errors) = self.validator.validate_compiled(&self.rules, obj, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .map(|e| rule_cause(obj, &e.field_path, e.reason.as_deref(), &e.message))
            .collect()
    }
}

/// Where a schema has rules.
enum Ruled {
    /// In these fields of the object, and nowhere else.
    Fields(Vec<String>),
    /// In the object itself.
    Object,
}

impl Ruled {
    fn of(root: &Value) -> Self {
        if root.get(RULES).is_some() {
            return Self::Object;
        }
        let fields = root.get("properties").and_then(Value::as_object);
        let ruled = fields.into_iter().flatten().filter(|(_, s)| has_rules(s));
        Self::Fields(ruled.map(|(name, _)| name.clone()).collect())
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Fields(fields) if fields.is_empty())
    }

    /// Whether nothing that has a rule differs from before: the real server does not judge again what was let in once
    /// (ratcheting). Most writes are of a status, and running rules is the dearest part of a write.
    fn is_untouched(&self, obj: &Value, old: Option<&Value>) -> bool {
        match (self, old) {
            (Self::Fields(fields), Some(old)) => fields.iter().all(|f| obj.get(f) == old.get(f)),
            (Self::Fields(fields), None) => fields.is_empty(),
            (Self::Object, _) => false,
        }
    }
}

const RULES: &str = "x-kubernetes-validations";

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(m) => m.contains_key(RULES) || m.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn rule_cause(obj: &Value, path: &str, reason: Option<&str>, message: &str) -> Cause {
    let field = if path.is_empty() {
        "<nil>".to_owned()
    } else {
        path.to_owned()
    };
    match reason {
        Some("FieldValueForbidden") => Cause::forbidden(field, message),
        Some("FieldValueRequired") => Cause {
            reason: "FieldValueRequired",
            field,
            message: format!("Required value: {message}"),
        },
        Some("FieldValueDuplicate") => Cause {
            reason: "FieldValueDuplicate",
            field,
            message: format!("Duplicate value: {message}"),
        },
        _ => Cause::invalid(
            field,
            format!("{}: {message}", check::type_name(lookup(obj, path))),
        ),
    }
}

/// The value at a dotted path such as `spec.volumes[2].name`; the object itself when there is none.
fn lookup<'a>(obj: &'a Value, path: &str) -> &'a Value {
    let mut at = obj;
    for part in path
        .split(['.', '['])
        .map(|p| p.trim_end_matches(']'))
        .filter(|p| !p.is_empty())
    {
        let next = at
            .get(part)
            .or_else(|| part.parse::<usize>().ok().and_then(|i| at.get(i)));
        match next {
            Some(v) => at = v,
            None => return obj,
        }
    }
    at
}

/// What the real server adds when an object is too wrong for its rules to be run.
const UNCHECKED: &str = "\"null\": some validation rules were not checked because the object was invalid; correct the \
                         existing errors to complete validation";

/// After these errors the real server does not run rules: they may not make sense on such an object.
fn blocks_rules(cause: &Cause) -> bool {
    let blocking = [
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    blocking.contains(&cause.reason)
}

/// Prunes and defaults `obj`; returns the paths of the fields that were pruned.
pub(crate) fn shape(res: &Resource, obj: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    if let Some(m) = obj.get_mut("metadata") {
        prune(kinds::metadata(), m, "metadata", &mut dropped);
        drop_nulls(m);
        drop_empty(
            m,
            &["labels", "annotations", "finalizers", "ownerReferences"],
        );
    }
    if let Some(schema) = res.schema() {
        prune_root(&schema.root, obj, &mut dropped);
        default(&schema.root, obj);
    } else if let Some(structure) = kinds::structure(&res.group, &res.kind) {
        prune_root(structure, obj, &mut dropped);
        drop_nulls(obj);
        drop_empty(obj, &["data", "binaryData", "stringData"]);
    }
    dropped
}

/// Lists and maps that say the same empty as missing.
fn drop_empty(v: &mut Value, keys: &[&str]) {
    let Value::Object(m) = v else { return };
    m.retain(|key, x| {
        let empty =
            x.as_object().is_some_and(Map::is_empty) || x.as_array().is_some_and(Vec::is_empty);
        !(empty && keys.contains(&key.as_str()))
    });
}

/// To a built-in type null is the same as nothing, in a field that it has.
fn drop_nulls(v: &mut Value) {
    match v {
        Value::Object(m) => {
            m.retain(|_, x| !x.is_null());
            for x in m.values_mut() {
                drop_nulls(x);
            }
        }
        Value::Array(items) => {
            for x in items {
                drop_nulls(x);
            }
        }
        _ => {}
    }
}

/// Validates `obj`, which replaces `old` if there is one.
pub(crate) fn admit(res: &Resource, obj: &Value, old: Option<&Value>) -> Result<()> {
    let mut causes = Vec::new();
    if let Some(m) = obj.get("metadata") {
        check::value(kinds::metadata(), m, "metadata", &mut causes);
    }
    if let Some(root) = root(res) {
        check::object_root(root, obj, &mut causes);
    }
    let Some(schema) = res.schema() else {
        return causes
            .first()
            .map_or(Ok(()), |wrong| Err(undecodable(res, wrong)));
    };
    if !causes.iter().any(blocks_rules) {
        causes.extend(schema.rule_failures(obj, old));
    } else if !schema.ruled.is_empty() {
        causes.push(Cause::invalid("<nil>", UNCHECKED));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(res, meta_text(obj, "name"), &causes))
    }
}

/// The schema of a kind: its definition's, or that of the built-in type.
fn root(res: &Resource) -> Option<&Value> {
    res.schema()
        .map(|s| &s.root)
        .or_else(|| kinds::structure(&res.group, &res.kind))
}

/// A built-in object with a field of the wrong type, which the real API server could not even decode.
fn undecodable(res: &Resource, wrong: &Cause) -> ApiError {
    let (kind, version) = (&res.kind, &res.version);
    ApiError::bad(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {}: {}",
        wrong.field, wrong.message
    ))
}

/// Sets the schema's defaults and drops nulls that it does not allow.
fn default(schema: &Value, v: &mut Value) {
    match v {
        Value::Object(m) => {
            for (key, sub) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                default_property(m, key, sub);
            }
            if let Some(sub) = schema.get("additionalProperties").filter(|s| s.is_object()) {
                for x in m.values_mut() {
                    default(sub, x);
                }
            }
        }
        Value::Array(items) => {
            if let Some(sub) = schema.get("items") {
                for x in items {
                    default(sub, x);
                }
            }
        }
        _ => {}
    }
}

fn default_property(m: &mut Map<String, Value>, key: &str, schema: &Value) {
    let unset = m
        .get(key)
        .is_none_or(|x| x.is_null() && !flag_at(schema, "/nullable"));
    if unset {
        match schema.get("default") {
            Some(d) => m.insert(key.to_owned(), d.clone()),
            None => m.remove(key),
        };
    }
    if let Some(x) = m.get_mut(key) {
        default(schema, x);
    }
}

fn prune_root(schema: &Value, obj: &mut Value, dropped: &mut Vec<String>) {
    let Value::Object(m) = obj else { return };
    prune_object(schema, m, "", true, dropped);
}

fn prune(schema: &Value, v: &mut Value, at: &str, dropped: &mut Vec<String>) {
    match v {
        Value::Object(m) => {
            let embedded = flag_at(schema, "/x-kubernetes-embedded-resource");
            prune_object(schema, m, at, embedded, dropped);
        }
        Value::Array(items) => {
            let Some(sub) = schema.get("items") else {
                return;
            };
            for (i, x) in items.iter_mut().enumerate() {
                prune(sub, x, &format!("{at}[{i}]"), dropped);
            }
        }
        _ => {}
    }
}

/// `typed`: the object has an apiVersion, a kind and metadata of its own, which no schema describes.
fn prune_object(
    schema: &Value,
    m: &mut Map<String, Value>,
    at: &str,
    typed: bool,
    dropped: &mut Vec<String>,
) {
    let keep_unknown = flag_at(schema, "/x-kubernetes-preserve-unknown-fields");
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema
        .get("additionalProperties")
        .filter(|a| **a != Value::Bool(false));
    let join = |key: &str| {
        if at.is_empty() {
            key.to_owned()
        } else {
            format!("{at}.{key}")
        }
    };
    m.retain(|key, _| {
        let own = typed && matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
        let known = own
            || keep_unknown
            || additional.is_some()
            || properties.is_some_and(|p| p.contains_key(key));
        if !known {
            dropped.push(join(key));
        }
        known
    });
    for (key, x) in m.iter_mut() {
        if typed && key == "metadata" {
            continue;
        }
        let sub = properties
            .and_then(|p| p.get(key))
            .or(additional.filter(|a| a.is_object()));
        if let Some(sub) = sub {
            prune(sub, x, &join(key), dropped);
        }
    }
}
