//! What is known of the archive, while another hub writes to it.

use std::num::NonZeroUsize;

use futures::FutureExt;
use futures::future::BoxFuture;
use lifeboat_api::{DRPlacement, DRPolicy};
use lifeboat_capture::Marks;
use lifeboat_core::Journal;
use serde_json::{Value, from_value, json};

use super::*;
use crate::archive::{Broken, Flaw, Found, Version};
use crate::resolve::resolve;

const UID: &str = "u";

/// What the archive answers, and how often it was read.
#[derive(Default)]
struct Shelf(Mutex<(Holds, usize)>);

#[derive(Clone, Copy, Default)]
enum Holds {
    /// It does not answer.
    #[default]
    Silence,
    /// It is empty.
    Nothing,
    /// Its only version is incomplete.
    Broken,
    /// The newest complete version.
    Newest(u64),
}

fn capture() -> Capture {
    let marks = Marks {
        placement: "shop/db".to_owned(),
        placement_uid: UID.to_owned(),
        epoch: 1,
    };
    Capture::new(&marks, "east", jiff::Timestamp::UNIX_EPOCH)
}

fn stored(version: u64) -> Stored {
    Stored {
        version,
        epoch: 1,
        fingerprint: capture().fingerprint(),
        taken_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn silent() -> ArchiveError {
    let uid = UID.to_owned();
    ArchiveError::BadUid { uid }
}

fn broken() -> Broken {
    Broken {
        version: 3,
        epoch: Some(1),
        why: Flaw::Missing {
            name: "manifest".to_owned(),
        },
    }
}

impl Shelf {
    /// The newest version, or none: it does not answer.
    fn holds(&self, newest: Option<u64>) {
        self.0.lock().0 = newest.map_or(Holds::Silence, Holds::Newest);
    }

    /// It answers, and this is all that is left; none: nothing.
    fn lacks(&self, newest: Option<u64>) {
        self.0.lock().0 = newest.map_or(Holds::Nothing, Holds::Newest);
    }

    fn breaks(&self) {
        self.0.lock().0 = Holds::Broken;
    }

    fn reads(&self) -> usize {
        self.0.lock().1
    }
}

fn manifest((placement, uid, epoch): (&str, &str, u64)) -> Manifest {
    let manifest = json!({"format": "", "version": epoch, "placement": placement, "placementUid": uid,
        "sourceCluster": "east", "epoch": epoch, "takenAt": "2026-01-01T00:00:00Z", "fingerprint": "",
        "volumes": [], "chunks": [], "size": 0, "jsonSize": 0, "sha256": ""});
    from_value(manifest).unwrap()
}

impl Archive for Shelf {
    fn put<'a>(&'a self, _: &'a Capture) -> BoxFuture<'a, Result<Put, ArchiveError>> {
        let mut kept = self.0.lock();
        let next = match kept.0 {
            Holds::Newest(newest) => newest + 1,
            Holds::Silence | Holds::Nothing | Holds::Broken => 1,
        };
        kept.0 = Holds::Newest(next);
        async move { Ok(Put::Stored(stored(next))) }.boxed()
    }

    fn newest_complete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Found, ArchiveError>> {
        let mut kept = self.0.lock();
        kept.1 += 1;
        let uid = UID.to_owned();
        let found = match kept.0 {
            Holds::Silence => Err(silent()),
            Holds::Nothing => Err(ArchiveError::Nothing { uid }),
            Holds::Broken => {
                let broken = vec![broken()];
                Err(ArchiveError::NoneComplete { uid, broken })
            }
            Holds::Newest(version) => Ok(Found {
                capture: capture(),
                stored: stored(version),
                broken: Vec::new(),
            }),
        };
        async move { found }.boxed()
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Version>, ArchiveError>> {
        async { Err(silent()) }.boxed()
    }

    fn manifests(&self) -> BoxFuture<'_, Result<Vec<Manifest>, ArchiveError>> {
        let all = [
            ("shop/db", "u", 9),
            ("shop/db", "old-1", 2),
            ("shop/db", "old-1", 4),
            ("shop/db", "old-2", 3),
            ("other/db", "old-3", 8),
        ];
        async move { Ok(all.map(manifest).into()) }.boxed()
    }

    fn prune<'a>(
        &'a self,
        _: &'a str,
        _: NonZeroUsize,
    ) -> BoxFuture<'a, Result<Vec<u64>, ArchiveError>> {
        async { Err(silent()) }.boxed()
    }

    fn delete_all<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>> {
        async { Err(silent()) }.boxed()
    }
}

