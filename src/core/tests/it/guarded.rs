//! Who works the volumes of a cluster, and what is said where no agent does.

use lifeboat_core::observed::{AgentFacts, Replicator};
use lifeboat_core::report::{ConditionKind, ConditionReport, Report, Tri};
use lifeboat_core::testing::{Model, id};
use lifeboat_core::wait::Reason;

use crate::converge::replan;
use crate::drive::protected;

fn report(model: &mut Model) -> Report {
    let observed = model.observe();
    replan(model, &observed).report
}

fn condition(report: &Report, kind: ConditionKind) -> &ConditionReport {
    let mut all = report.conditions.iter();
    all.find(|c| c.kind == kind).unwrap()
}

#[test]
fn an_agent_that_is_missed_is_in_the_way_and_no_promise_is_made() {
    let mut model = protected();
    let report_before = report(&mut model);
    assert_eq!(
        condition(&report_before, ConditionKind::Guarded).status,
        Tri::True
    );
    for name in ["a", "b", "c"] {
        model.sites.get_mut(&id(name)).unwrap().truth.agent = AgentFacts::Unseen;
    }
    let report = report(&mut model);
    assert_eq!(
        condition(&report, ConditionKind::Guarded).status,
        Tri::Unknown
    );
    assert_eq!(
        condition(&report, ConditionKind::PeerReady).status,
        Tri::False
    );
    assert!(
        report
            .blockers
            .iter()
            .any(|b| b.reason == Reason::AgentNotAlive)
    );
}

#[test]
fn where_nobody_of_ours_works_no_agent_is_missed_and_it_is_said_what_is_weaker() {
    let mut model = protected();
    for name in ["a", "b"] {
        let site = model.sites.get_mut(&id(name)).unwrap();
        site.truth.agent = AgentFacts::Unseen;
        site.truth.replicator = Replicator::Upstream;
    }
    let report = report(&mut model);
    assert!(report.blockers.is_empty(), "{:?}", report.blockers);
    assert_eq!(
        condition(&report, ConditionKind::PeerReady).status,
        Tri::True
    );
    let guarded = condition(&report, ConditionKind::Guarded);
    assert_eq!(
        (guarded.status, guarded.reason.as_str()),
        (Tri::False, "UpstreamControllers")
    );
    assert!(
        guarded.message.starts_with("on a, b the controllers"),
        "{}",
        guarded.message
    );
}

#[test]
fn a_heartbeat_beside_them_tells_of_a_driver_that_is_sick() {
    let mut model = protected();
    let site = model.sites.get_mut(&id("b")).unwrap();
    site.truth.replicator = Replicator::Upstream;
    if let AgentFacts::Alive { drivers, .. } = &mut site.truth.agent {
        for wrong in drivers.values_mut() {
            "no socket".clone_into(wrong);
        }
    }
    let report = report(&mut model);
    let gate = report
        .gates
        .iter()
        .find(|g| g.name == "TargetStorage" && g.target == Some(id("b")));
    assert_eq!(gate.unwrap().state, Tri::False);
}
