//! The loss was accepted: bring the application up from its last copy.

use crate::ids::ClusterId;
use crate::intent::MoveKind;
use crate::journal::{Before, Journal, Phase};
use crate::report::Severity;
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::view::View;
use super::{again, gates};

/// Where a failover would go: where the user says, else to the preferred cluster, else to the best one that is fit.
pub(super) fn target<'a>(v: &View<'a>, owner: &ClusterId) -> Option<&'a ClusterId> {
    if let Some(named) = named(v, owner) {
        return Some(named);
    }
    let mut candidates = v.policy.clusters.iter().filter(|id| *id != owner);
    candidates.find(|id| gates::target(v, id).open())
}

/// The target of a failover that the user names, with `failoverCluster` or by another preferred cluster than the owner.
pub(super) fn named<'a>(v: &View<'a>, owner: &ClusterId) -> Option<&'a ClusterId> {
    let request = &v.intent.request;
    if request.action != Some(MoveKind::Failover) {
        return None;
    }
    let other = (request.preferred != *owner).then_some(&request.preferred);
    request.failover_cluster.as_ref().or(other)
}

/// Looks at a request to fail over.
pub(super) fn wish(v: &View<'_>, owner: &ClusterId) -> Wish {
    let Some(to) = target(v, owner) else {
        let blocker = Blocker::new(
            Reason::NoTarget,
            "no other cluster of the policy is fit to take the application",
            "bring one of them back, or name failoverCluster to see what it lacks",
        );
        return Wish::Held(Draft::wait("cannot fail over: no cluster is fit").blocked(blocker));
    };
    if to == owner {
        let said = format!(
            "{} already runs on {owner}: the failover that was asked for changes nothing",
            v.intent.placement
        );
        return Wish::Begin(again::stay(v).event(Severity::Warning, "AlreadyThere", said));
    }
    let g = gates::failover(v, owner, to);
    if !g.open() {
        let text = format!(
            "cannot fail over from {owner} to {to}: {}",
            g.blockers.first().map_or("", |b| b.message.as_str())
        );
        return Wish::Held(Draft::wait(text).gated(g.gates).blocked_all(g.blockers));
    }
    let draft = if v.fresh(owner) {
        stop_first(v, owner, to)
    } else {
        commit(&v.failing_over(owner), owner, to)
    };
    Wish::Begin(draft.gated(g.gates))
}

/// A cluster that is neither fresh nor silent becomes silent by the passage of time alone, and nobody tells: what a move
/// would be answered is then another thing.
pub(super) fn look_again(v: &View<'_>, at: &ClusterId, draft: Draft) -> Draft {
    let left = v.at(at).contact.silent_in(v.now);
    match left.filter(|left| !left.is_zero()) {
        None => draft,
        Some(left) => draft.again(u64::try_from(left.as_millis()).unwrap_or(0) + 1),
    }
}

/// The source answers: the application is stopped there first, so that two sites never write.
fn stop_first(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Draft {
    let said = format!(
        "failing {} over from {from} to {to}; {from} still answers and is stopped first",
        v.intent.placement
    );
    Draft::journal(v, |j| {
        j.begin(MoveKind::Failover, from, to, v.now);
        j.step("Quiesce", v.now);
        j.phase = Phase::Relocating {
            from: from.clone(),
            to: to.clone(),
            kind: MoveKind::Failover,
            stage: Before::Quiesce,
        };
    })
    .event(Severity::Warning, "FailoverStarted", said)
}

/// The source is silent, and a person has taken its loss on their word.
fn commit(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Draft {
    let draft = Draft::journal(v, |j| {
        j.begin(MoveKind::Failover, from, to, v.now);
        hand_over(v, j, from, to);
    });
    let loss = draft
        .journal
        .as_ref()
        .and_then(|j| j.moves.first())
        .and_then(|m| m.loss_seconds);
    let said = format!(
        "failing {} over from {from} to {to}; {from} {}; up to {} s of work are given up",
        v.intent.placement,
        v.at(from).contact.describe(),
        loss.map_or_else(|| "an unknown number of".to_owned(), |s| s.to_string())
    );
    tell_older(v, draft.event(Severity::Warning, "FailoverCommitted", said))
}

/// Nobody gets an older state of the application's objects without being told.
pub(super) fn tell_older(v: &View<'_>, draft: Draft) -> Draft {
    let Some(older) = v.capture().filter(|c| c.version < v.journal.capture) else {
        return draft;
    };
    let said = format!(
        "{} is restored from capture version {} of {}: {}",
        v.intent.placement,
        older.version,
        older.taken_at,
        gates::unreadable_capture(v)
    );
    draft.event(Severity::Warning, "OlderCapture", said)
}

/// The point of no return of a failover.
pub(super) fn hand_over(v: &View<'_>, j: &mut Journal, from: &ClusterId, to: &ClusterId) {
    let loss = v
        .oldest_sync()
        .map(|oldest| v.now.as_second().saturating_sub(oldest.as_second()).max(0));
    j.commit(to.clone());
    j.capture = v.capture().map_or(j.capture, |c| c.version);
    if let Some(record) = j.moves.first_mut() {
        record.kind = MoveKind::Failover;
        record.loss_seconds = loss;
    }
    j.step("Promote", v.now);
    j.served = Some(v.intent.request.clone());
    j.protected_since = Some(v.now);
    j.phase = Phase::Promoting {
        from: from.clone(),
        to: to.clone(),
        kind: MoveKind::Failover,
    };
}
