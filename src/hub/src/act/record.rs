//! Steps `Record`, `Forget` and `Finish`: who owns the placement, on every cluster.

use futures::FutureExt;
use kube::Api;
use lifeboat_api::{DRPlacement, names};
use lifeboat_core::step::Force;
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, ClusterId, Epoch, Outcome};
use lifeboat_kit::{deadline, patch_metadata};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::mark::unmarking;
use super::namespace;
use super::object::{Whose, is_deleting, name, text, whose};
use super::parts::{Part, Pending, Trouble, each, gather, outcome, trouble};
use super::remote::Place;
use super::{At, Executor, stale};
use crate::resolve::Scope;

/// Writes DROwnership into every protected namespace of the cluster.
pub(crate) async fn record(
    at: &At<'_>,
    owner: &ClusterId,
    epoch: Epoch,
    force: Force,
    served: Option<&str>,
) -> Outcome {
    let cluster = at.remote.cluster();
    let Some(cluster_uid) = at.remote.uid() else {
        return Outcome::Unknown {
            why: format!("the uid of {cluster} is not known"),
        };
    };
    let mut spec = json!({
        "placementUID": at.scope.uid,
        "placement": at.scope.key.to_string(),
        "cluster": cluster.as_str(),
        "clusterUID": cluster_uid,
        "owner": owner.as_str(),
        "epoch": epoch.0,
    });
    if let Some(fields) = spec.as_object_mut() {
        // Left out when denied: an apply takes back what it does not name, so a grant never outlives its epoch.
        match force {
            Force::Granted => drop(fields.insert("forceEpoch".into(), json!(epoch.0))),
            Force::Denied => {}
        }
        if let Some(served) = served {
            fields.insert("served".into(), json!(served));
        }
    }
    let spec = &spec;
    let parts: Vec<Pending<'_>> = at
        .scope
        .namespaces
        .iter()
        .map(|home| {
            (
                home.clone(),
                record_in(at, at.namespace(home), spec).boxed(),
            )
        })
        .collect();
    each(parts).await
}

async fn record_in(at: &At<'_>, namespace: String, spec: &Value) -> Part {
    namespace::ensure(at, &namespace).await?;
    let name = at.scope.ownership.as_str();
    let body = json!({
        "apiVersion": "lifeboat.dev/v1alpha1",
        "kind": "DROwnership",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { names::PLACEMENT_UID: at.scope.uid },
            "annotations": { names::PLACEMENT: at.scope.key.to_string() },
        },
        "spec": spec,
    });
    let place = Place::new(Kind::Ownership, &namespace, name);
    match at.remote.try_apply(place, &body).await {
        Ok(_) => Ok(()),
        // The rules of the kind: the epoch went down, or the owner changed without a higher one.
        Err(error) if error.code() == Some(422) => Err(Trouble::Refused(stale(
            at.remote.cluster(),
            &at.scope.key.to_string(),
            &error.full(),
        ))),
        Err(error) => Err(trouble(at.remote.cluster(), &error)),
    }
}

/// Deletes DROwnership, and takes our mark off whatever else carries it: no later placement may take it for a foreigner's.
pub(crate) async fn forget(at: &At<'_>) -> Outcome {
    match unmark(at).await {
        Ok(()) => {}
        trouble @ Err(_) => return outcome(trouble),
    }
    let parts = at
        .scope
        .namespaces
        .iter()
        .map(|home| (home.clone(), forget_in(at, at.namespace(home)).boxed()))
        .collect();
    each(parts).await
}

/// Workloads and Services are looked up by mark; the rest by the capture, so that nobody needs the right to list Secrets.
async fn unmark(at: &At<'_>) -> Part {
    let mut parts: Vec<Pending<'_>> = Vec::new();
    for home in &at.scope.namespaces {
        let namespace = at.namespace(home);
        for kind in Kind::WORKLOADS.into_iter().chain([Kind::Service]) {
            parts.push((
                format!("{home} {}", kind.as_str()),
                unmark_all(at, kind, namespace.clone()).boxed(),
            ));
        }
    }
    gather(parts).await?;
    let mut parts: Vec<Pending<'_>> = Vec::new();
    for (kind, namespace, name) in super::workloads::captured_supporting(at).await? {
        if kind != Kind::Service {
            parts.push((
                format!("{} {namespace}/{name}", kind.as_str()),
                unmark_one(at, kind, namespace, name).boxed(),
            ));
        }
    }
    gather(parts).await.map(drop)
}

async fn unmark_one(at: &At<'_>, kind: Kind, namespace: String, name: String) -> Part {
    let place = Place::new(kind, &namespace, &name);
    match at.remote.get(place).await? {
        Some(found) if whose(&found, &at.scope.uid) == Whose::Ours && !is_deleting(&found) => {
            at.remote.patch(place, &unmarking(&[])).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn forget_in(at: &At<'_>, namespace: String) -> Part {
    let place = Place::new(Kind::Ownership, &namespace, &at.scope.ownership);
    match at.remote.get(place).await? {
        None => Ok(()),
        Some(found) => match text(&found, "/spec/placementUID") {
            Some(uid) if uid != at.scope.uid => Ok(()),
            _ => at.remote.delete(place, &found).await,
        },
    }
}

async fn unmark_all(at: &At<'_>, kind: Kind, namespace: String) -> Part {
    let selector = format!("{}={}", names::PLACEMENT_UID, at.scope.uid);
    for object in at.remote.list(kind, &namespace, &selector).await? {
        if whose(&object, &at.scope.uid) != Whose::Ours || is_deleting(&object) {
            continue;
        }
        at.remote
            .patch(Place::new(kind, &namespace, name(&object)), &unmarking(&[]))
            .await?;
    }
    Ok(())
}

/// Deletes the captures, then lets the DRPlacement go.
/// *If interrupted*: the finalizer is still there, and the captures are deleted again.
pub(crate) async fn finish(executor: &Executor, scope: &Scope) -> Outcome {
    if let Err(error) = executor.captures.forget(&scope.uid).await {
        return Outcome::Unknown {
            why: lifeboat_kit::error::full(&error),
        };
    }
    outcome(let_go(executor, scope).await)
}

async fn let_go(executor: &Executor, scope: &Scope) -> Part {
    let hub = ClusterId::new("the hub");
    let api: Api<DRPlacement> = Api::namespaced(executor.hub.clone(), &scope.key.namespace);
    let name = scope.key.name.as_str();
    let found = deadline(
        format!("get DRPlacement {name}"),
        executor.deadline,
        api.get_opt(name),
    )
    .await
    .map_err(|e| trouble(&hub, &e))?;
    let Some(placement) =
        found.filter(|p| p.metadata.uid.as_deref() == Some(scope.own_uid.as_str()))
    else {
        return Ok(());
    };
    let held = placement.metadata.finalizers.unwrap_or_default();
    if !held.iter().any(|f| f == names::FINALIZER) {
        return Ok(());
    }
    if placement.metadata.deletion_timestamp.is_none() {
        let blocker = Blocker::new(
            Reason::StepFailed,
            "the DRPlacement is not being deleted",
            "Nothing needs to be done.",
        );
        return Err(Trouble::Refused(blocker));
    }
    let left: Vec<String> = held.into_iter().filter(|f| f != names::FINALIZER).collect();
    let metadata =
        json!({ "finalizers": left, "resourceVersion": placement.metadata.resource_version });
    match patch_metadata(&api, name, names::HUB_MANAGER, metadata).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(trouble(&hub, &error)),
    }
}
