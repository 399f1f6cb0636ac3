//! Step `Capture`: what the application is, read live from its owner and stored.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use lifeboat_api::placement::WorkloadKind;
use lifeboat_capture::{
    Capture, ClaimName, VolumeRecord, export_supporting, export_volume, export_workload,
    references, service_selects,
};
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClaimKey, Epoch, Outcome};
use serde_json::Value;

use super::kinds::Kind;
use super::object::{Whose, is_deleting, name, namespace, text, whose};
use super::parts::{Part, Pending, Trouble, gather, outcome, refuse};
use super::remote::Place;
use super::{At, stale};
use crate::archive::ArchiveError;

/// Reads volumes, claims, workloads and what they name, and stores a complete capture.
pub(crate) async fn capture(at: &At<'_>, epoch: Epoch, claims: &[ClaimKey]) -> Outcome {
    outcome(take(at, epoch, claims).await)
}

async fn take(at: &At<'_>, epoch: Epoch, claims: &[ClaimKey]) -> Part {
    let now = at.executor.clock.now();
    // Before the first read: whatever changes from here on makes the capture outdated, not the other way round.
    let seen = at
        .executor
        .captures
        .fingerprint(at.scope, at.remote.cluster());
    let mut capture = Capture::new(&at.marks(epoch), at.remote.cluster().as_str(), now);
    let parts: Vec<Pending<'_, VolumeRecord>> = claims
        .iter()
        .map(|claim| (claim.to_string(), volume(at, claim).boxed()))
        .collect();
    capture.volumes = gather(parts).await?;
    let (workloads, services) = workloads(at).await?;
    capture.supporting = supporting(at, &workloads, services).await?;
    for object in &workloads {
        match export_workload(object) {
            Ok(record) => capture.workloads.push(record),
            Err(error) => {
                return refuse(
                    Reason::StepFailed,
                    error.to_string(),
                    "Take it out of the placement's workload selector.",
                );
            }
        }
    }
    let expected: BTreeSet<ClaimName> = claims
        .iter()
        .map(|c| ClaimName {
            namespace: at.namespace(&c.namespace),
            name: c.name.clone(),
        })
        .collect();
    if let Some(missing) = capture.missing(&expected).into_iter().next() {
        return Err(Trouble::Unknown(format!(
            "claim {missing} is missing from the capture"
        )));
    }
    match at.executor.captures.put(at.scope, capture, seen).await {
        Ok(_) => Ok(()),
        Err(error) => Err(archive_trouble(at, &error)),
    }
}

/// What a refusal of the archive means for a step.
pub(crate) fn archive_trouble(at: &At<'_>, error: &ArchiveError) -> Trouble {
    use lifeboat_kit::error::CallRetry;
    let said = lifeboat_kit::error::full(error);
    if matches!(error, ArchiveError::StaleEpoch { .. }) {
        return Trouble::Refused(stale(at.remote.cluster(), &at.scope.key.to_string(), &said));
    }
    match error.retry() {
        CallRetry::Soon | CallRetry::AfterRead => Trouble::Unknown(said),
        CallRetry::Gone | CallRetry::Denied | CallRetry::Never => {
            let blocker = lifeboat_core::Blocker::new(
                Reason::ArchiveUnreadable,
                said,
                "Look at the archive's Secrets on the hub, labelled lifeboat.dev/capture, and at the hub's right to read and write them.",
            );
            Trouble::Refused(blocker)
        }
    }
}

async fn volume(at: &At<'_>, claim: &ClaimKey) -> Part<VolumeRecord> {
    let namespace = at.namespace(&claim.namespace);
    let gone = |what: &str| {
        Trouble::Unknown(format!(
            "{what} of claim {claim} is gone from {}",
            at.remote.cluster()
        ))
    };
    let pvc = at
        .remote
        .get(Place::new(Kind::Claim, &namespace, &claim.name))
        .await?
        .ok_or_else(|| gone("the object"))?;
    let Some(volume) = text(&pvc, "/spec/volumeName") else {
        return refuse(
            Reason::VolumeUnprotectable,
            format!("claim {claim} on {} has no volume yet", at.remote.cluster()),
            "Wait until it is bound; a claim that waits for its first consumer needs a pod.",
        );
    };
    let pv = at
        .remote
        .get(Place::new(Kind::Volume, "", volume))
        .await?
        .ok_or_else(|| gone("the volume"))?;
    let vr = at
        .remote
        .get(Place::new(Kind::Replication, &namespace, &claim.name))
        .await?;
    match export_volume(&pvc, &pv) {
        Ok(mut record) => {
            record.destination_handle = vr
                .filter(|vr| whose(vr, &at.scope.uid) == Whose::Ours)
                .and_then(|vr| text(&vr, "/status/destinationVolumeID").map(str::to_owned));
            Ok(record)
        }
        Err(error) => refuse(
            Reason::VolumeUnprotectable,
            error.to_string(),
            "Take it out of the placement's selector, or give it a CSI volume.",
        ),
    }
}

