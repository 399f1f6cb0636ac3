//! What is not seen: nothing is concluded from it, and nobody waits for it without looking again.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use lifeboat_core::Plan;
use lifeboat_core::ids::{ClaimKey, Epoch, ResyncRequest};
use lifeboat_core::intent::{Life, MoveKind, Risk};
use lifeboat_core::journal::{Anew, Cancelled, Journal, Phase};
use lifeboat_core::observed::{
    AgentFacts, ClusterFacts, Contact, Mark, Observed, Replicator, Role, VrStatus,
};
use lifeboat_core::report::Tri;
use lifeboat_core::testing::{DRIVER, Link, Model, id, running, workload};
use lifeboat_core::wait::Reason;

use crate::converge::{replan, step_to};
use crate::drive::{calm, fail_over, protected};

fn why() -> String {
    "no route".to_owned()
}

pub(crate) fn facts<'a>(observed: &'a mut Observed, name: &str) -> &'a mut ClusterFacts {
    observed.clusters.get_mut(&id(name)).unwrap()
}

/// `a` was lost, `b` owns the application, and the placement is in `phase`.
fn owned_by_b(phase: Phase) -> (Model, Observed) {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    step_to(&mut model, "Starting");
    calm(&mut model);
    model.journal = Journal {
        phase,
        ..model.journal.clone()
    };
    let observed = model.observe();
    (model, observed)
}

fn cleaning_up(model: &Model) -> Phase {
    Phase::CleaningUp {
        from: id("a"),
        to: id("b"),
        kind: MoveKind::Failover,
        resync: Some(model.now),
    }
}

/// The phases in which `b` owns the application and it may be long until the next.
fn phases() -> [Phase; 4] {
    let (from, to, kind) = (id("a"), id("b"), MoveKind::Failover);
    [
        Phase::Promoting {
            from: from.clone(),
            to: to.clone(),
            kind,
        },
        Phase::Starting {
            from: from.clone(),
            to: to.clone(),
            kind,
        },
        Phase::CleaningUp {
            from,
            to: to.clone(),
            kind,
            resync: None,
        },
        Phase::Cancelling {
            from: to,
            to: id("c"),
        },
    ]
}

#[test]
fn a_cluster_that_was_not_seen_yet_is_not_clean_even_if_the_policy_knows_it_no_more() {
    let (mut model, mut observed) = owned_by_b(phases()[2].clone());
    model.policy.clusters.retain(|c| *c != id("a"));
    let since = model.now;
    let unseen = |contact| ClusterFacts {
        contact,
        ..ClusterFacts::default()
    };
    for contact in [
        Contact::Never { since, why: why() },
        Contact::Refused { since, why: why() },
        Contact::Unregistered { since, why: why() },
    ] {
        *facts(&mut observed, "a") = unseen(contact.clone());
        let plan = replan(&model, &observed);
        assert!(plan.journal.is_none(), "{contact:?}: {plan:#?}");
        assert!(!plan.report.blockers.is_empty(), "{contact:?}: {plan:#?}");
    }
    // A person has taken it away for good.
    model.now += SignedDuration::from_secs(10);
    let plan = replan(&model, &observed);
    assert_eq!(plan.journal.unwrap().phase, Phase::Steady);
}

#[test]
fn while_a_failover_is_asked_for_an_owner_between_seen_and_silent_is_looked_at_again() {
    for phase in phases() {
        let (mut model, mut observed) = owned_by_b(phase.clone());
        fail_over(&mut model, "c");
        let since = model.now;
        facts(&mut observed, "b").contact = Contact::Behind { since, why: why() };
        let plan = replan(&model, &observed);
        let name = phase.as_str();
        assert!(plan.journal.is_none(), "{name}: {plan:#?}");
        assert!(plan.again_after_ms.is_some(), "{name}: {plan:#?}");
        let told = &plan.report.blockers;
        assert!(
            told.iter().any(|b| b.remedy.contains("counts as silent")),
            "{name}: {told:#?}"
        );
        model.now += SignedDuration::from_secs(60);
        let plan = replan(&model, &observed);
        let epoch = plan.journal.map(|j| j.epoch);
        assert_eq!(epoch, Some(model.journal.epoch.next()), "{name}");
    }
}

#[test]
fn protection_ends_in_each_phase_when_the_owner_is_given_up() {
    for phase in phases() {
        let (mut model, mut observed) = owned_by_b(phase.clone());
        model.intent.life = Life::Leaving;
        let since = model.now;
        *facts(&mut observed, "b") = ClusterFacts {
            contact: Contact::Unregistered { since, why: why() },
            ..ClusterFacts::default()
        };
        model.now += SignedDuration::from_secs(10);
        let plan = replan(&model, &observed);
        let next = plan.journal.map(|j| j.phase);
        assert_eq!(next, Some(Phase::Removing), "{}", phase.as_str());
    }
}

