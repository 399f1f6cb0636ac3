//! Steps `Retain`, `Nudge`, `Unprotect` and `LetGo`: claims and their volumes on the owner.

use std::collections::BTreeMap;

use futures::FutureExt;
use lifeboat_api::names;
use lifeboat_core::{ClaimKey, Outcome};
use serde_json::{Value, json};

use super::At;
use super::kinds::Kind;
use super::mark::{check_free, marking, unmarking};
use super::newer::not_written_since;
use super::object::{Whose, annotation, text, uid, version, whose};
use super::parts::{Part, Pending, Trouble, each};
use super::remote::Place;

/// Sets Retain on the volumes, remembers the earlier policy, and marks volume and claim as ours.
pub(crate) async fn retain(at: &At<'_>, claims: &BTreeMap<ClaimKey, String>) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|(claim, volume)| (claim.to_string(), retain_one(at, claim, volume).boxed()))
        .collect();
    each(parts).await
}

async fn retain_one(at: &At<'_>, claim: &ClaimKey, volume: &str) -> Part {
    let namespace = at.namespace(&claim.namespace);
    let (claim_at, volume_at) = (
        Place::new(Kind::Claim, &namespace, &claim.name),
        Place::new(Kind::Volume, "", volume),
    );
    let (Some(pvc), Some(pv)) = (
        at.remote.get(claim_at).await?,
        at.remote.get(volume_at).await?,
    ) else {
        return Err(Trouble::Unknown(format!(
            "claim {claim} or its volume {volume} is gone from {}",
            at.remote.cluster()
        )));
    };
    if text(&pvc, "/spec/volumeName") != Some(volume) {
        return Err(Trouble::Unknown(format!(
            "claim {claim} has another volume than {volume} by now"
        )));
    }
    // The volume first: from then on nothing that happens to the claim destroys the image.
    check_free(at, &pv)?;
    check_free(at, &pvc)?;
    set_retain(at, volume_at, &pv).await?;
    if whose(&pvc, &at.scope.uid) == Whose::Ours {
        return Ok(());
    }
    at.remote
        .patch(claim_at, &marking(at, &pvc))
        .await
        .map(drop)
}

/// Sets Retain and our mark in one write, if the volume is still as it was read. Gives the volume as it is then.
pub(crate) async fn set_retain(at: &At<'_>, place: Place<'_>, pv: &Value) -> Part<Value> {
    let policy = text(pv, "/spec/persistentVolumeReclaimPolicy")
        .unwrap_or("Retain")
        .to_owned();
    let remembered = annotation(pv, names::RECLAIM_POLICY).is_some();
    if policy == "Retain" && remembered && whose(pv, &at.scope.uid) == Whose::Ours {
        return Ok(pv.clone());
    }
    let mut body = marking(at, pv);
    lifeboat_kit::apply::merge(
        &mut body,
        json!({ "spec": { "persistentVolumeReclaimPolicy": "Retain" } }),
    );
    if !remembered {
        lifeboat_kit::apply::merge(
            &mut body,
            json!({ "metadata": { "annotations": { names::RECLAIM_POLICY: policy } } }),
        );
    }
    at.remote.patch(place, &body).await
}

/// Touches claims, which wakes the volume binder.
pub(crate) async fn nudge(at: &At<'_>, claims: &[ClaimKey]) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|claim| (claim.to_string(), nudge_one(at, claim).boxed()))
        .collect();
    each(parts).await
}

async fn nudge_one(at: &At<'_>, claim: &ClaimKey) -> Part {
    let namespace = at.namespace(&claim.namespace);
    let now = at.executor.clock.now().to_string();
    let body = json!({ "metadata": { "annotations": { names::NUDGE: now } } });
    at.remote
        .patch(Place::new(Kind::Claim, &namespace, &claim.name), &body)
        .await
        .map(drop)
}

/// Ends protection: replication off, reclaim policies given back, marks removed. *If interrupted* between the word and the
/// deletion: the object is marked and still there, and is deleted the next time.
pub(crate) async fn unprotect(at: &At<'_>, claims: &BTreeMap<ClaimKey, Option<String>>) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|(claim, volume)| {
            (
                claim.to_string(),
                unprotect_one(at, claim, volume.as_deref()).boxed(),
            )
        })
        .collect();
    each(parts).await
}

async fn unprotect_one(at: &At<'_>, claim: &ClaimKey, volume: Option<&str>) -> Part {
    let namespace = at.namespace(&claim.namespace);
    let vr_at = Place::new(Kind::Replication, &namespace, &claim.name);
    if let Some(vr) = at.remote.get(vr_at).await?
        && whose(&vr, &at.scope.uid) == Whose::Ours
    {
        not_written_since(at, &vr)?;
        // Acknowledged before the deletion is sent: without this word the agent lets go and leaves replication on.
        if annotation(&vr, names::DISABLE) != Some("true") {
            let body = json!({ "metadata": { "uid": uid(&vr), "annotations": { names::DISABLE: "true" } } });
            at.remote.patch(vr_at, &body).await?;
        }
        at.remote.delete(vr_at, &vr).await?;
    }
    let claim_at = Place::new(Kind::Claim, &namespace, &claim.name);
    let pvc = at.remote.get(claim_at).await?;
    let living = pvc
        .as_ref()
        .filter(|c| text(c, "/metadata/deletionTimestamp").is_none());
    let bound = living.and_then(|c| text(c, "/spec/volumeName"));
    if let Some(volume) = volume.or(bound) {
        let policy = if bound == Some(volume) {
            Policy::GivenBack
        } else {
            Policy::Retain
        };
        give_back(at, volume, policy).await?;
    }
    match pvc {
        Some(pvc) if whose(&pvc, &at.scope.uid) == Whose::Ours => {
            at.remote.patch(claim_at, &unmarking(&[])).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Takes our marks off volumes that no claim has any more; they keep the policy Retain.
pub(crate) async fn let_go(at: &At<'_>, volumes: &[String]) -> Outcome {
    let parts: Vec<Pending<'_>> = volumes
        .iter()
        .map(|volume| {
            (
                volume.clone(),
                give_back(at, volume, Policy::Retain).boxed(),
            )
        })
        .collect();
    each(parts).await
}

/// What becomes of a volume's reclaim policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// It is what it was before us.
    GivenBack,
    /// No claim has the volume: with the policy Delete its data would be gone at once, and it may be the only copy.
    Retain,
}

/// Takes our marks off a volume and settles its reclaim policy, in one write.
async fn give_back(at: &At<'_>, volume: &str, policy: Policy) -> Part {
    let place = Place::new(Kind::Volume, "", volume);
    let Some(pv) = at.remote.get(place).await? else {
        return Ok(());
    };
    if whose(&pv, &at.scope.uid) != Whose::Ours {
        return Ok(());
    }
    let mut body = unmarking(&[names::RECLAIM_POLICY]);
    lifeboat_kit::apply::merge(
        &mut body,
        json!({ "metadata": { "resourceVersion": version(&pv) } }),
    );
    if let Some(before) = annotation(&pv, names::RECLAIM_POLICY)
        && policy == Policy::GivenBack
    {
        lifeboat_kit::apply::merge(
            &mut body,
            json!({ "spec": { "persistentVolumeReclaimPolicy": before } }),
        );
    }
    at.remote.patch(place, &body).await.map(drop)
}
