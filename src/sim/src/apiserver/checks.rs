//! What a write must satisfy before anybody looks at its contents: type, identity, version, finalizers.

use serde_json::Value;

use super::error::{ApiError, Cause, Result};
use super::resource::Resource;
use super::tree::{meta, meta_text, strings_at, text, text_at};
use super::write::{FieldValidation, VersionCheck, WriteOptions};

/// The body's kind and version, if it has them, must be those of the path.
pub(crate) fn kind(res: &Resource, obj: &Value) -> Result<()> {
    if !obj.is_object() {
        return Err(ApiError::bad("the body of the request must be an object"));
    }
    if !meta(obj).is_object() && !meta(obj).is_null() {
        return Err(ApiError::bad("metadata must be an object"));
    }
    let (version, kind) = (text(obj, "apiVersion"), text(obj, "kind"));
    let want = res.api_version();
    if !version.is_empty() && version != want {
        let why = if res.custom.is_some() {
            format!(
                "the API version in the data ({version}) does not match the expected API version ({want})"
            )
        } else {
            let kind = &res.kind;
            format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: no kind \"{kind}\" is registered for \
                 version \"{version}\" in scheme \"pkg/runtime/scheme.go:110\""
            )
        };
        return Err(ApiError::bad(why));
    }
    if kind.is_empty() && res.custom.is_some() {
        let (all, wanted) = (obj.to_string(), &res.kind);
        let start: String = all.chars().take(30).collect();
        return Err(ApiError::bad(format!(
            "the object provided is unrecognized (must be of type {wanted}): Object 'Kind' is missing in '{all}' ({start} ...)"
        )));
    }
    if kind.is_empty() || kind == res.kind {
        return Ok(());
    }
    if res.custom.is_none() {
        let (expected, version) = (&res.kind, &res.version);
        return Err(ApiError::bad(format!(
            "{kind} in version \"{version}\" cannot be handled as a {expected}: converting (v1.{kind}) to (core.{expected}): \
             unknown conversion"
        )));
    }
    let given = Resource {
        kind: kind.to_owned(),
        ..res.clone()
    };
    let cause = Cause::invalid("kind", format!("\"{kind}\": must be {}", res.kind));
    Err(ApiError::invalid(&given, meta_text(obj, "name"), &[cause]))
}

/// Fields nobody knows: what the client is warned of, or a refusal, as it asked.
pub(crate) fn unknown_fields(
    res: &Resource,
    opts: &WriteOptions,
    dropped: &[String],
) -> Result<Vec<String>> {
    let mut list: Vec<String> = dropped
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    if res.custom.is_some() {
        list.sort();
    }
    match opts.validation {
        FieldValidation::Ignore => return Ok(Vec::new()),
        FieldValidation::Strict if !list.is_empty() => {}
        FieldValidation::Warn | FieldValidation::Strict => return Ok(list),
    }
    let (kind, version) = (&res.kind, &res.version);
    Err(ApiError::bad(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
        list.join(", ")
    )))
}

/// Kinds whose replacement must say which version it replaces.
fn wants_version(res: &Resource) -> bool {
    res.custom.is_some()
        || matches!(
            res.kind.as_str(),
            "Lease" | "VolumeAttachment" | "CSIDriver" | "CustomResourceDefinition"
        )
}

/// The wanted object must be the live one: by name, by uid if it states one, and by version if it must or does.
pub(crate) fn identity(
    res: &Resource,
    name: &str,
    live: &Value,
    want: &Value,
    version: VersionCheck,
) -> Result<()> {
    let stated = meta_text(want, "name");
    if !stated.is_empty() && stated != name {
        let why = format!(
            "the name of the object ({stated}) does not match the name on the URL ({name})"
        );
        return Err(ApiError::bad(why));
    }
    let rv = meta_text(want, "resourceVersion");
    let replaces = version == VersionCheck::Required;
    if rv.is_empty() && replaces && wants_version(res) {
        let why = "0x0: must be specified for an update";
        // The real server names the resource here, where it names the kind elsewhere.
        let plural = Resource {
            kind: res.plural.clone(),
            ..res.clone()
        };
        return Err(ApiError::invalid(
            &plural,
            name,
            &[Cause::invalid("metadata.resourceVersion", why)],
        ));
    }
    if !rv.is_empty() && rv != meta_text(live, "resourceVersion") {
        return Err(ApiError::stale(res, name));
    }
    let (uid, live_uid) = (meta_text(want, "uid"), meta_text(live, "uid"));
    if uid.is_empty() || uid == live_uid {
        return Ok(());
    }
    if !replaces {
        // Two rules of the real server look at it.
        let cause = Cause::invalid("metadata.uid", format!("\"{uid}\": field is immutable"));
        return Err(ApiError::invalid(res, name, &[cause.clone(), cause]));
    }
    let (plural, ns) = (&res.plural, meta_text(live, "namespace"));
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{ns}/{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}"
    );
    Err(ApiError::conflict(res, name, &why))
}

/// An object that is being deleted takes no new finalizers.
pub(crate) fn finalizers(res: &Resource, live: &Value, want: &Value) -> Result<()> {
    if meta(live).get("deletionTimestamp").is_none() {
        return Ok(());
    }
    let old = strings_at(live, "/metadata/finalizers");
    let now = strings_at(want, "/metadata/finalizers");
    let added: Vec<String> = now
        .into_iter()
        .filter(|f| !old.contains(f))
        .map(|f| format!("\"{f}\""))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    // Two rules of the real server look at them.
    let cause = Cause::forbidden("metadata.finalizers", why);
    let causes = [cause.clone(), cause];
    Err(ApiError::invalid(res, meta_text(live, "name"), &causes))
}

/// The preconditions of a deletion.
pub(crate) fn preconditions(
    res: &Resource,
    name: &str,
    live: &Value,
    options: &Value,
) -> Result<()> {
    // The real server names the kind here, where it names the resource elsewhere.
    let kind = Resource {
        plural: res.kind.clone(),
        ..res.clone()
    };
    let facts = [
        (
            "UID",
            "/preconditions/uid",
            "uid",
            "deleted and then recreated",
        ),
        (
            "ResourceVersion",
            "/preconditions/resourceVersion",
            "resourceVersion",
            "modified",
        ),
    ];
    for (what, pointer, key, happened) in facts {
        let (asked, is) = (text_at(options, pointer), meta_text(live, key));
        if !asked.is_empty() && asked != is {
            let why = format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record ({is}). \
                 The object might have been {happened}"
            );
            return Err(ApiError::conflict(&kind, name, &why));
        }
    }
    Ok(())
}
