//! `CustomResourceDefinitions`: their own rules, and the resources they make.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{ApiError, Cause, Result};
use super::resource::{
    Custom, Generations, PrinterColumn, Resource, ScalePaths, Scope, TableKey, View,
};
use super::schema::Schema;
use super::store::State;
use super::tree::{list_at, meta, meta_text, object, slot, strings_at, text, text_at};

/// Held by a definition until its last custom resource is gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The table that holds the custom resources of a definition.
pub(crate) fn table_key(definition: &Value) -> TableKey {
    (
        text_at(definition, "/spec/group").to_owned(),
        text_at(definition, "/spec/names/plural").to_owned(),
    )
}

impl State {
    /// What the server itself adds to an object before it is stored.
    pub(crate) fn before_store(
        &self,
        res: &Resource,
        obj: &mut Value,
        live: Option<&Value>,
    ) -> Result<()> {
        if !res.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            return Ok(());
        }
        if live.is_none_or(|l| l["spec"] != obj["spec"]) {
            check(res, obj)?;
            complete_names(obj);
        }
        let at = match live {
            Some(live) => text_at(live, "/status/conditions/0/lastTransitionTime").to_owned(),
            None => self.clock.stamp(),
        };
        *slot(obj, "status") = status(obj, &at);
        Ok(())
    }

    /// What follows from an object that was stored.
    pub(crate) fn after_store(&mut self, res: &Resource, stored: &Value) {
        if !res.is("apiextensions.k8s.io", "CustomResourceDefinition")
            || meta(stored).get("deletionTimestamp").is_some()
        {
            return;
        }
        // It compiled when it was checked, a moment ago.
        if let Ok(custom) = custom_resource(stored) {
            self.register(custom);
        }
    }
}

/// Names and settings that a definition need not state.
pub(crate) fn complete_names(obj: &mut Value) {
    let kind = text_at(obj, "/spec/names/kind").to_owned();
    let names = object(super::tree::slot_at(obj, &["spec", "names"]));
    super::tree::set_default(names, "singular", kind.to_lowercase());
    super::tree::set_default(names, "listKind", format!("{kind}List"));
    super::tree::set_default(
        object(slot(obj, "spec")),
        "conversion",
        json!({"strategy": "None"}),
    );
}

fn check(res: &Resource, obj: &Value) -> Result<()> {
    let (group, plural) = table_key(obj);
    let mut causes = Vec::new();
    if meta_text(obj, "name") != format!("{plural}.{group}") {
        let why = format!(
            "\"{}\": must be spec.names.plural+\".\"+spec.group",
            meta_text(obj, "name")
        );
        causes.push(Cause::invalid("metadata.name", why));
    }
    let storage = list_at(obj, "/spec/versions")
        .iter()
        .filter(|v| v["storage"] == json!(true))
        .count();
    if storage != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", format!("{storage}: {why}")));
    }
    if let Err(wrong) = custom_resource(obj) {
        for why in wrong {
            causes.push(Cause::invalid("spec.validation.openAPIV3Schema", why));
        }
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(res, meta_text(obj, "name"), &causes))
    }
}

fn status(obj: &Value, at: &str) -> Value {
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at});
    json!({
        "acceptedNames": obj["spec"]["names"],
        "storedVersions": [text(storage_version(obj), "name")],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    })
}

fn storage_version(definition: &Value) -> &Value {
    let versions = list_at(definition, "/spec/versions");
    versions
        .iter()
        .find(|v| v["storage"] == json!(true))
        .or(versions.first())
        .unwrap_or(&Value::Null)
}

/// The resource a definition makes, in its storage version; the errors are those of its CEL rules.
fn custom_resource(definition: &Value) -> std::result::Result<Resource, Vec<String>> {
    let version = storage_version(definition);
    let names = &definition["spec"]["names"];
    let root = version
        .pointer("/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let schema = Schema::compile(root)?;
    let subresources = &version["subresources"];
    let scale = subresources.get("scale").map(|s| ScalePaths {
        spec: pointer(text(s, "specReplicasPath")),
        status: pointer(text(s, "statusReplicasPath")),
        selector: s
            .get("labelSelectorPath")
            .and_then(Value::as_str)
            .map(pointer),
    });
    let selectable = list_at(version, "/selectableFields")
        .iter()
        .map(|f| text(f, "jsonPath").trim_start_matches('.').to_owned());
    Ok(Resource {
        group: text_at(definition, "/spec/group").to_owned(),
        version: text(version, "name").to_owned(),
        plural: text(names, "plural").to_owned(),
        singular: text(names, "singular").to_owned(),
        kind: text(names, "kind").to_owned(),
        short: strings_at(names, "/shortNames"),
        categories: strings_at(names, "/categories"),
        scope: if text_at(definition, "/spec/scope") == "Namespaced" {
            Scope::Namespaced
        } else {
            Scope::Cluster
        },
        generations: Generations::Counted,
        status: subresources.get("status").is_some(),
        scale,
        selectable: selectable.collect(),
        view: View::Stored,
        custom: Some(Arc::new(Custom {
            schema,
            columns: columns(version),
        })),
    })
}

/// `.spec.replicas` as a JSON pointer.
fn pointer(json_path: &str) -> String {
    json_path.replace('.', "/")
}

fn columns(version: &Value) -> Vec<PrinterColumn> {
    let column = |c: &Value| PrinterColumn {
        name: text(c, "name").to_owned(),
        kind: text(c, "type").to_owned(),
        format: text(c, "format").to_owned(),
        description: text(c, "description").to_owned(),
        priority: c
            .get("priority")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        json_path: text(c, "jsonPath").to_owned(),
    };
    list_at(version, "/additionalPrinterColumns")
        .iter()
        .map(column)
        .collect()
}
