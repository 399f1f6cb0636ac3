//! Step `Restore`: volumes and claims on a cluster, from a capture, bound to the replicated images.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use lifeboat_capture::{
    Capture, Collision, Mapping, Marks, VolumeRecord, collides, import_pv, import_pvc,
    volume_differs,
};
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClusterId, Epoch, Outcome};
use serde_json::{Value, json};

use super::At;
use super::capture::archive_trouble;
use super::kinds::Kind;
use super::namespace;
use super::object::{is_deleting, name, namespace, text, uid, version};
use super::parts::{Part, Pending, Trouble, gather, outcome, refuse};
use super::remote::Place;
use crate::resolve::Scope;

/// Makes volumes and claims on the cluster from a capture.
pub(crate) async fn restore(at: &At<'_>, capture: u64, epoch: Epoch) -> Outcome {
    outcome(restore_all(at, capture, epoch).await)
}

async fn restore_all(at: &At<'_>, version: u64, epoch: Epoch) -> Part {
    let capture = capture_of(at, version).await?;
    let mut mapping = mapping(at.scope, at.remote.cluster(), &capture);
    learn(at, &capture, &mut mapping).await?;
    for home in &at.scope.namespaces {
        namespace::ensure(at, &at.namespace(home)).await?;
    }
    let marks = at.marks(epoch);
    let (mapping, marks) = (&mapping, &marks);
    // All are looked at before the first is made: a collision found early leaves nothing behind.
    let parts: Vec<Pending<'_, Pair>> = capture
        .volumes
        .iter()
        .map(|record| {
            (
                record.name().to_string(),
                inspect(at, record, mapping, marks).boxed(),
            )
        })
        .collect();
    let pairs = gather(parts).await?;
    let parts: Vec<Pending<'_>> = pairs
        .iter()
        .map(|pair| (name(&pair.pv).to_owned(), make(at, pair).boxed()))
        .collect();
    gather(parts).await.map(drop)
}

/// The capture of that version; any other is not what was decided on.
pub(crate) async fn capture_of(at: &At<'_>, version: u64) -> Part<Arc<Capture>> {
    match at.executor.captures.read(at.scope, Some(version)).await {
        Ok(Some((_, capture))) => Ok(capture),
        Ok(None) => Err(Trouble::Unknown(format!(
            "the newest complete capture is not version {version} any more"
        ))),
        Err(error) => Err(archive_trouble(at, &error)),
    }
}

/// How names of a capture are spelled on `target`.
pub(crate) fn mapping(scope: &Scope, target: &ClusterId, capture: &Capture) -> Mapping {
    let source = ClusterId::new(capture.source_cluster.as_str());
    let mut out = Mapping::default();
    for home in &scope.namespaces {
        out.namespace.insert(
            scope.namespace_on(&source, home),
            scope.namespace_on(target, home),
        );
    }
    for class in classes(capture) {
        let home = scope
            .home_storage_class(&source, &class)
            .unwrap_or_else(|| class.clone());
        out.storage_class
            .insert(class, scope.storage_class_on(target, &home));
    }
    out
}

/// Every storage class that a capture names.
fn classes(capture: &Capture) -> BTreeSet<String> {
    let of_volumes = capture
        .volumes
        .iter()
        .flat_map(|v| [&v.pv, &v.pvc])
        .filter_map(|o| text(o, "/spec/storageClassName"));
    let templates = capture
        .workloads
        .iter()
        .filter_map(|w| {
            w.object
                .pointer("/spec/volumeClaimTemplates")
                .and_then(Value::as_array)
        })
        .flatten()
        .filter_map(|t| text(t, "/spec/storageClassName"));
    of_volumes.chain(templates).map(str::to_owned).collect()
}

/// Takes from the target's storage classes what belongs to that cluster: Secrets, and the storage cluster's name.
async fn learn(at: &At<'_>, capture: &Capture, mapping: &mut Mapping) -> Part {
    let targets: BTreeSet<String> = classes(capture)
        .iter()
        .map(|c| mapping.storage_class(c).to_owned())
        .collect();
    let parts: Vec<Pending<'_, Option<Value>>> = targets
        .into_iter()
        .map(|class| {
            let key = class.clone();
            (
                key,
                async move {
                    at.remote
                        .get(Place::new(Kind::StorageClass, "", &class))
                        .await
                }
                .boxed(),
            )
        })
        .collect();
    for class in gather(parts).await?.into_iter().flatten() {
        mapping.learn(&class);
    }
    Ok(())
}

