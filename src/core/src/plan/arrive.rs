//! After the commit: only forward. The volumes become primary on the target, then the application starts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::intent::{Life, MoveKind, Workloads};
use crate::journal::Phase;
use crate::observed::{CaptureFacts, Deleting, Role, VrStatus};
use crate::report::Severity;
use crate::step::{Force, Step};
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::hold::binding;
use super::quarantine::old_owners;
use super::relocate::{Staged, staged};
use super::view::{View, names, replication};
use super::{failover, gates, protect};

/// Volumes are made and promoted on the target.
pub(super) fn promote(v: &View<'_>, from: &ClusterId, to: &ClusterId, kind: MoveKind) -> Draft {
    if let Some(draft) = other_way(v, to).or_else(|| target_silent(v, to)) {
        return draft;
    }
    let force = if kind == MoveKind::Failover {
        Force::Granted
    } else {
        Force::Denied
    };
    if kind == MoveKind::Failover
        && v.capture().is_none()
        && let Some(older) = v.older_capture()
    {
        // The capture was lost after the commit, and there is no source to take another from.
        let older_will_do = View {
            oldest_capture: older.version,
            ..*v
        };
        let draft = Draft::journal(v, |j| j.capture = older.version);
        return failover::tell_older(&older_will_do, draft);
    }
    let Some(capture) = v.capture() else {
        let why = v
            .observed
            .archive
            .unreadable
            .clone()
            .unwrap_or_else(|| "no complete capture is readable".into());
        let blocker = Blocker::new(
            Reason::NoCapture,
            format!("the capture of the application: {why}"),
            "restore the capture's Secrets in the hub's namespace",
        );
        return Draft::wait("waits for the capture")
            .blocked(blocker)
            .again(2_000);
    };
    // Whoever was primary before and answers gives it up first.
    let mut steps: Vec<Step> = old_owners(v);
    steps.extend(v.record(to, force));
    let mut bind = Vec::new();
    match staged(v, to, v.journal.epoch) {
        Staged::Lacks(more) => steps.extend(more),
        Staged::Binding(claims) => bind = claims,
        Staged::Bound => {}
    }
    let facts = v.at(to);
    let lacking = |k: &ClaimKey| {
        replication(facts, k)
            .is_none_or(|r| r.desired != Role::Primary || r.epoch != Some(v.journal.epoch))
    };
    let unreplicated: BTreeMap<ClaimKey, String> = capture
        .volumes
        .iter()
        .filter(|(k, _)| lacking(k))
        .filter_map(|(k, c)| {
            c.storage_class
                .as_ref()
                .and_then(|s| v.policy.classes.get(s))
                .map(|class| (k.clone(), class.clone()))
        })
        .collect();
    if !unreplicated.is_empty() {
        steps.push(Step::Replicate {
            cluster: to.clone(),
            claims: unreplicated,
            role: Role::Primary,
            epoch: v.journal.epoch,
        });
    }
    if !steps.is_empty() {
        return Draft::act(
            format!(
                "promoting {} volumes on {to} at epoch {}",
                capture.volumes.len(),
                v.journal.epoch
            ),
            steps,
        );
    }
    if !bind.is_empty() {
        return binding(to, bind);
    }
    let claims: BTreeSet<ClaimKey> = capture.volumes.keys().cloned().collect();
    if v.primary_everywhere(&claims) {
        let (from, to) = (from.clone(), to.clone());
        return Draft::journal(v, |j| {
            j.step("Start", v.now);
            j.phase = Phase::Starting { from, to, kind };
        });
    }
    promoting(v, to, &claims)
}

/// Says which volumes are not primary yet, and what their driver says.
fn promoting(v: &View<'_>, to: &ClusterId, claims: &BTreeSet<ClaimKey>) -> Draft {
    let facts = v.at(to);
    let done = claims
        .iter()
        .filter(|k| replication(facts, k).is_some_and(|r| r.status == VrStatus::Primary))
        .count();
    let failed = claims
        .iter()
        .filter_map(|k| match replication(facts, k).map(|r| &r.status) {
            Some(VrStatus::Failed { message }) => Some(Blocker::new(
                Reason::Promoting,
                format!("{k} on {to}: {message}"),
                "the agent tries again; look at the driver if this stays",
            )),
            _ => None,
        });
    let mut blockers: Vec<Blocker> = failed.collect();
    blockers.extend(unclassed(v));
    let drivers = v
        .capture()
        .map(|c| c.volumes.values().map(|x| x.csi.driver.clone()).collect())
        .unwrap_or_default();
    blockers.extend(protect::agent_trouble(facts, to, &drivers));
    let mut gates = Vec::new();
    if may_be_forced(v, to) {
        let told = gates::copy_state(v, to);
        blockers.extend(told.blockers);
        gates = told.gates;
    }
    Draft::wait(format!(
        "promoting on {to}: {done} of {} volumes are primary",
        claims.len()
    ))
    .blocked_all(blockers)
    .gated(gates)
}

