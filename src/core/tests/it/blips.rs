//! Clusters that are neither seen nor silent, and clusters that return at the wrong moment.

use jiff::SignedDuration;
use lifeboat_core::Plan;
use lifeboat_core::ids::{Epoch, ResyncRequest};
use lifeboat_core::intent::{Life, MoveKind};
use lifeboat_core::journal::{Before, Journal, Phase};
use lifeboat_core::observed::{Contact, Managed, Mark, Observed, Replicator, Role, VrStatus};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id, running, workload};
use lifeboat_core::wait::Reason;

use crate::converge::{replan, step_to};
use crate::drive::{assert_rests, calm, fail_over, protected, relocate};
use crate::silence::facts;
use crate::writers::pod;

/// The contact with `name` is as it is for a model that is `seconds` further on.
fn seen(model: &mut Model, name: &str, contact: &Contact, seconds: i64) -> Plan {
    let mut observed = model.observe();
    observed.clusters.get_mut(&id(name)).unwrap().contact = contact.clone();
    later(model, &observed, seconds)
}

fn later(model: &Model, observed: &Observed, seconds: i64) -> Plan {
    let now = model.now + SignedDuration::from_secs(seconds);
    lifeboat_core::plan(now, &model.policy, &model.intent, observed, &model.journal)
}

fn commits(plan: &Plan) -> bool {
    plan.journal.as_ref().is_some_and(|j| j.epoch > Epoch(1))
}

#[test]
fn a_failover_takes_no_blip_for_a_loss() {
    for what in ["Steady", "Relocating"] {
        let mut model = protected();
        fail_over(&mut model, "b");
        step_to(&mut model, what);
        let (since, why) = (model.now, || "its Pods are being read".to_owned());
        for (contact, patience) in [
            (Contact::Behind { since, why: why() }, 60),
            (Contact::Never { since, why: why() }, 15),
            (Contact::Stale { since, why: why() }, 10),
            (Contact::Refused { since, why: why() }, 10),
            (Contact::Replaced { since, why: why() }, 10),
            (Contact::Unregistered { since, why: why() }, 10),
        ] {
            let plan = seen(&mut model, "a", &contact, patience - 1);
            assert!(!commits(&plan), "{what}: {plan:#?}");
            assert!(!plan.report.blockers.is_empty(), "{what}: {plan:#?}");
            assert!(plan.again_after_ms.is_some(), "{what}: nobody looks again");
            let plan = seen(&mut model, "a", &contact, patience);
            assert!(commits(&plan), "{what}: {plan:#?}");
        }
        calm(&mut model);
        assert_rests(&mut model, "b");
    }
}

#[test]
fn what_may_pass_by_itself_is_not_called_a_loss() {
    for (name, lost) in [
        ("a", Reason::SourceUnreachable),
        ("b", Reason::TargetUnreachable),
    ] {
        let mut model = protected();
        relocate(&mut model, "b");
        let (since, why) = (model.now, "its Pods are being read".to_owned());
        let behind = Contact::Behind { since, why };
        let reasons = |plan: &Plan| -> Vec<Reason> {
            plan.report.blockers.iter().map(|b| b.reason).collect()
        };
        let plan = seen(&mut model, name, &behind, 59);
        assert!(reasons(&plan).contains(&Reason::OutOfStep), "{plan:#?}");
        assert!(!reasons(&plan).contains(&lost), "{plan:#?}");
        assert!(plan.again_after_ms.is_some(), "{name}: nobody looks again");
        let plan = seen(&mut model, name, &behind, 60);
        assert!(reasons(&plan).contains(&lost), "{plan:#?}");
        assert!(!reasons(&plan).contains(&Reason::OutOfStep), "{plan:#?}");
    }
}

