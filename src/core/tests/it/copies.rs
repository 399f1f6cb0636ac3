//! What counts as a copy: a sync of that very volume, that was not given up since.

use jiff::SignedDuration;
use lifeboat_core::ids::ClaimKey;
use lifeboat_core::intent::MoveKind;
use lifeboat_core::journal::{Journal, Phase, Synced};
use lifeboat_core::observed::{Deleting, Role, Selected, SwitchOff};
use lifeboat_core::report::Tri;
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id};
use lifeboat_core::wait::Reason;

use crate::drive::{assert_rests, calm, fail_over, protected, relocate, until};

fn data() -> ClaimKey {
    ClaimKey::new("shop", "data")
}

/// What the gate `DataKnown` says of a failover from `a`, which is dead, to `b`.
fn data_known(model: &mut Model) -> (Tri, String) {
    model.link("a", Link::Dead);
    fail_over(model, "b");
    let plan = model.plan().1;
    let gate = plan.report.gates.iter().find(|g| g.name == "DataKnown");
    let gate = gate.unwrap();
    let moved = plan.journal.is_some_and(|j| j.epoch != model.journal.epoch);
    assert_eq!(moved, gate.state == Tri::True, "{:#?}", plan.report);
    (gate.state, gate.message.clone())
}

/// The claim `data` was deleted and made anew, with another volume, which was captured.
fn made_anew(model: &mut Model) {
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    let pv = x.volume.as_mut().unwrap();
    pv.csi.as_mut().unwrap().handle = "image-anew".into();
    pv.created = Some(model.now);
    let capture = model.capture.as_mut().unwrap();
    let captured = capture.volumes.get_mut(&data()).unwrap();
    captured.csi.handle = "image-anew".into();
}

#[test]
fn a_claim_made_anew_with_another_volume_has_no_copy() {
    let mut model = protected();
    made_anew(&mut model);
    let (state, said) = data_known(&mut model);
    assert_eq!(state, Tri::False);
    assert!(
        said.contains("shop/data") && said.contains("image-data"),
        "{said}"
    );
}

#[test]
fn what_a_replication_told_of_the_volume_before_is_not_of_the_one_made_anew() {
    let mut model = protected();
    let later = model.now + SignedDuration::from_secs(100);
    let a = model.sites.get_mut(&id("a")).unwrap();
    let r = a
        .truth
        .volumes
        .get_mut(&data())
        .unwrap()
        .replication
        .as_mut();
    r.unwrap().last_sync = Some(later);
    model.now = later + SignedDuration::from_secs(5);
    made_anew(&mut model);
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    let known = model.journal.synced.get(&data()).unwrap();
    assert_eq!(known.handle.as_deref(), Some("image-data"));
    assert_eq!(data_known(&mut model).0, Tri::False);
}

#[test]
fn once_the_volume_made_anew_is_copied_it_has_one() {
    let mut model = protected();
    made_anew(&mut model);
    calm(&mut model);
    assert_rests(&mut model, "a");
    let known = model.journal.synced.get(&data()).unwrap();
    assert_eq!(known.handle.as_deref(), Some("image-anew"));
    assert_eq!(data_known(&mut model).0, Tri::True);
}

#[test]
fn the_handle_that_the_peer_has_for_it_names_the_same_volume() {
    let mut model = protected();
    let captured = |m: &mut Model, handle: &str, origin: Option<&str>| {
        let volumes = &mut m.capture.as_mut().unwrap().volumes;
        let data = volumes.get_mut(&data()).unwrap();
        data.csi.handle = handle.into();
        data.origin = origin.map(str::to_owned);
    };
    captured(&mut model, "there", Some("image-data"));
    assert_eq!(data_known(&mut model.clone()).0, Tri::True);
    // After a move the new owner tells of it under the other name.
    let known = model.journal.synced.get_mut(&data()).unwrap();
    known.handle = Some("there".into());
    assert_eq!(data_known(&mut model).0, Tri::True);
}

#[test]
fn a_sync_noted_without_a_handle_counts_if_it_is_later_than_the_capture() {
    let noted = |at| {
        let mut model = protected();
        let taken = model.capture.as_ref().unwrap().taken_at;
        for known in model.journal.synced.values_mut() {
            *known = Synced {
                at: taken + SignedDuration::from_secs(at),
                handle: None,
            };
        }
        data_known(&mut model)
    };
    assert_eq!(noted(0).0, Tri::True);
    let (state, said) = noted(-1);
    assert_eq!(state, Tri::Unknown);
    assert!(said.contains("did not note which volume"), "{said}");
}

#[test]
fn a_journal_of_before_is_read_and_its_syncs_get_their_handles() {
    let mut model = protected();
    let mut text = serde_json::to_value(&model.journal).unwrap();
    let synced = text.get_mut("synced").unwrap().as_object_mut().unwrap();
    for known in synced.values_mut() {
        *known = known.get("at").unwrap().clone();
    }
    model.journal = serde_json::from_value::<Journal>(text).unwrap();
    assert!(model.journal.synced.values().all(|s| s.handle.is_none()));
    calm(&mut model);
    assert!(model.journal.synced.values().all(|s| s.handle.is_some()));
}

