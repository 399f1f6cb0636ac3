//! A cluster that the policy names no more, and that still has something of the placement.

use jiff::SignedDuration;
use lifeboat_core::ClusterFacts;
use lifeboat_core::intent::Life;
use lifeboat_core::observed::Contact;
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id};
use lifeboat_core::wait::Reason;

use crate::converge::replan;
use crate::drive::{assert_rests, calm, fail_over, protected, relocate};

fn leaves_the_policy(model: &mut Model, name: &str) {
    model.policy.clusters.retain(|c| *c != id(name));
}

/// `a` was lost with all that it had, `b` has the application, and the policy knows `a` no more.
fn lost() -> Model {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    leaves_the_policy(&mut model, "a");
    model
}

/// The placement is deleted, and cannot go while `a` is away.
fn waits_for_a(model: &mut Model) {
    model.intent.life = Life::Leaving;
    calm(model);
    assert!(!model.finished);
    let told = model.plan().1.report.blockers;
    let named = |b: &lifeboat_core::Blocker| {
        b.reason == Reason::ClusterUnreachable && b.message.starts_with("a has not answered")
    };
    assert!(told.iter().any(named), "{told:#?}");
}

fn assert_gone(model: &mut Model) {
    calm(model);
    assert!(model.finished);
    let a = &model.sites[&id("a")].truth;
    assert!(a.record.is_none(), "{:#?}", a.record);
    assert!(a.volumes.is_empty(), "{:#?}", a.volumes);
    assert!(a.workloads.is_empty(), "{:#?}", a.workloads);
}

#[test]
fn a_removal_waits_until_it_was_let_go() {
    let mut model = lost();
    waits_for_a(&mut model);
    model.link("a", Link::Up);
    assert_gone(&mut model);
}

#[test]
fn a_removal_waits_also_for_a_record_alone() {
    let mut model = protected();
    relocate(&mut model, "b");
    calm(&mut model);
    assert_rests(&mut model, "b");
    assert!(model.sites[&id("a")].truth.record.is_some());
    leaves_the_policy(&mut model, "a");
    model.link("a", Link::Dead);
    waits_for_a(&mut model);
    model.link("a", Link::Up);
    assert_gone(&mut model);
}

#[test]
fn one_that_nobody_registers_any_more_is_given_up() {
    let mut model = lost();
    waits_for_a(&mut model);
    let mut observed = model.observe();
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    *a = ClusterFacts {
        contact: Contact::Unregistered {
            since: model.now,
            why: "no DRCluster of that name exists".into(),
        },
        ..ClusterFacts::default()
    };
    for (seconds, goes_on) in [(9, false), (1, true)] {
        model.now += SignedDuration::from_secs(seconds);
        let steps = replan(&model, &observed).steps;
        let ends = steps.iter().any(|s| matches!(s, Step::Unprotect { .. }));
        assert_eq!(ends, goes_on, "{steps:#?}");
    }
}

#[test]
fn it_is_remembered_however_many_moves_follow_and_through_the_next_failover() {
    let mut model = lost();
    for n in 0..12 {
        relocate(&mut model, if n % 2 == 0 { "c" } else { "b" });
        calm(&mut model);
    }
    fail_over(&mut model, "c");
    model.link("b", Link::Dead);
    calm(&mut model);
    model.link("b", Link::Up);
    waits_for_a(&mut model);
    model.link("a", Link::Up);
    assert_gone(&mut model);
}

#[test]
fn one_on_which_nothing_was_ever_seen_is_remembered_for_what_was_begun_there() {
    let mut model = protected();
    relocate(&mut model, "c");
    for _ in 0..10 {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        if plan.steps.iter().any(|s| s.cluster() == Some(&id("c"))) {
            break;
        }
    }
    // It was done, and nobody saw it.
    model.link("c", Link::Cut);
    assert!(model.sites[&id("c")].truth.record.is_some());
    assert!(model.observe().cluster(&id("c")).record.is_none());
    relocate(&mut model, "a");
    calm(&mut model);
    leaves_the_policy(&mut model, "c");
    // Moves that are begun and taken back are remembered only for so long.
    for n in 0..30 {
        relocate(&mut model, if n % 2 == 0 { "b" } else { "a" });
        calm(&mut model);
    }
    assert!(model.journal.moves.iter().all(|m| m.to != id("c")));
    model.link("c", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "a");
    model.intent.life = Life::Leaving;
    calm(&mut model);
    assert!(model.finished);
    assert!(model.sites[&id("c")].truth.record.is_none());
}

#[test]
fn one_that_returns_after_it_left_the_policy_is_quarantined_and_cleaned() {
    let mut model = lost();
    fail_over(&mut model, "c");
    model.link("b", Link::Dead);
    calm(&mut model);
    model.link("b", Link::Up);
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "c");
}
