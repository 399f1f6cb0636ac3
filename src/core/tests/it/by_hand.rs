//! What people delete by hand is made again, or named; the copies stay.

use jiff::SignedDuration;
use lifeboat_core::Plan;
use lifeboat_core::ids::{ClaimKey, Epoch};
use lifeboat_core::intent::Life;
use lifeboat_core::journal::Phase;
use lifeboat_core::observed::{Deleting, Mark, Observed, Retained, Selected};
use lifeboat_core::report::Tri;
use lifeboat_core::testing::{Model, claims, id};

use crate::converge::replan;
use crate::drive::{
    Faults, assert_comes_back_as_a_copy, assert_rests, calm, protected, relocate, resyncing,
    settle, until,
};

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
    until(&mut model, |_, plan| {
        plan.steps.iter().any(|s| s.name() == "Demote")
    });
    model
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
fn a_replication_that_carries_an_earlier_epoch_gets_the_present_one() {
    let mut model = protected();
    let key = claims().into_iter().next().unwrap();
    let written = |m: &mut Model, epoch: Option<Epoch>| {
        let site = m.sites.get_mut(&id("a")).unwrap();
        let x = site.truth.volumes.get_mut(&key).unwrap();
        let r = x.replication.as_mut().unwrap();
        epoch.map_or(r.epoch, |e| r.epoch.replace(e))
    };
    let present = model.journal.epoch;
    assert_eq!(written(&mut model, Some(Epoch(0))), Some(present));
    model.tick();
    calm(&mut model);
    assert_eq!(written(&mut model, None), Some(present));
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

pub(crate) fn is_protected(plan: &Plan) -> bool {
    let mut all = plan.report.conditions.iter();
    all.any(|c| c.kind.as_str() == "Protected" && c.status == Tri::True)
}

#[test]
fn a_replication_deleted_while_its_copy_is_taken_anew_is_made_again_and_the_copy_still_to_be_proven()
 {
    for so_many in [1, 2] {
        let mut model = resyncing();
        let a = model.sites.get_mut(&id("a")).unwrap();
        for x in a.truth.volumes.values_mut().take(so_many) {
            x.replication.as_mut().unwrap().deleting = Deleting::Yes;
        }
        // Nothing reaches the other side.
        let mut told = Vec::new();
        for _ in 0..30 {
            let mut observed = model.observe();
            let b = observed.clusters.get_mut(&id("b")).unwrap();
            for x in b.volumes.values_mut() {
                x.replication.as_mut().unwrap().last_sync = None;
            }
            let plan = replan(&model, &observed);
            assert!(!is_protected(&plan), "{plan:#?}");
            assert!(!plan.report.step.is_empty());
            told.extend(plan.report.events.iter().map(|e| e.reason.clone()));
            model.follow(&plan, None, 1);
            model.tick();
        }
        assert!(matches!(model.journal.phase, Phase::CleaningUp { .. }));
        assert!(told.iter().any(|r| r == "ReplicationDeleted"), "{told:?}");
        let volumes = &model.sites[&id("a")].truth.volumes;
        let asked = |r: &lifeboat_core::observed::VrFacts| r.resync_issued.is_some();
        let all_asked = volumes
            .values()
            .all(|x| x.replication.as_ref().is_some_and(asked));
        assert!(all_asked, "{volumes:#?}");
        assert_comes_back_as_a_copy(&mut model);
    }
}

#[test]
fn a_sync_before_the_copy_was_asked_for_again_proves_nothing() {
    let mut model = resyncing();
    let a = model.sites.get_mut(&id("a")).unwrap();
    for x in a.truth.volumes.values_mut() {
        x.replication.as_mut().unwrap().deleting = Deleting::Yes;
    }
    model.tick();
    let deleted = model.now;
    calm(&mut model);
    let noted = model.journal.moves[0]
        .steps
        .iter()
        .filter(|(s, _)| s == "Resync");
    assert!(noted.map(|(_, at)| *at).max() > Some(deleted));
}

#[test]
fn a_replication_that_we_released_ourselves_is_not_made_again() {
    let mut model = resyncing();
    let faults = Faults {
        cut: Some(1),
        ..Faults::default()
    };
    let log = settle(&mut model, &faults).log;
    let released = log.iter().position(|s| s == "Release@a").unwrap();
    let after = &log[released..];
    assert!(
        !after.iter().any(|s| s == "Demote@a" || s == "Resync@a"),
        "{log:#?}"
    );
    assert_rests(&mut model, "b");
}

/// The claim was deleted with its finalizers stripped and made anew: it has another volume, and the replication stayed.
fn made_anew(model: &mut Model, handle: &str) -> ClaimKey {
    let key = claims().into_iter().next().unwrap();
    let later = model.now + SignedDuration::from_secs(1);
    let a = model.sites.get_mut(&id("a")).unwrap();
    let pv = a
        .truth
        .volumes
        .get_mut(&key)
        .unwrap()
        .volume
        .as_mut()
        .unwrap();
    pv.csi.as_mut().unwrap().handle = handle.into();
    pv.created = Some(later);
    model.now = later;
    key
}

#[test]
fn a_claim_made_anew_under_a_living_replication_gets_one_of_its_own() {
    let mut model = protected();
    let copies = |m: &Model| m.sites.values().map(|s| s.images.len()).sum::<usize>();
    let before = copies(&model);
    let key = made_anew(&mut model, "image-anew");
    let plan = model.plan().1;
    assert!(!is_protected(&plan), "{plan:#?}");
    let said = format!("{key} was made anew");
    assert!(
        plan.report
            .conditions
            .iter()
            .any(|c| c.message.contains(&said)),
        "{plan:#?}"
    );
    let log = calm(&mut model).log;
    let at = |name: &str| log.iter().position(|s| s == name);
    assert!(
        at("Release@a").is_some() && at("Release@a") < at("Promote@a"),
        "{log:#?}"
    );
    // Nothing was switched off: what the volume before had is still there.
    assert_eq!(copies(&model), before);
    let x = &model.sites[&id("a")].truth.volumes[&key];
    let (r, pv) = (x.replication.as_ref().unwrap(), x.volume.as_ref().unwrap());
    assert!(r.created >= pv.created, "{x:#?}");
    assert_rests(&mut model, "a");
}

#[test]
fn a_volume_object_that_was_restored_is_still_the_same_volume() {
    let mut model = protected();
    let handle = model.journal.synced.values().next().unwrap().handle.clone();
    made_anew(&mut model, &handle.unwrap());
    assert!(is_protected(&model.plan().1));
    let log = calm(&mut model).log;
    assert!(!log.iter().any(|s| s == "Release@a"), "{log:#?}");
}

#[test]
fn a_volume_that_no_claim_has_any_more_is_let_go_when_protection_ends_and_not_before() {
    let mut model = protected();
    made_anew(&mut model, "image-anew");
    let former = |m: &mut Model, name: &str| {
        let site = m.sites.get_mut(&id(name)).unwrap();
        site.truth.former.insert("pv-before".into());
    };
    former(&mut model, "a");
    // What is left on another cluster may be of a copy.
    former(&mut model, "b");
    let log = calm(&mut model).log;
    assert!(!log.iter().any(|s| s.starts_with("LetGo")), "{log:#?}");
    model.intent.life = Life::Leaving;
    let log = calm(&mut model).log;
    assert!(model.finished);
    let given = log.iter().filter(|s| s.starts_with("LetGo"));
    assert!(given.eq(["LetGo@a"]), "{log:#?}");
    assert!(model.sites[&id("a")].truth.former.is_empty());
}

#[test]
fn a_reclaim_policy_that_somebody_changed_back_is_set_again() {
    let mut model = protected();
    let key = claims().into_iter().next().unwrap();
    let a = model.sites.get_mut(&id("a")).unwrap();
    let pv = a.truth.volumes.get_mut(&key).unwrap().volume.as_mut();
    pv.unwrap().retained = Retained::No;
    let log = calm(&mut model).log;
    assert!(log.iter().any(|s| s == "Retain@a"), "{log:#?}");
    let pv = model.sites[&id("a")].truth.volumes[&key].volume.as_ref();
    assert_eq!(pv.unwrap().retained, Retained::Yes);
}
