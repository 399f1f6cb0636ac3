//! What the hub's record allows.

use super::*;

#[test]
fn a_hub_managed_volume_is_promoted_only_at_the_granted_epoch() {
    let fresh = || view(Primary, "Unknown");
    let yes = Decision::Promote(ForceRule::Denied { epoch: 7 });
    assert_eq!(decide(&by_hub(fresh(), 7, "east", 7, None), now()), yes);
    assert_eq!(
        decide(&by_hub(fresh(), 7, "east", 7, Some(6)), now()),
        yes,
        "force for another epoch is none"
    );
    let forced = by_hub(fresh(), 7, "east", 7, Some(7));
    assert_eq!(
        decide(&forced, now()),
        Decision::Promote(ForceRule::Granted)
    );
    let granted = by_hub(fresh(), 7, "east", 7, None);
    let refusals = [
        ("StaleEpoch", by_hub(fresh(), 6, "east", 7, Some(7))),
        ("NoGrant", by_hub(fresh(), 8, "east", 7, Some(7))),
        ("StaleEpoch", by_hub(fresh(), 6, "west", 7, Some(7))),
        ("NoGrant", by_hub(fresh(), 7, "west", 7, Some(7))),
        (
            "NoGrant",
            change(granted.clone(), |v| {
                hub(v).grant = Grant::Missing { name: "own".into() }
            }),
        ),
        (
            "StaleEpoch",
            change(granted.clone(), |v| hub(v).epoch = None),
        ),
        (
            "StaleEpoch",
            change(granted.clone(), |v| grant(v).observed = Some(9)),
        ),
        (
            "NoGrant",
            by_hub(
                with_conditions(view(Primary, "Primary"), "True", "False", "False"),
                7,
                "west",
                7,
                None,
            ),
        ),
    ];
    for (event, view) in refusals {
        match decide(&view, now()) {
            Decision::Refuse(refusal) => assert_eq!(refusal.event, Some(event), "{}", refusal.text),
            other => panic!("{event}: {other:?} for {:?}", view.rule),
        }
    }
    for wanted in [Primary, Secondary, Resync] {
        let foreign = by_hub(view(wanted, "Primary"), 7, "east", 7, Some(7));
        let foreign = change(foreign, |v| {
            let (name, why) = ("own".to_owned(), "another uid".to_owned());
            hub(v).grant = Grant::Foreign { name, why };
        });
        let Decision::Refuse(refusal) = decide(&foreign, now()) else {
            panic!("{wanted:?}");
        };
        assert_eq!(refusal.event, Some("ForeignGrant"));
        let deleted = change(foreign, |v| {
            (v.life, hub(v).disable) = (Life::Ending, Mark::There);
        });
        let decision = decide(&deleted, now());
        assert!(matches!(decision, Decision::Release { why: Some(_) }));
    }
    let unstored = change(granted.clone(), |v| grant(v).stored = Mark::Absent);
    assert_eq!(
        decide(&unstored, now()),
        Decision::Accept,
        "stored before it is acted on"
    );
    let unread = change(granted, |v| hub(v).grant = Grant::Unread);
    assert_eq!(decide(&unread, now()), Decision::Leave);
    let unread = change(unread, |v| {
        (v.life, hub(v).disable) = (Life::Ending, Mark::There);
    });
    assert_eq!(decide(&unread, now()), Decision::Leave);
}

#[test]
fn giving_up_a_role_needs_no_grant_but_a_stale_hub_cannot_demote_the_owner() {
    let primary = || view(Secondary, "Primary");
    let demote = Decision::Demote {
        enable: Mark::Absent,
    };
    let missing = change(by_hub(primary(), 7, "east", 7, None), |v| {
        hub(v).grant = Grant::Missing { name: "own".into() }
    });
    for view in [
        by_hub(primary(), 7, "east", 7, None),
        by_hub(primary(), 6, "west", 7, None),
        missing,
    ] {
        assert_eq!(decide(&view, now()), demote, "{:?}", view.rule);
    }
    assert!(matches!(
        decide(&by_hub(primary(), 6, "east", 7, None), now()),
        Decision::Refuse(_)
    ));
}

