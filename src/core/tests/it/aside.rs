//! A sick side holds nobody else up.

use lifeboat_core::ids::ClaimKey;
use lifeboat_core::observed::{Retained, Role, VolumeFacts, VrStatus};
use lifeboat_core::step::Step;
use lifeboat_core::testing::{Link, Model, id};

use crate::drive::{calm, fail_over, protected, resyncing};

#[test]
fn a_step_that_fails_for_ever_on_the_owner_keeps_no_copy_from_being_made_anew() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    let data = ClaimKey::new("shop", "data");
    let mut asked = false;
    for _ in 0..40 {
        // Somebody changes the reclaim policy back as often as it is set.
        let b = model.sites.get_mut(&id("b")).unwrap();
        let x = b.truth.volumes.get_mut(&data).unwrap();
        x.volume.as_mut().unwrap().retained = Retained::No;
        let plan = model.plan().1;
        asked |= plan.steps.iter().any(|s| matches!(s, Step::Resync { .. }));
        assert_ne!(
            plan.journal.as_ref().map(|j| j.phase.as_str()),
            Some("Steady")
        );
        model.follow(&plan, None, 1);
        model.tick();
    }
    assert!(asked, "{:#?}", model.plan().1);
}

#[test]
fn nor_does_a_side_that_is_done_keep_another_one_from_it() {
    let mut model = resyncing();
    let on = |model: &mut Model, name: &str| {
        let mut steps = Vec::new();
        for _ in 0..40 {
            let b = model.sites.get_mut(&id("b")).unwrap();
            let x = b.truth.volumes.values_mut().next().unwrap();
            x.volume.as_mut().unwrap().retained = Retained::No;
            let plan = model.plan().1;
            let of = plan.steps.iter().filter(|s| s.cluster() == Some(&id(name)));
            steps.extend(of.map(Step::name));
            model.follow(&plan, None, 1);
            model.tick();
        }
        steps
    };
    // The first side is in step, and only waits to be cleaned, which the owner holds up.
    on(&mut model, "a");
    let a = model.sites[&id("a")].truth.clone();
    let c = model.sites.get_mut(&id("c")).unwrap();
    c.truth.volumes = a.volumes.clone();
    for x in c.truth.volumes.values_mut() {
        let r = x.replication.as_mut().unwrap();
        (r.desired, r.status) = (Role::Secondary, VrStatus::Demoted);
        (r.resync_asked, r.resync_issued) = (None, None);
    }
    let steps = on(&mut model, "c");
    assert!(steps.contains(&"Resync"), "{steps:?}");
}

#[test]
fn a_returned_site_that_takes_no_quarantine_does_not_keep_the_owner_from_its_protection() {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    let b = model.sites.get_mut(&id("b")).unwrap();
    for x in b.truth.volumes.values_mut() {
        x.replication = None;
        x.volume.as_mut().unwrap().retained = Retained::No;
    }
    // It has given up one of its volumes, and not the other.
    let (data, log) = (ClaimKey::new("shop", "data"), ClaimKey::new("shop", "log"));
    let a = model.sites.get_mut(&id("a")).unwrap();
    let x = a.truth.volumes.get_mut(&data).unwrap();
    x.replication.as_mut().unwrap().desired = Role::Secondary;

    let plan = model.plan().1;
    let all_on = |steps: &[Step], name: &str| {
        !steps.is_empty() && steps.iter().all(|s| s.cluster() == Some(&id(name)))
    };
    assert!(all_on(&plan.steps, "a"), "{plan:#?}");
    assert!(all_on(&plan.aside, "b"), "{plan:#?}");
    // Whatever is asked of `a` is refused there.
    for _ in 0..10 {
        let plan = model.plan().1;
        if let Some(journal) = plan.journal {
            model.journal = journal;
        }
        for step in &plan.aside {
            model.act(step);
        }
        model.tick();
    }
    let b = &model.sites[&id("b")].truth.volumes;
    let primary = |key: &ClaimKey| {
        let r = b[key].replication.as_ref();
        r.is_some_and(|r| r.status == VrStatus::Primary)
    };
    assert!(primary(&data), "{b:#?}");
    assert!(!primary(&log), "two are asked to be primary: {b:#?}");
    let retained = |x: &VolumeFacts| {
        let pv = x.volume.as_ref();
        pv.is_some_and(|p| p.retained == Retained::Yes)
    };
    assert!(b.values().all(retained), "{b:#?}");
}