#[test]
fn on_the_way_and_before_the_first_decision_too_it_is_a_loss_only_when_it_is_one() {
    let (from, to, kind) = (id("a"), id("b"), MoveKind::Relocate);
    let stage = Before::Prepare;
    let relocating = Phase::Relocating {
        from: from.clone(),
        to: to.clone(),
        kind,
        stage,
    };
    let cancelling = Phase::Cancelling {
        from: from.clone(),
        to: to.clone(),
    };
    let starting = Phase::Starting {
        from: from.clone(),
        to: to.clone(),
        kind,
    };
    let promoting = Phase::Promoting { from, to, kind };
    for (phase, owner, away, lost) in [
        (relocating, "a", "a", Reason::SourceUnreachable),
        (cancelling, "a", "a", Reason::SourceUnreachable),
        (promoting, "b", "b", Reason::TargetUnreachable),
        (starting, "b", "b", Reason::TargetUnreachable),
        (Phase::Undecided, "", "b", Reason::ClusterUnreachable),
    ] {
        let mut model = protected();
        relocate(&mut model, "b");
        let name = phase.as_str();
        if phase == Phase::Undecided {
            model.lose_hub();
        } else {
            model.journal.phase = phase;
            model.journal.owner = Some(id(owner));
            model.journal.epoch = Epoch(2);
        }
        let (since, why) = (model.now, "its Pods are being read".to_owned());
        let behind = Contact::Behind { since, why };
        for (seconds, is, is_not) in [(59, Reason::OutOfStep, lost), (60, lost, Reason::OutOfStep)]
        {
            let plan = seen(&mut model, away, &behind, seconds);
            let told: Vec<Reason> = plan.report.blockers.iter().map(|b| b.reason).collect();
            assert!(
                told.contains(&is) && !told.contains(&is_not),
                "{name}: {plan:#?}"
            );
            assert!(
                seconds == 60 || plan.again_after_ms.is_some(),
                "{name}: nobody looks again"
            );
        }
    }
}

/// `a` is lost, `b` owns the application and waits for something, and `a` returns as it was.
fn returned(phase: Phase) -> (Model, Observed) {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    step_to(&mut model, "Starting");
    model.journal = Journal {
        phase,
        ..model.journal.clone()
    };
    model.link("a", Link::Up);
    let observed = model.observe();
    (model, observed)
}

#[test]
fn a_site_that_returns_while_the_new_owner_waits_is_quarantined() {
    let (from, to, kind) = (id("a"), id("b"), MoveKind::Failover);
    let starting = Phase::Starting {
        from: from.clone(),
        to: to.clone(),
        kind,
    };
    let promoting = Phase::Promoting {
        from,
        to: to.clone(),
        kind,
    };
    let moving_on = Phase::Relocating {
        from: to.clone(),
        to: id("c"),
        kind: MoveKind::Relocate,
        stage: Before::Prepare,
    };
    let staying = Phase::Cancelling {
        from: to,
        to: id("c"),
    };
    for phase in [starting, promoting, moving_on, staying] {
        let (mut model, mut observed) = returned(phase.clone());
        if matches!(phase, Phase::Relocating { .. }) {
            relocate(&mut model, "c");
        }
        let b = observed.clusters.get_mut(&id("b")).unwrap();
        match phase {
            // Started, and never ready.
            Phase::Starting { .. } => {
                let mut unready = running(&Mark::Ours, 2);
                unready.ready = 0;
                b.workloads.insert(workload(), unready);
            }
            // The target is not seen.
            _ => {
                b.contact = Contact::Stale {
                    since: model.now,
                    why: "no route".into(),
                };
            }
        }
        let plan = replan(&model, &observed);
        let on_a = |s: &&Step| s.cluster() == Some(&id("a"));
        let names: Vec<&str> = plan.steps.iter().filter(on_a).map(Step::name).collect();
        assert!(
            ["Record", "Quiesce", "Demote"]
                .iter()
                .all(|n| names.contains(n)),
            "{}: {names:?}\n{plan:#?}",
            phase.as_str()
        );
    }
}

