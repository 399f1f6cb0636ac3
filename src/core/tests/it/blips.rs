//! Clusters that are neither seen nor silent, and clusters that return at the wrong moment.

use jiff::SignedDuration;
use lifeboat_core::Plan;
use lifeboat_core::ids::Epoch;
use lifeboat_core::intent::{Life, MoveKind};
use lifeboat_core::journal::{Before, Journal, Phase};
use lifeboat_core::observed::{Contact, Mark, Observed, Role, VrStatus};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id, running, workload};
use lifeboat_core::wait::Reason;

use crate::converge::{replan, step_to};
use crate::drive::{assert_rests, calm, fail_over, protected, relocate};

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
        let (since, why) = (model.now, "its Pods are being read".to_owned());
        let behind = Contact::Behind {
            since,
            why: why.clone(),
        };
        let never = Contact::Never { since, why };
        for (contact, patience) in [(behind, 60), (never, 5)] {
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
        from: to,
        to: id("c"),
        kind: MoveKind::Relocate,
        stage: Before::Prepare,
    };
    for phase in [starting, promoting, moving_on] {
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
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    for _ in 0..100 {
        if model.plan().1.steps.iter().any(asks_for_resync) {
            break;
        }
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    let plan = model.plan().1;
    assert!(plan.steps.iter().any(asks_for_resync), "{plan:#?}");
    // Asked for, and the agent on `a` has not come to it.
    let mut observed = model.observe();
    for volume in observed
        .clusters
        .get_mut(&id("a"))
        .unwrap()
        .volumes
        .values_mut()
    {
        let r = volume.replication.as_mut().unwrap();
        (r.desired, r.status, r.epoch) = (Role::Resync, VrStatus::Pending, Some(Epoch(2)));
    }
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
        volume.replication.as_mut().unwrap().resync_issued = Some(Epoch(2));
    }
    let too_late = replan(&model, &observed);
    assert!(!too_late.steps.iter().any(steps_down), "{too_late:#?}");
}

fn asks_for_resync(step: &Step) -> bool {
    matches!(
        step,
        Step::Replicate {
            role: Role::Resync,
            ..
        }
    )
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
        Contact::Refused { why: why() },
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
    unseen(&mut observed, "b", Contact::Unregistered { why: why() });
    assert!(!replan(&model, &observed).steps.is_empty());
}
