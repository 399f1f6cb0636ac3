//! What became of a move, read from the placement alone.

use lifeboat_api::placement::{Action, ActionRecord, Blocker};
use lifeboat_api::{DRPlacement, DRPlacementStatus};
use lifeboat_core::wait::Reason;

use crate::placement::Wish;

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Running,
    /// It is where it was wanted.
    Done,
    /// It stands before its beginning, and will stand until a person does something.
    Blocked(String),
    /// It will not happen: taken back, or somebody wants something else by now.
    Over(String),
}

/// Judges a move that was asked for at `generation`. A relocation is done when the old side is clean; a failover when the
/// application runs, because the lost side may never come back. Neither is done before the application ran there.
///
/// A move that is taken back while this wish stands is an earlier one that is in its way, or the very one that it takes
/// back: the hub turns to the wish right after that.
pub(crate) fn judge(placement: &DRPlacement, wish: &Wish, generation: i64) -> Verdict {
    if placement.metadata.deletion_timestamp.is_some() {
        return Verdict::Over("the placement is being deleted".to_owned());
    }
    if !wish.stands_in(&placement.spec) {
        return Verdict::Over(
            "something else is wanted by now: the spec was changed by someone else".to_owned(),
        );
    }
    let Some(status) = &placement.status else {
        return Verdict::Running;
    };
    if status.observed_generation.unwrap_or(0) < generation {
        return Verdict::Running;
    }
    if let Some(why) = rejected(status) {
        return Verdict::Over(why);
    }
    let there = status.cluster.as_deref() == Some(wish.to.as_str());
    match (status.phase.as_deref().unwrap_or_default(), there) {
        ("Steady", true) if ran(status) || is_available(status) => Verdict::Done,
        ("CleaningUp", true) if wish.action == Action::Failover && ran(status) => Verdict::Done,
        ("Steady" | "Undecided", false) => standing(status),
        _ => Verdict::Running,
    }
}

/// Whether the application ran on its cluster since it came there: the hub goes on after a while even if it does not. Where
/// no move led to the present epoch, nothing had to start.
fn ran(status: &DRPlacementStatus) -> bool {
    let arrival = |a: &&ActionRecord| {
        a.epoch.is_some()
            && a.epoch == status.epoch
            && Some(a.to.as_str()) == status.cluster.as_deref()
            && a.result != "Cancelled"
    };
    let arrived = status.actions.iter().find(arrival);
    arrived.is_none_or(|a| a.available_time.is_some())
}

/// Whether it runs now: once the old side is clean, the hub notes no more when it began to.
fn is_available(status: &DRPlacementStatus) -> bool {
    lifeboat_api::common::condition(&status.conditions, "Available")
        .is_some_and(|c| c.status == "True")
}

/// Why the hub does not take the spec, if it does not.
fn rejected(status: &DRPlacementStatus) -> Option<String> {
    let accepted = lifeboat_api::common::condition(&status.conditions, "Accepted")?;
    (accepted.status == "False")
        .then(|| format!("the hub does not accept it: {}", accepted.message))
}

/// A move that has not begun, though the hub has seen the wish.
fn standing(status: &DRPlacementStatus) -> Verdict {
    let stuck: Vec<String> = status
        .blockers
        .iter()
        .filter(|b| needs_a_person(b))
        .map(line)
        .collect();
    if stuck.is_empty() {
        Verdict::Running
    } else {
        Verdict::Blocked(stuck.join("\n"))
    }
}

/// A blocker in words, with its remedy.
pub(crate) fn line(blocker: &Blocker) -> String {
    let remedy = if blocker.remedy.is_empty() {
        String::new()
    } else {
        format!("\n  what to do: {}", blocker.remedy)
    };
    format!("{}: {}{remedy}", blocker.reason, blocker.message)
}

