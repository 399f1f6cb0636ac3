//! What people delete by hand is made again, or named; the copies stay.

use lifeboat_core::ids::ClaimKey;
use lifeboat_core::observed::{Deleting, Mark, Observed, Selected};
use lifeboat_core::testing::{Model, claims, id};

use crate::converge::replan;
use crate::drive::{assert_rests, calm, protected, relocate};

fn delete_replications(model: &mut Model) {
    let site = model.sites.get_mut(&id("a")).unwrap();
    for x in site.truth.volumes.values_mut() {
        x.replication.as_mut().unwrap().deleting = Deleting::Yes;
    }
    model.tick();
}

fn delete_claim(model: &mut Model) -> ClaimKey {
    let key = claims().into_iter().next().unwrap();
    let site = model.sites.get_mut(&id("a")).unwrap();
    let x = site.truth.volumes.get_mut(&key).unwrap();
    (x.claim, x.replication) = (None, None);
    key
}

/// A relocation from `a` to `b` that is about to demote.
fn demoting() -> Model {
    let mut model = protected();
    relocate(&mut model, "b");
    for _ in 0..100 {
        let plan = model.plan().1;
        if plan.steps.iter().any(|s| s.name() == "Demote") {
            return model;
        }
        model.follow(&plan, None, 1);
        model.tick();
    }
    panic!("never demotes: {:?}", model.journal.phase);
}

fn assert_named(model: &mut Model, claim: &ClaimKey) {
    let plan = model.plan().1;
    let all = &plan.report.blockers;
    let named = format!("claim {claim} is gone");
    assert!(
        all.iter().any(|b| b.message.starts_with(&named)),
        "{all:#?}"
    );
}

#[test]
fn replications_deleted_by_hand_are_made_again_and_every_copy_stays() {
    for mut model in [protected(), demoting()] {
        let copies = |m: &Model| m.sites.values().map(|s| s.images.len()).sum::<usize>();
        let (before, on) = (copies(&model), model.intent.request.preferred.clone());
        delete_replications(&mut model);
        assert_eq!(copies(&model), before);
        calm(&mut model);
        assert_eq!(copies(&model), before);
        assert_rests(&mut model, on.as_str());
    }
}

#[test]
fn a_claim_that_is_gone_is_named_and_its_volume_is_kept() {
    let mut model = protected();
    let claim = delete_claim(&mut model);
    assert_named(&mut model, &claim);
    let kept = &model.sites[&id("a")].truth.volumes[&claim].volume;
    assert!(kept.as_ref().is_some_and(|p| p.mark == Mark::Ours));
}

#[test]
fn a_move_whose_claim_is_gone_stops_before_the_demotion_and_names_it() {
    let mut model = demoting();
    let claim = delete_claim(&mut model);
    assert_named(&mut model, &claim);
    assert!(model.plan().1.steps.is_empty());
}

#[test]
fn a_selector_that_lets_one_claim_go_ends_its_protection_and_one_that_lets_all_go_does_not() {
    let mut model = protected();
    let all: Vec<_> = claims().into_iter().collect();
    let deselect = |observed: &mut Observed, keys: &[ClaimKey]| {
        let a = observed.clusters.get_mut(&id("a")).unwrap();
        for key in keys {
            let claim = a.volumes.get_mut(key).unwrap().claim.as_mut().unwrap();
            claim.selected = Selected::No;
        }
    };
    let ends = |plan: &lifeboat_core::Plan| plan.steps.iter().any(|s| s.name() == "Unprotect");
    assert!(all.len() > 1);
    let mut observed = model.observe();
    deselect(&mut observed, &all[..1]);
    // Its copy is not counted on any more before it is given up.
    let forgotten = replan(&model, &observed).journal.unwrap();
    let before = std::mem::replace(&mut model.journal, forgotten);
    assert!(!model.journal.synced.contains_key(&all[0]));
    assert!(ends(&replan(&model, &observed)));
    model.journal = before;
    deselect(&mut observed, &all);
    let plan = replan(&model, &observed);
    assert!(!ends(&plan) && plan.journal.is_none(), "{plan:#?}");
    let told = &plan.report.blockers;
    assert!(
        told.iter().any(|b| b.message.contains("stay protected")),
        "{told:#?}"
    );
}