#[test]
fn nobody_fails_over_to_a_copy_that_is_being_rebuilt() {
    let commits = |plan: &Plan, model: &Model| {
        let next = plan.journal.as_ref();
        next.is_some_and(|j| j.epoch > model.journal.epoch)
    };
    let resyncs = |claims: &[&str]| {
        let claims = claims.iter().map(|name| ClaimKey::new("shop", *name));
        let claims = claims.collect();
        BTreeMap::from([(id("a"), Anew { number: 1, claims })])
    };
    let (no, noted) = (&[][..], &["data", "log"][..]);
    let (secondary, resync) = (Role::Secondary, Role::Resync);
    let (agent, upstream) = (Replicator::Agent, Replicator::Upstream);
    for (n, (journal, desired, issued, failed, by, whole)) in [
        (no, secondary, None, None, agent, true),
        (no, resync, None, None, agent, false),
        (no, secondary, Some(0), None, agent, false),
        // What failed was issued, whoever took the note of that away.
        (no, secondary, None, Some(0), agent, false),
        // Of an earlier owner: the journal tells whether the copy was proven since.
        (no, secondary, Some(1), None, agent, true),
        (noted, secondary, Some(1), None, agent, false),
        // Asked for, taken back, and never carried out, if there is somebody to tell.
        (noted, secondary, None, None, agent, true),
        (noted, secondary, None, None, upstream, false),
        (no, secondary, None, None, upstream, true),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut model, _) = owned_by_b(Phase::Steady);
        model.journal.phase = cleaning_up(&model);
        model.journal.resyncs = resyncs(journal);
        model.link("a", Link::Up);
        let mut observed = model.observe();
        let epoch = model.journal.epoch;
        let request = |ago: Option<i64>| Some(ResyncRequest::first(Epoch(epoch.0 - ago?)));
        facts(&mut observed, "a").replicator = by;
        for volume in facts(&mut observed, "a").volumes.values_mut() {
            let r = volume.replication.as_mut().unwrap();
            (r.desired, r.status, r.epoch) = (desired, VrStatus::Demoted, Some(epoch));
            (r.resync_issued, r.resync_failed) = (request(issued), request(failed));
        }
        facts(&mut observed, "b").contact = Contact::Stale {
            since: model.now - SignedDuration::from_mins(1),
            why: why(),
        };
        fail_over(&mut model, "a");
        model.intent.accepted.insert(Risk::UnverifiedCopy);
        let plan = replan(&model, &observed);
        assert_eq!(commits(&plan, &model), whole, "row {n}: {plan:#?}");
        let told = plan.report.gates.iter().any(|g| g.name == "TargetCopy");
        assert_eq!(told, !whole, "row {n}: {plan:#?}");
    }
}

#[test]
fn a_change_of_owner_does_not_make_a_copy_of_what_was_thrown_away_elsewhere() {
    let of = |number| Anew {
        number,
        claims: [ClaimKey::new("shop", "data")].into(),
    };
    let mut journal = Journal {
        owner: Some(id("b")),
        resyncs: BTreeMap::from([(id("a"), of(3)), (id("c"), of(1))]),
        ..Journal::default()
    };
    journal.commit(id("c"));
    // Requests are counted anew at each epoch.
    assert_eq!(journal.resyncs, BTreeMap::from([(id("a"), of(0))]));
}

#[test]
fn a_copy_that_was_rebuilt_and_brought_up_to_date_since_is_one_to_fail_over_to() {
    for (seconds, whole) in [(0, false), (1, true)] {
        let (mut model, _) = owned_by_b(Phase::Steady);
        model.journal.phase = cleaning_up(&model);
        let asked = model.now;
        model.link("a", Link::Up);
        for synced in model.journal.synced.values_mut() {
            synced.at = asked + SignedDuration::from_secs(seconds);
        }
        let mut observed = model.observe();
        for volume in facts(&mut observed, "a").volumes.values_mut() {
            let r = volume.replication.as_mut().unwrap();
            (r.desired, r.status) = (Role::Resync, VrStatus::Resyncing);
        }
        facts(&mut observed, "b").contact = Contact::Stale {
            since: model.now - SignedDuration::from_mins(1),
            why: why(),
        };
        fail_over(&mut model, "a");
        let next = replan(&model, &observed).journal;
        let moves = next.is_some_and(|j| j.owner == Some(id("a")));
        assert_eq!(moves, whole);
    }
}

#[test]
fn a_copy_is_kept_while_the_application_never_ran_on_the_new_owner() {
    let (mut model, _) = owned_by_b(Phase::Steady);
    model.journal.moves[0].available = None;
    kept_until_it_runs(&mut model);
    assert!(model.journal.moves[0].available.is_some());
}