/// A volume and its claim: what is wanted, and what is there.
struct Pair {
    pv: Value,
    pvc: Value,
    old_pv: Option<Value>,
    old_pvc: Option<Value>,
}

async fn inspect(
    at: &At<'_>,
    record: &VolumeRecord,
    mapping: &Mapping,
    marks: &Marks,
) -> Part<Pair> {
    let (pv, pvc) = (
        import_pv(record, mapping, marks),
        import_pvc(record, mapping, marks),
    );
    let old_pv = at
        .remote
        .get(Place::new(Kind::Volume, "", name(&pv)))
        .await?;
    let old_pvc = at
        .remote
        .get(Place::new(Kind::Claim, namespace(&pvc), name(&pvc)))
        .await?;
    check(at, old_pv.as_ref())?;
    check(at, old_pvc.as_ref())?;
    if let Some(old) = &old_pv
        && let Some(difference) = volume_differs(old, &pv)
    {
        return refuse(
            Reason::Collision,
            format!(
                "PersistentVolume {} on {} has {} {}, needed is {}",
                name(&pv),
                at.remote.cluster(),
                difference.field,
                difference.existing,
                difference.wanted
            ),
            "It is another volume of the same name. Make sure that its reclaim policy is Retain, then delete it.",
        );
    }
    if let Some(old) = &old_pvc
        && let Some(other) = text(old, "/spec/volumeName").filter(|v| *v != name(&pv))
    {
        return refuse(
            Reason::Collision,
            format!(
                "claim {}/{} on {} is bound to {other}, needed is {}",
                namespace(&pvc),
                name(&pvc),
                at.remote.cluster(),
                name(&pv)
            ),
            "Delete the claim, after making sure that the reclaim policy of its volume is Retain.",
        );
    }
    Ok(Pair {
        pv,
        pvc,
        old_pv,
        old_pvc,
    })
}

/// Refuses what is not ours, and waits for what is going.
fn check(at: &At<'_>, existing: Option<&Value>) -> Part {
    let Some(existing) = existing else {
        return Ok(());
    };
    if let Collision::Foreign { why } = collides(existing, &at.scope.uid) {
        return refuse(
            Reason::Collision,
            format!("on {}: {why}", at.remote.cluster()),
            "Delete it there if nobody needs it, or rename it; nothing of another owner is ever replaced.",
        );
    }
    if is_deleting(existing) {
        let (here, what) = (at.remote.cluster(), name(existing));
        return Err(Trouble::Unknown(format!(
            "{what} on {here} is still being deleted"
        )));
    }
    Ok(())
}

/// The volume first: a claim without it could be given a new, empty one.
async fn make(at: &At<'_>, pair: &Pair) -> Part {
    let volume_at = Place::new(Kind::Volume, "", name(&pair.pv));
    let claim_at = Place::new(Kind::Claim, namespace(&pair.pvc), name(&pair.pvc));
    match &pair.old_pv {
        None => drop(at.remote.apply(volume_at, &pair.pv).await?),
        Some(old) => rebind(at, volume_at, old, pair.old_pvc.as_ref()).await?,
    }
    match &pair.old_pvc {
        None => at.remote.apply(claim_at, &pair.pvc).await.map(drop),
        Some(_) => Ok(()),
    }
}

/// A volume that remembers a claim which is gone never binds again: it forgets that claim's uid.
async fn rebind(at: &At<'_>, place: Place<'_>, pv: &Value, claim: Option<&Value>) -> Part {
    match text(pv, "/spec/claimRef/uid") {
        Some(held) if claim.is_none_or(|c| uid(c) != held) => {
            let body = json!({
                "metadata": { "resourceVersion": version(pv) },
                "spec": { "claimRef": { "uid": null, "resourceVersion": null } },
            });
            at.remote.patch(place, &body).await.map(drop)
        }
        _ => Ok(()),
    }
}
