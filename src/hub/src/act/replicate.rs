//! Steps `Replicate` and `Release`: VolumeReplications.

use std::collections::BTreeMap;

use futures::FutureExt;
use jiff::Timestamp;
use lifeboat_api::names;
use lifeboat_core::observed::Role;
use lifeboat_core::step::ResyncOrder;
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClaimKey, Epoch, Outcome};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::newer::not_written_since;
use super::object::{Whose, annotation, is_deleting, uid, whose};
use super::parts::{Part, Pending, Trouble, each, refuse};
use super::remote::Place;
use super::{At, stale};

/// What VolumeReplications are to ask for.
pub(crate) struct Asked {
    pub(crate) role: Role,
    pub(crate) epoch: Epoch,
    /// The order to throw the copy away, if it is one.
    pub(crate) order: Option<Order>,
}

/// The order to throw a copy away.
pub(crate) struct Order {
    /// How long it holds.
    pub(crate) until: Timestamp,
    /// Which of its epoch it is.
    pub(crate) number: u32,
    /// How many seconds an independent copy of what is thrown away is to be kept.
    pub(crate) salvage: Option<i64>,
}

/// Has copies thrown away and taken anew.
pub(crate) async fn resync(
    at: &At<'_>,
    claims: &BTreeMap<ClaimKey, ResyncOrder>,
    epoch: Epoch,
    (until, salvage): (Timestamp, Option<i64>),
) -> Outcome {
    let one = async |claim, order: &ResyncOrder| {
        let asked = Asked {
            role: Role::Resync,
            epoch,
            order: Some(Order {
                until,
                number: order.number,
                salvage,
            }),
        };
        replicate_one(at, claim, &order.class, &asked).await
    };
    let parts = claims.iter().map(|(claim, order)| {
        let part: Pending<'_> = (claim.to_string(), Box::pin(one(claim, order)));
        part
    });
    each(parts.collect()).await
}

/// Writes a VolumeReplication for each claim.
pub(crate) async fn replicate(
    at: &At<'_>,
    claims: &BTreeMap<ClaimKey, String>,
    asked: &Asked,
) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|(claim, class)| {
            (
                claim.to_string(),
                replicate_one(at, claim, class, asked).boxed(),
            )
        })
        .collect();
    each(parts).await
}

async fn replicate_one(at: &At<'_>, claim: &ClaimKey, class: &str, asked: &Asked) -> Part {
    let (role, epoch) = (asked.role, asked.epoch);
    let namespace = at.namespace(&claim.namespace);
    let place = Place::new(Kind::Replication, &namespace, &claim.name);
    let existing = at.remote.get(place).await?;
    match &existing {
        Some(vr) => {
            check_existing(at, claim, vr, epoch)?;
            take_back_word(at, place, vr).await?;
        }
        None => check_claim(at, claim, &namespace).await?,
    }
    let mut body = json!({
        "apiVersion": "replication.storage.openshift.io/v1alpha1",
        "kind": "VolumeReplication",
        "metadata": {
            "name": claim.name,
            "namespace": namespace,
            "labels": { names::PLACEMENT_UID: at.scope.uid },
            "annotations": {
                names::PLACEMENT: at.scope.key.to_string(),
                names::EPOCH: epoch.to_string(),
                names::OWNERSHIP: at.scope.ownership,
            },
        },
        "spec": {
            "volumeReplicationClass": class,
            "replicationState": word(role),
            "dataSource": { "apiGroup": "", "kind": "PersistentVolumeClaim", "name": claim.name },
            "autoResync": false,
        },
    });
    if let Some(asked) = &asked.order {
        let mut order = json!({
            names::RESYNC_UNTIL: asked.until.to_string(),
            names::RESYNC_REQUEST: asked.number.to_string(),
        });
        if let Some(seconds) = asked.salvage {
            let salvage = json!({ names::SALVAGE: seconds.to_string() });
            lifeboat_kit::apply::merge(&mut order, salvage);
        }
        lifeboat_kit::apply::merge(&mut body, json!({ "metadata": { "annotations": order } }));
    }
    if let Some(vr) = &existing {
        keep_identity(&mut body, vr);
    }
    at.remote.apply(place, &body).await.map(drop)
}

/// Takes the word to switch replication off away, which may be left of a protection that was to end. It was written by a
/// patch, so an apply that leaves it out would not remove it.
async fn take_back_word(at: &At<'_>, place: Place<'_>, vr: &Value) -> Part {
    if annotation(vr, names::DISABLE).is_none() {
        return Ok(());
    }
    let body = json!({ "metadata": { "uid": uid(vr), "annotations": { names::DISABLE: null } } });
    at.remote.patch(place, &body).await.map(drop)
}

