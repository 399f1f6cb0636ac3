//! What the planner tells, as the status of a DRPlacement: the one place where that is written down.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::DRPlacementStatus;
use lifeboat_api::common::{set_condition, to_time};
use lifeboat_api::placement::{
    ActionRecord, Blocker as BlockerStatus, Gate, StepRecord, VolumeStatus,
};
use lifeboat_core::journal::MoveRecord;
use lifeboat_core::report::{
    ConditionKind, ConditionReport, GateReport, Report, Tri, VolumeReport,
};
use lifeboat_core::{Blocker, Journal};
use serde_json::Value;

use crate::diverged;
use crate::pace::Weight;
use crate::resolve::Invalid;

/// The kinds of conditions, in the order they are shown.
const CONDITIONS: [ConditionKind; 7] = [
    ConditionKind::Available,
    ConditionKind::Protected,
    ConditionKind::PeerReady,
    ConditionKind::Progressing,
    ConditionKind::FailoverArmed,
    ConditionKind::Accepted,
    ConditionKind::Guarded,
];

/// A journal that cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("status.journal cannot be read")]
pub(crate) struct JournalUnreadable(#[source] serde_json::Error);

/// The journal in a status. A placement without one has never been decided on; one that cannot be read is never taken
/// for that.
pub(crate) fn journal(status: Option<&DRPlacementStatus>) -> Result<Journal, JournalUnreadable> {
    match status.and_then(|s| s.journal.as_ref()) {
        None | Some(Value::Null) => Ok(Journal::default()),
        Some(value) => serde_json::from_value(value.clone()).map_err(JournalUnreadable),
    }
}

/// What a status is made from.
pub(crate) struct Told<'a> {
    pub(crate) report: &'a Report,
    /// What the executor ran into, on top of what the planner says.
    pub(crate) trouble: Option<&'a Blocker>,
    pub(crate) journal: &'a Journal,
    pub(crate) generation: Option<i64>,
    pub(crate) now: Timestamp,
}

/// The status. `before` lends the transition times of its conditions.
pub(crate) fn status(told: &Told<'_>, before: Option<&DRPlacementStatus>) -> DRPlacementStatus {
    let Report {
        step,
        blockers,
        gates,
        volumes,
        conditions,
        last_sync,
        diverged: former,
        events: _,
    } = told.report;
    let mut held: Vec<Condition> = before.map(|s| s.conditions.clone()).unwrap_or_default();
    for report in conditions {
        set_condition(
            &mut held,
            condition_status(report, told.generation, told.now),
        );
    }
    let journal = told.journal;
    // The journal as it stands, if it says the same: its text must not change with the version of the program.
    let stands = before
        .and_then(|s| s.journal.as_ref())
        .filter(|_| self::journal(before).is_ok_and(|j| j == *journal));
    let fresh = || {
        (*journal != Journal::default()).then(|| serde_json::to_value(journal).unwrap_or_default())
    };
    DRPlacementStatus {
        observed_generation: told.generation,
        phase: Some(journal.phase.as_str().to_owned()),
        step: Some(step.clone()).filter(|s| !s.is_empty()),
        cluster: journal.owner.as_ref().map(ToString::to_string),
        epoch: journal.owner.as_ref().map(|_| journal.epoch.0),
        last_sync_time: last_sync.map(to_time),
        volumes: volumes.iter().map(volume).collect(),
        blockers: blockers.iter().chain(told.trouble).map(blocker).collect(),
        gates: gates.iter().map(gate).collect(),
        divergence: former.iter().map(diverged::status).collect(),
        actions: journal.moves.iter().map(action).collect(),
        journal: stands.cloned().or_else(fresh),
        conditions: held,
    }
}

