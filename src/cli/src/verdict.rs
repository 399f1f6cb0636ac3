//! What became of a move, read from the placement alone.

use lifeboat_api::placement::{Action, Blocker};
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
/// application runs, because the lost side may never come back.
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
        ("Steady", true) => Verdict::Done,
        ("CleaningUp", true) if wish.action == Action::Failover => Verdict::Done,
        ("Cancelling", _) => Verdict::Over("the move is being taken back".to_owned()),
        ("Steady" | "Undecided", false) => standing(status),
        _ => Verdict::Running,
    }
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
    use crate::view::testing::{blocker, condition, steady};

    fn wish(action: Action) -> Wish {
        Wish {
            action,
            to: "west".to_owned(),
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
        let over = |v| matches!(v, Verdict::Over(_));
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
            (Relocate, "Cancelling", "east", &over),
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
