//! Every flow without faults.

use lifeboat_core::ids::Epoch;
use lifeboat_core::intent::{Life, MoveKind};
use lifeboat_core::journal::{Before, Journal, Phase};
use lifeboat_core::observed::{Contact, Observed, RecordFacts, Role, VrFacts, VrStatus};
use lifeboat_core::testing::{Link, Model, id, request};
use lifeboat_core::wait::Reason;

use crate::drive::{
    assert_comes_back_as_a_copy, assert_rests, calm, fail_over, protected, relocate, until,
};

/// Drives until a phase is reached.
pub(crate) fn step_to(model: &mut Model, phase: &str) {
    until(model, |m, _| m.journal.phase.as_str() == phase);
}

/// A failover from `a`, which is dead, to `b`; rests until `a` returns.
fn failed_over() -> Model {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    assert_eq!(model.journal.phase.as_str(), "CleaningUp");
    assert_eq!(
        (model.journal.owner.clone(), model.journal.epoch),
        (Some(id("b")), Epoch(2))
    );
    model
}

#[test]
fn in_normal_times_there_is_nothing_but_data_on_the_other_clusters() {
    let model = protected();
    assert_eq!(model.journal.epoch, Epoch(1));
    let b = model.sites.get(&id("b")).unwrap();
    assert!(b.truth.record.is_none() && b.truth.volumes.is_empty());
    assert!(!b.images.is_empty());
}

#[test]
fn a_relocation_loses_no_record_and_leaves_nothing_behind() {
    let mut model = protected();
    relocate(&mut model, "b");
    step_to(&mut model, "Promoting");
    let before = model.records("a");
    calm(&mut model);
    assert_rests(&mut model, "b");
    assert!(model.records("b").starts_with(&before) && !before.is_empty());
    assert_eq!(model.journal.epoch, Epoch(2));
}

#[test]
fn a_failover_waits_for_the_lost_cluster_and_takes_it_back_in_step() {
    let mut model = failed_over();
    let at_loss = model.records("a");
    assert!(
        model
            .records("b")
            .starts_with(&at_loss[..at_loss.len() - 1])
    );
    model.link("a", Link::Up);
    assert_comes_back_as_a_copy(&mut model);
}

#[test]
fn nothing_moves_back_by_itself_and_one_edit_moves_it_back() {
    let mut model = failed_over();
    assert_eq!(model.intent.request.preferred, id("a"));
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "b");
    for _ in 0..100 {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    assert_rests(&mut model, "b");
    model.intent.request.action = Some(MoveKind::Relocate);
    calm(&mut model);
    assert_rests(&mut model, "a");
    assert_eq!(model.journal.epoch, Epoch(3));
}

#[test]
fn it_is_protected_again_only_when_something_was_synced_after_the_resync() {
    let mut model = failed_over();
    model.link("a", Link::Up);
    for _ in 0..100 {
        let (observed, plan) = model.plan();
        if let (
            Phase::CleaningUp {
                resync: Some(asked),
                ..
            },
            Some(Journal {
                phase: Phase::Steady,
                ..
            }),
        ) = (&model.journal.phase, &plan.journal)
        {
            let b = observed.cluster(&id("b"));
            let synced = |x: &lifeboat_core::observed::VolumeFacts| {
                x.replication.as_ref().and_then(|r| r.last_sync)
            };
            assert!(b.volumes.values().all(|x| synced(x) > Some(*asked)));
            return;
        }
        model.follow(&plan, None, 1);
        model.tick();
    }
    panic!("never complete");
}

#[test]
fn a_relocation_can_be_taken_back_in_each_phase_before_the_commit() {
    for looks in 1..40 {
        let mut model = protected();
        relocate(&mut model, "b");
        for _ in 0..looks {
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
            model.tick();
        }
        let committed = model.journal.epoch > Epoch(1);
        relocate(&mut model, "a");
        calm(&mut model);
        assert_rests(&mut model, "a");
        assert_eq!(
            model.journal.epoch,
            if committed { Epoch(3) } else { Epoch(1) },
            "after {looks}"
        );
    }
}