/// What `after` says beyond `before`. Reasons, blockers, gates and the times of steps change with every volume that comes
/// along: they are how far things have come, a verdict is not.
pub(crate) fn weight(before: &DRPlacementStatus, after: &DRPlacementStatus) -> Weight {
    let verdict = |c: &Condition| (c.type_.clone(), c.status.clone());
    let verdicts = |s: &DRPlacementStatus| s.conditions.iter().map(verdict).collect::<Vec<_>>();
    let news = before.observed_generation != after.observed_generation
        || before.phase != after.phase
        || before.cluster != after.cluster
        || before.epoch != after.epoch
        || before.journal != after.journal
        || verdicts(before) != verdicts(after);
    if news { Weight::News } else { Weight::Progress }
}

/// The status of a placement whose spec cannot be followed: where it was last seen stays, how it is there is unknown.
pub(crate) fn rejected(
    invalid: &Invalid,
    before: Option<&DRPlacementStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> DRPlacementStatus {
    let mut status = before.cloned().unwrap_or_default();
    let Invalid {
        reason,
        message,
        remedy,
    } = invalid;
    status.observed_generation = generation;
    status.step = Some(message.clone());
    // Questions that are no longer asked have no answer.
    status.gates = Vec::new();
    status.blockers = vec![BlockerStatus {
        reason: (*reason).to_owned(),
        message: message.clone(),
        remedy: remedy.clone(),
    }];
    for kind in CONDITIONS {
        let accepted = kind == ConditionKind::Accepted;
        // Nobody looks any more: what was true may end at any time without a word, so nothing stays True.
        let report = ConditionReport {
            kind,
            status: if accepted { Tri::False } else { Tri::Unknown },
            reason: if accepted {
                (*reason).to_owned()
            } else {
                "NotAccepted".to_owned()
            },
            message: message.clone(),
        };
        set_condition(
            &mut status.conditions,
            condition_status(&report, generation, now),
        );
    }
    status
}

fn condition_status(
    report: &ConditionReport,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let ConditionReport {
        kind,
        status,
        reason,
        message,
    } = report;
    Condition {
        type_: kind.as_str().to_owned(),
        status: tri(*status).to_owned(),
        reason: reason.clone(),
        message: message.clone(),
        observed_generation: generation,
        last_transition_time: to_time(now),
    }
}

/// A condition's status.
pub(crate) fn tri(value: Tri) -> &'static str {
    match value {
        Tri::True => "True",
        Tri::False => "False",
        Tri::Unknown => "Unknown",
    }
}

fn volume(report: &VolumeReport) -> VolumeStatus {
    let VolumeReport {
        claim,
        handle,
        state,
        last_sync,
        message,
    } = report;
    VolumeStatus {
        namespace: claim.namespace.clone(),
        name: claim.name.clone(),
        handle: handle.clone(),
        state: state.clone(),
        last_sync_time: last_sync.map(to_time),
        message: message.clone(),
    }
}

fn blocker(blocker: &Blocker) -> BlockerStatus {
    let Blocker {
        reason,
        message,
        remedy,
    } = blocker;
    BlockerStatus {
        reason: format!("{reason:?}"),
        message: message.clone(),
        remedy: remedy.clone(),
    }
}

fn gate(report: &GateReport) -> Gate {
    let GateReport {
        action,
        target,
        name,
        state,
        message,
    } = report;
    let state = match state {
        Tri::True => "Pass",
        Tri::False => "Fail",
        Tri::Unknown => "Unknown",
    };
    Gate {
        action: action.as_str().to_owned(),
        target: target.as_ref().map(ToString::to_string),
        name: name.clone(),
        state: state.to_owned(),
        message: message.clone(),
    }
}

