//! What is told of a plan: conditions, volumes, gates and blockers, from the same facts that the plan was made of.

use std::collections::BTreeSet;

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::Workloads;
use crate::journal::{Before, Phase};
use crate::observed::{AgentFacts, ClusterFacts, Replicator, VrStatus};
use crate::report::{ConditionKind, ConditionReport, DivergedReport, Report, Tri, VolumeReport};

use super::draft::Draft;
use super::protect::{self, protectable, unsynced};
use super::view::{View, holds_anything, names, replication};
use super::{Plan, gates, unproven};

/// Completes a draft. A plan that changes the journal is told on the new journal, and has no steps.
pub(super) fn finish(v: &View<'_>, mut draft: Draft) -> Plan {
    if let Some(journal) = &mut draft.journal {
        // With the next write, whatever it is for: the policy may know such a cluster no more by the time it matters.
        journal.reached.extend(v.journal.clusters());
        let holds = |id: &&ClusterId| holds_anything(v.at(id));
        journal
            .reached
            .extend(v.observed.clusters.keys().filter(holds).cloned());
    }
    let after = draft.journal.as_ref().unwrap_or(v.journal);
    let told = View {
        journal: after,
        oldest_capture: after.capture,
        ..*v
    };
    let (steps, aside) = if draft.journal.is_some() {
        (Vec::new(), Vec::new())
    } else {
        (draft.steps, draft.aside)
    };
    let report = Report {
        conditions: conditions(&told, draft.blockers.first(), &draft.text),
        volumes: volumes(&told),
        last_sync: told.oldest_sync(),
        diverged: diverged(&told),
        step: draft.text,
        blockers: draft.blockers,
        gates: draft.gates,
        events: draft.events,
    };
    Plan {
        journal: draft.journal,
        steps,
        aside,
        again_after_ms: draft.again_after_ms,
        report,
    }
}

fn conditions(
    v: &View<'_>,
    blocker: Option<&crate::wait::Blocker>,
    text: &str,
) -> Vec<ConditionReport> {
    let c = |kind, (status, reason, message): (Tri, &str, String)| ConditionReport {
        kind,
        status,
        reason: reason.to_owned(),
        message,
    };
    let moving = match &v.journal.phase {
        Phase::Undecided | Phase::Steady => {
            let held = v.pending().and(blocker);
            match held {
                Some(b) => (Tri::False, reason_word(b.reason), b.message.clone()),
                None => (Tri::False, "Idle", text.to_owned()),
            }
        }
        other => (Tri::True, other.as_str(), text.to_owned()),
    };
    vec![
        c(
            ConditionKind::Accepted,
            (Tri::True, "Valid", "the spec can be followed".into()),
        ),
        c(ConditionKind::Available, available(v)),
        c(ConditionKind::Protected, protected(v)),
        c(ConditionKind::PeerReady, peer_ready(v)),
        c(ConditionKind::FailoverArmed, armed(v)),
        c(ConditionKind::Progressing, moving),
        c(ConditionKind::Guarded, guarded(v)),
    ]
}

/// What the agents have found out about the data of former primaries, newest first. Of a cluster that is not seen: as it was last seen.
fn diverged(v: &View<'_>) -> Vec<DivergedReport> {
    let of = |(cluster, facts): (&ClusterId, &ClusterFacts)| {
        let all = facts.diverged.iter().cloned();
        all.map(|facts| DivergedReport {
            cluster: cluster.clone(),
            facts,
        })
        .collect::<Vec<_>>()
    };
    let mut all: Vec<DivergedReport> = v.observed.clusters.iter().flat_map(of).collect();
    all.sort_by(|a, b| {
        let newest = |x: &DivergedReport| std::cmp::Reverse(x.facts.epoch);
        (newest(a), &a.facts.claim, &a.cluster).cmp(&(newest(b), &b.facts.claim, &b.cluster))
    });
    all
}

