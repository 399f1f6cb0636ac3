//! Each rule of the decision, as a row of a table.

use super::*;
use crate::view::{ClassFacts, GrantFacts, Key, Memory};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::common::to_time;
use lifeboat_api::replication::VolumeReplicationStatus;
use lifeboat_drivers::Secrets;
use std::collections::{BTreeMap, BTreeSet};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// A marked volume whose driver is ready, asked to be `wanted`, in `state`.
fn view(wanted: ReplicationState, state: &str) -> VolumeView {
    VolumeView {
        key: Key::new("shop", "db"),
        generation: 1,
        wanted,
        auto_resync: Force::No,
        replication_id: String::new(),
        life: Life::Living,
        finalizer: Mark::There,
        status: VolumeReplicationStatus {
            state: Some(state.into()),
            ..Default::default()
        },
        rule: Rule::Upstream,
        class: Class::Ours(ClassFacts {
            driver: "d".into(),
            parameters: BTreeMap::new(),
            secret: None,
        }),
        secret: SecretView::Present(Secrets::default()),
        source: SourceView::Claim(ClaimView {
            name: "db".into(),
            life: Life::Living,
            finalizer: Mark::There,
            owner: Owner::Us,
            volume: Backing::Handle("h".into()),
        }),
        driver: DriverView::Ready(BTreeSet::from([Capability::VolumeReplication])),
        memory: Memory::default(),
    }
}

