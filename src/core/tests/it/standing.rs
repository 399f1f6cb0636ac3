//! What is said of a failover before anybody asks for one: of each other cluster, also while a relocation waits.

use lifeboat_core::intent::MoveKind;
use lifeboat_core::observed::{ClaimPhase, Mark};
use lifeboat_core::report::{GateReport, Tri};
use lifeboat_core::testing::{Link, Model, claims, id, volume};
use lifeboat_core::wait::Reason;

use crate::converge::replan;
use crate::drive::{fail_over, protected, relocate};

fn gates(model: &mut Model) -> Vec<GateReport> {
    let observed = model.observe();
    replan(model, &observed).report.gates
}

fn state(gates: &[GateReport], action: MoveKind, target: Option<&str>, name: &str) -> Option<Tri> {
    let target = target.map(id);
    let is = |g: &&GateReport| g.action == action && g.target == target && g.name == name;
    let mut found = gates.iter().filter(is);
    let state = found.next().map(|g| g.state);
    assert!(
        found.next().is_none(),
        "{name} is answered twice: {gates:#?}"
    );
    state
}

#[test]
fn each_other_cluster_is_judged_for_itself() {
    let mut model = protected();
    model.link("c", Link::Dead);
    let gates = gates(&mut model);
    let answers = |to| state(&gates, MoveKind::Failover, Some(to), "TargetAnswers");
    assert_eq!(answers("a"), None, "it runs there");
    assert_eq!(answers("b"), Some(Tri::True));
    assert_eq!(answers("c"), Some(Tri::Unknown));
    let stopped = state(&gates, MoveKind::Failover, None, "SourceStopped");
    assert_eq!(stopped, Some(Tri::True));
}

#[test]
fn a_relocation_that_waits_does_not_hide_them() {
    let mut model = protected();
    model.link("a", Link::Dead);
    relocate(&mut model, "b");
    let gates = gates(&mut model);
    let source = state(&gates, MoveKind::Relocate, None, "SourceAnswers");
    assert_eq!(source, Some(Tri::Unknown));
    let source = state(&gates, MoveKind::Failover, None, "SourceStopped");
    assert_eq!(source, Some(Tri::True));
    for to in ["b", "c"] {
        let fit = state(&gates, MoveKind::Failover, Some(to), "TargetStorage");
        assert_eq!(fit, Some(Tri::True), "{to}");
    }
}

#[test]
fn a_claim_on_the_target_that_is_not_ours_is_in_the_way_of_every_move() {
    for wish in [relocate, fail_over] {
        let mut model = protected();
        wish(&mut model, "b");
        let b = model.sites.get_mut(&id("b")).unwrap();
        let key = claims().into_iter().next().unwrap();
        let strange = volume(&key, &Mark::Unmarked, ClaimPhase::Bound);
        b.truth.volumes.insert(key, strange);
        let observed = model.observe();
        let plan = replan(&model, &observed);
        assert!(plan.journal.is_none(), "{plan:#?}");
        let mut told = plan.report.blockers.iter();
        assert!(told.any(|b| b.reason == Reason::Collision), "{plan:#?}");
    }
}