/// The selected workloads, and every Service of their namespaces.
async fn workloads(at: &At<'_>) -> Part<(Vec<Value>, Vec<Value>)> {
    let Some((selector, selected)) = &at.scope.workload else {
        return Ok((Vec::new(), Vec::new()));
    };
    let selector = selector.to_string();
    let kinds = selected.iter().map(|kind| match kind {
        WorkloadKind::Deployment => Kind::Deployment,
        WorkloadKind::StatefulSet => Kind::StatefulSet,
    });
    let kinds: Vec<Kind> = kinds.chain([Kind::Service]).collect();
    let mut parts: Vec<Pending<'_, Vec<Value>>> = Vec::new();
    for home in &at.scope.namespaces {
        let namespace = at.namespace(home);
        for kind in &kinds {
            let (kind, namespace) = (*kind, namespace.clone());
            let selector = if kind == Kind::Service {
                String::new()
            } else {
                selector.clone()
            };
            let read = async move { at.remote.list(kind, &namespace, &selector).await };
            parts.push((format!("{home} {}", kind.as_str()), read.boxed()));
        }
    }
    let found = gather(parts)
        .await?
        .into_iter()
        .flatten()
        .filter(|o| !is_deleting(o));
    Ok(found.partition(|o| text(o, "/kind") != Some(Kind::Service.as_str())))
}

/// Everything that the workloads name, and the Services that lead to them.
async fn supporting(at: &At<'_>, workloads: &[Value], services: Vec<Value>) -> Part<Vec<Value>> {
    let mut wanted: BTreeSet<(Kind, String, String)> = BTreeSet::new();
    for workload in workloads {
        wanted.extend(named(workload));
    }
    let mut found = read(
        at,
        wanted
            .iter()
            .filter(|w| w.0 != Kind::Service)
            .cloned()
            .collect(),
    )
    .await?;
    // ServiceAccounts name the Secrets that images are pulled with.
    let accounts = found
        .values()
        .filter(|o| text(o, "/kind") == Some(Kind::ServiceAccount.as_str()));
    let more: BTreeSet<_> = accounts
        .flat_map(named)
        .filter(|w| w.0 != Kind::Service && !wanted.contains(w))
        .collect();
    let more = read(at, more.into_iter().collect()).await?;
    found.extend(more);
    for service in services {
        let key = (
            Kind::Service,
            namespace(&service).to_owned(),
            name(&service).to_owned(),
        );
        if wanted.contains(&key) || workloads.iter().any(|w| service_selects(&service, w)) {
            found.insert(key, service);
        }
    }
    // What cannot be carried over (a token of this cluster, its root certificate) exists on every cluster in its own form.
    Ok(found
        .values()
        .filter_map(|o| export_supporting(o).ok())
        .collect())
}

fn named(object: &Value) -> Vec<(Kind, String, String)> {
    let here = namespace(object).to_owned();
    references(object)
        .into_iter()
        .filter_map(|r| Some((Kind::referenced(r.kind)?, here.clone(), r.name)))
        .collect()
}

async fn read(
    at: &At<'_>,
    wanted: Vec<(Kind, String, String)>,
) -> Part<BTreeMap<(Kind, String, String), Value>> {
    type Read = Option<((Kind, String, String), Value)>;
    let mut parts: Vec<Pending<'_, Read>> = Vec::new();
    for key in wanted {
        let label = format!("{} {}/{}", key.0.as_str(), key.1, key.2);
        let read = async move {
            // An object that is named but missing may be optional, or made by the workload itself.
            let found = at.remote.get(Place::new(key.0, &key.1, &key.2)).await?;
            Ok(found.map(|mut object| {
                let resource = key.0.resource();
                lifeboat_kit::apply::merge(&mut object, serde_json::json!({ "apiVersion": resource.api_version, "kind": resource.kind }));
                (key, object)
            }))
        };
        parts.push((label, read.boxed()));
    }
    Ok(gather(parts).await?.into_iter().flatten().collect())
}