/// Volumes whose storage class the policy does not know any more.
fn unclassed(v: &View<'_>) -> Option<Blocker> {
    let volumes = &v.capture()?.volumes;
    let lacks = |class: &Option<String>| {
        class
            .as_ref()
            .is_none_or(|c| !v.policy.classes.contains_key(c))
    };
    let (claim, _) = volumes.iter().find(|(_, c)| lacks(&c.storage_class))?;
    Some(Blocker::new(
        Reason::ClassMismatch,
        format!("the policy has no VolumeReplicationClass for the storage class of {claim}"),
        "add it to classes of the DRPolicy",
    ))
}

/// The user accepts a loss after the commit: a target that cannot go on is forced, or given up for another cluster.
fn other_way(v: &View<'_>, to: &ClusterId) -> Option<Draft> {
    if v.intent.life == Life::Leaving || v.pending() != Some(MoveKind::Failover) {
        return None;
    }
    if may_be_forced(v, to) {
        if !gates::copy_state(v, to).open() {
            return None;
        }
        let said = format!("{to} may be forced: the loss was accepted");
        let forced = Draft::journal(v, |j| {
            j.served = Some(v.intent.request.clone());
            if let Phase::Promoting { kind, .. } = &mut j.phase {
                *kind = MoveKind::Failover;
            }
        });
        return Some(forced.event(Severity::Warning, "PromotionForced", said));
    }
    match failover::wish(v, to) {
        Wish::Begin(draft) => Some(draft),
        Wish::None | Wish::Held(_) => None,
    }
}

/// Whether a failover is asked for to where the application is going anyway.
fn may_be_forced(v: &View<'_>, to: &ClusterId) -> bool {
    let asked = v.intent.life != Life::Leaving && v.pending() == Some(MoveKind::Failover);
    asked && v.fresh(to) && failover::named(v, to).is_none_or(|named| named == to)
}

/// The target fell silent after the commit. Another failover is the way out.
fn target_silent(v: &View<'_>, to: &ClusterId) -> Option<Draft> {
    if v.fresh(to) {
        return None;
    }
    let message = format!("{to} {}", v.at(to).contact.describe());
    let remedy = if v.intent.life == Life::Leaving {
        "bring it back, or delete its DRCluster if it is gone for good"
    } else {
        "bring it back, or fail over to another cluster of the policy: action: Failover, failoverCluster"
    };
    let reason = v.unseen(to, Reason::TargetUnreachable);
    let mut draft = Draft::wait(format!("{message}; {} waits for it", v.intent.placement))
        .blocked(Blocker::new(reason, message, remedy));
    if v.pending() == Some(MoveKind::Failover)
        && let Wish::Held(held) = failover::wish(v, to)
    {
        draft = draft.blocked_all(held.blockers).gated(held.gates);
    }
    if v.intent.life == Life::Leaving {
        draft = draft.again(1_000);
    }
    Some(draft)
}