fn with_conditions(
    mut v: VolumeView,
    completed: &str,
    degraded: &str,
    resyncing: &str,
) -> VolumeView {
    let set = |kind: &str, status: &str| Condition {
        type_: kind.into(),
        status: status.into(),
        reason: "R".into(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: to_time(now()),
    };
    v.status.observed_generation = Some(1);
    v.status.conditions = vec![
        set("Completed", completed),
        set("Degraded", degraded),
        set("Resyncing", resyncing),
    ];
    v
}

/// `owner` and `epoch` are the record's, `asked` is the object's.
fn by_hub(
    mut v: VolumeView,
    asked: i64,
    owner: &str,
    epoch: i64,
    force: Option<i64>,
) -> VolumeView {
    v.rule = Rule::Hub(HubRule {
        epoch: Some(asked),
        disable: Mark::Absent,
        resync_until: Some(Timestamp::MAX),
        resync_number: 1,
        resync_issued: None,
        resync_failed: None,
        grant: Grant::Present(GrantFacts {
            name: "own".into(),
            cluster: "east".into(),
            owner: owner.into(),
            epoch,
            force_epoch: force,
            observed: Some(epoch),
            stored: Mark::There,
        }),
    });
    v
}

fn change(mut v: VolumeView, edit: impl FnOnce(&mut VolumeView)) -> VolumeView {
    edit(&mut v);
    v
}

fn claim(v: &mut VolumeView) -> &mut ClaimView {
    match &mut v.source {
        SourceView::Claim(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn hub(v: &mut VolumeView) -> &mut HubRule {
    match &mut v.rule {
        Rule::Hub(hub) => hub,
        Rule::Upstream => panic!("not hub-managed"),
    }
}

fn grant(v: &mut VolumeView) -> &mut GrantFacts {
    match &mut hub(v).grant {
        Grant::Present(grant) => grant,
        other => panic!("{other:?}"),
    }
}

use ReplicationState::{Primary, Resync, Secondary};

#[test]
fn each_role_leads_to_its_call() {
    let promoted = with_conditions(view(Primary, "Primary"), "True", "False", "False");
    let in_step = with_conditions(view(Secondary, "Secondary"), "True", "False", "False");
    let behind = with_conditions(view(Secondary, "Secondary"), "True", "True", "True");
    let no = Force::No;
    let cases = vec![
        (
            "row 1",
            view(Primary, "Unknown"),
            Decision::Promote(ForceRule::WhenAsked),
        ),
        (
            "row 48",
            view(Primary, "Secondary"),
            Decision::Promote(ForceRule::WhenAsked),
        ),
        ("row 25", promoted.clone(), Decision::Ask),
        (
            "row 24",
            change(promoted.clone(), |v| v.generation = 2),
            Decision::Refresh,
        ),
        (
            "row 26",
            with_conditions(view(Primary, "Primary"), "False", "True", "False"),
            Decision::Refresh,
        ),
        (
            "row 45",
            view(Secondary, "Unknown"),
            Decision::Demote {
                enable: Mark::There,
            },
        ),
        (
            "row 36",
            view(Secondary, "Primary"),
            Decision::Demote {
                enable: Mark::Absent,
            },
        ),
        (
            "row 37",
            behind.clone(),
            Decision::Check {
                demote: Mark::There,
                force: no,
            },
        ),
        (
            "row 39",
            change(behind, |v| v.auto_resync = Force::Yes),
            Decision::Check {
                demote: Mark::There,
                force: Force::Yes,
            },
        ),
        ("row 38", in_step.clone(), Decision::Leave),
        (
            "a new generation is checked again",
            change(in_step, |v| v.generation = 2),
            Decision::Check {
                demote: Mark::There,
                force: no,
            },
        ),
        (
            "row 46",
            view(Resync, "Unknown"),
            Decision::Resync {
                enable: Mark::There,
                force: Force::Yes,
            },
        ),
        (
            "row 47",
            view(Resync, "Primary"),
            Decision::Resync {
                enable: Mark::Absent,
                force: Force::Yes,
            },
        ),
        (
            "row 46, done",
            with_conditions(view(Resync, "Secondary"), "True", "False", "False"),
            Decision::Leave,
        ),
    ];
    for (row, view, expected) in cases {
        assert_eq!(decide(&view, now()), expected, "{row}");
    }
}

#[test]
fn rows_8_to_16_what_is_not_in_order_is_refused_by_name() {
    let fresh = || view(Primary, "Unknown");
    let set = |volume: Backing| change(fresh(), |v| claim(v).volume = volume);
    let cases = vec![
        (
            change(fresh(), |v| {
                v.class = Class::Missing {
                    name: "gold".into(),
                }
            }),
            "\"gold\" does not exist",
        ),
        (
            change(fresh(), |v| {
                v.class = Class::Broken {
                    why: "secret name cannot be empty".into(),
                }
            }),
            "secret name cannot be empty",
        ),
        (
            change(fresh(), |v| {
                v.secret = SecretView::Unusable {
                    why: "Secret a/b does not exist".into(),
                }
            }),
            "Secret a/b",
        ),
        (
            change(fresh(), |v| v.source = SourceView::UnsupportedKind),
            "unsupported datasource kind",
        ),
        (
            change(fresh(), |v| {
                v.source = SourceView::NoClaim { name: "db".into() }
            }),
            "\"db\" does not exist",
        ),
        (set(Backing::NotBound), "not bound"),
        (
            set(Backing::NoVolume { name: "pv".into() }),
            "\"pv\" does not exist",
        ),
        (
            set(Backing::NotCsi { name: "pv".into() }),
            "not a CSI volume",
        ),
        (
            set(Backing::Driver {
                name: "pv".into(),
                driver: "other".into(),
            }),
            "of driver other",
        ),
        (
            change(fresh(), |v| {
                claim(v).owner = Owner::Other { name: "a".into() }
            }),
            "already replicated by VolumeReplication \"a\"",
        ),
        (
            change(fresh(), |v| {
                claim(v).owner = Owner::Group { name: "g".into() }
            }),
            "VolumeGroupReplication \"g\"",
        ),
        (
            change(fresh(), |v| {
                claim(v).life = Life::Ending;
                claim(v).finalizer = Mark::Absent;
            }),
            "marked for deletion",
        ),
        (
            change(fresh(), |v| {
                v.driver = DriverView::Away {
                    why: "no socket".into(),
                }
            }),
            "not ready: no socket",
        ),
        (
            change(fresh(), |v| v.driver = DriverView::Ready(BTreeSet::new())),
            "does not offer volume replication",
        ),
    ];
    for (view, expected) in cases {
        match decide(&view, now()) {
            Decision::Refuse(refusal) => assert!(
                refusal.text.contains(expected),
                "{} / {expected}",
                refusal.text
            ),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(
        decide(&change(fresh(), |v| v.class = Class::Foreign), now()),
        Decision::Leave,
        "row 9"
    );
}

#[test]
fn row_3_marks_come_before_any_call() {
    for state in ["Unknown", "Primary", "Secondary"] {
        for wanted in [Primary, Secondary, Resync] {
            for unmark in [
                (|v: &mut VolumeView| v.finalizer = Mark::Absent) as fn(&mut VolumeView),
                |v| claim(v).finalizer = Mark::Absent,
                |v| claim(v).owner = Owner::Nobody,
            ] {
                let decision = decide(&change(view(wanted, state), unmark), now());
                assert_eq!(decision, Decision::Claim, "{wanted:?} {state}");
            }
        }
    }
}

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
fn calls_wait_for_their_time_and_steady_roles_for_their_driver() {
    let soon = now().checked_add(Duration::from_secs(3)).unwrap();
    let waiting = change(view(Primary, "Unknown"), |v| {
        v.memory.not_before = Some(soon);
    });
    assert_eq!(
        decide(&waiting, now()),
        Decision::Wait(Duration::from_secs(3))
    );
    assert_eq!(
        decide(&waiting, soon),
        Decision::Promote(ForceRule::WhenAsked)
    );
    let asked = change(
        with_conditions(view(Primary, "Primary"), "True", "False", "False"),
        |v| v.memory.next_info = Some(soon),
    );
    assert_eq!(
        decide(&asked, now()),
        Decision::Wait(Duration::from_secs(3))
    );
    for (wanted, state) in [(Primary, "Primary"), (Secondary, "Secondary")] {
        let steady = with_conditions(view(wanted, state), "True", "False", "True");
        let away = change(steady, |v| {
            v.driver = DriverView::Away { why: "gone".into() }
        });
        let decision = decide(&away, now());
        assert!(
            matches!(decision, Decision::Leave | Decision::Refresh),
            "row 59: {decision:?}"
        );
    }
}

#[test]
fn rows_50_to_57_what_deletion_does() {
    let ending = || change(view(Primary, "Primary"), |v| v.life = Life::Ending);
    assert_eq!(decide(&ending(), now()), Decision::Disable);
    assert_eq!(
        decide(&change(ending(), |v| v.finalizer = Mark::Absent), now()),
        Decision::Leave,
        "row 56"
    );
    let others = change(ending(), |v| {
        claim(v).owner = Owner::Other { name: "a".into() }
    });
    assert_eq!(
        decide(&others, now()),
        Decision::Release { why: None },
        "row 15"
    );
    let gone = change(ending(), |v| {
        v.source = SourceView::NoClaim { name: "db".into() }
    });
    assert!(
        matches!(decide(&gone, now()), Decision::Release { why: Some(_) }),
        "row 55"
    );
    let no_class = change(ending(), |v| {
        v.class = Class::Missing {
            name: "gold".into(),
        }
    });
    assert!(
        matches!(decide(&no_class, now()), Decision::Stuck { .. }),
        "row 54"
    );
    let terminating = change(view(Primary, "Primary"), |v| claim(v).life = Life::Ending);
    assert_eq!(
        decide(&terminating, now()),
        Decision::Refresh,
        "row 53: a claim that ends is no reason to act"
    );
}

#[test]
fn deletion_switches_a_hub_managed_volume_off_only_on_the_hubs_word_and_only_on_its_owner() {
    let quiet = Decision::Release { why: None };
    for (owner, disable, expected) in [
        ("east", Mark::There, Decision::Disable),
        ("west", Mark::There, quiet.clone()),
        ("west", Mark::Absent, quiet),
    ] {
        let v = change(by_hub(view(Primary, "Primary"), 7, owner, 7, None), |v| {
            v.life = Life::Ending;
            hub(v).disable = disable;
        });
        assert_eq!(decide(&v, now()), expected, "{owner} {disable:?}");
    }
    // Whatever else is wrong with it, and with the namespace also the record may be gone.
    for grant in [
        Grant::Unread,
        Grant::Missing { name: "own".into() },
        Grant::Present(grant(&mut by_hub(view(Primary, "Primary"), 7, "east", 7, None)).clone()),
    ] {
        let v = change(by_hub(view(Primary, "Primary"), 7, "east", 7, None), |v| {
            v.life = Life::Ending;
            v.class = Class::Missing {
                name: "gold".into(),
            };
            hub(v).grant = grant;
        });
        let Decision::Release { why: Some(why) } = decide(&v, now()) else {
            panic!("{:?}", decide(&v, now()));
        };
        assert!(
            why.contains("is left on: nobody asked to switch it off"),
            "{why}"
        );
    }
}

#[test]
fn an_owed_status_goes_before_anything_else() {
    let owed = change(view(Primary, "Unknown"), |v| {
        v.memory.unwritten = Some(VolumeReplicationStatus::default());
    });
    assert_eq!(decide(&owed, now()), Decision::Rewrite, "row 63");
    // Whoever serves it now has a later one.
    let anothers = change(owed, |v| v.class = Class::Foreign);
    assert_eq!(decide(&anothers, now()), Decision::Leave);
}
