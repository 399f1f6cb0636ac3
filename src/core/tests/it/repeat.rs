//! A resync that did not bring the copy about is asked for again: deliberately, boundedly, on the same proof.

use jiff::SignedDuration;
use lifeboat_core::Blocker;
use lifeboat_core::ids::{ClaimKey, Epoch, ResyncRequest};
use lifeboat_core::intent::MoveKind;
use lifeboat_core::journal::Phase;
use lifeboat_core::observed::{Contact, Role, VrFacts, VrStatus};
use lifeboat_core::plan::Plan;
use lifeboat_core::step::Step;
use lifeboat_core::testing::{self, Link, Model, id};
use lifeboat_core::wait::Reason;

use crate::converge::replan;
use crate::drive::{assert_comes_back_as_a_copy, assert_rests, calm, relocate, resyncing};

fn data() -> ClaimKey {
    ClaimKey::new("shop", "data")
}

fn request(number: u32) -> ResyncRequest {
    let epoch = Epoch(2);
    ResyncRequest { epoch, number }
}

fn on_a(model: &mut Model) -> &mut VrFacts {
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    x.replication.as_mut().unwrap()
}

/// The agent says that the request of this number did not bring the copy about.
fn failed(model: &mut Model, number: u32) {
    let r = on_a(model);
    assert_eq!(r.resync_issued, Some(request(number)));
    r.resync_failed = Some(request(number));
    r.status = VrStatus::Failed {
        message: "split-brain".into(),
    };
}

fn asked(plan: &Plan) -> Vec<(ClaimKey, u32)> {
    let orders = plan.steps.iter().filter_map(|s| match s {
        Step::Resync { claims, .. } => Some(claims),
        _ => None,
    });
    let all = orders.flat_map(|c| c.iter().map(|(k, o)| (k.clone(), o.number)));
    all.collect()
}

#[test]
fn a_resync_that_failed_is_asked_for_again_and_its_time_is_noted_first() {
    let mut model = resyncing();
    failed(&mut model, 1);
    let noted = model.plan().1;
    assert!(noted.steps.is_empty(), "{:#?}", noted.steps);
    assert!(
        noted
            .report
            .events
            .iter()
            .any(|e| e.reason == "ResyncRepeated")
    );
    let now = model.now;
    model.follow(&noted, None, 1);
    assert!(matches!(model.journal.phase, Phase::CleaningUp { resync: Some(at), .. } if at == now));
    assert_eq!(asked(&model.plan().1), [(data(), 2)]);
    assert_comes_back_as_a_copy(&mut model);
}

#[test]
fn however_long_it_takes_a_resync_that_is_on_its_way_is_not_asked_for_again() {
    let mut model = resyncing();
    model.now += SignedDuration::from_secs(100_000);
    let mut observed = model.observe();
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    for x in b.volumes.values_mut() {
        x.replication.as_mut().unwrap().last_sync = None;
    }
    for status in [
        VrStatus::Resyncing,
        VrStatus::Demoted,
        VrStatus::Pending,
        VrStatus::Failed {
            message: "UNAVAILABLE: away".into(),
        },
    ] {
        let a = observed.clusters.get_mut(&id("a")).unwrap();
        let r = a.volumes.get_mut(&data()).unwrap().replication.as_mut();
        r.unwrap().status = status;
        let plan = replan(&model, &observed);
        assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
    }
}

#[test]
fn it_is_asked_for_again_only_on_proof_that_the_owner_is_primary() {
    let mut model = resyncing();
    failed(&mut model, 1);
    for noted in [false, true] {
        if noted {
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
        }
        let proven = model.observe();
        let mut behind = proven.clone();
        behind.clusters.get_mut(&id("b")).unwrap().contact = Contact::Behind {
            since: model.now,
            why: "a watch is lost".into(),
        };
        let mut demoted = proven;
        let b = demoted.clusters.get_mut(&id("b")).unwrap();
        let r = b.volumes.get_mut(&data()).unwrap().replication.as_mut();
        r.unwrap().status = VrStatus::Demoted;
        for observed in [behind, demoted] {
            let plan = replan(&model, &observed);
            assert_eq!(asked(&plan), [], "{plan:#?}");
            assert!(plan.journal.is_none(), "{plan:#?}");
        }
    }
}

/// Requests up to `last` are asked for and fail.
fn fail_up_to(model: &mut Model, from: u32, last: u32) {
    for number in from..=last {
        for _ in 0..10 {
            if on_a(model).resync_issued == Some(request(number)) {
                break;
            }
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
            model.tick();
        }
        failed(model, number);
    }
}

/// What is told once it was asked for in vain so often, and nothing more is done.
fn given_up(model: &mut Model) -> Blocker {
    let plan = model.plan().1;
    assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
    let mut all = plan.report.blockers.into_iter();
    all.find(|b| b.reason == Reason::StepFailed).unwrap()
}

#[test]
fn after_the_third_request_a_person_must_look() {
    let mut model = resyncing();
    fail_up_to(&mut model, 1, 3);
    let told = given_up(&mut model);
    assert!(told.message.contains("3 requests"), "{told:?}");
}

#[test]
fn one_that_was_taken_back_after_the_last_request_is_not_asked_for_under_a_further_number() {
    let mut model = resyncing();
    fail_up_to(&mut model, 1, 3);
    let r = on_a(&mut model);
    (r.desired, r.resync_asked) = (Role::Secondary, None);
    r.status = VrStatus::Demoted;
    assert_eq!(asked(&model.plan().1), [(data(), 3)]);
}

