//! Which versions are kept.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::{UID, capture, filled};
use crate::archive::{Archive, Version};

fn keep(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
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
