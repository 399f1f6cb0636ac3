//! Asking again for copies that a request did not bring about: a few times, on the agent's word, and then on a person's.

use std::collections::BTreeSet;

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::Request;
use crate::observed::VrStatus;
use crate::report::Severity;
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::resync::{Left, note_resync, order};
use super::view::{View, names, replication};

/// How often a copy is asked for at one epoch, before a person must look, and again each time that person asks.
const REQUESTS: u32 = 3;

/// Up to which request copies are asked for.
fn limit(v: &View<'_>) -> u32 {
    v.journal.resync_limit.unwrap_or(REQUESTS)
}

/// Whether the request differs from the last one in its `requestID` alone, while copies are being taken anew: then it asks for
/// those, and for no move. Whoever wants one says where to; unless the owner is not seen, when the move is what is meant.
pub(super) fn asks_for_copies(v: &View<'_>, owner: &ClusterId) -> bool {
    let asked = &v.intent.request;
    let same = |served: &Request| {
        let id = asked.id.clone();
        *asked
            == Request {
                id,
                ..served.clone()
            }
    };
    v.fresh(owner) && !v.journal.resyncs.is_empty() && v.journal.served.as_ref().is_some_and(same)
}

/// Serves a request that moves nothing: copies that were asked for in vain are asked for as often once more.
pub(super) fn stay(v: &View<'_>) -> Draft {
    Draft::journal(v, |j| {
        j.served = Some(v.intent.request.clone());
        if let Some(highest) = j.resyncs.values().map(|anew| anew.number).max() {
            j.resync_limit = Some(highest.saturating_add(REQUESTS));
        }
    })
}

/// The number of the next request for a copy that is not asked for now: one that was carried out is not carried out again,
/// unless it failed.
pub(super) fn next_number(v: &View<'_>, id: &ClusterId, key: &ClaimKey) -> u32 {
    let r = replication(v.at(id), key);
    let said = r.and_then(|r| r.resync_issued.max(r.resync_failed));
    let Some(last) = said.filter(|i| i.epoch == v.journal.epoch) else {
        return 1;
    };
    let failed = r.is_some_and(|r| r.resync_failed == Some(last));
    let next = last.number.saturating_add(u32::from(failed));
    next.min(limit(v).max(last.number))
}

/// Asks again for the copies of which the agent says that the request did not bring them about. Never because of the passage
/// of time: a copy that is slow is on its way. Each request is given on the same proof as the first.
pub(super) fn repeat(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Draft> {
    let failed = |k: &ClaimKey| {
        let r = replication(v.at(id), k)?;
        let asked = r.resync_asked.filter(|a| a.epoch == v.journal.epoch)?;
        let failed = r.resync_issued == Some(asked) && r.resync_failed == Some(asked);
        (failed && r.status != VrStatus::Drained && asked.number < limit(v))
            .then_some(asked.number.saturating_add(1))
    };
    let again: Vec<(&ClaimKey, u32)> = claims
        .iter()
        .filter_map(|k| Some((k, failed(k)?)))
        .collect();
    let highest = again.iter().map(|(_, n)| *n).max()?;
    if !v.primary_everywhere(claims) {
        return None;
    }
    let which = names(again.iter().map(|(k, _)| *k));
    if left.resync.is_none()
        || v.journal
            .resyncs
            .get(id)
            .is_none_or(|anew| anew.number < highest)
    {
        let said = format!(
            "the resync of {which} on {id} was not carried out, or failed: asked for again ({highest} of {})",
            limit(v)
        );
        let draft = note_resync(v, left, id, (highest, claims));
        return Some(draft.event(Severity::Warning, "ResyncRepeated", said));
    }
    let text = format!("asking again for the copies on {id} of {which}");
    Some(Draft::act(text, vec![order(v, id, again)]))
}

/// Copies that were asked for as often as they are.
pub(super) fn given_up(
    v: &View<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Blocker> {
    let over = |k: &&ClaimKey| {
        replication(v.at(id), k).is_some_and(|r| {
            let asked = r
                .resync_asked
                .filter(|a| a.epoch == v.journal.epoch && a.number >= limit(v));
            asked.is_some() && r.resync_failed == asked && r.status != VrStatus::Drained
        })
    };
    let over: Vec<&ClaimKey> = claims.iter().filter(over).collect();
    (!over.is_empty()).then(|| {
        Blocker::new(
            Reason::StepFailed,
            format!("{} requests have not brought the copies on {id} about: {}", limit(v), names(over)),
            "look at the storage driver there and its words in the VolumeReplication; once it can, have it tried again: set requestID of the DRPlacement to a value that it did not have before, which moves nothing",
        )
    })
}
