//! The application runs on its owner: keep it protected, and begin what is asked for.

use crate::ids::ClusterId;
use crate::intent::MoveKind;
use crate::journal::{Before, Phase};
use crate::report::{GateReport, Severity};
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::view::{View, our_claims, with_volumes};
use super::{again, arrive, failover, gates, protect};

pub(super) fn next(v: &View<'_>) -> Draft {
    let Some(owner) = v.journal.owner.clone() else {
        return Draft::journal(v, |j| j.phase = Phase::Undecided);
    };
    let unfinished =
        |id: &ClusterId| !our_claims(v.at(id)).is_empty() || v.journal.resyncs.contains_key(id);
    if let Some(left) = v.others().find(|id| v.fresh(id) && unfinished(id)).cloned() {
        return Draft::journal(v, |j| {
            j.phase = Phase::CleaningUp {
                from: left,
                to: owner,
                kind: MoveKind::Failover,
                resync: None,
            }
        });
    }
    let wish = wish(v, &owner);
    if let (Wish::Held(_) | Wish::None, Some(draft)) = (&wish, arrive::runs_after_all(v, &owner)) {
        return draft;
    }
    match wish {
        Wish::Begin(draft) => draft,
        Wish::Held(held) => {
            let mut draft = keep(v, &owner);
            draft.text = if draft.steps.is_empty() {
                held.text
            } else {
                draft.text
            };
            draft.gates = together(held.gates, draft.gates);
            draft.blockers.extend(held.blockers);
            draft.again_after_ms = held.again_after_ms.or(draft.again_after_ms);
            draft
        }
        Wish::None => keep(v, &owner),
    }
}

/// Looks at the request, from a state in which the application runs on its owner.
pub(super) fn wish(v: &View<'_>, owner: &ClusterId) -> Wish {
    match v.pending() {
        None => Wish::None,
        Some(_) if again::asks_for_copies(v, owner) => Wish::Begin(again::stay(v).event(
            Severity::Normal,
            "CopiesAskedFor",
            format!(
                "{} stays on {owner}: with a new requestID alone, copies that are being taken anew are asked for again as often as they are",
                v.intent.placement
            ),
        )),
        Some(MoveKind::Relocate) => relocate(v, owner),
        Some(MoveKind::Failover) => failover::wish(v, owner),
    }
}

fn relocate(v: &View<'_>, owner: &ClusterId) -> Wish {
    let to = &v.intent.request.preferred;
    if to == owner {
        return Wish::Begin(again::stay(v));
    }
    if v.fresh(owner) && v.fresh(to) && v.at(owner).volumes.is_empty() && v.journal.capture == 0 {
        // Nothing was ever protected: there is nothing to move.
        return Wish::Begin(Draft::journal(v, |j| {
            j.commit(to.clone());
            j.served = Some(v.intent.request.clone());
            j.protected_since = Some(v.now);
        }));
    }
    let g = gates::relocate(v, owner, to);
    if !g.open() {
        let text = format!(
            "cannot relocate from {owner} to {to} yet: {}",
            g.blockers.first().map_or("", |b| b.message.as_str())
        );
        let held = Draft::wait(text).gated(g.gates).blocked_all(g.blockers);
        let held = failover::look_again(v, to, failover::look_again(v, owner, held));
        return Wish::Held(held);
    }
    let said = format!("relocating {} from {owner} to {to}", v.intent.placement);
    let draft = Draft::journal(v, |j| {
        j.begin(MoveKind::Relocate, owner, to, v.now);
        j.step("Prepare", v.now);
        j.phase = Phase::Relocating {
            from: owner.clone(),
            to: to.clone(),
            kind: MoveKind::Relocate,
            stage: Before::Prepare,
        };
    });
    Wish::Begin(
        draft
            .event(Severity::Normal, "RelocateStarted", said)
            .gated(g.gates),
    )
}

/// Keeps the volumes on the owner protected.
pub(super) fn keep(v: &View<'_>, owner: &ClusterId) -> Draft {
    let facts = v.at(owner);
    if !v.fresh(owner) {
        let message = format!("{owner} {}", facts.contact.describe());
        let remedy = "bring it back, or accept the loss of what was not copied: action: Failover";
        let reason = v.unseen(owner, Reason::SourceUnreachable);
        let text = format!("{message}; the application stays there until it is failed over");
        let draft = Draft::wait(text)
            .blocked(Blocker::new(reason, message, remedy))
            .gated(standing_gates(v, owner));
        return failover::look_again(v, owner, draft);
    }
    if let Some(journal) = protect::newer_syncs(v, owner) {
        return Draft::journal(v, |j| *j = journal);
    }
    let p = protect::protectable(v, owner);
    let mut steps = protect::steps(v, owner, &p);
    let gone = protect::deselected(facts);
    let nothing = p.classes.is_empty() && p.wrong.is_empty();
    // One slip in a selector must not end the protection of everything: to end it, the placement is deleted.
    let ends = !gone.is_empty() && !nothing;
    if ends && gone.iter().any(|k| v.journal.synced.contains_key(k)) {
        // Forgotten before replication is switched off: from then on there is no copy to count on, whatever comes after.
        return Draft::journal(v, |j| j.synced.retain(|k, _| !gone.contains(k)));
    }
    if ends {
        steps.push(Step::Unprotect {
            cluster: owner.clone(),
            claims: with_volumes(facts, &gone),
        });
    }
    let mut blockers: Vec<Blocker> = p.wrong.values().cloned().collect();
    blockers.extend(protect::doomed(facts));
    if nothing && gone.is_empty() {
        blockers.push(gates::nothing_selected(owner));
    } else if nothing {
        blockers.push(gates::all_deselected(owner, &gone));
    }
    let drivers = facts
        .volumes
        .values()
        .filter_map(|x| x.volume.as_ref()?.csi.as_ref())
        .map(|c| c.driver.clone())
        .collect();
    blockers.extend(if p.classes.is_empty() {
        None
    } else {
        protect::agent_trouble(facts, owner, &drivers)
    });
    let late = protect::unsynced(v, owner, &p.claims());
    let text = match (steps.first(), late.first()) {
        (Some(step), _) => format!(
            "protecting {} volumes on {owner}: {}",
            p.classes.len(),
            step.name()
        ),
        (None, Some(first)) => format!("protecting on {owner}: {first}"),
        (None, None) if p.classes.is_empty() => format!("nothing is selected on {owner}"),
        (None, None) => format!("runs on {owner}, {} volumes protected", p.classes.len()),
    };
    let draft = Draft::act(text, steps)
        .blocked_all(blockers)
        .gated(standing_gates(v, owner));
    match protect::settles_in(v, owner) {
        Some(ms) => draft.again(ms.max(1_000)),
        None => draft,
    }
}

/// The answers that a failover to each other cluster would get now, shown before anyone asks.
fn standing_gates(v: &View<'_>, owner: &ClusterId) -> Vec<GateReport> {
    let others = v.policy.clusters.iter().filter(|id| *id != owner);
    others.fold(Vec::new(), |all, to| {
        together(all, gates::failover(v, owner, to).gates)
    })
}

/// Answers together with more of them, each question once. Those about a move that is held do not hide those that a
/// failover would get: whoever cannot relocate wants to know just that.
pub(super) fn together(mut all: Vec<GateReport>, more: Vec<GateReport>) -> Vec<GateReport> {
    for gate in more {
        let same = |g: &GateReport| {
            (g.action, &g.target, &g.name) == (gate.action, &gate.target, &gate.name)
        };
        if !all.iter().any(same) {
            all.push(gate);
        }
    }
    all
}
