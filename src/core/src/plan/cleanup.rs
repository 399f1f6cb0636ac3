//! The application runs on its new owner. The old side is quarantined, brought back in step (`resync`) and cleaned up.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::journal::{Journal, Phase};
use crate::observed::{ClusterFacts, Contact, Deleting};
use crate::report::Severity;
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::hold::in_use;
use super::quarantine::{beside_rivals, contain, old_workloads, quarantine};
use super::remade::remade;
use super::resync::{Left, resync, to_resync, withdraw};
use super::view::{View, held, lasting, names, our_claims, with_volumes};
use super::{arrive, steady, unproven};

pub(super) fn next(v: &View<'_>, left: &Left<'_>) -> Draft {
    let held = match steady::wish(v, left.to) {
        Wish::Begin(draft) => return draft,
        Wish::Held(draft) => Some(draft),
        Wish::None => None,
    };
    if let Some(draft) = arrive::runs_after_all(v, left.to) {
        return draft;
    }
    let mut keep = steady::keep(v, left.to);
    if keep.journal.is_some() {
        return keep;
    }
    let seen = v.others().filter(|id| v.fresh(id));
    let mut back: Vec<Step> = seen.filter_map(|id| withdraw(v, left, id)).collect();
    let mut draft = match contain(v) {
        // Before everything else that is to be done here, some of which may fail for ever; and should the quarantine
        // itself fail, the owner is protected nevertheless, and what must not be carried out any more is taken back.
        Some(first) => {
            back.extend(beside_rivals(v, left.to, keep.steps));
            Draft {
                aside: back,
                ..first
            }
        }
        None if !back.is_empty() => {
            let text = format!(
                "{} is not seen primary any more: copies that nobody has begun to take anew are kept",
                left.to
            );
            Draft {
                aside: keep.steps,
                ..Draft::act(text, back)
            }
        }
        None => beside_the_owner(v, left, &mut keep),
    };
    draft.gates = keep.gates;
    draft.blockers.extend(keep.blockers);
    draft.again_after_ms = draft.again_after_ms.or(keep.again_after_ms);
    if let Some(held) = held {
        draft.gates = steady::together(held.gates, draft.gates);
        draft.blockers.extend(held.blockers);
    }
    draft
}

/// What is to be done on the old sides, and beside it on the owner: a step there that fails for ever keeps no copy from being made.
/// What takes objects away there, and the end of the move, wait for the owner: it is captured first.
fn beside_the_owner(v: &View<'_>, left: &Left<'_>, keep: &mut Draft) -> Draft {
    let busy = !keep.steps.is_empty();
    let sides = old_sides(v, left, |draft| busy && takes_away(draft));
    let ends = |j: &Journal| j.phase == Phase::Steady;
    if !busy || sides.journal.as_ref().is_some_and(|j| !ends(j)) {
        return sides;
    }
    let steps = std::mem::take(&mut keep.steps);
    if sides.steps.is_empty() || takes_away(&sides) {
        let text = std::mem::take(&mut keep.text);
        return Draft {
            blockers: sides.blockers,
            ..Draft::act(text, steps)
        };
    }
    Draft {
        aside: beside_rivals(v, left.to, steps),
        ..sides
    }
}

fn takes_away(draft: &Draft) -> bool {
    draft.steps.iter().any(|s| {
        matches!(
            s,
            Step::RemoveWorkloads { .. } | Step::Release { .. } | Step::RemoveClaims { .. }
        )
    })
}

/// Every cluster but the owner that still has something of ours, the one that was left last among them. What comes `later` is done
/// when nothing else is to be done on any of them.
fn old_sides(v: &View<'_>, left: &Left<'_>, later: impl Fn(&Draft) -> bool) -> Draft {
    let mut last = None;
    let mut waits: Vec<Draft> = Vec::new();
    for id in v.others() {
        let facts = v.at(id);
        let concerned =
            id == left.from || !our_claims(facts).is_empty() || v.journal.resyncs.contains_key(id);
        // Not one that was just not seen yet, be it out of the policy: once nobody looks there any more, nobody would
        // quarantine it.
        if !concerned || v.given_up(id) && our_claims(facts).is_empty() {
            continue;
        }
        if !v.fresh(id) {
            let text = format!("waits for {id} to return: it {}", facts.contact.describe());
            let message = format!(
                "{id} {}; its old copy is quarantined and brought back in step when it returns",
                facts.contact.describe()
            );
            let remedy = "bring it back; the application runs meanwhile, without a copy there. Delete its DRCluster only if it is destroyed: if it lives, two sites will write";
            let blocker = Blocker::new(Reason::ClusterUnreachable, message, remedy);
            let wait = Draft::wait(text).blocked(blocker);
            // One whose DRCluster was taken away is given up a little later, by the passage of time alone.
            waits.push(match facts.contact {
                Contact::Unregistered { .. } => wait.again(1_000),
                _ => wait,
            });
            continue;
        }
        if let Some(draft) = one_side(v, left, id) {
            if later(&draft) {
                last.get_or_insert(draft);
                continue;
            }
            if draft.journal.is_some() || !draft.steps.is_empty() {
                return draft;
            }
            waits.push(draft);
        }
    }
    if let Some(draft) = last {
        return draft;
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
        if let Some(record) = j.arrival_mut()
            && record.ended.is_none()
        {
            record.ended = Some(v.now);
        }
        // Of a cluster that was given up nothing will ever be proven; should it return, all that it has is asked for anew.
        j.resyncs.clear();
        j.phase = Phase::Steady;
    })
    .event(Severity::Normal, "MoveCompleted", said)
}

/// The next thing to do on one old side; None when it is clean.
fn one_side(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Draft> {
    let facts = v.at(id);
    let workloads = old_workloads(v, facts);
    let ours = our_claims(facts);
    if ours.is_empty() && workloads.is_empty() && !v.journal.resyncs.contains_key(id) {
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
    if !v.fresh(left.to) {
        return Some(Draft::wait(format!(
            "{id} is quarantined; nothing there is given up while {} does not answer",
            left.to
        )));
    }
    if let Some(draft) = remade(v, left, id) {
        return Some(draft);
    }
    let resyncs = to_resync(v, left, id, facts);
    if !resyncs.is_empty()
        && let Some(draft) = resync(v, left, id, &resyncs)
    {
        return Some(draft);
    }
    if let Some(draft) = unproven::wait(v, left, id) {
        return Some(draft);
    }
    if v.journal.resyncs.contains_key(id) {
        // From here on a replication that is not there was released by us.
        return Some(Draft::journal(v, |j| {
            j.resyncs.remove(id);
        }));
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
