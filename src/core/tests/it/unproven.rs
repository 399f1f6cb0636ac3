//! Copies that are being taken anew count as copies when they are proven, whoever takes what away meanwhile.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::ids::ClaimKey;
use lifeboat_core::journal::{Anew, Journal, Phase};
use lifeboat_core::observed::{Contact, Mark, Observed};
use lifeboat_core::report::Tri;
use lifeboat_core::testing::{Link, Model, id};
use lifeboat_core::wait::Reason;
use lifeboat_core::{ClusterFacts, Plan};

use crate::by_hand::is_protected;
use crate::converge::replan;
use crate::drive::{assert_rests, calm, fail_over, protected, relocate, resyncing};

/// A hand deletes so many claims on `a`, each with its VolumeReplication, and with its volume if `all` of it is to go.
fn delete_on_a(model: &mut Model, so_many: usize, all: bool) {
    let a = model.sites.get_mut(&id("a")).unwrap();
    let keys: Vec<_> = a.truth.volumes.keys().take(so_many).cloned().collect();
    for key in keys {
        let x = a.truth.volumes.get_mut(&key).unwrap();
        (x.claim, x.replication) = (None, None);
        if all {
            a.truth.volumes.remove(&key);
            a.truth.workloads.clear();
        }
    }
}

fn asked(model: &Model) -> Timestamp {
    let Phase::CleaningUp { resync, .. } = model.journal.phase else {
        panic!("{:?}", model.journal.phase);
    };
    resync.unwrap()
}

/// What is seen while `b` last synced so many seconds after the copies were asked for.
fn synced(model: &mut Model, seconds: i64) -> Observed {
    let at = asked(model) + SignedDuration::from_secs(seconds);
    let mut observed = model.observe();
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    for x in b.volumes.values_mut() {
        x.replication.as_mut().unwrap().last_sync = Some(at);
    }
    observed
}

/// `a` and `b` are all there is, and the sync that `b` told of was before the copies were asked for.
fn two_clusters() -> Model {
    let mut model = resyncing();
    model.policy.clusters.retain(|c| *c != id("c"));
    let before = asked(&model) - SignedDuration::from_secs(1);
    model.journal.protected_since = Some(before);
    for known in model.journal.synced.values_mut() {
        known.at = before;
    }
    model
}

fn gate(plan: &Plan, name: &str) -> Option<Tri> {
    let a = Some(id("a"));
    let mut all = plan.report.gates.iter();
    all.find(|g| g.target == a && g.name == name)
        .map(|g| g.state)
}

#[test]
fn claim_and_replication_deleted_together_leave_a_copy_that_is_still_to_be_proven() {
    for (so_many, all) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut model = two_clusters();
        delete_on_a(&mut model, so_many, all);
        if all && let Phase::CleaningUp { from, .. } = &mut model.journal.phase {
            // It is not the one that was left last.
            *from = id("c");
        }
        for _ in 0..10 {
            let observed = synced(&mut model, 0);
            let plan = replan(&model, &observed);
            assert!(!is_protected(&plan), "{plan:#?}");
            assert_eq!(gate(&plan, "TargetCopy"), Some(Tri::False), "{plan:#?}");
            model.follow(&plan, None, 1);
        }
        let observed = synced(&mut model, 0);
        let plan = replan(&model, &observed);
        let said = |b: &lifeboat_core::Blocker| {
            b.reason == Reason::NotSynced && b.message.contains("shop/data, shop/log on a")
        };
        assert!(
            so_many < 2 || plan.report.blockers.iter().any(said),
            "{:#?}",
            plan.report
        );
        assert!(matches!(model.journal.phase, Phase::CleaningUp { .. }));
        calm(&mut model);
        assert_rests(&mut model, "b");
        assert_eq!(model.journal.resyncs.len(), 0);
    }
}

#[test]
fn a_sync_later_than_the_request_proves_it() {
    let mut model = two_clusters();
    delete_on_a(&mut model, 2, true);
    let ends = |model: &Model, observed: &Observed| {
        let mut model = model.clone();
        for _ in 0..10 {
            let plan = replan(&model, observed);
            model.follow(&plan, None, 1);
        }
        model.journal.resyncs.is_empty()
    };
    for (seconds, proven) in [(-5, false), (0, false), (1, true)] {
        let observed = synced(&mut model, seconds);
        assert_eq!(is_protected(&replan(&model, &observed)), proven);
        assert_eq!(ends(&model, &observed), proven, "{seconds}");
    }
}

#[test]
fn what_the_owner_has_no_more_needs_no_proof() {
    let mut model = two_clusters();
    delete_on_a(&mut model, 2, true);
    let mut observed = synced(&mut model, 0);
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    b.volumes.clear();
    for _ in 0..10 {
        let plan = replan(&model, &observed);
        model.follow(&plan, None, 1);
    }
    assert_eq!(model.journal.resyncs.len(), 0);
}

#[test]
fn a_claim_that_was_deleted_everywhere_holds_no_failover_back() {
    let mut model = two_clusters();
    delete_on_a(&mut model, 1, true);
    let gone = ClaimKey::new("shop", "data");
    model.capture.as_mut().unwrap().volumes.remove(&gone);
    let later = asked(&model) + SignedDuration::from_secs(1);
    for known in model.journal.synced.values_mut() {
        known.at = later;
    }
    model.journal.synced.remove(&gone);
    model.link("b", Link::Dead);
    assert_eq!(gate(&model.plan().1, "TargetCopy"), None);
}

