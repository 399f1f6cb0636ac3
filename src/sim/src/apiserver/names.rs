//! What objects, labels, annotations and finalizers may be called.

use serde_json::{Map, Value};

use super::error::{ApiError, Cause, Result};
use super::resource::Resource;
use super::tree::{list_at, meta, meta_text, strings_at, text};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
     with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
     alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
     character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Refuses a new object whose name or metadata it cannot have.
pub(crate) fn check(res: &Resource, name: &str, obj: &Value) -> Result<()> {
    let mut causes = Vec::new();
    let is_label = res.is("", "Namespace");
    let fine = if res.group == "rbac.authorization.k8s.io" {
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%'])
    } else {
        is_subdomain(name) && !(is_label && name.contains('.'))
    };
    if !fine {
        let rule = if is_label { LABEL } else { SUBDOMAIN };
        causes.push(Cause::invalid(
            "metadata.name",
            format!("\"{name}\": {rule}"),
        ));
    }
    collect(obj, &mut causes);
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(res, name, &causes))
    }
}

/// Refuses metadata an object cannot be given.
pub(crate) fn check_metadata(res: &Resource, obj: &Value) -> Result<()> {
    let mut causes = Vec::new();
    collect(obj, &mut causes);
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(res, meta_text(obj, "name"), &causes))
    }
}

fn collect(obj: &Value, out: &mut Vec<Cause>) {
    let map = |key: &str| meta(obj).get(key).and_then(Value::as_object);
    keys("metadata.labels", map("labels"), out);
    for value in map("labels")
        .into_iter()
        .flatten()
        .filter_map(|(_, v)| v.as_str())
    {
        if !value.is_empty() && !is_name_part(value) {
            out.push(Cause::invalid(
                "metadata.labels",
                format!("\"{value}\": {LABEL_VALUE}"),
            ));
        }
    }
    keys("metadata.annotations", map("annotations"), out);
    for owner in list_at(obj, "/metadata/ownerReferences") {
        for (key, word) in [
            ("apiVersion", "version"),
            ("kind", "kind"),
            ("name", "name"),
            ("uid", "uid"),
        ] {
            if text(owner, key).is_empty() {
                let field = format!("metadata.ownerReferences.{key}");
                out.push(Cause::invalid(
                    field,
                    format!("\"\": {word} must not be empty"),
                ));
            }
        }
    }
    for (i, finalizer) in list_at(obj, "/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
        .enumerate()
    {
        let field = format!("metadata.finalizers[{i}]");
        if !is_qualified(finalizer) {
            out.push(Cause::invalid(
                field,
                format!("\"{finalizer}\": {QUALIFIED}"),
            ));
        } else if !finalizer.contains('/') && !is_standard(finalizer) && is_builtin(obj) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            out.push(Cause::invalid(field, format!("\"{finalizer}\": {why}")));
        }
    }
}

/// Whether a kind is validated by the server's own code. For custom kinds a finalizer without a domain is only warned of:
/// CSI-Addons uses one.
fn is_builtin(obj: &Value) -> bool {
    let version = obj
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match version.split_once('/') {
        Some((group, _)) => !group.contains('.') || group.ends_with(".k8s.io"),
        None => true,
    }
}

/// What the client is warned of: new finalizers of a custom resource that do not say whose they are.
pub(crate) fn doubtful_finalizers(res: &Resource, obj: &Value, live: &Value) -> Vec<String> {
    if res.custom.is_none() {
        return Vec::new();
    }
    let known = strings_at(live, "/metadata/finalizers");
    let doubtful = |f: &String| !f.contains('/') && !is_standard(f) && !known.contains(f);
    let why = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers";
    strings_at(obj, "/metadata/finalizers")
        .into_iter()
        .filter(doubtful)
        .map(|f| format!("metadata.finalizers: \"{f}\": {why}"))
        .collect()
}

fn is_standard(finalizer: &str) -> bool {
    // The cleanup of custom resources has no slash either.
    matches!(
        finalizer,
        "orphan" | "foregroundDeletion" | "kubernetes" | super::crd::CLEANUP
    )
}

fn keys(field: &str, map: Option<&Map<String, Value>>, out: &mut Vec<Cause>) {
    for key in map
        .into_iter()
        .flat_map(Map::keys)
        .filter(|k| !is_qualified(k))
    {
        out.push(Cause::invalid(field, format!("\"{key}\": {QUALIFIED}")));
    }
}

/// A name with an optional subdomain before a slash.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}

/// Letters, digits, `-`, `_` and `.`, at most 63, alphanumeric at the ends.
fn is_name_part(name: &str) -> bool {
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let ends = |c: char| c.is_ascii_alphanumeric();
    inner && name.len() <= 63 && name.starts_with(ends) && name.ends_with(ends)
}

/// Lower case letters, digits, `-` and `.`, at most 253, alphanumeric at the ends of each label.
fn is_subdomain(name: &str) -> bool {
    let label = |l: &str| {
        let inner = l
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !l.is_empty() && !l.starts_with('-') && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