/// The word of a reason, as in conditions.
fn reason_word(reason: crate::wait::Reason) -> &'static str {
    use crate::wait::Reason as R;
    match reason {
        R::SourceUnreachable => "SourceUnreachable",
        R::TargetUnreachable => "TargetUnreachable",
        R::OutOfStep => "OutOfStep",
        R::ClusterUnreachable => "ClusterUnreachable",
        R::AgentNotAlive => "AgentNotAlive",
        R::DriverNotReady => "DriverNotReady",
        R::ClusterNotInPolicy => "ClusterNotInPolicy",
        R::FailoverDisabled => "FailoverDisabled",
        R::NoTarget => "NoTarget",
        R::NothingSelected => "NothingSelected",
        R::VolumeUnprotectable => "VolumeUnprotectable",
        R::ClaimedByOther => "ClaimedByOther",
        R::NotSynced => "NotSynced",
        R::UnverifiedCopy => "UnverifiedCopy",
        R::SalvageImpossible => "SalvageImpossible",
        R::NoCapture => "NoCapture",
        R::ArchiveUnreadable => "ArchiveUnreadable",
        R::Collision => "Collision",
        R::NamespaceTerminating => "NamespaceTerminating",
        R::ClassMismatch => "ClassMismatch",
        R::VolumeInUse => "VolumeInUse",
        R::Demoting => "Demoting",
        R::Promoting => "Promoting",
        R::Binding => "Binding",
        R::WorkloadStarting => "WorkloadStarting",
        R::WorkloadStopping => "WorkloadStopping",
        R::Resyncing => "Resyncing",
        R::Deleting => "Deleting",
        R::StaleHub => "StaleHub",
        R::StepFailed => "StepFailed",
        R::OwnershipConflict => "OwnershipConflict",
        R::IdentityUnclear => "IdentityUnclear",
    }
}

