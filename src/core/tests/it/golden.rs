//! The steps of each flow, as people know them.

use lifeboat_core::testing::Link;

use crate::drive::{calm, fail_over, protected, relocate};

#[test]
fn a_relocation_step_by_step() {
    let mut model = protected();
    relocate(&mut model, "b");
    let told = calm(&mut model);
    let expected = "[Relocating] Record@b Restore@b Nudge@b Quiesce@a Capture@a Demote@a [Promoting] Record@a Record@b \
        Promote@b [Starting] Start@b [CleaningUp] Capture@b RemoveWorkloads@a Release@a RemoveClaims@a [Steady]";
    assert_eq!(told.log.join(" "), expected);
}

#[test]
fn a_failover_step_by_step() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    let told = calm(&mut model);
    let expected = "[Promoting] Record@b Restore@b Promote@b Nudge@b [Starting] Start@b [CleaningUp] Record@b Capture@b";
    assert_eq!(told.log.join(" "), expected);
    model.link("a", Link::Up);
    let told = calm(&mut model);
    let expected =
        "Record@a Quiesce@a Demote@a Resync@a RemoveWorkloads@a Release@a RemoveClaims@a [Steady]";
    assert_eq!(told.log.join(" "), expected);
}
