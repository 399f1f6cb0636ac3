//! Drives a model until nothing changes any more.

use lifeboat_core::ids::ClusterId;
use lifeboat_core::intent::{MoveKind, Request};
use lifeboat_core::journal::{Journal, Phase};
use lifeboat_core::plan::Plan;
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id, request};

use crate::invariants;

/// So many looks without a change are taken for rest.
const REST: usize = 6;

/// What goes wrong on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Before this look the hub loses its memory.
    pub(crate) lose_hub: Option<usize>,
    /// From the first look on until before the second, a cluster is cut off or dead.
    pub(crate) away: Option<(String, Link, usize, usize)>,
    /// On each look only so many steps get through, when its number is even.
    pub(crate) cut: Option<usize>,
    /// Each step is done so many times.
    pub(crate) twice: bool,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Names of steps and phases, in order.
    pub(crate) log: Vec<String>,
    /// Looks it took, without those at rest.
    pub(crate) looks: usize,
}

/// Drives until it rests, checking every plan. Panics with the log if it never does, or if a rule is broken.
pub(crate) fn settle(model: &mut Model, faults: &Faults) -> Told {
    let mut told = Told::default();
    let (mut quiet, mut before) = (0, None::<(Journal, Vec<_>, Vec<Step>)>);
    for look in 0..400 {
        disturb(model, faults, look);
        let journal = model.journal.clone();
        let (observed, plan) = model.plan();
        let broken = invariants::broken(
            model.now,
            &model.policy,
            &model.intent,
            &observed,
            &journal,
            &plan,
        );
        assert!(
            broken.is_empty(),
            "{broken:#?}\nlog {:#?}\nplan {plan:#?}\nobserved {observed:#?}",
            told.log
        );
        note(&mut told, &journal, &plan);
        let shape = model.shape();
        let seen = (journal.clone(), shape.clone(), plan.steps.clone());
        let hot = !plan.steps.is_empty() && before.as_ref() == Some(&seen) && faults.cut.is_none();
        let nudge = plan.steps.iter().all(|s| matches!(s, Step::Nudge { .. }));
        let unreachable = faults.away.is_some();
        assert!(
            !hot || nudge || unreachable,
            "the same again: {:#?}\nlog {:#?}",
            plan.steps,
            told.log
        );
        before = Some(seen);
        let cut = faults.cut.filter(|_| look % 2 == 0);
        model.follow(&plan, cut, if faults.twice { 2 } else { 1 });
        model.tick();
        if model.finished {
            told.looks = look;
            return told;
        }
        let still = plan.steps.is_empty() && plan.journal.is_none() && model.shape() == shape;
        quiet = if still { quiet + 1 } else { 0 };
        let over = faults
            .away
            .as_ref()
            .is_none_or(|(_, _, _, back)| look > *back)
            && faults.lose_hub.is_none_or(|at| look > at);
        if quiet >= REST && over {
            told.looks = look.saturating_sub(REST);
            return told;
        }
    }
    let last = model.plan().1;
    panic!(
        "never comes to rest in {:?}: {:#?}\n{last:#?}",
        model.journal.phase, told.log
    );
}

fn disturb(model: &mut Model, faults: &Faults, look: usize) {
    if faults.lose_hub == Some(look) {
        model.lose_hub();
    }
    if let Some((name, link, from, back)) = &faults.away {
        if look == *from {
            model.link(name, *link);
        } else if look == *back {
            model.link(name, Link::Up);
        }
    }
}

fn note(told: &mut Told, journal: &Journal, plan: &Plan) {
    for step in plan.all_steps() {
        let at = step.cluster().map_or("hub", ClusterId::as_str);
        told.log.push(format!("{}@{at}", step.name()));
    }
    if let Some(new) = &plan.journal
        && new.phase.as_str() != journal.phase.as_str()
    {
        told.log.push(format!("[{}]", new.phase.as_str()));
    }
}

/// Without faults.
pub(crate) fn calm(model: &mut Model) -> Told {
    settle(model, &Faults::default())
}

/// Goes on until a plan is as wanted, and does not follow it.
pub(crate) fn until(model: &mut Model, wanted: impl Fn(&Model, &Plan) -> bool) {
    for _ in 0..100 {
        let plan = model.plan().1;
        if wanted(model, &plan) {
            return;
        }
        model.follow(&plan, None, 1);
        model.tick();
    }
    let last = model.plan().1;
    panic!("never, in {:?}: {last:#?}", model.journal.phase);
}

/// A protected application on `a`.
pub(crate) fn protected() -> Model {
    let mut model = Model::new();
    calm(&mut model);
    assert_rests(&mut model, "a");
    model
}

/// `a` has returned after a failover to `b`, and its agent has begun to take every copy anew.
pub(crate) fn resyncing() -> Model {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    until(&mut model, |m, _| {
        let mut volumes = m.sites[&id("a")].truth.volumes.values();
        volumes.all(|x| {
            let replication = x.replication.as_ref();
            replication.is_some_and(|r| r.resync_issued.is_some())
        })
    });
    model
}

/// Asks for a relocation.
pub(crate) fn relocate(model: &mut Model, to: &str) {
    model.intent.request = request(to, Some(MoveKind::Relocate), None);
}

/// Asks for a failover; the preferred cluster stays what it was.
pub(crate) fn fail_over(model: &mut Model, to: &str) {
    model.intent.request = Request {
        action: Some(MoveKind::Failover),
        failover_cluster: Some(id(to)),
        ..model.intent.request.clone()
    };
}

/// All comes to rest on `b`, and what `a` holds is a copy of what `b` has.
pub(crate) fn assert_comes_back_as_a_copy(model: &mut Model) {
    calm(model);
    assert_rests(model, "b");
    assert!(model.records("b").starts_with(&model.records("a")));
}

/// The application rests on a cluster, and runs there, and nothing of it is anywhere else.
pub(crate) fn assert_rests(model: &mut Model, on: &str) {
    let last = model.plan().1;
    assert_eq!(model.journal.phase, Phase::Steady, "{last:#?}");
    assert_eq!(model.journal.owner, Some(id(on)));
    for (name, site) in &model.sites {
        let (volumes, workloads) = (&site.truth.volumes, &site.truth.workloads);
        if name.as_str() == on {
            assert_eq!(volumes.len(), 2, "{volumes:#?}");
            assert!(
                !workloads.is_empty() && workloads.values().all(|w| w.ready == 2),
                "{workloads:#?}"
            );
        } else {
            assert!(volumes.is_empty(), "{name} still has {volumes:#?}");
            assert!(workloads.is_empty(), "{name} still has {workloads:#?}");
        }
    }
    let plan = model.plan().1;
    let protected = plan
        .report
        .conditions
        .iter()
        .find(|c| c.kind.as_str() == "Protected");
    assert_eq!(
        protected.map(|c| c.reason.as_str()),
        Some("Synced"),
        "{:#?}",
        plan.report
    );
}
