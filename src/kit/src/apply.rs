//! The one way to write to a cluster.

use std::fmt::Debug;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{CallError, deadline};

/// How long one write may take.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What to do about a field that another manager owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// Take it: we are the authority for every field we send.
    Force,
    /// Fail with a conflict: that someone else owns it is a fact worth reporting.
    Refuse,
}

/// Server-side apply of `body`, which must carry `apiVersion` and `kind`, as field manager `manager`.
///
/// Send a `resourceVersion` or `uid` in the body's metadata to write only to that version or that object.
pub async fn apply<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    body: &(impl Serialize + Debug),
    conflicts: Conflicts,
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let what = format!("apply {} {name}", kind(body));
    deadline(
        what,
        WRITE_DEADLINE,
        api.patch(name, &params(manager, conflicts), &Patch::Apply(body)),
    )
    .await
}

/// Server-side apply of the status in `body`, which must carry `apiVersion`, `kind` and the whole status we own.
/// With `version`, only if the object is still at that resourceVersion: compare and swap.
pub async fn apply_status<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    mut body: Value,
    version: Option<&str>,
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    if let Some(version) = version {
        merge(
            &mut body,
            json!({ "metadata": { "resourceVersion": version } }),
        );
    }
    let what = format!("apply status of {} {name}", kind(&body));
    deadline(
        what,
        WRITE_DEADLINE,
        api.patch_status(
            name,
            &params(manager, Conflicts::Force),
            &Patch::Apply(&body),
        ),
    )
    .await
}

/// Merge patch of the whole status, for a kind whose status is one program's alone, whoever wrote it before: unlike an
/// apply it can remove (`null`) what another program left. Only if the object is still at `version`.
pub async fn patch_status<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    status: Value,
    version: &str,
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let body = json!({ "metadata": { "resourceVersion": version }, "status": status });
    deadline(
        format!("patch status of {name}"),
        WRITE_DEADLINE,
        api.patch_status(name, &params, &Patch::Merge(&body)),
    )
    .await
}

/// Merge patch of metadata alone: annotations by key (`null` removes one) and, together with a `resourceVersion`,
/// finalizers as a whole list. It never touches spec, so it never moves the generation.
pub async fn patch_metadata<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    metadata: Value,
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let body = json!({ "metadata": metadata });
    deadline(
        format!("patch metadata of {name}"),
        WRITE_DEADLINE,
        api.patch(name, &params, &Patch::Merge(&body)),
    )
    .await
}

fn params(manager: &str, conflicts: Conflicts) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        force: conflicts == Conflicts::Force,
        ..PatchParams::default()
    }
}

fn kind(body: &impl Serialize) -> String {
    let value = serde_json::to_value(body).unwrap_or_default();
    value
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("object")
        .to_owned()
}

/// Puts the members of `extra` into `base`, objects member by member.
pub fn merge(base: &mut Value, extra: Value) {
    match (base, extra) {
        (Value::Object(base), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, extra) => *base = extra,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut base = json!({"metadata": {"name": "a"}, "status": {"x": 1}});
        merge(&mut base, json!({"metadata": {"resourceVersion": "7"}}));
        assert_eq!(
            base,
            json!({"metadata": {"name": "a", "resourceVersion": "7"}, "status": {"x": 1}})
        );
    }
}