/// The application starts, all of its volumes being primary.
pub(super) fn start(v: &View<'_>, from: &ClusterId, to: &ClusterId, kind: MoveKind) -> Draft {
    if let Some(draft) = other_way(v, to).or_else(|| target_silent(v, to)) {
        return draft;
    }
    let Some(capture) = v.capture() else {
        return Draft::wait("waits for the capture").again(2_000);
    };
    let facts = v.at(to);
    let wanted = wanted(v, capture);
    let lacking = |k: &WorkloadKey, n: &i32| {
        facts.workloads.get(k).is_none_or(|w| {
            w.deleting == Deleting::Yes
                || w.replicas < *n && w.remembered.is_some()
                || w.replicas == 0 && *n > 0
        })
    };
    if wanted.iter().any(|(k, n)| lacking(k, n)) {
        let step = Step::Start {
            cluster: to.clone(),
            capture: capture.version,
            epoch: v.journal.epoch,
        };
        return Draft::act(
            format!("starting {} on {to}", names(wanted.keys())),
            vec![step],
        );
    }
    let waiting = unready(v, to, &wanted);
    // One that never becomes ready must not hold the placement for ever: a new wish, or its end, is looked at next.
    let leaves = v.pending().is_some() || v.intent.life == Life::Leaving;
    let left = patience_left(v);
    if let Some(left) = left.filter(|_| !waiting.is_empty() && !leaves) {
        let message = format!("waits for {} on {to}", names(waiting));
        let remedy = format!("look at its pods on {to}: kubectl describe pods");
        let blocker = Blocker::new(Reason::WorkloadStarting, message.clone(), remedy);
        return Draft::wait(message).blocked(blocker).again(left);
    }
    let said = if waiting.is_empty() {
        format!("{} runs on {to}", v.intent.placement)
    } else {
        format!(
            "{} was started on {to}, and is not ready",
            v.intent.placement
        )
    };
    let (from, to) = (from.clone(), to.clone());
    let (severity, reason) = match kind {
        _ if !waiting.is_empty() => (Severity::Warning, "NotReady"),
        MoveKind::Relocate => (Severity::Normal, "Relocated"),
        MoveKind::Failover => (Severity::Normal, "FailedOver"),
    };
    Draft::journal(v, |j| {
        if let Some(record) = j.arrival_mut().filter(|_| waiting.is_empty()) {
            record.available = Some(v.now);
        }
        j.step("CleanUp", v.now);
        j.phase = Phase::CleaningUp {
            from,
            to,
            kind,
            resync: None,
        };
    })
    .event(severity, reason, said)
}

/// The workloads that are started, with their replicas.
fn wanted(v: &View<'_>, capture: &CaptureFacts) -> BTreeMap<WorkloadKey, i32> {
    match v.intent.workloads {
        Workloads::Selected => capture.workloads.clone(),
        Workloads::None => BTreeMap::new(),
    }
}

/// Which of them are not ready, in words.
fn unready(v: &View<'_>, on: &ClusterId, wanted: &BTreeMap<WorkloadKey, i32>) -> Vec<String> {
    let there = &v.at(on).workloads;
    let late = |(k, n): (&WorkloadKey, &i32)| {
        let seen = there.get(k);
        // Scaled to zero by a hand it is not ready: that says nothing of its data.
        let ready = seen.is_some_and(|w| w.ready >= (*n).min(w.replicas.max(1)));
        (!ready).then(|| format!("{k} ({} of {n} ready)", seen.map_or(0, |w| w.ready)))
    };
    wanted.iter().filter_map(late).collect()
}

/// Whether all that was to be started on the owner is seen ready there.
pub(super) fn runs(v: &View<'_>, on: &ClusterId) -> bool {
    let capture = v.capture().filter(|_| v.fresh(on));
    capture.is_some_and(|c| unready(v, on, &wanted(v, c)).is_empty())
}

/// An application that was not ready in time: noted when it is. One that was captured at zero replicas since, by a hand that stopped it,
/// has not become ready by that.
pub(super) fn runs_after_all(v: &View<'_>, on: &ClusterId) -> Option<Draft> {
    let late = v.journal.arrival().is_some_and(|m| m.available.is_none());
    let some = v.capture().is_some_and(|c| {
        let wanted = wanted(v, c);
        wanted.is_empty() || wanted.values().any(|n| *n > 0)
    });
    (late && some && runs(v, on)).then(|| {
        let said = format!("{} runs on {on}", v.intent.placement);
        Draft::journal(v, |j| {
            if let Some(record) = j.arrival_mut() {
                record.available = Some(v.now);
            }
        })
        .event(Severity::Normal, "Ready", said)
    })
}

/// How long a start may take before the application is protected whether it is ready or not.
const START: SignedDuration = SignedDuration::from_mins(2);

/// Milliseconds until a start that is not ready is not waited for any more. None: it is over.
fn patience_left(v: &View<'_>) -> Option<u64> {
    let begun = v.journal.arrival().and_then(|m| m.steps.last());
    let since = begun.map_or(START, |(_, at)| v.now.duration_since(*at));
    let left = START.checked_sub(since)?;
    u64::try_from(left.as_millis()).ok().filter(|ms| *ms > 0)
}
