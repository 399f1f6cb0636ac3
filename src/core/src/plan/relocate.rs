//! On the way to another cluster, before the commit: nothing is lost, and everything can be taken back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::intent::{Life, MoveKind, Workloads};
use crate::journal::{Before, Journal, Phase};
use crate::observed::{ClaimPhase, Csi, Deleting, Mark, Role, VrStatus};
use crate::report::Severity;
use crate::step::{Force, Step};
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::hold::{binding, in_use};
use super::view::{View, names, replication};
use super::{failover, gates, protect};

/// A move before its commit.
pub(super) struct Leg<'a> {
    pub(super) from: &'a ClusterId,
    pub(super) to: &'a ClusterId,
    pub(super) kind: MoveKind,
    pub(super) stage: Before,
}

pub(super) fn next(v: &View<'_>, leg: &Leg<'_>) -> Draft {
    if let Some(draft) = other_wish(v, leg) {
        return draft;
    }
    if !v.fresh(leg.from) {
        return source_silent(v, leg);
    }
    match (leg.kind, leg.stage) {
        (MoveKind::Relocate, Before::Prepare) => prepare(v, leg),
        (MoveKind::Relocate, Before::Demote) => demote(v, leg),
        // A failover needs the source stopped, and nothing else of it.
        (MoveKind::Relocate, Before::Quiesce) | (MoveKind::Failover, _) => quiesce(v, leg),
    }
}

/// The user wants something else by now.
fn other_wish(v: &View<'_>, leg: &Leg<'_>) -> Option<Draft> {
    let wanted = match v.intent.request.kind() {
        MoveKind::Relocate => Some(&v.intent.request.preferred),
        // Without a name, the one that was found fit stays the target: it must not change with every hiccup.
        MoveKind::Failover => failover::named(v, leg.from).or(Some(leg.to)),
    };
    let leaving = v.intent.life == Life::Leaving;
    // Whoever takes the acceptance of a loss back gets a running application first, and then a relocation.
    let regretted = v.intent.request.kind() == MoveKind::Relocate && leg.kind == MoveKind::Failover;
    if leaving || regretted || wanted != Some(leg.to) {
        let (from, to) = (leg.from.clone(), leg.to.clone());
        let said = format!(
            "taking the move of {} to {to} back: it stays on {from}",
            v.intent.placement
        );
        return Some(
            Draft::journal(v, |j| j.phase = Phase::Cancelling { from, to }).event(
                Severity::Normal,
                "MoveCancelled",
                said,
            ),
        );
    }
    (v.intent.request.kind() == MoveKind::Failover && leg.kind == MoveKind::Relocate).then(|| {
        Draft::journal(v, |j| {
            // Not Demote, however far it was: a drain that never ends is a reason to accept a loss.
            j.phase = Phase::Relocating {
                from: leg.from.clone(),
                to: leg.to.clone(),
                kind: MoveKind::Failover,
                stage: Before::Quiesce,
            };
        })
    })
}

/// The source fell silent on the way. A relocation waits; a failover goes on without it.
fn source_silent(v: &View<'_>, leg: &Leg<'_>) -> Draft {
    let g = gates::failover(v, leg.from, leg.to);
    let v = &v.failing_over(leg.from);
    if leg.kind == MoveKind::Failover && g.open() {
        let said = format!(
            "{} fell silent; failing over to {} without it",
            leg.from, leg.to
        );
        let draft = Draft::journal(v, |j| failover::hand_over(v, j, leg.from, leg.to));
        let draft = draft.event(Severity::Warning, "FailoverCommitted", said);
        return failover::tell_older(v, draft);
    }
    let message = format!("{} {}", leg.from, v.at(leg.from).contact.describe());
    let remedy = format!(
        "bring {} back, or accept the loss of what was not copied: action: Failover, failoverCluster: {}",
        leg.from, leg.to
    );
    let reason = v.unseen(leg.from, Reason::SourceUnreachable);
    let more = match leg.kind {
        MoveKind::Relocate => Vec::new(),
        MoveKind::Failover => g.blockers,
    };
    Draft::wait(format!("{message}; the move waits"))
        .blocked_all(more)
        .blocked(Blocker::new(reason, message, remedy))
        .gated(g.gates)
}

/// Volumes and claims are made on the target while the application still runs.
fn prepare(v: &View<'_>, leg: &Leg<'_>) -> Draft {
    let g = gates::relocate(v, leg.from, leg.to);
    if !g.open() {
        return Draft::wait(format!(
            "preparing {}: {}",
            leg.to,
            g.blockers.first().map_or("", |b| b.message.as_str())
        ))
        .gated(g.gates)
        .blocked_all(g.blockers);
    }
    let p = protect::protectable(v, leg.from);
    let held = protect::steps(v, leg.from, &p);
    if !held.is_empty() {
        return Draft::act(format!("capturing the application on {}", leg.from), held)
            .gated(g.gates);
    }
    match staged(v, leg.to, v.journal.epoch.next()) {
        Staged::Lacks(mut steps) => {
            steps.splice(0..0, v.record(leg.to, Force::Denied));
            Draft::act(format!("making volumes and claims on {}", leg.to), steps).gated(g.gates)
        }
        Staged::Binding(claims) => binding(leg.to, claims).gated(g.gates),
        Staged::Bound => stage(v, leg, Before::Quiesce, "Quiesce"),
    }
}

