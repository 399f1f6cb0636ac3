//! The structure of the built-in kinds, from the types our clients use: for pruning, type checks and `kubectl explain`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::{apps, batch, coordination, core, events, rbac, storage};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use k8s_openapi::{Resource, schemars::JsonSchema};
use serde_json::{Map, Value, json};

use super::tree::object;

/// Where references in the definitions point to.
pub(crate) const PREFIX: &str = "#/components/schemas/";

/// Types whose contents are anybody's.
const FREE_FORM: [&str; 2] = [
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
];

/// Group, version and kind.
pub(crate) type Gvk = (&'static str, &'static str, &'static str);

struct Kinds {
    /// Every type by its `OpenAPI` name.
    definitions: Map<String, Value>,
    /// The `OpenAPI` name of each kind.
    names: BTreeMap<Gvk, String>,
    /// Each kind with its references resolved, for pruning and checking.
    structures: BTreeMap<(&'static str, &'static str), Value>,
    metadata: Value,
}

static KINDS: LazyLock<Kinds> = LazyLock::new(build);

/// The `OpenAPI` definitions of all built-in types.
pub(crate) fn definitions() -> &'static Map<String, Value> {
    &KINDS.definitions
}

/// The `OpenAPI` names of the built-in kinds.
pub(crate) fn names() -> &'static BTreeMap<Gvk, String> {
    &KINDS.names
}

/// The schema of a built-in kind, whole; nothing is required and nothing has a default.
pub(crate) fn structure(group: &str, kind: &str) -> Option<&'static Value> {
    KINDS
        .structures
        .iter()
        .find(|((g, k), _)| *g == group && *k == kind)
        .map(|(_, v)| v)
}

/// The schema of every object's metadata.
pub(crate) fn metadata() -> &'static Value {
    &KINDS.metadata
}

fn add<K: Resource + JsonSchema>(
    generator: &mut SchemaGenerator,
    names: &mut BTreeMap<Gvk, String>,
) {
    let _ = generator.subschema_for::<K>();
    names.insert(
        (K::GROUP, K::VERSION, K::KIND),
        K::schema_name().into_owned(),
    );
}

fn build() -> Kinds {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut names = BTreeMap::new();
    let g = &mut generator;
    let n = &mut names;
    add::<core::v1::Namespace>(g, n);
    add::<core::v1::Node>(g, n);
    add::<core::v1::Pod>(g, n);
    add::<core::v1::ConfigMap>(g, n);
    add::<core::v1::Secret>(g, n);
    add::<core::v1::Service>(g, n);
    add::<core::v1::ServiceAccount>(g, n);
    add::<core::v1::PersistentVolumeClaim>(g, n);
    add::<core::v1::PersistentVolume>(g, n);
    add::<core::v1::Event>(g, n);
    add::<events::v1::Event>(g, n);
    add::<apps::v1::Deployment>(g, n);
    add::<apps::v1::StatefulSet>(g, n);
    add::<apps::v1::ReplicaSet>(g, n);
    add::<batch::v1::Job>(g, n);
    add::<coordination::v1::Lease>(g, n);
    add::<storage::v1::StorageClass>(g, n);
    add::<storage::v1::VolumeAttachment>(g, n);
    add::<storage::v1::CSIDriver>(g, n);
    add::<rbac::v1::ClusterRole>(g, n);
    add::<rbac::v1::ClusterRoleBinding>(g, n);
    add::<rbac::v1::Role>(g, n);
    add::<rbac::v1::RoleBinding>(g, n);
    add::<CustomResourceDefinition>(g, n);
    let _ = g.subschema_for::<ObjectMeta>();
    let definitions: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    let whole = |name: &str| {
        inlined(
            &definitions,
            definitions.get(name).unwrap_or(&Value::Null),
            0,
        )
    };
    // The schema of schemas refers to itself; a definition is checked by what it makes.
    let finite = names
        .iter()
        .filter(|((_, _, kind), _)| *kind != "CustomResourceDefinition");
    let structures = finite
        .map(|((group, _, kind), name)| ((*group, *kind), whole(name)))
        .collect();
    let metadata = whole(ObjectMeta::schema_name().as_ref());
    Kinds {
        definitions,
        names,
        structures,
        metadata,
    }
}

/// A schema with references resolved and with nothing required: what is missing is for other checks to say.
fn inlined(definitions: &Map<String, Value>, schema: &Value, depth: usize) -> Value {
    if depth > 40 {
        return json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    match schema {
        Value::Object(m) => {
            let target = m
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_prefix(PREFIX));
            if let Some(name) = target {
                if FREE_FORM.contains(&name) {
                    return json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                }
                return inlined(
                    definitions,
                    definitions.get(name).unwrap_or(&Value::Null),
                    depth + 1,
                );
            }
            if let Some([one]) = m.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                return inlined(definitions, one, depth + 1);
            }
            let kept = m
                .iter()
                .filter(|(k, v)| *k != "description" && !(*k == "required" && v.is_array()));
            kept.map(|(k, v)| (k.clone(), inlined_entry(definitions, k, v, depth)))
                .collect()
        }
        other => other.clone(),
    }
}

fn inlined_entry(definitions: &Map<String, Value>, key: &str, v: &Value, depth: usize) -> Value {
    match (key, v) {
        // The names below "properties" are fields, whatever they are called.
        ("properties", Value::Object(fields)) => fields
            .iter()
            .map(|(k, v)| (k.clone(), inlined(definitions, v, depth + 1)))
            .collect(),
        ("items" | "additionalProperties", v) => inlined(definitions, v, depth + 1),
        (_, v) => v.clone(),
    }
}

/// A definition with the kinds it stands for, as `OpenAPI` documents carry them.
pub(crate) fn with_kind(definition: &Value, gvk: &Value) -> Value {
    let mut v = definition.clone();
    object(&mut v).insert("x-kubernetes-group-version-kind".into(), json!([gvk]));
    v
}