#[test]
fn a_claim_that_is_let_go_loses_its_copy_before_replication_is_switched_off() {
    let mut model = protected();
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    x.claim.as_mut().unwrap().selected = Selected::No;
    let plan = model.plan().1;
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    model.follow(&plan, None, 1);
    assert!(!model.journal.synced.contains_key(&data()));
    let plan = model.plan().1;
    assert_eq!(
        plan.steps.first().map(lifeboat_core::Step::name),
        Some("Unprotect")
    );
    model.follow(&plan, None, 1);
    // Selected again, and lost before anything was copied.
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    x.claim.as_mut().unwrap().selected = Selected::Yes;
    let (state, said) = data_known(&mut model);
    assert_eq!(state, Tri::False);
    assert!(
        said.contains("never copied completely: shop/data"),
        "{said}"
    );
}

/// Replication of `data` was switched off and on behind the hub's back: it tells of no copy.
fn switched_off_and_on(model: &mut Model, age: i64) {
    let (now, created) = (model.now, model.now + SignedDuration::from_secs(1));
    model.now = created + SignedDuration::from_secs(age);
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    let r = x.replication.as_mut().unwrap();
    (r.created, r.last_sync) = (Some(created), None);
    assert_eq!(r.deleting, Deleting::No);
    let known = model.journal.synced.get(&data()).unwrap();
    assert!(known.at <= now);
}

#[test]
fn a_copy_is_not_counted_on_when_its_replication_was_made_anew_and_tells_of_none() {
    let mut model = protected();
    switched_off_and_on(&mut model, 60);
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    assert!(!model.journal.synced.contains_key(&data()));
    assert_eq!(data_known(&mut model).0, Tri::False);
}

#[test]
fn a_replication_made_anew_is_given_time_to_tell_of_its_copy() {
    let mut model = protected();
    switched_off_and_on(&mut model, 20);
    let plan = model.plan().1;
    assert!(plan.again_after_ms.is_some_and(|ms| ms <= 40_000));
    model.follow(&plan, None, 1);
    assert!(model.journal.synced.contains_key(&data()));
}

#[test]
fn a_copy_that_an_earlier_owner_told_of_stays_known_while_the_next_has_made_none() {
    let mut model = protected();
    switched_off_and_on(&mut model, 60);
    let known = model.journal.synced.get(&data()).unwrap().at;
    model.journal.protected_since = Some(known + SignedDuration::from_secs(1));
    let plan = model.plan().1;
    model.follow(&plan, None, 1);
    assert!(model.journal.synced.contains_key(&data()));
}

#[test]
fn with_more_than_two_clusters_it_is_said_that_the_storage_does_not_name_the_one_with_the_copy() {
    let mut model = protected();
    let mut two = model.clone();
    two.policy.clusters.retain(|c| *c != id("c"));
    assert!(!data_known(&mut two).1.contains("not on which"));
    let said = data_known(&mut model).1;
    assert!(
        said.contains("not on which of the clusters: whether b has it"),
        "{said}"
    );
    let blockers = model.plan().1.report.blockers;
    assert!(blockers.iter().all(|b| b.reason != Reason::NotSynced));
}

#[test]
fn a_word_to_switch_off_that_was_left_behind_is_taken_back_when_the_claim_is_selected() {
    let mut model = protected();
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data()).unwrap();
    x.replication.as_mut().unwrap().switch_off = SwitchOff::Said;
    let plan = model.plan().1;
    let taken_back = plan.steps.iter().any(|s| {
        matches!(s, Step::Replicate { role: Role::Primary, claims, .. } if claims.keys().eq([&data()]))
    });
    assert!(taken_back, "{:#?}", plan.steps);
    model.follow(&plan, None, 1);
    calm(&mut model);
    assert_rests(&mut model, "a");
}

#[test]
fn what_was_prepared_for_a_move_that_was_taken_back_is_no_copy_to_throw_away() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    calm(&mut model);
    assert_rests(&mut model, "b");
    relocate(&mut model, "a");
    until(&mut model, |m, _| {
        !m.sites[&id("a")].truth.volumes.is_empty()
    });
    model.link("a", Link::Cut);
    relocate(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    let log = calm(&mut model).log;
    let rebuilt = |s: &String| s == "Demote@a" || s == "Resync@a";
    assert!(!log.iter().any(rebuilt), "{log:#?}");
    assert!(log.iter().any(|s| s == "RemoveClaims@a"), "{log:#?}");
    assert_rests(&mut model, "b");
}

#[test]
fn a_side_that_was_lost_takes_its_copy_anew_also_after_a_relocation_between_the_others() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    let Phase::CleaningUp { from, kind, .. } = &mut model.journal.phase else {
        panic!("{:?}", model.journal.phase);
    };
    (*from, *kind) = (id("c"), MoveKind::Relocate);
    model.link("a", Link::Up);
    let log = calm(&mut model).log;
    assert!(log.iter().any(|s| s == "Resync@a"), "{log:#?}");
    assert_rests(&mut model, "b");
    assert!(model.records("b").starts_with(&model.records("a")));
}