#[test]
fn a_replication_that_is_not_ours_proves_nothing() {
    let mut model = two_clusters();
    let a = model.sites.get_mut(&id("a")).unwrap();
    for x in a.truth.volumes.values_mut() {
        x.claim = None;
        x.replication.as_mut().unwrap().mark = Mark::Unmarked;
    }
    let observed = synced(&mut model, 0);
    for _ in 0..10 {
        let plan = replan(&model, &observed);
        model.follow(&plan, None, 1);
    }
    assert!(model.journal.resyncs.contains_key(&id("a")));
}

#[test]
fn a_copy_that_no_agent_was_told_to_throw_away_is_still_one() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    for _ in 0..20 {
        if !model.journal.resyncs.is_empty() {
            break;
        }
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    assert!(model.journal.resyncs.contains_key(&id("a")));
    let mut ordered = model.clone();
    let plan = ordered.plan().1;
    ordered.follow(&plan, None, 1);
    // An order that no agent has carried out yet may be carried out at any time.
    for (mut model, denied) in [(model, None), (ordered, Some(Tri::False))] {
        model.link("b", Link::Dead);
        let plan = model.plan().1;
        assert_eq!(gate(&plan, "TargetAnswers"), Some(Tri::True), "{plan:#?}");
        assert_eq!(gate(&plan, "TargetCopy"), denied, "{plan:#?}");
    }
}

#[test]
fn a_request_of_which_no_time_is_known_is_proven_by_a_sync_from_now_on() {
    let mut model = two_clusters();
    delete_on_a(&mut model, 2, true);
    if let Phase::CleaningUp { resync, .. } = &mut model.journal.phase {
        *resync = None;
    }
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    assert_eq!(asked(&model), model.now);
}

#[test]
fn nothing_moves_there_before_and_it_is_waited_for_after_a_move_that_was_taken_back() {
    let mut model = two_clusters();
    delete_on_a(&mut model, 2, true);
    relocate(&mut model, "a");
    let observed = synced(&mut model, 0);
    let plan = replan(&model, &observed);
    assert_eq!(gate(&plan, "TargetClear"), Some(Tri::False), "{plan:#?}");
    // As it is after a move to a third cluster that was taken back.
    fail_over(&mut model, "b");
    model.journal.served = Some(model.intent.request.clone());
    model.journal.phase = Phase::Steady;
    let plan = model.plan().1;
    assert!(!is_protected(&plan), "{plan:#?}");
    model.follow(&plan, None, 1);
    assert!(matches!(model.journal.phase, Phase::CleaningUp { .. }));
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn of_a_cluster_that_was_given_up_nothing_is_waited_for_and_later_nothing_is_known() {
    let mut model = resyncing();
    let mut observed = model.observe();
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    *a = ClusterFacts {
        contact: Contact::Unregistered {
            since: model.now - SignedDuration::from_mins(1),
            why: "no DRCluster of that name exists".into(),
        },
        ..ClusterFacts::default()
    };
    for _ in 0..10 {
        let plan = replan(&model, &observed);
        model.follow(&plan, None, 1);
    }
    assert_eq!(model.journal.phase, Phase::Steady);
    assert_eq!(model.journal.resyncs.len(), 0);
}

#[test]
fn while_a_third_cluster_may_have_a_copy_a_sync_counts_as_one() {
    let mut model = two_clusters();
    model.policy.clusters.push(id("c"));
    let observed = synced(&mut model, 0);
    let mut plan = replan(&model, &observed);
    while plan.journal.is_some() {
        model.follow(&plan, None, 1);
        plan = replan(&model, &observed);
    }
    assert!(is_protected(&plan), "{plan:#?}");
}

#[test]
fn a_journal_of_before_is_read() {
    let mut model = resyncing();
    let number = model.journal.resyncs[&id("a")].number;
    let mut text = serde_json::to_value(&model.journal).unwrap();
    assert_eq!(
        serde_json::from_value::<Journal>(text.clone()).unwrap(),
        model.journal
    );
    text["resyncs"]["a"] = number.into();
    model.journal = serde_json::from_value(text).unwrap();
    let claims = BTreeSet::new();
    assert_eq!(model.journal.resyncs[&id("a")], Anew { number, claims });
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn the_end_of_a_move_is_noted_once_and_of_that_move() {
    let mut model = resyncing();
    calm(&mut model);
    assert_rests(&mut model, "b");
    let ended = model.journal.moves[0].ended;
    assert!(ended.is_some_and(|at| at < model.now));
    // A move that is taken back, and something that turns up on the old side afterwards.
    relocate(&mut model, "c");
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    relocate(&mut model, "b");
    calm(&mut model);
    let taken_back = model.journal.moves[0].clone();
    assert!(taken_back.cancelled.is_some() && taken_back.ended > ended);
    model.now += SignedDuration::from_secs(100);
    let b = model.sites[&id("b")].truth.volumes.clone();
    let a = model.sites.get_mut(&id("a")).unwrap();
    a.truth.volumes.extend(b.into_iter().map(|(k, mut x)| {
        x.replication = None;
        (k, x)
    }));
    model.link("a", Link::Up);
    let log = calm(&mut model).log;
    assert!(log.iter().any(|s| s == "[CleaningUp]"), "{log:?}");
    assert_rests(&mut model, "b");
    assert_eq!(model.journal.moves[0], taken_back);
    assert_eq!(model.journal.moves[1].ended, ended);
}
