//! Nobody gets the application while another may still write, and nothing is given up for an owner that is not seen.

use lifeboat_core::journal::{Before, Phase};
use lifeboat_core::observed::{Contact, Holder, Managed};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Model, claims, id};

use crate::converge::{replan, step_to};
use crate::drive::{fail_over, protected, relocate};

/// Goes on until a plan is as wanted, and does not follow it.
fn until(model: &mut Model, wanted: impl Fn(&Model, &lifeboat_core::Plan) -> bool) {
    for _ in 0..100 {
        let plan = model.plan().1;
        if wanted(model, &plan) {
            return;
        }
        model.follow(&plan, None, 1);
        model.tick();
    }
    panic!("never: {:?}", model.journal.phase);
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
            a.holders = claims()
                .into_iter()
                .map(|claim| Holder {
                    claim,
                    kind: "Pod".into(),
                    name: "shop/db-0".into(),
                    managed,
                })
                .take(1)
                .collect();
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
    let gives_up = |plan: &lifeboat_core::Plan| {
        plan.steps.iter().any(|s| {
            matches!(
                s,
                Step::RemoveWorkloads { .. } | Step::Release { .. } | Step::RemoveClaims { .. }
            )
        })
    };
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
