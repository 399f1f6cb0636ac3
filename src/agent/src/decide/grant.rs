//! What the hub's ownership record allows. Pure.

use std::cmp::Ordering;

use jiff::Timestamp;
use lifeboat_api::names;
use lifeboat_api::replication::ReplicationState;

use super::{Decision, Refusal};
use crate::view::{Grant, GrantFacts, HubRule, Mark, Rule, VolumeView};

/// Whether the hub's record allows what is asked; the epoch is stored before it is acted on.
pub(super) fn granted(v: &VolumeView, now: Timestamp) -> Result<Option<Decision>, Refusal> {
    let Rule::Hub(hub) = &v.rule else {
        return Ok(None);
    };
    let Some(epoch) = hub.epoch else {
        return Err(refused(
            "StaleEpoch",
            "its annotation lifeboat.dev/epoch is not a number; the hub must write it anew",
        ));
    };
    let grant = match &hub.grant {
        Grant::Unread => return Ok(Some(Decision::Leave)),
        // To give up a role needs no grant.
        Grant::Missing { .. } if v.wanted == ReplicationState::Secondary => return Ok(None),
        Grant::Missing { name } => {
            let text = format!(
                "epoch {epoch} is not granted: there is no DROwnership {name:?} in this namespace; the hub writes it before it asks"
            );
            return Err(refused("NoGrant", text));
        }
        Grant::Foreign { name, why } => {
            let text = format!("DROwnership {name:?} grants nothing here: {why}");
            return Err(refused("ForeignGrant", text));
        }
        Grant::Present(grant) => grant,
    };
    match v.wanted {
        ReplicationState::Primary => may_own(epoch, grant)?,
        ReplicationState::Secondary => may_demote(epoch, grant)?,
        ReplicationState::Resync => {
            may_resync(epoch, grant)?;
            if hub.resync_issued < Some((epoch, hub.resync_number)) {
                still_ordered(hub, now)?;
            }
        }
    }
    Ok((grant.stored == Mark::Absent).then_some(Decision::Accept))
}

fn may_own(epoch: i64, grant: &GrantFacts) -> Result<(), Refusal> {
    let known = grant.observed.unwrap_or(grant.epoch);
    if grant.epoch < known {
        return Err(refused("StaleEpoch", went_down(grant, known)));
    }
    if grant.owner != grant.cluster {
        let text = format!(
            "{} owns it since epoch {}, not {}; the hub must ask for secondary here",
            grant.owner, grant.epoch, grant.cluster
        );
        return Err(refused(
            if epoch < grant.epoch {
                "StaleEpoch"
            } else {
                "NoGrant"
            },
            text,
        ));
    }
    match epoch.cmp(&grant.epoch) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(refused("StaleEpoch", stale(epoch, grant))),
        Ordering::Greater => Err(refused(
            "NoGrant",
            format!(
                "epoch {epoch} is not granted yet: {} grants epoch {}; waiting for the hub",
                grant.name, grant.epoch
            ),
        )),
    }
}

fn may_demote(epoch: i64, grant: &GrantFacts) -> Result<(), Refusal> {
    // A hub that lost its memory must not take the role from the rightful owner. Anyone else may always step down.
    if grant.owner == grant.cluster && epoch < grant.epoch {
        return Err(refused("StaleEpoch", stale(epoch, grant)));
    }
    Ok(())
}

fn may_resync(epoch: i64, grant: &GrantFacts) -> Result<(), Refusal> {
    let known = grant.observed.unwrap_or(grant.epoch);
    if grant.epoch < known {
        return Err(refused("StaleEpoch", went_down(grant, known)));
    }
    if grant.owner == grant.cluster {
        let text = format!(
            "{} owns it at epoch {}: its copy is not thrown away",
            grant.cluster, grant.epoch
        );
        return Err(refused("NoGrant", text));
    }
    match epoch.cmp(&grant.epoch) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(refused("StaleEpoch", stale(epoch, grant))),
        Ordering::Greater => Err(refused(
            "NoGrant",
            format!(
                "epoch {epoch} is not recorded yet: {} is at epoch {}; waiting for the hub",
                grant.name, grant.epoch
            ),
        )),
    }
}

/// Whether the order to throw the copy away holds. The hub renews it while it sees that the owner is primary: an order that
/// has lapsed may be from before the owner was lost, and this copy the last one.
pub(crate) fn still_ordered(hub: &HubRule, now: Timestamp) -> Result<(), Refusal> {
    match hub.resync_until {
        Some(until) if now < until => Ok(()),
        Some(until) => Err(refused(
            "ResyncLapsed",
            format!(
                "the order to throw this copy away held until {until} and was not renewed: it is kept; the hub renews the order as long as it sees the owner primary"
            ),
        )),
        None => Err(refused(
            "ResyncLapsed",
            format!(
                "the order to throw this copy away does not say until when it holds (annotation {}): it is kept; waiting for the hub",
                names::RESYNC_UNTIL
            ),
        )),
    }
}

fn stale(epoch: i64, grant: &GrantFacts) -> String {
    format!(
        "it was written at epoch {epoch}, but {} owns the volume since epoch {}: another hub took over or this object is old; nothing to do here",
        grant.owner, grant.epoch
    )
}

fn went_down(grant: &GrantFacts, known: i64) -> String {
    format!(
        "{} fell from epoch {known} to {}; an epoch never goes down, the hub must write a higher one",
        grant.name, grant.epoch
    )
}

fn refused(event: &'static str, text: impl Into<String>) -> Refusal {
    Refusal {
        text: text.into(),
        event: Some(event),
        again: None,
    }
}