#[test]
fn a_resync_that_nobody_has_carried_out_is_taken_back_when_the_owner_is_gone() {
    let (model, mut observed) = ordered(300);
    let stays = replan(&model, &observed);
    assert!(!stays.steps.iter().any(steps_down), "{stays:#?}");
    observed.clusters.get_mut(&id("b")).unwrap().contact = Contact::Stale {
        since: model.now,
        why: "no route".into(),
    };
    let taken_back = replan(&model, &observed);
    assert!(taken_back.steps.iter().any(steps_down), "{taken_back:#?}");
    for volume in observed
        .clusters
        .get_mut(&id("a"))
        .unwrap()
        .volumes
        .values_mut()
    {
        volume.replication.as_mut().unwrap().resync_issued = Some(ResyncRequest::first(Epoch(2)));
    }
    let too_late = replan(&model, &observed);
    assert!(!too_late.steps.iter().any(steps_down), "{too_late:#?}");
}

#[test]
fn an_order_is_taken_back_before_anything_that_may_keep_one_waiting() {
    let gone = |model: &Model| Contact::Stale {
        since: model.now,
        why: "no route".into(),
    };
    // Somebody there uses the volumes.
    let (model, mut observed) = ordered(300);
    facts(&mut observed, "b").contact = gone(&model);
    facts(&mut observed, "a").holders.push(pod(Managed::No));
    let plan = replan(&model, &observed);
    assert!(plan.steps.iter().any(steps_down), "{plan:#?}");

    // Another cluster is to be quarantined first, and may never let itself be.
    let (model, mut observed) = ordered(300);
    facts(&mut observed, "b").contact = gone(&model);
    let rival = facts(&mut observed, "a").volumes.clone();
    facts(&mut observed, "c").volumes = rival;
    for volume in facts(&mut observed, "c").volumes.values_mut() {
        let r = volume.replication.as_mut().unwrap();
        (r.desired, r.status, r.resync_asked) = (Role::Primary, VrStatus::Primary, None);
    }
    let plan = replan(&model, &observed);
    assert!(!plan.steps.iter().any(steps_down), "{plan:#?}");
    assert!(plan.aside.iter().any(steps_down), "{plan:#?}");
}

#[test]
fn where_nobody_notes_what_is_carried_out_an_order_stands_until_the_owner_is_lost() {
    let (model, mut observed) = ordered(10);
    facts(&mut observed, "a").replicator = Replicator::Upstream;
    // Its time means nothing there.
    let plan = replan(&model, &observed);
    assert!(plan.steps.is_empty(), "{plan:#?}");
    for (seconds, taken_back) in [(0, false), (5, false), (60, true)] {
        facts(&mut observed, "b").contact = Contact::Stale {
            since: model.now - jiff::SignedDuration::from_secs(seconds),
            why: "no route".into(),
        };
        let plan = replan(&model, &observed);
        let steps = plan.steps.iter();
        assert_eq!(steps.clone().any(steps_down), taken_back, "{seconds} s");
    }
}

