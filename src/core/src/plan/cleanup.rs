//! The application runs on its new owner. The old side is quarantined, brought back in step and cleaned up; its data
//! is thrown away only while the owner is primary at the present epoch, seen fresh.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::intent::MoveKind;
use crate::journal::Phase;
use crate::observed::{ClaimPhase, ClusterFacts, Deleting, Role, VrStatus};
use crate::report::Severity;
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::hold::{binding, in_use};
use super::quarantine::{contain, old_workloads, quarantine};
use super::steady;
use super::view::{View, held, lasting, names, our_claims, replication, with_volumes};

/// The move that left something behind.
pub(super) struct Left<'a> {
    pub(super) from: &'a ClusterId,
    pub(super) to: &'a ClusterId,
    pub(super) kind: MoveKind,
    pub(super) resync: Option<Timestamp>,
}

pub(super) fn next(v: &View<'_>, left: &Left<'_>) -> Draft {
    let held = match steady::wish(v, left.to) {
        Wish::Begin(draft) => return draft,
        Wish::Held(draft) => Some(draft),
        Wish::None => None,
    };
    // Before everything else that is to be done here, some of which may fail for ever.
    if let Some(draft) = contain(v) {
        return draft;
    }
    let keep = steady::keep(v, left.to);
    if keep.journal.is_some() || !keep.steps.is_empty() {
        return keep;
    }
    let mut draft = old_sides(v, left);
    draft.gates = keep.gates;
    draft.blockers.extend(keep.blockers);
    if let Some(held) = held {
        draft.gates = steady::together(held.gates, draft.gates);
        draft.blockers.extend(held.blockers);
    }
    draft
}

/// Every cluster but the owner that still has something of ours, the one that was left last among them.
fn old_sides(v: &View<'_>, left: &Left<'_>) -> Draft {
    let mut waits: Vec<Draft> = Vec::new();
    for id in v.others() {
        let facts = v.at(id);
        let concerned = id == left.from || !our_claims(facts).is_empty();
        if !concerned || (!v.policy.clusters.contains(id) && our_claims(facts).is_empty()) {
            continue;
        }
        if !v.fresh(id) {
            let text = format!("waits for {id} to return: it {}", facts.contact.describe());
            let message = format!(
                "{id} {}; its old copy is quarantined and brought back in step when it returns",
                facts.contact.describe()
            );
            let remedy = "bring it back, or take it out of the DRPolicy if it is gone for good; the application runs meanwhile, without a copy there";
            waits.push(Draft::wait(text).blocked(Blocker::new(
                Reason::ClusterUnreachable,
                message,
                remedy,
            )));
            continue;
        }
        if let Some(draft) = one_side(v, left, id) {
            if draft.journal.is_some() || !draft.steps.is_empty() {
                return draft;
            }
            waits.push(draft);
        }
    }
    let mut waits = waits.into_iter();
    let Some(mut first) = waits.next() else {
        return complete(v, left);
    };
    for more in waits {
        first.blockers.extend(more.blockers);
        first.again_after_ms = first.again_after_ms.or(more.again_after_ms);
    }
    first
}

fn complete(v: &View<'_>, left: &Left<'_>) -> Draft {
    let said = format!(
        "{} is clean; {} runs on {}",
        left.from, v.intent.placement, left.to
    );
    Draft::journal(v, |j| {
        if let Some(record) = j.moves.first_mut()
            && record.ended.is_none()
        {
            record.ended = Some(v.now);
        }
        j.phase = Phase::Steady;
    })
    .event(Severity::Normal, "MoveCompleted", said)
}

