//! What may go wrong with data in a failover: a copy of which nobody can say whether it is complete, and a former primary whose data is
//! thrown away.

use lifeboat_core::Plan;
use lifeboat_core::ids::{ClaimKey, Epoch};
use lifeboat_core::intent::{Life, MoveKind, Risk};
use lifeboat_core::journal::Phase;
use lifeboat_core::observed::{AgentFacts, Contact, Csi, DivergedFacts, KeptFacts, Replicator};
use lifeboat_core::report::{ConditionKind, Tri};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{DRIVER, Link, Model, id};
use lifeboat_core::wait::Reason;

use crate::converge::replan;
use crate::drive::{assert_rests, calm, fail_over, protected, relocate, resyncing};

/// The driver on `name` cannot say whether its copies are complete.
fn mute(model: &mut Model, name: &str) {
    let site = model.sites.get_mut(&id(name)).unwrap();
    let AgentFacts::Alive { telling, .. } = &mut site.truth.agent else {
        panic!("no agent");
    };
    assert!(telling.remove(DRIVER));
}

/// `a` is lost, and a person asks for `b`.
fn lost(mut model: Model) -> Model {
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model
}

fn holds(plan: &Plan, reason: Reason) -> bool {
    plan.report.blockers.iter().any(|b| b.reason == reason)
}

#[test]
fn a_copy_of_which_nobody_can_say_whether_it_is_complete_waits_for_a_person() {
    let upstream = |model: &mut Model| {
        model.sites.get_mut(&id("b")).unwrap().truth.replicator = Replicator::Upstream;
    };
    for make in [&upstream as &dyn Fn(&mut Model), &|m| mute(m, "b")] {
        let mut model = protected();
        make(&mut model);
        let mut model = lost(model);
        let plan = model.plan().1;
        assert_eq!(model.journal.epoch, Epoch(1), "it moved");
        assert!(holds(&plan, Reason::UnverifiedCopy), "{:#?}", plan.report);
        let gates = &plan.report.gates;
        let gate = gates.iter().find(|g| g.name == "CopyState");
        assert_eq!(gate.unwrap().state, Tri::Unknown);

        model.intent.accepted.insert(Risk::UnverifiedCopy);
        calm(&mut model);
        assert_eq!(model.journal.epoch, Epoch(2));
        model.link("a", Link::Up);
        calm(&mut model);
        assert_rests(&mut model, "b");
    }
}

#[test]
fn it_is_said_before_the_disaster_that_a_failover_would_wait() {
    let mut model = protected();
    for name in ["b", "c"] {
        mute(&mut model, name);
    }
    let report = model.plan().1.report;
    let armed = |r: &lifeboat_core::report::Report| {
        let found = r.conditions.iter();
        let mut found = found.filter(|c| c.kind == ConditionKind::FailoverArmed);
        found.next().unwrap().status
    };
    assert_eq!(armed(&report), Tri::False);
    assert!(report.blockers.is_empty(), "{:?}", report.blockers);
    model.intent.accepted.insert(Risk::UnverifiedCopy);
    assert_eq!(armed(&model.plan().1.report), Tri::True);
}

#[test]
fn an_order_to_resync_says_how_long_what_it_throws_away_is_kept() {
    let orders = |model: &mut Model| {
        let mut found = Vec::new();
        for _ in 0..20 {
            let plan = model.plan().1;
            found.extend(plan.steps.iter().filter_map(|s| match s {
                Step::Resync { salvage, .. } => Some(*salvage),
                _ => None,
            }));
            model.follow(&plan, None, 1);
            model.tick();
        }
        found
    };
    for keep in [None, Some(3_600)] {
        let mut model = lost(protected());
        model.policy.salvage_seconds = keep;
        model.link("a", Link::Up);
        assert_eq!(orders(&mut model).first(), Some(&keep));
    }
}