fn stage(v: &View<'_>, leg: &Leg<'_>, stage: Before, name: &str) -> Draft {
    Draft::journal(v, |j| {
        j.step(name, v.now);
        j.phase = Phase::Relocating {
            from: leg.from.clone(),
            to: leg.to.clone(),
            kind: leg.kind,
            stage,
        };
    })
}

/// How far the captured volumes are on a cluster.
pub(super) enum Staged {
    /// Something has to be made.
    Lacks(Vec<Step>),
    /// Claims that wait for their volume.
    Binding(Vec<ClaimKey>),
    /// Everything is there and bound.
    Bound,
}

/// Compares the newest capture with what is on the cluster.
pub(super) fn staged(v: &View<'_>, on: &ClusterId, epoch: crate::ids::Epoch) -> Staged {
    let Some(capture) = v.capture() else {
        return Staged::Lacks(Vec::new());
    };
    let facts = v.at(on);
    // A capture names handles as its target knows them; back on its source they may be others.
    let fits = |wanted: &Csi, there: &Csi| {
        wanted.driver == there.driver && (capture.source == *on || wanted.handle == there.handle)
    };
    let there = |k: &ClaimKey| {
        let volume = facts.volumes.get(k)?;
        let pv = volume
            .volume
            .as_ref()
            .filter(|p| p.mark == Mark::Ours && p.deleting == Deleting::No)?;
        let same = pv
            .csi
            .as_ref()
            .is_some_and(|c| capture.volumes.get(k).is_some_and(|w| fits(&w.csi, c)));
        volume
            .claim
            .as_ref()
            .filter(|c| same && c.mark == Mark::Ours && c.deleting == Deleting::No)
    };
    if capture.volumes.keys().any(|k| there(k).is_none()) {
        return Staged::Lacks(vec![Step::Restore {
            cluster: on.clone(),
            capture: capture.version,
            epoch,
        }]);
    }
    let unbound: Vec<ClaimKey> = capture
        .volumes
        .keys()
        .filter(|k| there(k).is_some_and(|c| c.phase != ClaimPhase::Bound))
        .cloned()
        .collect();
    if unbound.is_empty() {
        Staged::Bound
    } else {
        Staged::Binding(unbound)
    }
}

/// The workload stops, and whoever else uses the volumes is named.
fn quiesce(v: &View<'_>, leg: &Leg<'_>) -> Draft {
    let running = running(v, leg.from);
    if !running.is_empty() {
        let text = format!("stopping {} on {}", names(running.keys()), leg.from);
        return Draft::act(
            text,
            vec![Step::Quiesce {
                cluster: leg.from.clone(),
                workloads: running,
            }],
        );
    }
    if let Some(mut wait) = in_use(v, leg.from) {
        if leg.kind == MoveKind::Failover {
            let remedy = "if their nodes are dead, delete the pods with --force and the VolumeAttachments too, or take back the DRCluster's kubeconfig: a cluster that does not answer is not waited for";
            let message = format!("{} still has users of the volumes", leg.from);
            wait = wait.blocked(Blocker::new(Reason::WorkloadStopping, message, remedy));
        }
        return wait;
    }
    match leg.kind {
        MoveKind::Relocate => stage(v, leg, Before::Demote, "Demote"),
        MoveKind::Failover => {
            let g = gates::failover(v, leg.from, leg.to);
            if !g.open() {
                return Draft::wait(format!("stopped on {}; waits for {}", leg.from, leg.to))
                    .gated(g.gates)
                    .blocked_all(g.blockers);
            }
            let said = format!("{} is stopped; failing over to {}", leg.from, leg.to);
            Draft::journal(v, |j| failover::hand_over(v, j, leg.from, leg.to)).event(
                Severity::Warning,
                "FailoverCommitted",
                said,
            )
        }
    }
}

/// Workloads of the application that still ask for replicas.
pub(super) fn running(v: &View<'_>, on: &ClusterId) -> BTreeMap<WorkloadKey, i32> {
    if v.intent.workloads == Workloads::None {
        return BTreeMap::new();
    }
    let facts = v.at(on);
    facts
        .workloads
        .iter()
        .filter(|(_, w)| w.replicas > 0 && w.deleting == Deleting::No)
        .map(|(k, w)| (k.clone(), w.replicas))
        .collect()
}