#[test]
fn a_move_can_be_sent_to_another_cluster_at_each_moment() {
    for looks in 1..40 {
        for kind in [MoveKind::Relocate, MoveKind::Failover] {
            let mut model = protected();
            relocate(&mut model, "b");
            for _ in 0..looks {
                let plan = model.plan().1;
                model.follow(&plan, None, 1);
                model.tick();
            }
            model.intent.request = request("c", Some(kind), None);
            calm(&mut model);
            assert_rests(&mut model, "c");
        }
    }
}

#[test]
fn protection_ends_at_each_moment_of_a_move_and_images_stay_on_the_owner() {
    for looks in 0..40 {
        let mut model = protected();
        relocate(&mut model, "b");
        for _ in 0..looks {
            let plan = model.plan().1;
            model.follow(&plan, None, 1);
            model.tick();
        }
        model.intent.life = Life::Leaving;
        calm(&mut model);
        assert!(model.finished);
        let mut running = 0;
        for site in model.sites.values() {
            assert!(site.truth.record.is_none());
            running += i32::from(site.truth.workloads.values().any(|w| w.ready == 2));
        }
        assert_eq!(running, 1, "after {looks}: it runs once");
    }
}

#[test]
fn a_second_failover_goes_on_when_the_target_dies_at_each_moment() {
    for looks in 1..16 {
        for to in ["a", "c"] {
            let mut model = protected();
            model.link("a", Link::Dead);
            fail_over(&mut model, "b");
            for _ in 0..looks {
                let plan = model.plan().1;
                model.follow(&plan, None, 1);
                model.tick();
            }
            model.link("b", Link::Dead);
            model.link("a", Link::Up);
            fail_over(&mut model, to);
            calm(&mut model);
            assert_eq!(model.journal.owner, Some(id(to)), "after {looks}");
            let site = model.sites.get(&id(to)).unwrap();
            assert!(
                site.truth.workloads.values().any(|w| w.ready == 2),
                "after {looks} to {to}"
            );
            model.link("b", Link::Up);
            calm(&mut model);
            assert_rests(&mut model, to);
        }
    }
}

#[test]
fn the_target_of_a_relocation_that_dies_after_the_commit_can_be_given_up_for_the_source() {
    let mut model = protected();
    relocate(&mut model, "b");
    step_to(&mut model, "Promoting");
    model.link("b", Link::Dead);
    fail_over(&mut model, "a");
    calm(&mut model);
    assert_eq!(
        (model.journal.owner.clone(), model.journal.epoch),
        (Some(id("a")), Epoch(3))
    );
    model.link("b", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "a");
}

#[test]
fn a_failover_while_the_source_answers_stops_it_first() {
    let mut model = protected();
    fail_over(&mut model, "b");
    let told = calm(&mut model);
    assert_rests(&mut model, "b");
    let at = |what: &str| told.log.iter().position(|l| l == what).unwrap();
    assert!(at("Quiesce@a") < at("[Promoting]"));
    assert!(at("Demote@a") < at("Promote@b"));
}