fn scope() -> Arc<Scope> {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": kind,
            "metadata": {"namespace": "shop", "name": name, "uid": UID}, "spec": spec})
    };
    let placement = json!({"policyRef": {"name": "gold"}, "preferredCluster": "east"});
    let policy = json!({"clusters": ["east", "west"],
        "classes": [{"storageClassName": "rbd", "volumeReplicationClassName": "v"}]});
    let placement: DRPlacement = from_value(object("DRPlacement", "db", placement)).unwrap();
    let policy: Arc<DRPolicy> = Arc::new(from_value(object("DRPolicy", "gold", policy)).unwrap());
    let resolved = resolve(&placement, |_| Some(policy.clone()), &Journal::default());
    resolved.unwrap().scope
}

fn version(facts: &ArchiveFacts) -> Option<u64> {
    facts.newest.as_ref().map(|newest| newest.version)
}

/// A view that has stored version 1 of a capture, and its shelf.
async fn view() -> (Arc<Shelf>, ArchiveView, Arc<Scope>) {
    let (shelf, scope) = (Arc::new(Shelf::default()), scope());
    let view = ArchiveView::new(shelf.clone(), Arc::new(|_, _| "same".to_owned()));
    view.put(&scope, capture(), "same".to_owned())
        .await
        .unwrap();
    (shelf, view, scope)
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_in_the_journal_is_read_once() {
    let (shelf, view, scope) = view().await;
    assert_eq!(view.facts(&scope, 1).await.current, Current::Yes);
    assert_eq!(shelf.reads(), 0);
    shelf.holds(Some(5));
    let seen = view.facts(&scope, 5).await;
    assert_eq!((version(&seen), seen.current), (Some(5), Current::No));
    // Version 6 is lost: that is asked for once, and not each time somebody looks.
    for _ in 0..3 {
        assert_eq!(version(&view.facts(&scope, 6).await), Some(5));
    }
    assert_eq!(shelf.reads(), 2);
    shelf.holds(None);
    for _ in 0..3 {
        let seen = view.facts(&scope, 7).await;
        assert!(version(&seen) == Some(5) && seen.unreadable.is_some());
    }
    assert_eq!(shelf.reads(), 3);
    shelf.holds(Some(7));
    tokio::time::advance(AGAIN).await;
    assert_eq!(version(&view.facts(&scope, 7).await), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_into_the_archive_is_seen_after_a_while() {
    let (shelf, view, scope) = view().await;
    shelf.holds(Some(5));
    // As a hub that has just begun, and finds less than its journal speaks of.
    view.start_over();
    for (least, shown, put_back) in [(6, Some(5), 6), (9, None, 9)] {
        shelf.lacks(shown);
        assert_eq!(version(&view.facts(&scope, least).await), shown);
        shelf.holds(Some(put_back));
        let wait = view.again_after(UID, least).unwrap();
        assert!(wait <= LACKING_AGAIN, "{wait:?}");
        tokio::time::advance(wait / 2).await;
        assert_eq!(version(&view.facts(&scope, least).await), shown);
        tokio::time::advance(wait / 2).await;
        assert_eq!(version(&view.facts(&scope, least).await), Some(put_back));
        assert_eq!(
            view.again_after(UID, least),
            None,
            "it has all that it must"
        );
        view.start_over();
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_with_a_broken_version_is_read_again_and_one_that_owes_nothing_is_not() {
    let (shelf, view, scope) = view().await;
    view.start_over();
    shelf.lacks(None);
    assert_eq!(version(&view.facts(&scope, 0).await), None);
    assert_eq!(view.again_after(UID, 0), None, "nothing was ever captured");
    assert!(view.again_after(UID, 1).is_some());
    view.start_over();
    shelf.breaks();
    assert_eq!(version(&view.facts(&scope, 0).await), None);
    let wait = view.again_after(UID, 0).unwrap();
    shelf.holds(Some(3));
    tokio::time::advance(wait).await;
    assert_eq!(version(&view.facts(&scope, 0).await), Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_act_reads_anew() {
    let (shelf, view, scope) = view().await;
    shelf.holds(Some(2));
    view.start_over();
    assert_eq!(version(&view.facts(&scope, 1).await), Some(2));
    let read = view.read(&scope, None).await.unwrap();
    assert_eq!(read.map(|(version, _)| version), Some(2));
}

#[tokio::test(start_paused = true)]
async fn of_earlier_placements_of_the_name_the_newest_capture_is_told() {
    let (_shelf, view, scope) = view().await;
    let found = view.earlier(&scope).await.unwrap().unwrap();
    assert_eq!((found.uid.as_str(), found.epoch), ("old-1", 4));
    let of = |namespace: &str| Scope {
        key: crate::resolve::PlacementKey {
            namespace: namespace.to_owned(),
            ..scope.key.clone()
        },
        ..(*scope).clone()
    };
    let other = view.earlier(&of("other")).await.unwrap().unwrap();
    assert_eq!(other.uid, "old-3");
    assert_eq!(view.earlier(&of("none")).await.unwrap(), None);
}