#[test]
fn a_move_that_was_taken_back_since_does_not_mean_that_the_application_ran() {
    let (mut model, _) = owned_by_b(Phase::Steady);
    model.journal.moves[0].available = None;
    let now = model.now;
    model
        .journal
        .begin(MoveKind::Relocate, &id("b"), &id("c"), now);
    model.journal.moves[0].cancelled = Some(Cancelled::BeforeCommit);
    kept_until_it_runs(&mut model);
    assert!(model.journal.moves[1].available.is_some());
}

#[test]
fn a_hub_that_does_not_remember_the_move_looks_whether_the_application_runs() {
    let (mut model, _) = owned_by_b(Phase::Steady);
    model.journal.moves.clear();
    kept_until_it_runs(&mut model);
}

#[test]
fn an_application_that_is_ready_late_is_noted_also_at_rest() {
    let (mut model, _) = owned_by_b(Phase::Steady);
    model.journal.phase = Phase::Steady;
    model.journal.arrival_mut().unwrap().available = None;
    model.link("a", Link::Up);
    let mut observed = model.observe();
    for id in ["a", "c"] {
        facts(&mut observed, id).volumes.clear();
    }
    let ready = replan(&model, &observed);
    let noted = ready.journal.as_ref().and_then(|j| j.arrival());
    assert_eq!(noted.unwrap().available, Some(model.now), "{ready:#?}");
    for workload in facts(&mut observed, "b").workloads.values_mut() {
        workload.ready = 0;
    }
    assert_eq!(replan(&model, &observed).journal, None);
    // Stopped by a hand it is not ready either, whether that was captured or not.
    for workload in facts(&mut observed, "b").workloads.values_mut() {
        workload.replicas = 0;
    }
    assert_eq!(replan(&model, &observed).journal, None);
    let newest = observed.archive.newest.as_mut().unwrap();
    for replicas in newest.workloads.values_mut() {
        *replicas = 0;
    }
    assert_eq!(replan(&model, &observed).journal, None);
}

/// `b` owns the application, which is not ready there, and `a` returns.
fn kept_until_it_runs(model: &mut Model) {
    model.journal.phase = phases()[1].clone();
    model.link("a", Link::Up);
    let unready = |model: &mut Model| {
        let mut observed = model.observe();
        let mut workload_facts = running(&Mark::Ours, 2);
        workload_facts.ready = 0;
        let b = facts(&mut observed, "b");
        b.workloads.insert(workload(), workload_facts);
        observed
    };
    let observed = unready(model);
    let plan = replan(model, &observed);
    // A hub that does not remember since when it starts does not wait.
    let waits = model.journal.arrival().is_some();
    assert_eq!(!plan.report.blockers.is_empty(), waits, "{plan:#?}");
    // It is not waited for for ever: it is protected where it is, and that is told.
    model.now += SignedDuration::from_mins(2);
    let mut seen_warning = false;
    for _ in 0..200 {
        let observed = unready(model);
        let plan = replan(model, &observed);
        seen_warning |= plan.report.events.iter().any(|e| e.reason == "NotReady");
        let resyncs = |p: &Plan| p.steps.iter().any(|s| s.name() == "Resync");
        assert!(!resyncs(&plan), "{plan:#?}");
        model.follow(&plan, None, 1);
        model.tick();
    }
    assert!(seen_warning);
    let observed = unready(model);
    let last = replan(model, &observed);
    let told = &last.report.blockers;
    assert!(
        told.iter().any(|b| b.message.contains("never ready")),
        "{told:#?}"
    );
    // It runs after all: the old copy is given up.
    calm(model);
    assert_eq!(model.journal.phase, Phase::Steady);
}

#[test]
fn a_placement_says_that_the_agent_of_its_driver_is_silent_and_not_that_another_one_is() {
    let mut model = protected();
    let mut observed = model.observe();
    let since = model.now;
    for (silent, told) in [(DRIVER, true), ("other.example.org", false)] {
        for name in ["a", "b", "c"] {
            let served = [DRIVER, "other.example.org"].map(str::to_owned);
            let served = served.into_iter().filter(|d| d != silent);
            facts(&mut observed, name).agent = AgentFacts::Alive {
                drivers: served.map(|d| (d, String::new())).collect(),
                silent: [(silent.to_owned(), since)].into(),
                telling: [DRIVER.to_owned()].into(),
                keeping: [DRIVER.to_owned()].into(),
            };
        }
        let report = replan(&model, &observed).report;
        let named = |b: &lifeboat_core::Blocker| {
            b.reason == Reason::AgentNotAlive
                && b.message.contains("on a that serves")
                && b.message.contains(&format!("{DRIVER} since {since}"))
        };
        assert_eq!(report.blockers.iter().any(named), told, "{report:#?}");
        let fit = |g: &lifeboat_core::report::GateReport| g.state == Tri::True;
        let mut storage = report.gates.iter().filter(|g| g.name == "TargetStorage");
        assert!(storage.all(|g| fit(g) != told), "{report:#?}");
    }
}
