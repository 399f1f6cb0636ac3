//! Writing on the newest version of an object of any kind: who else wrote meanwhile is read again, and not written over.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource};
use lifeboat_api::names;
use lifeboat_kit::apply::WRITE_DEADLINE;
use lifeboat_kit::{CallError, deadline, patch_metadata, patch_status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// How often a write is tried again on a newer version of the object.
const TRIES: usize = 5;

/// Writes on what is known of an object, and after a conflict on what is read then. Answers what `write` does, or nothing if
/// the object is gone.
pub(crate) async fn persist<T, W, Writing, Reading>(
    known: Option<T>,
    write: impl Fn(T) -> Writing,
    read: impl Fn() -> Reading,
) -> Result<Option<W>, CallError>
where
    Writing: Future<Output = Result<Option<W>, CallError>>,
    Reading: Future<Output = Result<Option<T>, CallError>>,
{
    let mut current = known;
    for attempt in 1.. {
        let Some(known) = current else {
            return Ok(None);
        };
        match write(known).await {
            Ok(written) => return Ok(written),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if error.is_conflict() && attempt < TRIES => current = read().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Changes the finalizers of an object of any kind, known by its metadata; answers what was written, if anything was.
pub(crate) async fn edit_finalizers<K>(
    api: &Api<K>,
    known: &ObjectMeta,
    edit: impl Fn(&[String]) -> Option<Vec<String>>,
) -> Result<Option<K>, CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = known.name.as_deref().unwrap_or_default();
    let write = |meta: ObjectMeta| {
        let finalizers = edit(meta.finalizers.as_deref().unwrap_or_default());
        async move {
            let Some(finalizers) = finalizers else {
                return Ok(None);
            };
            let metadata =
                json!({ "resourceVersion": meta.resource_version, "finalizers": finalizers });
            let written = patch_metadata(api, name, names::AGENT_MANAGER, metadata).await?;
            Ok(Some(written))
        }
    };
    persist(Some(known.clone()), write, || reread(api, known)).await
}

/// Writes the status of an object of any kind, known by its metadata; answers what was written.
/// On a conflict the same status is written again: what was done on the driver is not done twice for it.
pub(crate) async fn write_status<K>(
    api: &Api<K>,
    known: &ObjectMeta,
    body: &Value,
) -> Result<Option<K>, CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = known.name.as_deref().unwrap_or_default();
    let write = |meta: ObjectMeta| async move {
        let version = meta.resource_version.unwrap_or_default();
        let written = patch_status(api, name, names::AGENT_MANAGER, body.clone(), &version).await?;
        Ok(Some(written))
    };
    persist(Some(known.clone()), write, || reread(api, known)).await
}

/// The metadata of an object as it is now, if it is still the same one.
async fn reread<K>(api: &Api<K>, known: &ObjectMeta) -> Result<Option<ObjectMeta>, CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = known.name.as_deref().unwrap_or_default();
    let read = deadline(format!("get {name}"), WRITE_DEADLINE, api.get_opt(name)).await?;
    let meta = read.map(|object| object.meta().clone());
    Ok(meta.filter(|meta| meta.uid == known.uid))
}

/// A status as a patch that also removes what the status lacks.
pub(crate) fn nulled(status: &impl Serialize, optional: &[&str]) -> Value {
    let mut body = match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    for field in optional {
        body.entry(*field).or_insert(Value::Null);
    }
    Value::Object(body)
}
