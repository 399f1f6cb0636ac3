//! Captures that were damaged when they are needed.

use lifeboat_core::ids::ClaimKey;
use lifeboat_core::journal::{Journal, Synced};
use lifeboat_core::testing::{Link, Model};
use lifeboat_core::wait::Reason;

use crate::converge::step_to;
use crate::drive::{assert_rests, calm, fail_over, protected};

/// The newest capture is damaged, and the one before it is what can be read.
fn damaged() -> Model {
    let mut model = protected();
    model.journal.capture = 2;
    model
}

#[test]
fn a_failover_takes_an_older_capture_when_the_newest_is_damaged_and_says_so() {
    let mut model = damaged();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    let plan = model.plan().1;
    let told = plan
        .report
        .events
        .iter()
        .find(|e| e.reason == "OlderCapture");
    let said = told.map(|e| e.message.as_str()).unwrap_or_default();
    assert!(said.contains("restored from capture version 1"), "{said}");
    assert!(said.contains("version 2 is no longer readable"), "{said}");
    calm(&mut model);
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn a_capture_that_is_damaged_after_the_commit_of_a_failover_is_replaced_by_an_older_one() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    step_to(&mut model, "Promoting");
    model.journal.capture = 2;
    let plan = model.plan().1;
    assert!(
        plan.report
            .events
            .iter()
            .any(|e| e.reason == "OlderCapture")
    );
    calm(&mut model);
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "b");
}

#[test]
fn an_older_capture_is_not_used_if_it_lacks_a_volume_or_a_newer_one_can_be_taken() {
    let blocked = |model: &mut Model| {
        let plan = model.plan().1;
        let stays = |j: Journal| j.epoch == model.journal.epoch;
        assert!(plan.journal.clone().is_none_or(stays), "{plan:#?}");
        let found = plan.report.blockers.iter();
        let found = found.filter(|b| b.reason == Reason::NoCapture);
        found.map(|b| b.message.clone()).collect::<String>()
    };
    let mut model = damaged();
    fail_over(&mut model, "b");
    assert!(blocked(&mut model).contains("version 2 is no longer readable"));

    let mut model = damaged();
    let late = ClaimKey::new("shop", "late");
    let after = Synced {
        at: model.now,
        handle: None,
    };
    model.journal.synced.insert(late, after);
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    let said = blocked(&mut model);
    assert!(said.contains("version 1 lacks shop/late"), "{said}");
}