type Answer = (Tri, &'static str, String);

/// Can the application run where it belongs?
fn available(v: &View<'_>) -> Answer {
    let Some(owner) = &v.journal.owner else {
        return (
            Tri::Unknown,
            "Undecided",
            "no cluster owns the application yet".into(),
        );
    };
    match &v.journal.phase {
        Phase::Relocating {
            stage: Before::Quiesce | Before::Demote,
            to,
            ..
        } => {
            return (
                Tri::False,
                "Relocating",
                format!("stopped on {owner}, on its way to {to}"),
            );
        }
        Phase::Cancelling { .. } => {
            return (Tri::False, "Cancelling", format!("coming back on {owner}"));
        }
        Phase::Promoting { .. } => {
            return (
                Tri::False,
                "Promoting",
                format!("its volumes are being promoted on {owner}"),
            );
        }
        Phase::Starting { .. } => {
            return (Tri::False, "Starting", format!("it is starting on {owner}"));
        }
        Phase::Undecided
        | Phase::Steady
        | Phase::Relocating { .. }
        | Phase::CleaningUp { .. }
        | Phase::Removing => {}
    }
    if !v.fresh(owner) {
        return (
            Tri::Unknown,
            "SourceUnreachable",
            format!("{owner} {}", v.at(owner).contact.describe()),
        );
    }
    let facts = v.at(owner);
    let p = protectable(v, owner);
    if p.classes.is_empty() {
        return (
            Tri::Unknown,
            "NothingSelected",
            format!("the pvcSelector matches nothing on {owner} that can be protected"),
        );
    }
    let not_primary: Vec<&ClaimKey> = p
        .classes
        .keys()
        .filter(|k| {
            replication(facts, k).is_some_and(|r| {
                matches!(
                    r.status,
                    VrStatus::Demoted
                        | VrStatus::Drained
                        | VrStatus::Resyncing
                        | VrStatus::Apart { .. }
                )
            })
        })
        .collect();
    if !not_primary.is_empty() {
        return (
            Tri::False,
            "NotPrimary",
            format!("not primary on {owner}: {}", names(not_primary)),
        );
    }
    if v.intent.workloads == Workloads::Selected {
        let down: Vec<String> = facts
            .workloads
            .iter()
            .filter(|(_, w)| w.ready < w.replicas)
            .map(|(k, w)| format!("{k} ({} of {} ready)", w.ready, w.replicas))
            .collect();
        if !down.is_empty() {
            return (
                Tri::False,
                "WorkloadNotReady",
                format!("on {owner}: {}", names(down)),
            );
        }
    }
    (Tri::True, "Running", format!("runs on {owner}"))
}

/// Is there a copy of everything elsewhere?
fn protected(v: &View<'_>) -> Answer {
    let Some(owner) = &v.journal.owner else {
        return (
            Tri::Unknown,
            "Undecided",
            "no cluster owns the application yet".into(),
        );
    };
    if !v.fresh(owner) {
        return (
            Tri::Unknown,
            "SourceUnreachable",
            format!("{owner} {}", v.at(owner).contact.describe()),
        );
    }
    if matches!(
        v.journal.phase,
        Phase::Promoting { .. } | Phase::Starting { .. }
    ) {
        return (
            Tri::False,
            "Moving",
            format!("the volumes on {owner} have not been copied since the move"),
        );
    }
    let p = protectable(v, owner);
    if let Some(wrong) = p.wrong.values().next() {
        return (Tri::False, reason_word(wrong.reason), wrong.message.clone());
    }
    if p.classes.is_empty() {
        return (
            Tri::False,
            "NothingSelected",
            format!("the pvcSelector matches no claim on {owner}"),
        );
    }
    if matches!(
        v.journal.phase,
        Phase::Relocating {
            stage: Before::Demote,
            ..
        } | Phase::Cancelling { .. }
    ) {
        return (
            Tri::Unknown,
            "Moving",
            "the volumes are between their roles".into(),
        );
    }
    let late = unsynced(v, owner, &p.claims());
    if !late.is_empty() {
        return (Tri::False, "NotSynced", names(late));
    }
    if let Some(said) = unproven::everywhere(v, owner, &p.claims()) {
        return (Tri::False, "Resyncing", said);
    }
    if !protect::captured(v, &p.claims()) {
        return (
            Tri::False,
            "NotCaptured",
            "the application has changed since its last capture".into(),
        );
    }
    (
        Tri::True,
        "Synced",
        format!(
            "{} volumes have a copy, and the capture is complete",
            p.classes.len()
        ),
    )
}

/// Could another cluster take it?
fn peer_ready(v: &View<'_>) -> Answer {
    let Some(owner) = &v.journal.owner else {
        return (
            Tri::Unknown,
            "Undecided",
            "no cluster owns the application yet".into(),
        );
    };
    let peers: Vec<&ClusterId> = v.policy.clusters.iter().filter(|id| *id != owner).collect();
    let fit: Vec<&&ClusterId> = peers
        .iter()
        .filter(|id| gates::target(v, id).open())
        .collect();
    if !fit.is_empty() {
        return (
            Tri::True,
            "TargetReady",
            format!("fit to take the application: {}", names(fit)),
        );
    }
    let why = peers
        .iter()
        .flat_map(|id| gates::target(v, id).blockers)
        .map(|b| b.message);
    let status = if peers.iter().any(|id| v.fresh(id)) {
        Tri::False
    } else {
        Tri::Unknown
    };
    (status, "NoTarget", names(why))
}

/// Does whoever works the volumes check what is granted?
fn guarded(v: &View<'_>) -> Answer {
    let upstream = |id: &&ClusterId| v.at(id).replicator == Replicator::Upstream;
    let without: Vec<&ClusterId> = v.policy.clusters.iter().filter(upstream).collect();
    if without.is_empty() {
        let unseen =
            |id: &&ClusterId| v.fresh(id) && !matches!(v.at(id).agent, AgentFacts::Alive { .. });
        let unseen: Vec<&ClusterId> = v.policy.clusters.iter().filter(unseen).collect();
        if !v.policy.clusters.iter().any(|id| v.fresh(id)) {
            let message = "none of the clusters answers, so nothing is known of their agents";
            return (Tri::Unknown, "ClusterUnreachable", message.to_owned());
        }
        if !unseen.is_empty() {
            let message = format!("no living agent is seen on {}", names(unseen));
            return (Tri::Unknown, "AgentNotAlive", message);
        }
        let message = "agents promote volumes only at the epoch that is granted".to_owned();
        return (Tri::True, "EpochsChecked", message);
    }
    let message = format!(
        "on {} the controllers of the CSI-Addons project work the volumes, and check no epoch: what an old hub or a restored backup asks for is done, a promotion is forced as soon as the driver asks for it, an order to resync does not lapse, and to delete a VolumeReplication switches replication off",
        names(without)
    );
    (Tri::False, "UpstreamControllers", message)
}

/// Would a failover be allowed now?
fn armed(v: &View<'_>) -> Answer {
    let Some(owner) = &v.journal.owner else {
        return (
            Tri::Unknown,
            "Undecided",
            "no cluster owns the application yet".into(),
        );
    };
    if matches!(
        v.journal.phase,
        Phase::Promoting { .. }
            | Phase::Starting { .. }
            | Phase::Cancelling { .. }
            | Phase::Removing
    ) {
        return (Tri::False, "MoveInProgress", "a move is under way".into());
    }
    let peers = v.policy.clusters.iter().filter(|id| *id != owner);
    let mut why = Vec::new();
    for to in peers {
        let g = gates::failover(v, owner, to);
        if g.open() {
            return (
                Tri::True,
                "Armed",
                format!("a failover to {to} would be made when asked for"),
            );
        }
        why.extend(g.blockers.into_iter().take(1).map(|b| b.message));
    }
    (Tri::False, "Disarmed", names(why))
}

fn volumes(v: &View<'_>) -> Vec<VolumeReport> {
    let Some(owner) = &v.journal.owner else {
        return Vec::new();
    };
    let facts = v.at(owner);
    let p = protectable(v, owner);
    let mut keys: BTreeSet<ClaimKey> = p.classes.keys().chain(p.wrong.keys()).cloned().collect();
    keys.extend(
        v.capture()
            .into_iter()
            .flat_map(|c| c.volumes.keys().cloned()),
    );
    keys.into_iter()
        .map(|claim| {
            let r = replication(facts, &claim).filter(|r| r.epoch == Some(v.journal.epoch));
            let (state, said) = match r.map(|r| &r.status) {
                _ if p.wrong.contains_key(&claim) => (
                    "Unprotected",
                    p.wrong.get(&claim).map(|b| b.message.clone()),
                ),
                _ if !facts.contact.is_fresh() => ("Unknown", None),
                None => ("Unprotected", None),
                Some(VrStatus::Primary) => ("Primary", None),
                Some(VrStatus::Pending) => ("Unknown", None),
                Some(VrStatus::Failed { message }) => ("Unknown", Some(message.clone())),
                Some(VrStatus::Apart { message }) => ("Secondary", Some(message.clone())),
                Some(VrStatus::Drained | VrStatus::Demoted | VrStatus::Resyncing) => {
                    ("Secondary", None)
                }
            };
            let handle = facts
                .volumes
                .get(&claim)
                .and_then(|x| x.volume.as_ref()?.csi.as_ref())
                .map(|c| c.handle.clone());
            let captured = v.capture().and_then(|c| c.volumes.get(&claim));
            // Of the volume that is there now, or else of the one that was captured.
            let synced = v.journal.synced.get(&claim);
            let synced = match (&handle, captured) {
                (Some(h), _) if synced.is_some_and(|s| s.handle.as_ref() == Some(h)) => {
                    synced.map(|s| s.at)
                }
                (_, Some(c)) => v.copied(&claim, c).at(),
                (_, None) => None,
            };
            let handle = handle.or_else(|| captured.map(|c| c.csi.handle.clone()));
            VolumeReport {
                handle,
                state: state.to_owned(),
                last_sync: synced,
                message: said,
                claim,
            }
        })
        .collect()
}
