//! What each role leads to, and what holds a call back.

use super::*;

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
fn an_owed_status_goes_before_anything_else() {
    let owed = change(view(Primary, "Unknown"), |v| {
        v.memory.unwritten = Some(VolumeReplicationStatus::default());
    });
    assert_eq!(decide(&owed, now()), Decision::Rewrite, "row 63");
    // Whoever serves it now has a later one.
    let anothers = change(owed, |v| v.class = Class::Foreign);
    assert_eq!(decide(&anothers, now()), Decision::Leave);
}
