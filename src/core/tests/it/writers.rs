//! Nobody gets the application while another may still write, and nothing is given up for an owner that is not seen.

use lifeboat_core::Plan;
use lifeboat_core::ids::Epoch;
use lifeboat_core::intent::{Life, MoveKind};
use lifeboat_core::journal::{Before, Phase};
use lifeboat_core::observed::{Contact, Holder, Managed, Role, SwitchOff};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, claims, id};
use lifeboat_core::wait::Reason;

use crate::converge::{replan, step_to};
use crate::drive::{calm, fail_over, protected, relocate, until};

fn gives_up(plan: &Plan) -> bool {
    plan.steps.iter().any(|s| {
        matches!(
            s,
            Step::RemoveWorkloads { .. } | Step::Release { .. } | Step::RemoveClaims { .. }
        )
    })
}

/// A pod that uses a claim.
pub(crate) fn pod(managed: Managed) -> Holder {
    Holder {
        claim: claims().into_iter().next().unwrap(),
        kind: "Pod".into(),
        name: "shop/db-0".into(),
        managed,
    }
}

#[test]
fn no_move_goes_on_while_anybody_uses_the_volumes_of_the_source() {
    for wish in [relocate, fail_over] {
        let mut model = protected();
        wish(&mut model, "b");
        until(&mut model, |m, _| {
            let quiesce = Before::Quiesce;
            matches!(m.journal.phase, Phase::Relocating { stage, .. } if stage == quiesce)
        });
        let mut observed = model.observe();
        let a = observed.clusters.get_mut(&id("a")).unwrap();
        for w in a.workloads.values_mut() {
            (w.replicas, w.ready, w.remembered) = (0, 0, Some(2));
        }
        for managed in [Managed::Yes, Managed::No] {
            let a = observed.clusters.get_mut(&id("a")).unwrap();
            a.holders = vec![pod(managed)];
            let plan = replan(&model, &observed);
            assert!(plan.journal.is_none() && plan.steps.is_empty(), "{plan:#?}");
            assert!(plan.report.step.contains("shop/db-0"), "{plan:#?}");
        }
        observed.clusters.get_mut(&id("a")).unwrap().holders.clear();
        assert!(replan(&model, &observed).journal.is_some());
    }
}

#[test]
fn nothing_is_given_up_on_the_side_that_was_left_while_the_owner_is_not_seen() {
    let mut model = protected();
    relocate(&mut model, "b");
    step_to(&mut model, "CleaningUp");
    until(&mut model, |_, plan| gives_up(plan));
    let mut observed = model.observe();
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    b.contact = Contact::Stale {
        since: model.now,
        why: "no route".into(),
    };
    let plan = replan(&model, &observed);
    assert!(!gives_up(&plan) && plan.journal.is_none(), "{plan:#?}");
}

#[test]
fn a_hub_stands_still_when_a_record_or_a_capture_tells_of_an_owner_that_it_does_not_know() {
    let mut model = protected();
    relocate(&mut model, "b");
    let known = model.observe();
    assert!(replan(&model, &known).journal.is_some());
    let mut captured = known.clone();
    captured.archive.newest.as_mut().unwrap().epoch = Epoch(2);
    let mut rival = known.clone();
    let mut record = known.cluster(&id("a")).record.clone().unwrap();
    record.owner = id("c");
    rival.clusters.get_mut(&id("c")).unwrap().record = Some(record.clone());
    let mut newer = known;
    record.epoch = Epoch(2);
    newer.clusters.get_mut(&id("c")).unwrap().record = Some(record);
    for observed in [captured, rival, newer] {
        let plan = replan(&model, &observed);
        assert!(
            plan.journal.is_none() && plan.all_steps().next().is_none(),
            "{plan:#?}"
        );
        assert_eq!(plan.report.blockers[0].reason, Reason::StaleHub);
    }
}

#[test]
fn a_site_that_returns_while_its_successor_prepares_to_move_on_steps_down_before_anybody_is_asked_to_be_primary()
 {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    relocate(&mut model, "c");
    model.journal.phase = Phase::Relocating {
        from: id("b"),
        to: id("c"),
        kind: MoveKind::Relocate,
        stage: Before::Prepare,
    };
    model.link("a", Link::Up);
    let mut observed = model.observe();
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    let volume = b.volumes.values_mut().next().unwrap();
    volume.replication.as_mut().unwrap().switch_off = SwitchOff::Said;
    let steps = replan(&model, &observed).steps;
    let at = |on: &str, wanted: Role| {
        steps.iter().position(|s| {
            matches!(s, Step::Replicate { cluster, role, .. } if *cluster == id(on) && *role == wanted)
        })
    };
    let (down, up) = (at("a", Role::Secondary), at("b", Role::Primary));
    assert!(down.is_some() && up.is_some() && down < up, "{steps:#?}");
}

#[test]
fn at_the_end_of_protection_too_nothing_is_taken_from_under_a_pod() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    model.intent.life = Life::Leaving;
    until(&mut model, |_, plan| gives_up(plan));
    let mut observed = model.observe();
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    a.holders = vec![pod(Managed::No)];
    let plan = replan(&model, &observed);
    assert!(!gives_up(&plan), "{plan:#?}");
    assert_eq!(plan.report.blockers[0].reason, Reason::VolumeInUse);
}
