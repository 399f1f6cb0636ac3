//! Step `RemoveClaims`: claims and volumes go, images stay.

use std::collections::BTreeMap;

use futures::FutureExt;
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClaimKey, Outcome};
use serde_json::Value;

use super::At;
use super::kinds::Kind;
use super::object::{Whose, is_deleting, name, text, whose};
use super::parts::{Part, Pending, Trouble, each, refuse};
use super::remote::Place;
use super::volumes::set_retain;

/// How often the deletion of a volume is tried on a newer version of it.
const TRIES: usize = 4;

/// Deletes claims and then their volumes, whose policy is Retain.
pub(crate) async fn remove_claims(
    at: &At<'_>,
    claims: &BTreeMap<ClaimKey, Option<String>>,
) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|(claim, volume)| {
            (
                claim.to_string(),
                remove_one(at, claim, volume.as_deref()).boxed(),
            )
        })
        .collect();
    each(parts).await
}

async fn remove_one(at: &At<'_>, claim: &ClaimKey, volume: Option<&str>) -> Part {
    let namespace = at.namespace(&claim.namespace);
    let pvc_at = Place::new(Kind::Claim, &namespace, &claim.name);
    let pvc = at.remote.get(pvc_at).await?;
    if let Some(pvc) = &pvc {
        must_be_ours(at, pvc)?;
    }
    let bound = pvc.as_ref().and_then(|c| text(c, "/spec/volumeName"));
    let volume = bound.or(volume).map(str::to_owned);
    let pv = match &volume {
        Some(volume) => retained(at, volume, &namespace, claim).await?,
        None => None,
    };
    if let Some(pvc) = pvc.filter(|c| !is_deleting(c)) {
        at.remote.delete(pvc_at, &pvc).await?;
    }
    match (volume, pv) {
        (Some(volume), Some(pv)) => remove_volume(at, &volume, &namespace, claim, pv).await,
        _ => Ok(()),
    }
}

fn must_be_ours(at: &At<'_>, object: &Value) -> Part {
    let said = |why: &str| {
        format!(
            "{} {} on {} {why}",
            text(object, "/kind").unwrap_or("object"),
            name(object),
            at.remote.cluster()
        )
    };
    match whose(object, &at.scope.uid) {
        Whose::Ours => Ok(()),
        Whose::Nobodys => refuse(
            Reason::Collision,
            said("does not carry the mark of this placement, so it is not deleted"),
            "Delete it by hand if nobody needs it, after making sure that the reclaim policy of the volume is Retain.",
        ),
        Whose::Other(placement) => refuse(
            Reason::ClaimedByOther,
            said(&format!("belongs to the placement {placement}")),
            "Two placements cannot protect one volume: change the selector of one of them.",
        ),
    }
}

/// The volume as it is now, with the policy Retain; none if it is gone or goes.
async fn retained(
    at: &At<'_>,
    volume: &str,
    namespace: &str,
    claim: &ClaimKey,
) -> Part<Option<Value>> {
    let place = Place::new(Kind::Volume, "", volume);
    let Some(pv) = at.remote.get(place).await? else {
        return Ok(None);
    };
    must_be_ours(at, &pv)?;
    let held = (
        text(&pv, "/spec/claimRef/namespace"),
        text(&pv, "/spec/claimRef/name"),
    );
    if held.1.is_some() && held != (Some(namespace), Some(claim.name.as_str())) {
        return refuse(
            Reason::Collision,
            format!(
                "PersistentVolume {volume} on {} is held by another claim than {claim}, so it is not deleted",
                at.remote.cluster()
            ),
            "Find out which application uses it.",
        );
    }
    let pv = set_retain(at, place, &pv).await?;
    if text(&pv, "/spec/persistentVolumeReclaimPolicy") != Some("Retain") {
        return Err(Trouble::Unknown(format!(
            "PersistentVolume {volume} on {} is not Retain yet",
            at.remote.cluster()
        )));
    }
    Ok(Some(pv))
}

/// Deletes the volume at the version at which it was seen to be Retain; the release of the claim makes newer versions.
async fn remove_volume(
    at: &At<'_>,
    volume: &str,
    namespace: &str,
    claim: &ClaimKey,
    pv: Value,
) -> Part {
    let place = Place::new(Kind::Volume, "", volume);
    let mut current = Some(pv);
    let mut last = Ok(());
    for _ in 0..TRIES {
        let Some(pv) = current.filter(|pv| !is_deleting(pv)) else {
            return Ok(());
        };
        last = at.remote.delete_unchanged(place, &pv).await;
        match &last {
            Err(Trouble::Unknown(_)) => current = retained(at, volume, namespace, claim).await?,
            Ok(()) | Err(Trouble::Refused(_)) => return last,
        }
    }
    last
}