#[test]
fn nothing_is_thrown_away_where_it_cannot_be_kept_as_the_policy_asks() {
    let mut model = lost(protected());
    model.policy.salvage_seconds = Some(3_600);
    model.sites.get_mut(&id("a")).unwrap().truth.replicator = Replicator::Upstream;
    model.link("a", Link::Up);
    calm(&mut model);
    let plan = model.plan().1;
    assert!(
        holds(&plan, Reason::SalvageImpossible),
        "{:#?}",
        plan.report
    );
    assert!(
        matches!(model.journal.phase, Phase::CleaningUp { resync: None, .. }),
        "{:?}",
        model.journal.phase
    );
    model.policy.salvage_seconds = None;
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn an_agent_that_does_not_say_that_it_keeps_copies_is_not_trusted_to_refuse() {
    let mut model = lost(protected());
    model.policy.salvage_seconds = Some(3_600);
    let keeps = |model: &mut Model, does: bool| {
        let a = model.sites.get_mut(&id("a")).unwrap();
        let AgentFacts::Alive { keeping, .. } = &mut a.truth.agent else {
            panic!("no agent");
        };
        *keeping = does.then(|| DRIVER.to_owned()).into_iter().collect();
    };
    keeps(&mut model, false);
    model.link("a", Link::Up);
    calm(&mut model);
    let plan = model.plan().1;
    assert!(
        holds(&plan, Reason::SalvageImpossible),
        "{:#?}",
        plan.report
    );
    keeps(&mut model, true);
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn a_relocation_that_is_turned_into_a_failover_after_its_commit_asks_the_same_question() {
    let mut model = protected();
    mute(&mut model, "b");
    relocate(&mut model, "b");
    while !matches!(model.journal.phase, Phase::Promoting { .. }) {
        let plan = model.plan().1;
        model.follow(&plan, None, 1);
        model.tick();
    }
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    let mut observed = model.observe();
    for x in observed
        .clusters
        .get_mut(&id("b"))
        .unwrap()
        .volumes
        .values_mut()
    {
        x.replication = None;
    }
    let plan = replan(&model, &observed);
    let forced = |plan: &Plan| {
        let phase = plan.journal.as_ref().map(|j| &j.phase);
        matches!(
            phase,
            Some(Phase::Promoting {
                kind: MoveKind::Failover,
                ..
            })
        )
    };
    assert!(!forced(&plan), "{plan:#?}");
    model.intent.accepted.insert(Risk::UnverifiedCopy);
    assert!(forced(&replan(&model, &observed)), "{plan:#?}");
}

#[test]
fn at_the_end_it_is_said_which_kept_copies_nobody_deletes_any_more() {
    let mut model = protected();
    model.intent.life = Life::Leaving;
    let mut said = Vec::new();
    while !model.finished {
        let mut observed = model.observe();
        let since = model.now;
        let a = observed.clusters.get_mut(&id("a")).unwrap();
        a.diverged = vec![diverged("data", 2, since)];
        let plan = replan(&model, &observed);
        said.extend(plan.report.events.clone());
        model.follow(&plan, None, 1);
        model.tick();
    }
    let is = |e: &&lifeboat_core::report::EventReport| e.reason == "CopiesKept";
    let kept = said.iter().find(is).unwrap();
    assert!(kept.message.contains("kept-data of shop/data"), "{kept:?}");
}

fn diverged(name: &str, epoch: i64, now: jiff::Timestamp) -> DivergedFacts {
    DivergedFacts {
        claim: ClaimKey::new("shop", name),
        epoch: Epoch(epoch),
        measured_at: now,
        bytes: Some(4_096),
        message: None,
        kept: Some(KeptFacts {
            csi: Csi {
                driver: DRIVER.to_owned(),
                handle: format!("kept-{name}"),
            },
            until: now,
            dropped: None,
        }),
    }
}

#[test]
fn what_a_former_primary_held_is_told_newest_first_also_when_it_is_not_seen() {
    let mut model = resyncing();
    let mut observed = model.observe();
    let of = |name, epoch| diverged(name, epoch, model.now);
    let a = observed.clusters.get_mut(&id("a")).unwrap();
    let since = model.now;
    a.contact = Contact::Stale {
        since,
        why: "timeout".into(),
    };
    a.diverged = vec![of("data", 1), of("log", 2), of("data", 2)];
    let told = replan(&model, &observed).report.diverged;
    let told: Vec<(i64, &str, &str)> = told
        .iter()
        .map(|d| {
            (
                d.facts.epoch.0,
                d.facts.claim.name.as_str(),
                d.cluster.as_str(),
            )
        })
        .collect();
    assert_eq!(told, [(2, "data", "a"), (2, "log", "a"), (1, "data", "a")]);
}
