//! The archive against an API server that keeps Secrets and fails when told to.

mod server;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use lifeboat_capture::{Capture, Marks};
use lifeboat_kit::error::CallRetry;
use serde_json::{Value, json};

use self::server::{Fault, Server};
use super::{Archive, ArchiveError, Flaw, Found, Put, SecretsArchive, Version};

const UID: &str = "7e0b4c6a-1111-2222-3333-444455556666";

/// A capture whose content is `content`; large enough for several parts, and told apart by it.
fn capture_of(uid: &str, epoch: u64, content: u64) -> Capture {
    let marks = Marks {
        placement: "ops/shop".to_owned(),
        placement_uid: uid.to_owned(),
        epoch,
    };
    let mut capture = Capture::new(&marks, "east", "2026-01-01T00:00:00Z".parse().unwrap());
    let mut noise = content.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    for _ in 0..60 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        text.push_str(&noise.to_string());
    }
    capture.supporting = vec![json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "conf", "namespace": "shop" },
        "data": { "content": content.to_string(), "text": text },
    })];
    capture
}

fn capture(content: u64) -> Capture {
    capture_of(UID, 1, content)
}

fn content(found: &Found) -> u64 {
    found.capture.supporting[0]["data"]["content"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn filled(contents: std::ops::RangeInclusive<u64>) -> (Server, SecretsArchive) {
    let server = Server::default();
    let archive = server.archive();
    for content in contents {
        assert!(matches!(
            archive.put(&capture(content)).await.unwrap(),
            Put::Stored(_)
        ));
    }
    (server, archive)
}

fn of_version(server: &Server, version: u64) -> Vec<String> {
    let mark = format!("-{version:08}-");
    server
        .names()
        .into_iter()
        .filter(|name| name.contains(&mark))
        .collect()
}

fn keep(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// Asserts that version 2 is named as broken with an object of its own, and version 1 is used.
async fn falls_back(archive: &SecretsArchive, name: &str) {
    let found = archive.newest_complete(UID).await.unwrap();
    assert_eq!((found.stored.version, content(&found)), (1, 1), "{name}");
    let broken: Vec<String> = found.broken.iter().map(ToString::to_string).collect();
    assert!(
        broken.len() == 1 && broken[0].contains(name),
        "{name} is not named in {broken:?}"
    );
}

#[test]
fn names_are_those_of_the_api() {
    use lifeboat_api::names as api;
    use lifeboat_capture::names as capture;
    assert_eq!(
        [
            capture::PLACEMENT_UID,
            capture::PLACEMENT,
            capture::RESTORED_EPOCH,
            capture::RECLAIM_POLICY,
            capture::REPLICAS
        ],
        [
            api::PLACEMENT_UID,
            api::PLACEMENT,
            api::RESTORED_EPOCH,
            api::RECLAIM_POLICY,
            api::REPLICAS
        ]
    );
}

#[tokio::test]
async fn gives_back_what_it_was_given() {
    let (server, archive) = filled(1..=2).await;
    let found = archive.newest_complete(UID).await.unwrap();
    assert_eq!(found.capture, capture(2));
    assert_eq!(found.stored.fingerprint, capture(2).fingerprint());
    assert!(found.broken.is_empty());
    let parts = of_version(&server, 2);
    assert!(parts.len() > 3, "several parts and a manifest: {parts:?}");
    assert!(parts.contains(
        &"lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-0000".to_owned()
    ));
    assert!(parts.contains(
        &"lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest".to_owned()
    ));
    let immutable = |s: &Value| s["immutable"] == json!(true);
    assert!(server.secrets(|all| all.values().all(immutable)));
}

#[tokio::test]
async fn does_not_write_what_has_not_changed() {
    let (server, archive) = filled(1..=1).await;
    let before = server.served();
    let mut same = capture(1);
    same.taken_at = "2026-06-01T00:00:00Z".parse().unwrap();
    assert!(
        matches!(archive.put(&same).await.unwrap(), Put::AlreadyCurrent(stored) if stored.version == 1)
    );
    assert_eq!(server.served() - before, 1, "one list is enough to know");
}

#[tokio::test]
async fn any_part_missing_truncated_or_altered_makes_the_version_incomplete() {
    type Damage = fn(&Server, &str);
    let damages: [(&str, Damage); 5] = [
        ("missing", |server, name| server.remove(name)),
        ("truncated", |server, name| {
            server.edit(name, |bytes| {
                bytes.pop();
            });
        }),
        ("empty", |server, name| server.edit(name, Vec::clear)),
        ("altered", |server, name| {
            server.edit(name, |bytes| bytes[7] ^= 1);
        }),
        ("unlabelled", |server, name| {
            server.metadata(name, |m| m["labels"] = json!({}));
        }),
    ];
    let (server, _) = filled(1..=2).await;
    for name in of_version(&server, 2) {
        for (what, damage) in damages {
            let (server, archive) = filled(1..=2).await;
            damage(&server, &name);
            falls_back(&archive, &name).await;
            if what == "altered" {
                let broken = archive.newest_complete(UID).await.unwrap().broken;
                assert_eq!(broken[0].why, Flaw::Altered { name: name.clone() });
            }
            // Writing the same capture again heals the archive, though its content is not new.
            let healed = archive.put(&capture(2)).await.unwrap();
            assert!(
                matches!(healed, Put::Stored(stored) if stored.version == 3),
                "{what} {name}"
            );
            let found = archive.newest_complete(UID).await.unwrap();
            assert_eq!(
                (content(&found), found.broken.len()),
                (2, 0),
                "{what} {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_manifest_that_was_altered_with_its_checksum_is_still_found_out() {
    let manifest = "lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest";
    for (field, value) in [
        ("version", json!(1)),
        ("placementUid", json!("other")),
        ("placement", json!("ops/other")),
        ("sourceCluster", json!("west")),
        ("epoch", json!(9)),
        ("takenAt", json!("2020-01-01T00:00:00Z")),
        ("fingerprint", json!("00")),
        ("volumes", json!(["shop/db"])),
        ("chunks", json!([])),
        ("size", json!(1)),
        ("jsonSize", json!(1)),
        ("sha256", json!("00")),
        ("format", json!("lifeboat.dev/capture-manifest/v9")),
        ("extra", json!("?")),
    ] {
        let (server, archive) = filled(1..=2).await;
        let mut sum = String::new();
        server.edit(manifest, |bytes| {
            let mut body: Value = serde_json::from_slice(bytes).unwrap();
            body[field] = value;
            *bytes = serde_json::to_vec(&body).unwrap();
            sum = super::manifest::sha256(bytes);
        });
        server.metadata(manifest, |m| {
            m["annotations"]["lifeboat.dev/sha256"] = json!(sum);
        });
        falls_back(&archive, manifest).await;
    }
}

#[tokio::test]
async fn another_placements_manifest_in_the_same_place_is_refused() {
    let (server, archive) = filled(1..=1).await;
    let other = Server::default();
    let twin = format!("{}-9999-2222-3333-444455556666", &UID[..8]);
    for content in 1..=2 {
        other
            .archive()
            .put(&capture_of(&twin, 1, content))
            .await
            .unwrap();
    }
    for name in of_version(&other, 2) {
        other.metadata(&name, |m| m["labels"]["lifeboat.dev/capture"] = json!(UID));
        let secret = other.secrets(|all| all[&name].clone());
        server.secrets(|all| all.insert(name, secret));
    }
    falls_back(
        &archive,
        "lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest",
    )
    .await;
}

#[tokio::test]
async fn two_placements_whose_uids_begin_alike_do_not_harm_each_other() {
    let (server, archive) = filled(1..=2).await;
    let twin = format!("{}-9999-2222-3333-444455556666", &UID[..8]);
    let put = server
        .archive()
        .put(&capture_of(&twin, 1, 5))
        .await
        .unwrap();
    assert_eq!(put.stored().version, 1);
    assert_eq!(content(&archive.newest_complete(UID).await.unwrap()), 2);
    assert_eq!(content(&archive.newest_complete(&twin).await.unwrap()), 5);
}

#[tokio::test]
async fn with_nothing_complete_names_what_is_missing() {
    let (server, archive) = filled(1..=2).await;
    let gone = [
        "lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000001-0001",
        "lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest",
    ];
    for name in gone {
        server.remove(name);
    }
    let error = archive.newest_complete(UID).await.unwrap_err();
    assert!(
        matches!(&error, ArchiveError::NoneComplete { broken, .. }
        if broken.iter().map(|b| b.version).collect::<Vec<_>>() == [2, 1]),
        "{error}"
    );
    assert!(
        gone.iter().all(|name| error.to_string().contains(name)),
        "{error}"
    );
    assert_eq!(error.retry(), CallRetry::Never);
    let nothing = archive.newest_complete("no-such-uid").await.unwrap_err();
    assert!(matches!(nothing, ArchiveError::Nothing { .. }));
}

#[tokio::test]
async fn a_hub_killed_at_any_request_leaves_the_old_capture_or_the_new_one() {
    for fault in [Fault::Lost, Fault::ReplyLost] {
        let mut deaths = 0;
        for nth in 1.. {
            let (server, archive) = filled(1..=3).await;
            server.die_at(nth, fault);
            let put = archive.put(&capture(4)).await;
            if !server.revive() {
                break;
            }
            deaths += 1;
            let found = archive.newest_complete(UID).await.unwrap();
            let whole = [capture(3), capture(4)];
            assert!(
                whole.contains(&found.capture),
                "{fault:?} at {nth}: content {}",
                content(&found)
            );
            assert!(
                put.is_err() || found.capture == whole[1],
                "{fault:?} at {nth}: said to be stored, and is not"
            );
            // The next hub writes as if nothing had happened, and cleans up.
            archive.put(&capture(4)).await.unwrap();
            archive.put(&capture(5)).await.unwrap();
            let all = archive.list(UID).await.unwrap();
            let complete = all
                .iter()
                .filter(|v| matches!(v, Version::Complete(_)))
                .count();
            assert_eq!((all.len(), complete), (3, 3), "{fault:?} at {nth}");
        }
        assert!(
            deaths > 6,
            "list, parts, manifest, list, removals: only {deaths} requests"
        );
    }
}

#[tokio::test]
async fn an_older_epoch_does_not_write() {
    let (server, archive) = filled(1..=1).await;
    archive.put(&capture_of(UID, 3, 2)).await.unwrap();
    let before = server.names();
    let error = archive.put(&capture_of(UID, 2, 9)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::StaleEpoch {
                archived: 3,
                ours: 2
            }
        ),
        "{error}"
    );
    assert_eq!(server.names(), before);
}

#[tokio::test]
async fn an_older_epoch_does_not_write_over_a_write_under_way() {
    let (server, archive) = filled(1..=1).await;
    archive.put(&capture_of(UID, 3, 2)).await.unwrap();
    server.remove("lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest");
    let error = archive.put(&capture_of(UID, 2, 9)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::StaleEpoch {
                archived: 3,
                ours: 2
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_higher_epoch_wins_over_a_higher_number() {
    let (server, archive) = filled(1..=1).await;
    // The new owner's write is held up while the old owner, who cannot see it, finishes with a higher number.
    archive.put(&capture_of(UID, 3, 30)).await.unwrap();
    let newer: Vec<(String, Value)> = of_version(&server, 2)
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                server.secrets(|all| all.remove(&name).unwrap()),
            )
        })
        .collect();
    archive.put(&capture(2)).await.unwrap();
    archive.put(&capture(3)).await.unwrap();
    for name in of_version(&server, 2) {
        server.remove(&name);
    }
    server.secrets(|all| all.extend(newer));
    let found = archive.newest_complete(UID).await.unwrap();
    assert_eq!(
        (found.stored.version, found.stored.epoch, content(&found)),
        (2, 3, 30)
    );
}

#[tokio::test]
async fn two_hubs_writing_at_once_leave_the_newer_owners_capture() {
    let (old, new) = (capture_of(UID, 2, 20), capture_of(UID, 3, 30));
    for (first, second) in [(&old, &new), (&new, &old)] {
        let mut interleavings = 0;
        for nth in 1.. {
            let (server, archive) = filled(1..=3).await;
            server.meanwhile_at(nth, second.clone());
            let put = archive.put(first).await;
            if server.waiting() {
                break;
            }
            interleavings += 1;
            archive.newest_complete(UID).await.unwrap();
            if let Err(error) = put
                && first.epoch == new.epoch
            {
                // Its number was taken from under it: it says so, and the next try succeeds.
                assert_eq!(error.retry(), CallRetry::Soon);
                archive.put(first).await.unwrap();
            }
            let found = archive.newest_complete(UID).await.unwrap();
            assert_eq!(
                (found.stored.epoch, content(&found)),
                (3, 30),
                "epoch {} interrupted at {nth}",
                first.epoch
            );
        }
        assert!(interleavings > 6, "only {interleavings}");
    }
}

#[tokio::test]
async fn keeps_three_complete_versions_and_never_reuses_a_number() {
    let (server, archive) = filled(1..=6).await;
    let versions = |all: Vec<Version>| -> Vec<u64> {
        let number = |v: &Version| match v {
            Version::Complete(manifest) => manifest.version,
            Version::Broken(broken) => broken.version,
        };
        all.iter().map(number).collect()
    };
    assert_eq!(versions(archive.list(UID).await.unwrap()), [6, 5, 4]);
    assert_eq!(archive.prune(UID, keep(1)).await.unwrap(), [4, 5]);
    assert_eq!(archive.put(&capture(7)).await.unwrap().stored().version, 7);
    archive.delete_all(UID).await.unwrap();
    assert!(server.names().is_empty());
}

#[tokio::test]
async fn prunes_an_incomplete_version_only_below_a_complete_one() {
    let (server, archive) = filled(1..=3).await;
    server.remove("lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000003-manifest");
    assert!(
        archive.prune(UID, keep(3)).await.unwrap().is_empty(),
        "it may be a write under way"
    );
    server.remove("lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000001-0000");
    assert_eq!(archive.prune(UID, keep(3)).await.unwrap(), [1]);
    let left: BTreeSet<String> = server
        .names()
        .into_iter()
        .filter_map(|name| name.rsplit('-').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(
        left,
        BTreeSet::from(["00000002".to_owned(), "00000003".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_an_error_and_not_an_older_capture() {
    let (server, archive) = filled(1..=2).await;
    server.die_at(1, Fault::Silence);
    let error = archive.newest_complete(UID).await.unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Call(call) if call.retry() == CallRetry::AfterRead),
        "{error}"
    );
    server.revive();
    // Several pages: one of them failing must not look like lost versions.
    server.die_at(2, Fault::Lost);
    let put = archive.put(&capture(3)).await;
    assert!(matches!(put, Err(ArchiveError::Call(_))));
}

#[tokio::test]
async fn refuses_a_uid_that_would_select_something_else() {
    let archive = Server::default().archive();
    for uid in ["", "a,b", "a=b", "-a", "a b", "!a"] {
        assert!(
            matches!(
                archive.delete_all(uid).await,
                Err(ArchiveError::BadUid { .. })
            ),
            "{uid:?}"
        );
    }
}

#[test]
fn errors_name_the_object() {
    let flaw = Flaw::Truncated {
        name: "x".to_owned(),
        size: 1,
        expected: 2,
    };
    assert_eq!(flaw.to_string(), "Secret x has 1 bytes instead of 2");
}

#[tokio::test]
async fn the_manifests_of_all_placements_are_read_and_nothing_else() {
    let (server, archive) = filled(1..=2).await;
    let other = "11111111-aaaa-bbbb-cccc-dddddddddddd";
    archive.put(&capture_of(other, 3, 1)).await.unwrap();
    let unreadable = server
        .names()
        .into_iter()
        .find(|n| n.ends_with("00000001-manifest"));
    server.edit(&unreadable.unwrap(), Vec::clear);
    let seen: Vec<(String, u64, u64)> = archive
        .manifests()
        .await
        .unwrap()
        .into_iter()
        .map(|m| (m.placement_uid, m.version, m.epoch))
        .collect();
    assert_eq!(seen, [(UID.to_owned(), 1, 1), (UID.to_owned(), 2, 1)]);
}
