//! What is damaged, or another's, is named and not used.

use lifeboat_kit::error::CallRetry;
use serde_json::{Value, json};

use super::server::Server;
use super::{UID, capture, capture_of, content, falls_back, filled, of_version};
use crate::archive::manifest::sha256;
use crate::archive::{Archive, ArchiveError, Flaw, Put};

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
            sum = sha256(bytes);
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

#[test]
fn errors_name_the_object() {
    let flaw = Flaw::Truncated {
        name: "x".to_owned(),
        size: 1,
        expected: 2,
    };
    assert_eq!(flaw.to_string(), "Secret x has 1 bytes instead of 2");
}
