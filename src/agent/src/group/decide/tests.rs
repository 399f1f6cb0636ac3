//! Each rule of the decision about a group.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_api::replication::{ReplicationState, VolumeReplicationStatus};
use lifeboat_drivers::Secrets;

use super::super::view::{ContentView, Member, VolumeFacts, VolumeOfGroup};
use super::*;
use crate::tries::Tries;
use crate::view::{Backing, Key, Owner};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn member(name: &str) -> Member {
    Member {
        claim: name.into(),
        life: Life::Living,
        finalizer: Mark::There,
        owner: Owner::Us,
        pv: format!("pv-{name}"),
        volume: Backing::Handle(format!("h-{name}")),
    }
}

fn content(handles: &[&str]) -> ContentFacts {
    let all: Vec<String> = handles.iter().map(|h| (*h).to_owned()).collect();
    ContentFacts {
        marked: true,
        recorded: all.clone(),
        told: all,
        handle: Some("g".into()),
        ..ContentFacts::default()
    }
}

fn volume(life: Life, follows: Mark) -> VolumeFacts {
    VolumeFacts {
        life,
        follows,
        current: Some(VolumeReplicationStatus {
            state: Some("Primary".into()),
            ..VolumeReplicationStatus::default()
        }),
        trouble: None,
    }
}

/// A group of two claims that is as it should be, but for its status.
fn view() -> GroupView {
    let offers = [Capability::VolumeGroup, Capability::ModifyVolumeGroup];
    GroupView {
        key: Key::new("shop", "all"),
        generation: 1,
        server: Server::Us,
        life: Life::Living,
        wanted: ReplicationState::Primary,
        finalizer: Mark::There,
        named: Mark::There,
        status: VolumeGroupReplicationStatus::default(),
        class: Class::Ours(ClassFacts {
            driver: "d".into(),
            parameters: BTreeMap::new(),
            secret: None,
        }),
        volume_class: Some("gold".into()),
        secret: SecretView::Present(Secrets::default()),
        driver: DriverView::Ready(BTreeSet::from(offers)),
        members: Ok(vec![member("b"), member("a")]),
        leavers: Vec::new(),
        most: 100,
        content: ContentView {
            name: "content".into(),
            facts: Some(content(&["h-a", "h-b"])),
        },
        volume: VolumeOfGroup {
            name: "vr".into(),
            facts: Some(volume(Life::Living, Mark::There)),
        },
        tries: Tries::default(),
    }
}

fn name_of(decision: &Decision) -> String {
    let text = format!("{decision:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    text[..end].to_owned()
}

fn with(edit: impl FnOnce(&mut GroupView)) -> GroupView {
    let mut v = view();
    edit(&mut v);
    v
}

#[test]
fn one_thing_after_the_other() {
    let away = || DriverView::Away { why: "x".into() };
    let cases = vec![
        ("Report", view()),
        ("Mark", with(|v| v.finalizer = Mark::Absent)),
        ("Mark", with(|v| v.named = Mark::Absent)),
        (
            "Mark",
            with(|v| {
                let new = Member {
                    finalizer: Mark::Absent,
                    owner: Owner::Nobody,
                    ..member("c")
                };
                v.members = Ok(vec![member("a"), new]);
            }),
        ),
        ("Record", with(|v| v.content.facts = None)),
        ("Record", with(|v| v.members = Ok(vec![member("a")]))),
        (
            "Create",
            with(|v| {
                v.content.facts = Some(ContentFacts {
                    handle: None,
                    told: Vec::new(),
                    ..content(&["h-a", "h-b"])
                });
            }),
        ),
        (
            "Modify",
            with(|v| {
                v.content.facts = Some(ContentFacts {
                    told: vec!["h-a".into()],
                    ..content(&["h-a", "h-b"])
                });
            }),
        ),
        ("Free", with(|v| v.leavers = vec!["c".into()])),
        ("Follow", with(|v| v.volume.facts = None)),
        (
            "Follow",
            with(|v| v.volume.facts = Some(volume(Life::Living, Mark::Absent))),
        ),
        ("Report", with(|v| v.driver = away())),
        ("Leave", with(|v| v.server = Server::Another)),
        ("Leave", with(|v| v.class = Class::Foreign)),
        ("Leave", with(|v| v.driver = DriverView::Unknown)),
        ("Refuse", with(|v| v.volume_class = None)),
        ("Refuse", with(|v| v.most = 1)),
        (
            "Refuse",
            with(|v| {
                v.members = Ok(Vec::new());
                v.content.facts = None;
            }),
        ),
    ];
    for (expected, v) in cases {
        assert_eq!(name_of(&decide(&v, now())), expected, "{v:?}");
    }
}

#[test]
fn a_role_is_passed_on_although_a_claim_cannot_join() {
    let v = with(|v| {
        let stray = Member {
            volume: Backing::NotBound,
            ..member("c")
        };
        v.members = Ok(vec![member("a"), member("b"), stray]);
        v.volume.facts = Some(volume(Life::Living, Mark::Absent));
    });
    assert_eq!(decide(&v, now()), Decision::Follow);
}

#[test]
fn who_is_going_and_was_never_taken_is_left_out() {
    let v = with(|v| {
        let going = Member {
            life: Life::Ending,
            finalizer: Mark::Absent,
            owner: Owner::Nobody,
            ..member("c")
        };
        v.members = Ok(vec![member("a"), member("b"), going]);
    });
    assert_eq!(name_of(&decide(&v, now())), "Report");
}

#[test]
fn row_78_deletion_goes_from_the_role_to_the_group_to_the_claims() {
    let ending = |edit: &dyn Fn(&mut GroupView)| {
        let mut v = view();
        v.life = Life::Ending;
        edit(&mut v);
        name_of(&decide(&v, now()))
    };
    assert_eq!(ending(&|_| {}), "Stop");
    let gone = |v: &mut GroupView| v.volume.facts = None;
    assert_eq!(
        ending(&|v| v.volume.facts = Some(volume(Life::Ending, Mark::There))),
        "Leave"
    );
    assert_eq!(ending(&gone), "Dissolve");
    assert_eq!(
        ending(&|v| {
            gone(v);
            v.driver = DriverView::Away { why: "x".into() };
        }),
        "Stuck"
    );
    assert_eq!(
        ending(&|v| {
            gone(v);
            v.content.facts = Some(ContentFacts::default());
        }),
        "Discard"
    );
    assert_eq!(
        ending(&|v| {
            gone(v);
            v.content.facts = None;
        }),
        "Release"
    );
    assert_eq!(ending(&|v| v.finalizer = Mark::Absent), "Leave");
}
