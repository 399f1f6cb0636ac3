//! What deletion does.

use super::*;

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
