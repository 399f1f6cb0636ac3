//! The archive against an API server that keeps Secrets and fails when told to.

mod broken;
mod prune;
mod server;
mod writers;

use lifeboat_capture::{Capture, Marks};
use lifeboat_kit::error::CallRetry;
use serde_json::{Value, json};

use self::server::{Fault, Server};
use super::{Archive, ArchiveError, Found, Put, SecretsArchive};

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
