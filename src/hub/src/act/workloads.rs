//! Steps `Quiesce`, `Resume` and `RemoveWorkloads`.

use std::collections::BTreeMap;

use futures::FutureExt;
use lifeboat_api::names;
use lifeboat_capture::import_supporting;
use lifeboat_core::{Epoch, Outcome, WorkloadKey};
use serde_json::{Value, json};

use super::At;
use super::capture::archive_trouble;
use super::kinds::Kind;
use super::mark::{check_free, marking};
use super::newer::not_written_since;
use super::object::{Whose, annotation, is_deleting, name, namespace, text, version, whose};
use super::parts::{Part, Pending, each, outcome};
use super::remote::Place;
use super::restore::mapping;

/// Scales workloads to zero and remembers their replicas.
pub(crate) async fn quiesce(at: &At<'_>, workloads: &BTreeMap<WorkloadKey, i32>) -> Outcome {
    let parts: Vec<Pending<'_>> = workloads
        .iter()
        .map(|(key, seen)| (key.to_string(), quiesce_one(at, key, *seen).boxed()))
        .collect();
    each(parts).await
}

/// The count and the zero are one write on the version that was read: a crash cannot lose the count, and an edit by the
/// user in between is not overwritten.
async fn quiesce_one(at: &At<'_>, key: &WorkloadKey, seen: i32) -> Part {
    let Some((kind, here, object)) = read(at, key).await? else {
        return Ok(());
    };
    check_free(at, &object)?;
    not_written_since(at, &object)?;
    let live = object.pointer("/spec/replicas").and_then(Value::as_i64);
    let remembered = annotation(&object, names::REPLICAS).is_some();
    if live == Some(0) && remembered {
        return Ok(());
    }
    let mut body =
        json!({ "metadata": { "resourceVersion": version(&object) }, "spec": { "replicas": 0 } });
    if !remembered {
        let count = live.unwrap_or(i64::from(seen.max(1))).to_string();
        lifeboat_kit::apply::merge(
            &mut body,
            json!({ "metadata": { "annotations": { names::REPLICAS: count } } }),
        );
    }
    at.remote
        .patch(Place::new(kind, &here, &key.name), &body)
        .await
        .map(drop)
}

/// Scales quiesced workloads back up.
pub(crate) async fn resume(at: &At<'_>, workloads: &BTreeMap<WorkloadKey, i32>) -> Outcome {
    let parts: Vec<Pending<'_>> = workloads
        .iter()
        .map(|(key, replicas)| (key.to_string(), resume_one(at, key, *replicas).boxed()))
        .collect();
    each(parts).await
}

async fn resume_one(at: &At<'_>, key: &WorkloadKey, replicas: i32) -> Part {
    let Some((kind, here, object)) = read(at, key).await? else {
        return Ok(());
    };
    check_free(at, &object)?;
    not_written_since(at, &object)?;
    // Without the annotation it is not held down by us, and its count is the user's.
    if annotation(&object, names::REPLICAS).is_none() {
        return Ok(());
    }
    let body = json!({
        "metadata": { "resourceVersion": version(&object), "annotations": { names::REPLICAS: null } },
        "spec": { "replicas": replicas.max(0) },
    });
    at.remote
        .patch(Place::new(kind, &here, &key.name), &body)
        .await
        .map(drop)
}

/// Deletes workloads, and marks what they named as left behind.
pub(crate) async fn remove(at: &At<'_>, workloads: &[WorkloadKey]) -> Outcome {
    let parts: Vec<Pending<'_>> = workloads
        .iter()
        .map(|key| (key.to_string(), remove_one(at, key).boxed()))
        .collect();
    match each(parts).await {
        Outcome::Done => leave_behind(at).await,
        other @ (Outcome::Unknown { .. } | Outcome::Failed(_)) => other,
    }
}

async fn remove_one(at: &At<'_>, key: &WorkloadKey) -> Part {
    let Some((kind, here, object)) = read(at, key).await? else {
        return Ok(());
    };
    check_free(at, &object)?;
    not_written_since(at, &object)?;
    at.remote
        .delete(Place::new(kind, &here, &key.name), &object)
        .await
}

/// Marks supporting objects that a capture holds: when the application returns, what it finds of its own may be
/// overwritten.
async fn leave_behind(at: &At<'_>) -> Outcome {
    let captured = match captured_supporting(at).await {
        Ok(captured) => captured,
        Err(trouble) => return outcome(Err(trouble)),
    };
    let parts: Vec<Pending<'_>> = captured
        .into_iter()
        .map(|(kind, here, name)| {
            (
                format!("{} {here}/{name}", kind.as_str()),
                mark_one(at, kind, here, name).boxed(),
            )
        })
        .collect();
    each(parts).await
}

/// Kind, namespace and name here of what the newest capture holds beside workloads.
pub(crate) async fn captured_supporting(at: &At<'_>) -> Part<Vec<(Kind, String, String)>> {
    let capture = match at.executor.captures.read(at.scope, None).await {
        Ok(Some((_, capture))) => capture,
        Ok(None) => return Ok(Vec::new()),
        Err(error) => return Err(archive_trouble(at, &error)),
    };
    let (mapping, marks) = (
        mapping(at.scope, at.remote.cluster(), &capture),
        at.marks(Epoch(0)),
    );
    let there = capture
        .supporting
        .iter()
        .map(|object| import_supporting(object, &mapping, &marks));
    let named = there.filter_map(|o| {
        Some((
            Kind::supporting(text(&o, "/kind")?)?,
            namespace(&o).to_owned(),
            name(&o).to_owned(),
        ))
    });
    Ok(named.collect())
}

async fn mark_one(at: &At<'_>, kind: Kind, here: String, name: String) -> Part {
    let place = Place::new(kind, &here, &name);
    match at.remote.get(place).await? {
        Some(found) if whose(&found, &at.scope.uid) == Whose::Nobodys && !is_deleting(&found) => {
            at.remote.patch(place, &marking(at, &found)).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn read(at: &At<'_>, key: &WorkloadKey) -> Part<Option<(Kind, String, Value)>> {
    let Some(kind) = Kind::workload(&key.kind) else {
        return Ok(None);
    };
    let here = at.namespace(&key.namespace);
    let found = at.remote.get(Place::new(kind, &here, &key.name)).await?;
    Ok(found.map(|object| (kind, here, object)))
}