#[test]
fn a_hub_managed_volume_is_never_resynced_by_force_twice_for_an_epoch() {
    let fresh = || view(Resync, "Secondary");
    assert_eq!(
        decide(&by_hub(fresh(), 7, "west", 7, None), now()),
        Decision::IssueResync {
            request: (7, 1),
            enable: Mark::Absent
        }
    );
    // Noted, and what became of it was not.
    let noted = change(by_hub(fresh(), 7, "west", 7, None), |v| {
        hub(v).resync_issued = Some((7, 1));
    });
    assert_eq!(decide(&noted, now()), Decision::FailResync);
    let issued = change(noted, |v| {
        v.status.observed_generation = Some(v.generation);
    });
    assert_eq!(
        decide(&issued, now()),
        Decision::Resync {
            enable: Mark::Absent,
            force: Force::No
        }
    );
    let earlier = change(by_hub(fresh(), 7, "west", 7, None), |v| {
        hub(v).resync_issued = Some((6, 1));
    });
    assert_eq!(
        decide(&earlier, now()),
        Decision::IssueResync {
            request: (7, 1),
            enable: Mark::Absent
        }
    );
    // Asked again, and an older request that comes late.
    let again = |number, issued| {
        change(by_hub(fresh(), 7, "west", 7, None), |v| {
            (hub(v).resync_number, hub(v).resync_issued) = (number, Some((7, issued)));
        })
    };
    assert_eq!(
        decide(&again(2, 1), now()),
        Decision::IssueResync {
            request: (7, 2),
            enable: Mark::Absent
        }
    );
    assert!(!matches!(
        decide(&again(1, 2), now()),
        Decision::IssueResync { .. }
    ));
    for (asked, owner) in [(7, "east"), (6, "west"), (8, "west")] {
        let view = by_hub(fresh(), asked, owner, 7, None);
        assert!(
            matches!(decide(&view, now()), Decision::Refuse(_)),
            "{asked} {owner}"
        );
    }
}

#[test]
fn a_hub_managed_secondary_never_sends_force() {
    let behind = with_conditions(view(Secondary, "Secondary"), "True", "True", "True");
    let view = change(by_hub(behind, 7, "west", 7, None), |v| {
        v.auto_resync = Force::Yes;
    });
    assert_eq!(
        decide(&view, now()),
        Decision::Check {
            demote: Mark::There,
            force: Force::No
        }
    );
    let confirmed = change(view, |v| v.memory.demoted = Some(1));
    assert_eq!(
        decide(&confirmed, now()),
        Decision::Check {
            demote: Mark::Absent,
            force: Force::No
        }
    );
}

#[test]
fn an_order_that_has_lapsed_is_refused_for_each_request_that_was_not_carried_out() {
    let second = jiff::SignedDuration::from_secs(1);
    for (number, issued) in [(1, None), (2, Some((7, 1))), (1, Some((6, 3)))] {
        for (until, holds) in [
            (None, false),
            (Some(now() - second), false),
            (Some(now()), false),
            (Some(now() + second), true),
        ] {
            let asked = change(by_hub(view(Resync, "Secondary"), 7, "west", 7, None), |v| {
                let hub = hub(v);
                (hub.resync_number, hub.resync_issued) = (number, issued);
                hub.resync_until = until;
            });
            match decide(&asked, now()) {
                Decision::IssueResync { request, .. } => {
                    assert_eq!((request, holds), ((7, number), true), "{until:?}");
                }
                Decision::Refuse(refusal) => {
                    let told = (refusal.event, holds);
                    assert_eq!(told, (Some("ResyncLapsed"), false), "{issued:?} {until:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn no_copy_is_thrown_away_on_a_record_whose_epoch_went_down() {
    let asked = by_hub(view(Resync, "Secondary"), 7, "west", 7, None);
    let asked = change(asked, |v| grant(v).observed = Some(9));
    match decide(&asked, now()) {
        Decision::Refuse(refusal) => assert_eq!(refusal.event, Some("StaleEpoch")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_further_request_is_unanswered_as_long_as_the_failure_right_before_it_is_noted() {
    for (failed, unanswered) in [
        (Some((7, 2)), true),
        (Some((7, 1)), false),
        (Some((6, 2)), false),
        (None, false),
    ] {
        let noted = change(by_hub(view(Resync, "Secondary"), 7, "west", 7, None), |v| {
            let hub = hub(v);
            (hub.resync_number, hub.resync_issued) = (3, Some((7, 3)));
            hub.resync_failed = failed;
        });
        let fails = decide(&noted, now()) == Decision::FailResync;
        assert_eq!(fails, unanswered, "{failed:?}");
        let answered = change(noted, |v| v.memory.answered = Some((7, 3)));
        let forgets = decide(&answered, now()) == Decision::ForgetFailure;
        assert_eq!(forgets, unanswered, "{failed:?}");
    }
}