/// The next thing to do on one old side; None when it is clean.
fn one_side(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Draft> {
    let facts = v.at(id);
    let workloads = old_workloads(v, facts);
    let ours = our_claims(facts);
    if ours.is_empty() && workloads.is_empty() {
        return None;
    }
    if let Some(draft) = quarantine(v, id, &workloads) {
        return Some(draft);
    }
    if let Some(wait) = in_use(v, id) {
        return Some(wait.saying(format!(
            "{id} is quarantined; waits until nothing there uses the volumes"
        )));
    }
    let resyncs = to_resync(v, left, id, facts);
    if let Some(draft) = withdraw(v, left, id, &resyncs) {
        return Some(draft);
    }
    if !v.fresh(left.to) {
        return Some(Draft::wait(format!(
            "{id} is quarantined; nothing there is given up while {} does not answer",
            left.to
        )));
    }
    if !resyncs.is_empty()
        && let Some(draft) = resync(v, left, id, &resyncs)
    {
        return Some(draft);
    }
    Some(remove(id, facts, &workloads, &ours))
}

/// The end of protection: the same without a resync, for what was copied is given up.
pub(super) fn let_go(v: &View<'_>, id: &ClusterId) -> Draft {
    let facts = v.at(id);
    let workloads = old_workloads(v, facts);
    if let Some(draft) = quarantine(v, id, &workloads) {
        return draft;
    }
    if let Some(wait) = in_use(v, id) {
        return wait;
    }
    remove(id, facts, &workloads, &our_claims(facts))
}

/// The replications there that were not handed over in step: all of them, unless the side was left by a relocation.
/// A volume that the owner does not have any more has nothing to take; its image stays as it is.
fn to_resync(
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

/// Takes back the requests for a resync that no agent has carried out yet, when the proof of direction is gone: the copy
/// may be the last one by the time somebody gets to it.
fn withdraw(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Draft> {
    let open = |k: &ClaimKey| {
        let r = replication(v.at(id), k)?;
        let issued = r.resync_issued == Some(v.journal.epoch);
        (r.desired == Role::Resync && !issued).then(|| (k.clone(), r.class.clone()))
    };
    let open: BTreeMap<ClaimKey, String> = claims.iter().filter_map(open).collect();
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
fn resync(
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
            return Some(note_resync(v, left).event(Severity::Normal, "ResyncStarted", said));
        }
        let classes: BTreeMap<ClaimKey, String> = unasked
            .iter()
            .filter_map(|k| replication(facts, k).map(|r| (k.clone(), r.class.clone())))
            .collect();
        let step = Step::Replicate {
            cluster: id.clone(),
            claims: classes,
            role: Role::Resync,
            epoch: v.journal.epoch,
        };
        return Some(Draft::act(
            format!(
                "resyncing {} volumes on {id} from {}",
                unasked.len(),
                left.to
            ),
            vec![step],
        ));
    }
    if left.resync.is_none() {
        // Asked for before the journal was lost: only a sync from now on is known to be later.
        return Some(note_resync(v, left));
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
    Some(
        Draft::wait(format!(
            "{id} is taking the data of {}: waits for {}",
            left.to,
            names(waiting)
        ))
        .blocked_all(trouble),
    )
}

fn unbound(facts: &ClusterFacts, key: &ClaimKey) -> bool {
    let claim = facts.volumes.get(key).and_then(|x| x.claim.as_ref());
    claim.is_some_and(|c| c.phase == ClaimPhase::Pending && c.deleting == Deleting::No)
}

/// Notes when the resync is asked for: what is synced before that is not of this resync.
fn note_resync(v: &View<'_>, left: &Left<'_>) -> Draft {
    let (from, to, kind) = (left.from.clone(), left.to.clone(), left.kind);
    Draft::journal(v, |j| {
        j.step("Resync", v.now);
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

/// Objects go, images stay.
fn remove(
    id: &ClusterId,
    facts: &ClusterFacts,
    workloads: &BTreeMap<WorkloadKey, i32>,
    ours: &BTreeSet<ClaimKey>,
) -> Draft {
    let mut steps = Vec::new();
    let going = |k: &WorkloadKey| {
        facts
            .workloads
            .get(k)
            .is_none_or(|w| w.deleting == Deleting::Yes)
    };
    let stay: Vec<WorkloadKey> = workloads.keys().filter(|k| !going(k)).cloned().collect();
    if !stay.is_empty() {
        steps.push(Step::RemoveWorkloads {
            cluster: id.clone(),
            workloads: stay,
        });
    }
    let released: Vec<ClaimKey> = held(facts).into_iter().collect();
    if !released.is_empty() {
        steps.push(Step::Release {
            cluster: id.clone(),
            claims: released,
        });
    }
    let objects = lasting(facts, ours);
    if !objects.is_empty() {
        steps.push(Step::RemoveClaims {
            cluster: id.clone(),
            claims: with_volumes(facts, &objects),
        });
    }
    if steps.is_empty() {
        let text = if ours.is_empty() {
            format!("waits for {} on {id} to be gone", names(workloads.keys()))
        } else {
            format!("waits for {} on {id} to be gone", names(ours))
        };
        return Draft::wait(text).again(1_000);
    }
    Draft::act(format!("cleaning {id} up: objects go, images stay"), steps)
}
