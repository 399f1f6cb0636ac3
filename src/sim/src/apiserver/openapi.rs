//! `OpenAPI` v3 documents, one per group and version: what `kubectl explain` reads, and what tells `kubectl apply` that
//! the server checks fields itself. Version 2 is offered in protobuf only by clients and is not served.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::error::{ApiError, Result};
use super::kinds;
use super::request::Request;
use super::resource::Resource;
use super::route::Reply;
use super::store::{State, fnv};
use super::tree::{object, slot};
use super::{discovery, tree};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to \
     the latest internal value, and may reject unrecognized values. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client \
     submits requests to. Cannot be updated. In CamelCase. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The answer to a path below `/openapi`.
pub(crate) fn answer(state: &State, request: &Request, path: &str) -> Result<Reply> {
    if !request.takes_json() {
        return Err(ApiError::new(
            406,
            "NotAcceptable",
            "OpenAPI documents are served as application/json only",
        ));
    }
    match path {
        "/openapi/v2" => Ok(Reply::json(200, &version_2(state))),
        "/openapi/v3" => Ok(Reply::json(200, &index(state))),
        _ => {
            let gv = path
                .strip_prefix("/openapi/v3/")
                .ok_or_else(ApiError::no_such_path)?;
            let (group, version) = match gv.split('/').collect::<Vec<_>>().as_slice() {
                ["api", version] => (String::new(), (*version).to_owned()),
                ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
                _ => return Err(ApiError::no_such_path()),
            };
            Ok(Reply::json(200, &document(state, &group, &version)))
        }
    }
}

fn index(state: &State) -> Value {
    let mut paths = Map::new();
    for (group, versions) in discovery::group_versions(state) {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let hash = fnv(&String::from_utf8_lossy(&tree::bytes(&document(
                state, &group, &version,
            ))));
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn document(state: &State, group: &str, version: &str) -> Value {
    let (mut schemas, mut paths) = (Map::new(), Map::new());
    for res in state
        .resources
        .values()
        .filter(|r| r.group == group && r.version == version)
    {
        let name = component(res, &mut schemas);
        operations(res, &name, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes (simulated)", "version": "v1.33.0-sim"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn gvk(res: &Resource) -> Value {
    json!({"group": res.group, "version": res.version, "kind": res.kind})
}

/// Adds the schema of a resource, and everything it refers to; returns its name.
fn component(res: &Resource, schemas: &mut Map<String, Value>) -> String {
    if let Some(schema) = res.schema() {
        let group: Vec<&str> = res.group.split('.').rev().collect();
        let name = format!("{}.{}.{}", group.join("."), res.version, res.kind);
        let root = custom_root(&schema.root, schemas);
        schemas.insert(name.clone(), kinds::with_kind(&root, &gvk(res)));
        return name;
    }
    let known = kinds::names()
        .iter()
        .find(|((g, v, k), _)| (*g, *v, *k) == (&res.group, &res.version, &res.kind));
    let Some((_, name)) = known else {
        return String::new();
    };
    add_with_references(name, schemas);
    if let Some(definition) = schemas.get_mut(name) {
        *definition = kinds::with_kind(definition, &gvk(res));
    }
    name.to_owned()
}

/// The root of a custom resource's schema with the type fields that every object has.
fn custom_root(root: &Value, schemas: &mut Map<String, Value>) -> Value {
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    add_with_references(META, schemas);
    let mut v = root.clone();
    let properties = object(slot(&mut v, "properties"));
    properties.insert(
        "apiVersion".into(),
        json!({"type": "string", "description": API_VERSION}),
    );
    properties.insert(
        "kind".into(),
        json!({"type": "string", "description": KIND}),
    );
    let reference = json!({"$ref": format!("{}{META}", kinds::PREFIX)});
    properties.insert(
        "metadata".into(),
        json!({"allOf": [reference], "description": METADATA}),
    );
    v
}

fn add_with_references(name: &str, schemas: &mut Map<String, Value>) {
    let mut todo = vec![name.to_owned()];
    while let Some(name) = todo.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(definition) = kinds::definitions().get(&name) else {
            continue;
        };
        let mut found = BTreeSet::new();
        references(definition, &mut found);
        todo.extend(found);
        schemas.insert(name, definition.clone());
    }
}

fn references(v: &Value, out: &mut BTreeSet<String>) {
    match v {
        Value::Object(m) => {
            if let Some(name) = m
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_prefix(kinds::PREFIX))
            {
                out.insert(name.to_owned());
            }
            m.values().for_each(|x| references(x, out));
        }
        Value::Array(items) => items.iter().for_each(|x| references(x, out)),
        _ => {}
    }
}

fn operations(res: &Resource, schema: &str, paths: &mut Map<String, Value>) {
    let base = if res.group.is_empty() {
        format!("/api/{}", res.version)
    } else {
        format!("/apis/{}/{}", res.group, res.version)
    };
    let scope = if res.is_namespaced() {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{scope}/{}", res.plural);
    let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let body = json!({"$ref": format!("{}{schema}", kinds::PREFIX)});
    let operation = |action: &str, media: &[&str]| {
        let content: Map<String, Value> = media
            .iter()
            .map(|m| ((*m).to_owned(), json!({"schema": body})))
            .collect();
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(res),
            "parameters": [query("dryRun"), query("fieldManager"), query("fieldValidation")],
            "requestBody": {"content": content},
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}},
        })
    };
    let read = |action: &str| {
        json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(res),
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}}})
    };
    // Strategic merge is left out, so that clients compute such patches from the types they were built with.
    let patches = [
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
    ];
    let json_only = ["application/json"];
    paths.insert(
        collection.clone(),
        json!({"get": read("list"), "post": operation("post", &json_only)}),
    );
    paths.insert(format!("{collection}/{{name}}"), json!({
        "get": read("get"), "put": operation("put", &json_only), "patch": operation("patch", &patches), "delete": read("delete"),
    }));
}

/// The least a version 2 document can be: it knows custom resources by name, and leaves checks to the server.
fn version_2(state: &State) -> Value {
    let mut definitions = Map::new();
    for res in state.resources.values().filter(|r| r.custom.is_some()) {
        let group: Vec<&str> = res.group.split('.').rev().collect();
        let name = format!("{}.{}.{}", group.join("."), res.version, res.kind);
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        definitions.insert(name, kinds::with_kind(&any, &gvk(res)));
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes (simulated)", "version": "v1.33.0-sim"}, "paths": {}, "definitions": definitions})
}