/// The volumes are demoted, and everything they hold reaches the other side.
fn demote(v: &View<'_>, leg: &Leg<'_>) -> Draft {
    let facts = v.at(leg.from);
    let claims: BTreeSet<ClaimKey> = v
        .capture()
        .map(|c| c.volumes.keys().cloned().collect())
        .unwrap_or_default();
    if claims.is_empty() {
        return capture_lost(leg);
    }
    let lacking = |k: &ClaimKey| {
        replication(facts, k)
            .is_none_or(|r| r.desired != Role::Secondary || r.epoch != Some(v.journal.epoch))
    };
    if claims.iter().any(lacking) {
        if let Some(wait) = in_use(v, leg.from) {
            return wait;
        }
        let p = protect::protectable(v, leg.from);
        let back = format!(
            "or take the move back with preferredCluster: {} and begin again",
            leg.from
        );
        let stuck = |message: String, remedy: String| {
            Draft::wait(message.clone()).blocked(Blocker::new(
                Reason::VolumeUnprotectable,
                message,
                remedy,
            ))
        };
        let gone = |k: &&ClaimKey| facts.volumes.get(*k).is_none_or(|x| x.claim.is_none());
        if let Some(claim) = claims.iter().find(gone) {
            return stuck(
                format!(
                    "claim {claim} is gone from {}, and was to be moved",
                    leg.from
                ),
                format!("make it again on its volume, {back}"),
            );
        }
        let new = p.classes.keys().find(|k| !claims.contains(*k));
        if let Some(claim) = new.or_else(|| p.wrong.keys().next()) {
            return stuck(
                format!(
                    "claim {claim} on {} came after the capture: it would be left behind",
                    leg.from
                ),
                format!("take it out of the pvcSelector, {back}"),
            );
        }
        // A replication that was deleted by hand is made again.
        let class = |k: &ClaimKey| {
            let known = replication(facts, k).map(|r| &r.class);
            known.or_else(|| p.classes.get(k)).cloned()
        };
        let classes = claims
            .iter()
            .filter_map(|k| Some((k.clone(), class(k)?)))
            .collect();
        // What the workloads name may have changed since the last capture; this one is what the target starts from.
        let capture = Step::Capture {
            cluster: leg.from.clone(),
            epoch: v.journal.epoch,
            claims: claims.iter().cloned().collect(),
        };
        let demote = Step::Replicate {
            cluster: leg.from.clone(),
            claims: classes,
            role: Role::Secondary,
            epoch: v.journal.epoch,
        };
        return Draft::act(
            format!("demoting {} volumes on {}", claims.len(), leg.from),
            vec![capture, demote],
        );
    }
    let drained: BTreeSet<&ClaimKey> = claims
        .iter()
        .filter(|k| replication(facts, k).is_some_and(|r| r.status == VrStatus::Drained))
        .collect();
    if drained.len() < claims.len() {
        let failed = claims
            .iter()
            .filter_map(|k| match replication(facts, k).map(|r| &r.status) {
                Some(VrStatus::Failed { message } | VrStatus::Apart { message }) => {
                    Some(Blocker::new(
                        Reason::Demoting,
                        format!("{k} on {}: {message}", leg.from),
                        "the agent tries again; look at the driver if this stays",
                    ))
                }
                _ => None,
            });
        let text = format!(
            "draining on {}: {} of {} volumes are in step with the other side",
            leg.from,
            drained.len(),
            claims.len()
        );
        return Draft::wait(text).blocked_all(failed.collect());
    }
    let g = gates::target(v, leg.to);
    if !g.open() {
        return Draft::wait(format!("demoted on {}; waits for {}", leg.from, leg.to))
            .gated(g.gates)
            .blocked_all(g.blockers);
    }
    let said = format!(
        "{} belongs to {} from epoch {} on; nothing was lost",
        v.intent.placement,
        leg.to,
        v.journal.epoch.next()
    );
    Draft::journal(v, |j| commit(v, j, leg)).event(Severity::Normal, "OwnershipCommitted", said)
}

/// Without the capture the target could not be made: nothing goes on, and above all no empty capture is written over it.
fn capture_lost(leg: &Leg<'_>) -> Draft {
    let remedy = format!(
        "restore the capture's Secrets in the hub's namespace, or take the move back: preferredCluster: {}",
        leg.from
    );
    Draft::wait("waits for the capture")
        .blocked(Blocker::new(
            Reason::NoCapture,
            "no complete capture is readable any more",
            remedy,
        ))
        .again(2_000)
}

/// The point of no return of a relocation: every volume of the source is demoted and drained, seen fresh.
fn commit(v: &View<'_>, j: &mut Journal, leg: &Leg<'_>) {
    j.commit(leg.to.clone());
    j.step("Promote", v.now);
    j.served = Some(v.intent.request.clone());
    j.protected_since = Some(v.now);
    j.phase = Phase::Promoting {
        from: leg.from.clone(),
        to: leg.to.clone(),
        kind: leg.kind,
    };
}
