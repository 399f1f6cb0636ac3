//! Bringing an old copy back in step: it is thrown away and made anew from the owner's data, so the proof of direction
//! comes first, the order lapses by itself, and no request is repeated but on the agent's word that it failed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::MoveKind;
use crate::journal::{Journal, Phase};
use crate::observed::{ClaimPhase, ClusterFacts, Deleting, Mark, Role, VrStatus};
use crate::report::Severity;
use crate::step::{ResyncOrder, Step};
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::hold::binding;
use super::view::{View, held, names, replication};
use super::{arrive, failover};

/// The move that left something behind.
pub(super) struct Left<'a> {
    pub(super) from: &'a ClusterId,
    pub(super) to: &'a ClusterId,
    pub(super) kind: MoveKind,
    pub(super) resync: Option<Timestamp>,
}

/// Whether the application was ready on the new owner since it came there. Moves that were asked for since, and taken
/// back, say nothing of that; a hub that does not remember looks whether it runs now.
pub(super) fn ran(v: &View<'_>, owner: &ClusterId) -> bool {
    let arrival = v.journal.arrival();
    arrival.map_or_else(|| arrive::runs(v, owner), |m| m.available.is_some())
}

/// The replications there that were not handed over in step: all of them, unless the side was left by a relocation.
/// A volume that the owner does not have any more has nothing to take; its image stays as it is.
pub(super) fn to_resync(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    facts: &ClusterFacts,
) -> BTreeSet<ClaimKey> {
    if id == left.from && left.kind == MoveKind::Relocate {
        return BTreeSet::new();
    }
    let owner = v.at(left.to);
    let wanted = |k: &ClaimKey| owner.volumes.get(k).is_some_and(|x| x.claim.is_some());
    held(facts).into_iter().filter(wanted).collect()
}

/// Whether a claim there has a copy to take: it is ours, the owner has it too, and nobody deletes it.
fn takes(v: &View<'_>, left: &Left<'_>, facts: &ClusterFacts, key: &ClaimKey) -> bool {
    let owner = v.at(left.to).volumes.get(key);
    let claim = facts.volumes.get(key).and_then(|x| x.claim.as_ref());
    owner.is_some_and(|x| x.claim.is_some())
        && claim.is_some_and(|c| c.mark == Mark::Ours && c.deleting == Deleting::No)
}