#[test]
fn a_new_request_id_with_all_else_unchanged_has_it_tried_three_times_more() {
    let mut model = resyncing();
    fail_up_to(&mut model, 1, 3);
    given_up(&mut model);
    model.intent.request.id = Some("again".into());
    let served = model.plan().1;
    model.follow(&served, None, 1);
    assert_eq!(model.journal.served.as_ref(), Some(&model.intent.request));
    assert_eq!(model.journal.epoch, Epoch(2));
    fail_up_to(&mut model, 4, 6);
    let told = given_up(&mut model);
    assert!(told.message.contains("6 requests"), "{told:?}");
    model.intent.request.id = Some("and again".into());
    calm(&mut model);
    assert_rests(&mut model, "b");
    // What a person allowed for this epoch says nothing of the next.
    assert!(model.journal.resync_limit.is_some());
    relocate(&mut model, "a");
    calm(&mut model);
    assert_rests(&mut model, "a");
    assert_eq!(model.journal.resync_limit, None);
}

/// Whatever was asked for last: with another `requestID`, and nothing else, copies are tried again and nothing moves.
#[test]
fn a_new_request_id_alone_moves_nothing_while_copies_are_taken_anew() {
    use MoveKind::{Failover, Relocate};
    for wish in [
        testing::request("a", Some(Failover), Some("b")),
        testing::request("b", Some(Failover), Some("b")),
        testing::request("a", Some(Failover), None),
        testing::request("b", Some(Failover), None),
        testing::request("b", None, None),
        testing::request("a", Some(Relocate), None),
    ] {
        let mut model = resyncing();
        fail_up_to(&mut model, 1, 3);
        model.intent.request = wish.clone();
        model.journal.served = Some(wish.clone());
        // The records are written anew.
        for _ in 0..2 {
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
        }
        let told = given_up(&mut model).remedy;
        assert!(told.contains("set requestID"), "{wish:?}: {told}");
        // Twice in a row, too.
        for anew in ["again", "and again"] {
            model.intent.request.id = Some(anew.into());
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
            assert_eq!(model.journal.served.as_ref(), Some(&model.intent.request));
            assert_eq!(
                (model.journal.owner.clone(), model.journal.epoch),
                (Some(id("b")), Epoch(2))
            );
            assert!(matches!(model.journal.phase, Phase::CleaningUp { .. }));
        }
        fail_up_to(&mut model, 4, 4);
    }
}

#[test]
fn a_new_request_id_alone_is_a_move_if_the_owner_is_lost_or_nothing_is_taken_anew() {
    let mut model = resyncing();
    model.intent.request = testing::request("a", Some(MoveKind::Failover), None);
    model.journal.served = Some(model.intent.request.clone());
    let mut lost = model.clone();
    lost.intent.request = testing::request("b", Some(MoveKind::Failover), None);
    lost.journal.served = Some(lost.intent.request.clone());
    lost.link("b", Link::Dead);
    calm(&mut model);
    for (mut model, to) in [(model, "a"), (lost, "c")] {
        model.intent.request.id = Some("again".into());
        calm(&mut model);
        assert_eq!(model.journal.owner, Some(id(to)));
        assert_eq!(model.journal.epoch, Epoch(3));
    }
}

#[test]
fn a_hub_that_lost_its_memory_does_not_begin_to_count_anew() {
    let mut model = resyncing();
    failed(&mut model, 1);
    for _ in 0..2 {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
    }
    model.tick();
    failed(&mut model, 2);
    model.lose_hub();
    for _ in 0..10 {
        let plan = model.plan().1;
        if let [first, ..] = asked(&plan).as_slice() {
            assert_eq!(*first, (data(), 3));
            return;
        }
        model.follow(&plan, None, 1);
        failed(&mut model, 2);
    }
    panic!("never asked again: {:#?}", model.plan().1);
}

#[test]
fn a_request_that_was_carried_out_as_it_was_taken_back_is_asked_for_under_its_own_number() {
    let mut model = resyncing();
    let r = on_a(&mut model);
    (r.desired, r.resync_asked) = (Role::Secondary, None);
    r.status = VrStatus::Demoted;
    assert_eq!(asked(&model.plan().1), [(data(), 1)]);
}

#[test]
fn a_copy_that_its_driver_calls_split_is_taken_anew() {
    let mut model = resyncing();
    let r = on_a(&mut model);
    (r.desired, r.resync_asked) = (Role::Secondary, None);
    r.status = VrStatus::Apart {
        message: "split-brain".to_owned(),
    };
    assert_eq!(asked(&model.plan().1), [(data(), 1)]);
}

#[test]
fn only_a_sync_later_than_the_request_proves_a_copy() {
    let mut model = resyncing();
    let Phase::CleaningUp { resync, .. } = model.journal.phase else {
        panic!("{:?}", model.journal.phase);
    };
    let asked = resync.unwrap();
    for (seconds, proven) in [(-5, false), (0, false), (1, true)] {
        let mut observed = model.observe();
        let b = observed.clusters.get_mut(&id("b")).unwrap();
        for x in b.volumes.values_mut() {
            let synced = asked + SignedDuration::from_secs(seconds);
            x.replication.as_mut().unwrap().last_sync = Some(synced);
        }
        // What is worth a note is noted first.
        let mut noting = model.clone();
        let mut plan = replan(&noting, &observed);
        while let Some(journal) = plan
            .journal
            .take_if(|j| j.resyncs == noting.journal.resyncs)
        {
            noting.journal = journal;
            plan = replan(&noting, &observed);
        }
        let taken_out = plan.journal.is_some_and(|j| j.resyncs.is_empty());
        assert_eq!(taken_out, proven, "{seconds}");
    }
}
