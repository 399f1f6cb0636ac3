//! Hubs that die while they write, and several that write.

use lifeboat_kit::error::CallRetry;
use serde_json::Value;

use super::server::Fault;
use super::{UID, capture, capture_of, content, filled, of_version};
use crate::archive::{Archive, ArchiveError, Version};

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

/// Epoch 3 is archived, and 2 would write.
fn is_stale(error: &ArchiveError) -> bool {
    matches!(
        error,
        ArchiveError::StaleEpoch {
            archived: 3,
            ours: 2
        }
    )
}

#[tokio::test]
async fn an_older_epoch_does_not_write() {
    let (server, archive) = filled(1..=1).await;
    archive.put(&capture_of(UID, 3, 2)).await.unwrap();
    let before = server.names();
    let error = archive.put(&capture_of(UID, 2, 9)).await.unwrap_err();
    assert!(is_stale(&error), "{error}");
    assert_eq!(server.names(), before);
}

#[tokio::test]
async fn an_older_epoch_does_not_write_over_a_write_under_way() {
    let (server, archive) = filled(1..=1).await;
    archive.put(&capture_of(UID, 3, 2)).await.unwrap();
    server.remove("lifeboat-capture-7e0b4c6a-1111-2222-3333-444455556666-00000002-manifest");
    let error = archive.put(&capture_of(UID, 2, 9)).await.unwrap_err();
    assert!(is_stale(&error), "{error}");
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