/// Makes the replications again that were deleted there while their copies were taken anew: without them nobody could tell
/// whether a copy is complete, and it is asked for once more. None when there are none.
pub(super) fn remade(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Draft> {
    if !v.journal.resyncs.contains_key(id) {
        return None;
    }
    let facts = v.at(id);
    let stays = |k: &ClaimKey| replication(facts, k).is_some_and(|r| r.deleting == Deleting::No);
    let lost = facts
        .volumes
        .keys()
        .filter(|k| takes(v, left, facts, k) && !stays(k));
    let lost: BTreeSet<ClaimKey> = lost.cloned().collect();
    if lost.is_empty() {
        return None;
    }
    let which = names(&lost);
    if left.resync.is_some() {
        // What was synced since the request that was lost with them says nothing of the next one.
        let said = format!(
            "the VolumeReplications of {which} on {id} were deleted before their copies were complete: they are made again"
        );
        let draft = Draft::journal(v, |j| {
            if let Phase::CleaningUp { resync, .. } = &mut j.phase {
                *resync = None;
            }
        });
        return Some(draft.event(Severity::Warning, "ReplicationDeleted", said));
    }
    let going = lost.iter().filter(|k| replication(facts, k).is_some());
    let going: Vec<&ClaimKey> = going.collect();
    if !going.is_empty() {
        let text = format!(
            "waits for the VolumeReplications of {} on {id} to be gone, and makes them again",
            names(going)
        );
        return Some(Draft::wait(text).again(1_000));
    }
    let class = |k: &ClaimKey| Some((k.clone(), replication(v.at(left.to), k)?.class.clone()));
    let claims: BTreeMap<ClaimKey, String> = lost.iter().filter_map(class).collect();
    if claims.is_empty() {
        return Some(Draft::wait(format!(
            "waits for the replication of {which} on {}",
            left.to
        )));
    }
    let step = Step::Replicate {
        cluster: id.clone(),
        claims,
        role: Role::Secondary,
        epoch: v.journal.epoch,
    };
    Some(Draft::act(
        format!("making the VolumeReplications of {which} on {id} again"),
        vec![step],
    ))
}

/// Takes back the requests for a resync that no agent has carried out yet, when the proof of direction is gone: the copy
/// may be the last one by the time somebody gets to it.
pub(super) fn withdraw(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Draft> {
    let class = |k: ClaimKey| Some((replication(v.at(id), &k)?.class.clone(), k));
    let open = unissued(v, id, claims).into_keys().filter_map(class);
    let open: BTreeMap<ClaimKey, String> = open.map(|(class, k)| (k, class)).collect();
    if open.is_empty() || v.primary_everywhere(claims) {
        return None;
    }
    let said = format!(
        "{} is not seen primary any more: the resync of {} on {id} is taken back",
        left.to,
        names(open.keys())
    );
    let step = Step::Replicate {
        cluster: id.clone(),
        claims: open,
        role: Role::Secondary,
        epoch: v.journal.epoch,
    };
    Some(Draft::act(said, vec![step]))
}

/// Has the old side take the owner's data. Destroys its own copy, so the proof of direction comes first:
/// every volume of the owner is primary at the present epoch, seen fresh. None when it is done.
pub(super) fn resync(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Draft> {
    let facts = v.at(id);
    let pending = |k: &&ClaimKey| {
        replication(facts, k)
            .is_some_and(|r| r.desired != Role::Resync || r.epoch != Some(v.journal.epoch))
    };
    let unasked: BTreeSet<ClaimKey> = claims.iter().filter(pending).cloned().collect();
    if !unasked.is_empty() && !ran(v, left.to) {
        let message = format!(
            "the copy on {id} is kept as it is: the application was never ready on {}",
            left.to
        );
        let remedy = format!(
            "look at its pods on {}; or, if its data there is no good, go back to that of {id}: action: Failover, failoverCluster: {id}",
            left.to
        );
        let blocker = Blocker::new(Reason::WorkloadStarting, message.clone(), remedy);
        return Some(Draft::wait(message).blocked(blocker));
    }
    if !unasked.is_empty() {
        let demoted = |k: &&ClaimKey| {
            replication(facts, k).is_some_and(|r| {
                matches!(
                    r.status,
                    VrStatus::Demoted | VrStatus::Drained | VrStatus::Resyncing
                ) || r.desired == Role::Resync
            })
        };
        let undone: Vec<&ClaimKey> = unasked.iter().filter(|k| !demoted(k)).collect();
        if !undone.is_empty() {
            // An agent touches no volume whose claim is not bound: one made for a move that never came is bound first.
            let pending: Vec<ClaimKey> = undone
                .iter()
                .filter(|k| unbound(facts, k))
                .map(|k| (*k).clone())
                .collect();
            if !pending.is_empty() {
                return Some(binding(id, pending));
            }
            let trouble = failures(facts, id, claims, Reason::Demoting);
            return Some(
                Draft::wait(format!(
                    "{id} is quarantined; waits for {} to be demoted",
                    names(undone)
                ))
                .blocked_all(trouble),
            );
        }
        if !v.primary_everywhere(claims) {
            let blocker = Blocker::new(
                Reason::Resyncing,
                format!(
                    "{} is not seen primary at epoch {} for every volume",
                    left.to, v.journal.epoch
                ),
                "nothing to do: the resync waits for this proof, for it destroys the copy on the old side",
            );
            return Some(
                Draft::wait(format!(
                    "resync of {id} waits for proof that {} is primary",
                    left.to
                ))
                .blocked(blocker),
            );
        }
        if left.resync.is_none() {
            let said = format!(
                "{id} takes the data of {} (epoch {})",
                left.to, v.journal.epoch
            );
            return Some(note_resync(v, left, id, 1).event(
                Severity::Normal,
                "ResyncStarted",
                said,
            ));
        }
        let asks = unasked.iter().map(|k| (k, next_number(v, id, k)));
        let step = order(v, id, asks);
        return Some(Draft::act(
            format!(
                "resyncing {} volumes on {id} from {}",
                unasked.len(),
                left.to
            ),
            vec![step],
        ));
    }
    if let Some(draft) = repeat(v, left, id, claims).or_else(|| renew(v, id, claims)) {
        return Some(draft);
    }
    if left.resync.is_none() {
        // Asked for before the journal was lost: only a sync from now on is known to be later.
        return Some(note_resync(v, left, id, 1));
    }
    // A resynced copy of a live primary never calls itself in step; the primary's own last sync tells.
    let owner = v.at(left.to);
    let late: Vec<&ClaimKey> = claims
        .iter()
        .filter(|k| replication(owner, k).and_then(|r| r.last_sync) <= left.resync)
        .collect();
    let accepted = |k: &&ClaimKey| {
        replication(facts, k).is_some_and(|r| {
            matches!(
                r.status,
                VrStatus::Resyncing | VrStatus::Drained | VrStatus::Demoted
            )
        })
    };
    let unaccepted: Vec<&ClaimKey> = claims.iter().filter(|k| !accepted(k)).collect();
    if late.is_empty() && unaccepted.is_empty() {
        return None;
    }
    let waiting = if late.is_empty() { unaccepted } else { late };
    let trouble = failures(facts, id, claims, Reason::Resyncing);
    let draft = Draft::wait(format!(
        "{id} is taking the data of {}: waits for {}",
        left.to,
        names(waiting)
    ))
    .blocked_all(given_up(v, id, claims).into_iter().chain(trouble).collect());
    Some(match unissued(v, id, claims).values().flatten().min() {
        Some(until) => draft.again(renewal_in(v, *until)),
        None => draft,
    })
}

/// How long an order to resync holds. An agent may be out of reach, and come to it when its copy is the last one: then it
/// must have lapsed. Its clock may be behind by less than this.
const ORDER: SignedDuration = SignedDuration::from_secs(300);
/// Orders end on such a moment, so that the same plan is made twice in a row.
const ROUND: i64 = 30;

/// The order to take the owner's data, good until it must be renewed.
fn order<'k>(
    v: &View<'_>,
    id: &ClusterId,
    asks: impl IntoIterator<Item = (&'k ClaimKey, u32)>,
) -> Step {
    let order = |(k, number): (&ClaimKey, u32)| {
        let class = replication(v.at(id), k)?.class.clone();
        Some((k.clone(), ResyncOrder { class, number }))
    };
    let second = v.now.as_second().saturating_add(ORDER.as_secs());
    let whole = second - second.rem_euclid(ROUND);
    Step::Resync {
        cluster: id.clone(),
        claims: asks.into_iter().filter_map(order).collect(),
        epoch: v.journal.epoch,
        until: Timestamp::from_second(whole).unwrap_or(v.now),
    }
}

/// The orders there that no agent has carried out yet, and how long each holds.
fn unissued(
    v: &View<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> BTreeMap<ClaimKey, Option<Timestamp>> {
    let open = |k: &ClaimKey| {
        let r = replication(v.at(id), k)?;
        let asked = r.resync_asked?;
        let issued = r.resync_issued.is_some_and(|i| i >= asked);
        (r.desired == Role::Resync && !issued).then(|| (k.clone(), r.resync_until))
    };
    claims.iter().filter_map(open).collect()
}

fn renewal_in(v: &View<'_>, until: Timestamp) -> u64 {
    let due = until.as_millisecond() - ORDER.as_secs() * 500 - v.now.as_millisecond();
    u64::try_from(due).unwrap_or_default().max(1_000)
}

/// How often a copy is asked for at one epoch, before a person must look, and again each time that person asks.
const REQUESTS: u32 = 3;

/// Up to which request copies are asked for.
fn limit(v: &View<'_>) -> u32 {
    v.journal.resync_limit.unwrap_or(REQUESTS)
}

/// A person asks, by a request that moves nothing: copies that were asked for in vain are asked for as often once more.
pub(super) fn allow_more(j: &mut Journal) {
    if let Some(highest) = j.resyncs.values().max() {
        j.resync_limit = Some(highest.saturating_add(REQUESTS));
    }
}

/// The number of the next request for a copy that is not asked for now: one that was carried out is not carried out again,
/// unless it failed.
fn next_number(v: &View<'_>, id: &ClusterId, key: &ClaimKey) -> u32 {
    let r = replication(v.at(id), key);
    let Some(last) = r
        .and_then(|r| r.resync_issued)
        .filter(|i| i.epoch == v.journal.epoch)
    else {
        return 1;
    };
    let failed = r.is_some_and(|r| r.resync_failed == Some(last));
    let next = last.number.saturating_add(u32::from(failed));
    next.min(limit(v).max(last.number))
}

/// Asks again for the copies of which the agent says that the request did not bring them about. Never because of the passage
/// of time: a copy that is slow is on its way. Each request is given on the same proof as the first.
fn repeat(
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
    if left.resync.is_none() || v.journal.resyncs.get(id).is_none_or(|n| *n < highest) {
        let said = format!(
            "the resync of {which} on {id} was not carried out, or failed: asked for again ({highest} of {})",
            limit(v)
        );
        let draft = note_resync(v, left, id, highest);
        return Some(draft.event(Severity::Warning, "ResyncRepeated", said));
    }
    let text = format!("asking again for the copies on {id} of {which}");
    Some(Draft::act(text, vec![order(v, id, again)]))
}

/// Copies that were asked for as often as they are.
fn given_up(v: &View<'_>, id: &ClusterId, claims: &BTreeSet<ClaimKey>) -> Option<Blocker> {
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
            format!(
                "look at the storage driver there and its words in the VolumeReplication; once it can, have it tried again: {}",
                ask_again(v)
            ),
        )
    })
}

/// What to edit so that copies are asked for again, and nothing moves.
fn ask_again(v: &View<'_>) -> String {
    let anew = "set requestID of the DRPlacement to a value that it did not have before";
    let (request, Some(owner)) = (&v.intent.request, &v.journal.owner) else {
        return anew.to_owned();
    };
    let stays = match request.kind() {
        MoveKind::Relocate if request.preferred != *owner => format!("preferredCluster: {owner}"),
        MoveKind::Failover if failover::named(v, owner) != Some(owner) => {
            format!("failoverCluster: {owner}")
        }
        MoveKind::Relocate | MoveKind::Failover => return anew.to_owned(),
    };
    format!("{anew}, together with {stays}, for without that it asks for a move")
}

/// Renews the orders that have half their time behind them, on the same proof as when they were given.
fn renew(v: &View<'_>, id: &ClusterId, claims: &BTreeSet<ClaimKey>) -> Option<Draft> {
    let due = |until: &Option<Timestamp>| {
        until.is_none_or(|t| t.as_second() - v.now.as_second() <= ORDER.as_secs() / 2)
    };
    let all = unissued(v, id, claims);
    let due: Vec<(&ClaimKey, u32)> = all
        .iter()
        .filter(|(_, until)| due(until))
        .filter_map(|(k, _)| Some((k, replication(v.at(id), k)?.resync_asked?.number)))
        .collect();
    if due.is_empty() || !v.primary_everywhere(claims) {
        return None;
    }
    let said =
        format!("{id} has not begun to take the data of the owner yet: the order is renewed");
    Some(Draft::act(said, vec![order(v, id, due)]))
}

fn unbound(facts: &ClusterFacts, key: &ClaimKey) -> bool {
    let claim = facts.volumes.get(key).and_then(|x| x.claim.as_ref());
    claim.is_some_and(|c| c.phase == ClaimPhase::Pending && c.deleting == Deleting::No)
}

/// Notes when the resync is asked for: what is synced before that is not of this resync.
fn note_resync(v: &View<'_>, left: &Left<'_>, id: &ClusterId, number: u32) -> Draft {
    let (from, to, kind) = (left.from.clone(), left.to.clone(), left.kind);
    Draft::journal(v, |j| {
        j.step("Resync", v.now);
        let last = j.resyncs.entry(id.clone()).or_default();
        *last = number.max(*last);
        j.phase = Phase::CleaningUp {
            from,
            to,
            kind,
            resync: Some(v.now),
        };
    })
}

fn failures(
    facts: &ClusterFacts,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
    reason: Reason,
) -> Vec<Blocker> {
    let of = |k: &ClaimKey| match replication(facts, k).map(|r| &r.status) {
        Some(VrStatus::Failed { message }) => Some(Blocker::new(
            reason,
            format!("{k} on {id}: {message}"),
            "the agent tries again; look at the driver if this stays",
        )),
        _ => None,
    };
    claims.iter().filter_map(of).collect()
}