fn action(record: &MoveRecord) -> ActionRecord {
    let MoveRecord {
        kind,
        from,
        to,
        epoch,
        started,
        available,
        ended,
        loss_seconds,
        cancelled,
        steps,
    } = record;
    let result = match (cancelled, ended) {
        (Some(_), _) => "Cancelled",
        (None, Some(_)) => "Succeeded",
        (None, None) => "Running",
    };
    let ends = steps
        .iter()
        .skip(1)
        .map(|(_, began)| Some(*began))
        .chain([*ended]);
    let steps = steps
        .iter()
        .zip(ends)
        .map(|((name, began), end)| StepRecord {
            name: name.clone(),
            start_time: Some(to_time(*began)),
            milliseconds: end
                .and_then(|end| i64::try_from(end.duration_since(*began).as_millis()).ok()),
        });
    ActionRecord {
        kind: kind.as_str().to_owned(),
        from: from.to_string(),
        to: to.to_string(),
        epoch: epoch.map(|e| e.0),
        start_time: Some(to_time(*started)),
        available_time: available.map(to_time),
        complete_time: ended.map(to_time),
        data_loss_seconds: *loss_seconds,
        result: result.to_owned(),
        steps: steps.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_core::wait::Reason;
    use lifeboat_core::{ClusterId, MoveKind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_report_twice_is_the_same_status() {
        let mut journal = Journal {
            owner: Some(ClusterId::new("dr1")),
            ..Journal::default()
        };
        journal.begin(
            MoveKind::Relocate,
            &ClusterId::new("dr1"),
            &ClusterId::new("dr2"),
            at(10),
        );
        journal.step("Prepare", at(10));
        journal.step("Quiesce", at(12));
        let accepted = ConditionReport {
            kind: ConditionKind::Accepted,
            status: Tri::True,
            reason: "Valid".into(),
            message: String::new(),
        };
        let report = Report {
            step: "stopping".into(),
            conditions: vec![accepted],
            ..Report::default()
        };
        let trouble = Blocker::new(Reason::StepFailed, "no", "wait");
        let told = |now| Told {
            report: &report,
            trouble: Some(&trouble),
            journal: &journal,
            generation: Some(3),
            now,
        };
        let first = status(&told(at(20)), None);
        let second = status(&told(at(99)), Some(&first));
        assert_eq!(first, second, "time alone changes nothing");
        let steps: Vec<_> = first.actions[0]
            .steps
            .iter()
            .map(|s| s.milliseconds)
            .collect();
        assert_eq!(steps, [Some(2000), None]);
        assert_eq!(first.blockers[0].reason, "StepFailed");
        assert_eq!(super::journal(Some(&first)).unwrap(), journal);
    }

    #[test]
    fn what_nobody_looks_at_any_more_is_unknown_and_never_healthy() {
        let healthy = CONDITIONS.map(|kind| ConditionReport {
            kind,
            status: Tri::True,
            reason: "Well".into(),
            message: String::new(),
        });
        let report = Report {
            conditions: healthy.to_vec(),
            ..Report::default()
        };
        let told = Told {
            report: &report,
            trouble: None,
            journal: &Journal::default(),
            generation: Some(3),
            now: at(10),
        };
        let before = status(&told, None);
        let invalid = Invalid {
            reason: "PolicyMissing",
            message: "DRPolicy gold does not exist".into(),
            remedy: "create the DRPolicy".into(),
        };
        let after = rejected(&invalid, Some(&before), Some(4), at(20));
        let said = |kind: ConditionKind| {
            let held = after.conditions.iter().find(|c| c.type_ == kind.as_str());
            held.map(|c| (c.status.as_str(), c.reason.as_str(), c.observed_generation))
        };
        for kind in CONDITIONS {
            let expected = if kind == ConditionKind::Accepted {
                ("False", "PolicyMissing", Some(4))
            } else {
                ("Unknown", "NotAccepted", Some(4))
            };
            assert_eq!(said(kind), Some(expected), "{}", kind.as_str());
        }
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
        let status = DRPlacementStatus {
            journal: Some(serde_json::json!({"phase": "Nonsense"})),
            ..DRPlacementStatus::default()
        };
        assert!(journal(Some(&status)).is_err());
        assert_eq!(journal(None).unwrap(), Journal::default());
    }
}