/// Whether waiting alone does not help. A reason that we do not know may be anything, so a person should see it.
fn needs_a_person(blocker: &Blocker) -> bool {
    let known: Result<Reason, _> =
        serde_json::from_value(serde_json::Value::String(blocker.reason.clone()));
    !matches!(
        known,
        Ok(Reason::NotSynced
            | Reason::Demoting
            | Reason::Promoting
            | Reason::Binding
            | Reason::WorkloadStarting
            | Reason::WorkloadStopping
            | Reason::Resyncing
            | Reason::Deleting
            | Reason::OutOfStep)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{blocker, condition, moved, steady};

    fn wish(action: Action) -> Wish {
        Wish {
            action,
            to: "west".to_owned(),
            accept: Vec::new(),
        }
    }

    /// A placement on `cluster` in `phase`, whose hub has seen the wish.
    fn at(action: Action, phase: &str, cluster: &str) -> DRPlacement {
        let mut p = steady("db", cluster);
        p.spec.action = Some(action);
        match action {
            Action::Relocate => p.spec.preferred_cluster = "west".to_owned(),
            Action::Failover => p.spec.failover_cluster = Some("west".to_owned()),
        }
        if let Some(s) = &mut p.status {
            s.phase = Some(phase.to_owned());
            s.observed_generation = Some(5);
            s.blockers.clear();
        }
        p
    }

    /// The same, whose newest move has begun, and whose application does not run.
    fn down(mut p: DRPlacement, from: &str, to: &str) -> DRPlacement {
        let s = p.status.as_mut().unwrap();
        let mut record = moved("Failover", from, to);
        (record.available_time, record.complete_time) = (None, None);
        s.actions.insert(0, record);
        s.conditions = vec![condition("Available", "False", "WorkloadNotReady")];
        p
    }

    fn with_blocker(mut p: DRPlacement, reason: &str) -> DRPlacement {
        p.status.as_mut().unwrap().blockers.push(blocker(reason));
        p
    }

    #[test]
    fn verdicts() {
        use Action::{Failover, Relocate};
        let running = |v| v == Verdict::Running;
        let done = |v| v == Verdict::Done;
        let blocked = |v| matches!(v, Verdict::Blocked(_));
        for (action, phase, cluster, is) in [
            (
                Relocate,
                "Steady",
                "west",
                &done as &dyn Fn(Verdict) -> bool,
            ),
            (Relocate, "CleaningUp", "west", &running),
            (Failover, "CleaningUp", "west", &done),
            (Failover, "Starting", "west", &running),
            (Relocate, "Steady", "east", &running),
            (Relocate, "Relocating", "east", &running),
            (Relocate, "Cancelling", "east", &running),
            (Relocate, "Cancelling", "west", &running),
            (Failover, "Cancelling", "east", &running),
        ] {
            assert!(
                is(judge(&at(action, phase, cluster), &wish(action), 5)),
                "{action:?} {phase} {cluster}"
            );
        }
        let stuck = with_blocker(at(Relocate, "Steady", "east"), "SourceUnreachable");
        assert!(blocked(judge(&stuck, &wish(Relocate), 5)));
        assert!(
            running(judge(&stuck, &wish(Relocate), 6)),
            "what an older wish met is not about this one"
        );
        for passes in ["NotSynced", "OutOfStep"] {
            for (phase, on) in [("Steady", "east"), ("Undecided", "")] {
                let waits = with_blocker(at(Relocate, phase, on), passes);
                assert!(
                    running(judge(&waits, &wish(Relocate), 5)),
                    "{phase} {passes}"
                );
            }
        }
        let unknown = with_blocker(at(Relocate, "Steady", "east"), "SomethingNew");
        assert!(blocked(judge(&unknown, &wish(Relocate), 5)));
        let midway = with_blocker(at(Relocate, "Relocating", "east"), "VolumeInUse");
        assert!(running(judge(&midway, &wish(Relocate), 5)));
    }

    #[test]
    fn a_move_is_not_over_before_the_application_ran() {
        use Action::{Failover, Relocate};
        let is = |p: &DRPlacement, action, done: bool, why: &str| {
            let verdict = judge(p, &wish(action), 5);
            let expected = if done {
                Verdict::Done
            } else {
                Verdict::Running
            };
            assert_eq!(verdict, expected, "{why}");
        };
        for (action, phase) in [
            (Failover, "CleaningUp"),
            (Failover, "Steady"),
            (Relocate, "Steady"),
        ] {
            let waits = down(at(action, phase, "west"), "east", "west");
            is(&waits, action, false, "it never ran");
            let mut ran = waits.clone();
            let status = ran.status.as_mut().unwrap();
            status.actions[0].available_time = Some(crate::view::testing::ago(1));
            is(&ran, action, true, "it ran, and is down again");
            let mut late = waits.clone();
            let status = late.status.as_mut().unwrap();
            status.conditions = vec![condition("Available", "True", "Running")];
            is(&late, action, phase == "Steady", "it runs at last");
            let mut another = waits;
            another.status.as_mut().unwrap().actions[0].epoch = Some(2);
            is(&another, action, true, "another move did not bring it up");
        }
        // Taken back: what led to this epoch is an earlier move.
        let mut back = at(Relocate, "Steady", "west");
        let mut record = moved("Relocate", "west", "east");
        record.epoch = None;
        record.available_time = None;
        "Cancelled".clone_into(&mut record.result);
        back.status.as_mut().unwrap().actions.insert(0, record);
        is(&back, Relocate, true, "it stayed");
    }

    #[test]
    fn a_wish_that_no_longer_stands_is_over() {
        let mut p = at(Action::Relocate, "Relocating", "east");
        p.spec.preferred_cluster = "north".to_owned();
        assert!(matches!(
            judge(&p, &wish(Action::Relocate), 5),
            Verdict::Over(_)
        ));
        let mut p = at(Action::Relocate, "Steady", "east");
        p.status.as_mut().unwrap().conditions =
            vec![condition("Accepted", "False", "NoSuchPolicy")];
        assert!(matches!(
            judge(&p, &wish(Action::Relocate), 5),
            Verdict::Over(_)
        ));
    }
}