#[test]
fn a_cancelled_move_whose_source_dies_can_still_be_failed_over() {
    let mut model = protected();
    relocate(&mut model, "b");
    while !matches!(
        &model.journal.phase,
        Phase::Relocating {
            stage: Before::Demote,
            ..
        }
    ) {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    relocate(&mut model, "a");
    step_to(&mut model, "Cancelling");
    model.link("a", Link::Dead);
    calm(&mut model);
    assert_eq!(model.journal.phase.as_str(), "Cancelling");
    fail_over(&mut model, "b");
    calm(&mut model);
    assert_eq!(model.journal.owner, Some(id("b")));
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn an_application_that_never_becomes_ready_can_be_moved_on() {
    let mut model = protected();
    relocate(&mut model, "b");
    step_to(&mut model, "Starting");
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    // No tick: it is started, and not ready.
    relocate(&mut model, "a");
    let plan = model.plan().1;
    assert!(matches!(
        plan.journal.map(|j| j.phase),
        Some(Phase::CleaningUp { .. })
    ));
}

#[test]
fn a_lost_count_of_captures_is_set_right() {
    let mut model = protected();
    model.journal.capture = 9;
    calm(&mut model);
    assert_eq!(model.journal.capture, 1);
    assert_rests(&mut model, "a");
}

#[test]
fn an_owner_that_is_gone_for_good_does_not_hold_the_placement() {
    let mut model = protected();
    model.intent.life = Life::Leaving;
    let mut observed = model.observe();
    observed.clusters.remove(&id("a"));
    model.journal.phase = Phase::Removing;
    let plan = lifeboat_core::plan(
        model.now,
        &model.policy,
        &model.intent,
        &observed,
        &model.journal,
    );
    assert_eq!(plan.steps, [lifeboat_core::Step::Finish]);
}

#[test]
fn a_copy_is_thrown_away_only_on_proof_that_the_owner_is_primary_now() {
    let mut model = failed_over();
    model.link("a", Link::Up);
    let resyncs = |plan: &lifeboat_core::Plan| plan.steps.iter().any(|s| s.name() == "Resync");
    while !resyncs(&model.plan().1) {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    let proven = model.observe();
    let spoils: [fn(&mut VrFacts); 5] = [
        |r| r.status = VrStatus::Pending,
        |r| r.status = VrStatus::Demoted,
        |r| {
            r.status = VrStatus::Failed {
                message: "no".into(),
            }
        },
        |r| r.desired = Role::Secondary,
        |r| r.epoch = Some(Epoch(1)),
    ];
    for spoil in spoils {
        for claim in lifeboat_core::testing::claims() {
            let mut observed = proven.clone();
            let b = observed.clusters.get_mut(&id("b")).unwrap();
            let volume = b.volumes.get_mut(&claim).unwrap();
            spoil(volume.replication.as_mut().unwrap());
            let plan = replan(&model, &observed);
            assert!(!resyncs(&plan), "{plan:#?}");
        }
    }
    // Nor is what an earlier epoch has left on a claim that cannot be protected any more.
    let mut observed = proven.clone();
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    let volume = b.volumes.values_mut().next().unwrap();
    volume.claim.as_mut().unwrap().storage_class = None;
    volume.replication.as_mut().unwrap().epoch = Some(Epoch(1));
    assert!(!resyncs(&replan(&model, &observed)));
    let mut observed = proven;
    observed.clusters.get_mut(&id("b")).unwrap().contact = Contact::Stale {
        since: model.now,
        why: "no route".into(),
    };
    assert!(!resyncs(&replan(&model, &observed)));
}

#[test]
fn a_rebuilt_journal_follows_the_record_that_the_owner_itself_holds() {
    let mut model = protected();
    model.lose_hub();
    let mut observed = model.observe();
    for (name, force) in [("a", Some(Epoch(2))), ("b", None)] {
        observed.clusters.get_mut(&id(name)).unwrap().record = Some(RecordFacts {
            written_to: None,
            owner: id("a"),
            epoch: Epoch(2),
            force,
            served: None,
        });
    }
    let newest = observed.archive.newest.as_ref().map(|c| c.version);
    let rebuilt = replan(&model, &observed).journal.unwrap();
    assert_eq!(Some(rebuilt.capture), newest);
    assert!(matches!(
        rebuilt.phase,
        Phase::Promoting {
            kind: MoveKind::Failover,
            ..
        }
    ));
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    b.record.as_mut().unwrap().owner = id("b");
    let plan = replan(&model, &observed);
    assert!(plan.journal.is_none());
    assert_eq!(plan.report.blockers[0].reason, Reason::OwnershipConflict);
}

pub(crate) fn replan(model: &Model, observed: &Observed) -> lifeboat_core::Plan {
    lifeboat_core::plan(
        model.now,
        &model.policy,
        &model.intent,
        observed,
        &model.journal,
    )
}

#[test]
fn a_wish_for_a_cluster_outside_the_policy_is_refused_before_a_drcluster_is_asked_for() {
    for wish in [relocate, fail_over] {
        let mut model = protected();
        wish(&mut model, "mars");
        calm(&mut model);
        let report = model.plan().1.report;
        let reasons: Vec<Reason> = report.blockers.iter().map(|b| b.reason).collect();
        assert_eq!(reasons, [Reason::ClusterNotInPolicy], "{report:#?}");
        assert!(
            report.step.contains("the policy has no cluster mars"),
            "{report:#?}"
        );
        let progressing = report.conditions.iter();
        let mut progressing = progressing.filter(|c| c.kind.as_str() == "Progressing");
        assert!(progressing.any(|c| c.reason == "ClusterNotInPolicy"));
        assert_rests(&mut model, "a");
    }
}