/// `a` was asked to take the data of `b`, and the order holds for so long; its agent has not come to it.
fn ordered(holds: i64) -> (Model, Observed) {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    while !model.plan().1.steps.iter().any(asks_for_resync) {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    let mut observed = model.observe();
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    for volume in a.volumes.values_mut() {
        let r = volume.replication.as_mut().unwrap();
        (r.desired, r.status, r.epoch) = (Role::Resync, VrStatus::Pending, Some(Epoch(2)));
        r.resync_asked = Some(ResyncRequest::first(Epoch(2)));
        r.resync_until = Some(model.now + jiff::SignedDuration::from_secs(holds));
    }
    (model, observed)
}

#[test]
fn an_order_to_resync_is_renewed_after_half_its_time_while_the_proof_holds_and_not_before() {
    let (model, observed) = ordered(151);
    let plan = replan(&model, &observed);
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    assert!(plan.again_after_ms.is_some_and(|ms| ms <= 1_000));

    let (model, mut observed) = ordered(150);
    let plan = replan(&model, &observed);
    let renewed = plan.steps.iter().any(|s| {
        matches!(s, Step::Resync { until, claims, .. }
            if *until > model.now + jiff::SignedDuration::from_secs(260) && claims.len() == 2)
    });
    assert!(renewed, "{:#?}", plan.steps);

    // The owner is not seen primary: nothing is renewed, and what is not begun is taken back.
    let b = observed.clusters.get_mut(&id("b")).unwrap();
    let r = b.volumes.values_mut().next().unwrap().replication.as_mut();
    r.unwrap().status = VrStatus::Pending;
    let plan = replan(&model, &observed);
    assert!(!plan.steps.iter().any(asks_for_resync), "{:#?}", plan.steps);
    assert!(plan.steps.iter().any(steps_down), "{:#?}", plan.steps);
}

#[test]
fn an_order_that_was_carried_out_is_not_renewed() {
    let (model, mut observed) = ordered(10);
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    for volume in a.volumes.values_mut() {
        volume.replication.as_mut().unwrap().resync_issued = Some(ResyncRequest::first(Epoch(2)));
    }
    let plan = replan(&model, &observed);
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
}

fn asks_for_resync(step: &Step) -> bool {
    matches!(step, Step::Resync { .. })
}

fn steps_down(step: &Step) -> bool {
    matches!(step, Step::Replicate { cluster, role: Role::Secondary, .. } if *cluster == id("a"))
}

#[test]
fn a_removal_waits_for_clusters_that_were_not_seen_yet() {
    let mut model = protected();
    model.intent.life = Life::Leaving;
    step_to(&mut model, "Removing");
    let mut observed = model.observe();
    let unseen = |observed: &mut Observed, name: &str, contact: Contact| {
        let facts = observed.clusters.get_mut(&id(name)).unwrap();
        facts.volumes.clear();
        facts.workloads.clear();
        facts.record = None;
        facts.contact = contact;
    };
    let why = || "no answer yet".to_owned();
    let since = model.now;
    for contact in [
        Contact::Never { since, why: why() },
        Contact::Behind { since, why: why() },
        Contact::Refused { since, why: why() },
    ] {
        for name in ["a", "b"] {
            let mut observed = observed.clone();
            unseen(&mut observed, name, contact.clone());
            let plan = later(&model, &observed, 600);
            assert!(plan.steps.is_empty(), "{name} {contact:?}: {plan:#?}");
            assert!(!plan.report.blockers.is_empty(), "{name} {contact:?}");
        }
    }
    // One that nobody registers any more is gone for good.
    unseen(
        &mut observed,
        "b",
        Contact::Unregistered { since, why: why() },
    );
    let plan = later(&model, &observed, 9);
    assert!(
        plan.steps.is_empty() && plan.again_after_ms.is_some(),
        "{plan:#?}"
    );
    assert!(!later(&model, &observed, 10).steps.is_empty());
}

#[test]
fn a_source_that_was_replaced_by_another_cluster_counts_as_silent_and_the_gate_says_what_that_means()
 {
    let mut model = protected();
    fail_over(&mut model, "b");
    let mut observed = model.observe();
    observed.clusters.insert(
        id("a"),
        lifeboat_core::ClusterFacts {
            contact: Contact::Replaced {
                since: model.now - SignedDuration::from_secs(10),
                why: "now leads to another cluster, of uid 9".into(),
            },
            ..lifeboat_core::ClusterFacts::default()
        },
    );
    let plan = replan(&model, &observed);
    assert_eq!(plan.journal.map(|j| j.epoch), Some(Epoch(2)));
    let gate = plan.report.gates.iter().find(|g| g.name == "SourceStopped");
    let said = &gate.unwrap().message;
    for words in [
        "the DRCluster a now leads to another cluster",
        "it may still run there",
        "on the word of whoever asked",
    ] {
        assert!(said.contains(words), "{said}");
    }
}