/// Writes to that very object only, and leaves the immutable data source as it was written.
fn keep_identity(body: &mut Value, vr: &Value) {
    lifeboat_kit::apply::merge(body, json!({ "metadata": { "uid": uid(vr) } }));
    if let (Some(source), Some(spec)) = (
        vr.pointer("/spec/dataSource"),
        body.pointer_mut("/spec").and_then(Value::as_object_mut),
    ) {
        spec.insert("dataSource".into(), source.clone());
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Secondary => "secondary",
        Role::Resync => "resync",
    }
}

fn check_existing(at: &At<'_>, claim: &ClaimKey, vr: &Value, epoch: Epoch) -> Part {
    let cluster = at.remote.cluster();
    match whose(vr, &at.scope.uid) {
        Whose::Ours => {}
        Whose::Nobodys => {
            return refuse(
                Reason::Collision,
                format!(
                    "VolumeReplication {claim} exists on {cluster} and was not made by this placement"
                ),
                "Delete it if nobody needs it, or take the claim out of the placement's selector.",
            );
        }
        Whose::Other(placement) => {
            return refuse(
                Reason::ClaimedByOther,
                format!(
                    "VolumeReplication {claim} on {cluster} belongs to the placement {placement}"
                ),
                super::mark::remedy(at, &placement),
            );
        }
    }
    if is_deleting(vr) {
        return Err(Trouble::Unknown(format!(
            "VolumeReplication {claim} on {cluster} is still being deleted"
        )));
    }
    let written = annotation(vr, names::EPOCH).and_then(|e| e.parse::<i64>().ok());
    match written {
        Some(newer) if newer > epoch.0 => {
            let seen = format!(
                "VolumeReplication {claim} was written at epoch {newer}, this is epoch {epoch}"
            );
            Err(Trouble::Refused(stale(
                cluster,
                &at.scope.key.to_string(),
                &seen,
            )))
        }
        _ => Ok(()),
    }
}

/// A claim that another VolumeReplication owns is not ours to replicate.
async fn check_claim(at: &At<'_>, claim: &ClaimKey, namespace: &str) -> Part {
    let Some(pvc) = at
        .remote
        .get(Place::new(Kind::Claim, namespace, &claim.name))
        .await?
    else {
        return Err(Trouble::Unknown(format!(
            "claim {claim} does not exist on {}",
            at.remote.cluster()
        )));
    };
    super::mark::check_free(at, &pvc)?;
    let owner = [
        (names::VR_OWNER, "VolumeReplication"),
        (names::VGR_OWNER, "VolumeGroupReplication"),
    ]
    .into_iter()
    .find_map(|(key, kind)| {
        annotation(&pvc, key)
            .filter(|n| !n.is_empty())
            .map(|n| (kind, n))
    });
    match owner {
        Some((kind, owner)) if kind != "VolumeReplication" || owner != claim.name => refuse(
            Reason::Collision,
            format!(
                "claim {claim} on {} is replicated by {kind} {owner} already",
                at.remote.cluster()
            ),
            format!("Delete that {kind}, or take the claim out of the placement's selector."),
        ),
        _ => Ok(()),
    }
}

/// Deletes VolumeReplications without switching replication off.
pub(crate) async fn release(at: &At<'_>, claims: &[ClaimKey]) -> Outcome {
    let parts: Vec<Pending<'_>> = claims
        .iter()
        .map(|claim| (claim.to_string(), release_one(at, claim).boxed()))
        .collect();
    each(parts).await
}

async fn release_one(at: &At<'_>, claim: &ClaimKey) -> Part {
    let namespace = at.namespace(&claim.namespace);
    let place = Place::new(Kind::Replication, &namespace, &claim.name);
    let Some(vr) = at.remote.get(place).await? else {
        return Ok(());
    };
    if whose(&vr, &at.scope.uid) != Whose::Ours {
        return refuse(
            Reason::Collision,
            format!(
                "VolumeReplication {claim} on {} was not made by this placement",
                at.remote.cluster()
            ),
            "Delete it by hand if nobody needs it.",
        );
    }
    not_written_since(at, &vr)?;
    // To let go must never switch off, whatever was once meant for it.
    if !is_deleting(&vr) {
        take_back_word(at, place, &vr).await?;
    }
    at.remote.delete(place, &vr).await
}
