//! Waiting for a copy: that it has the newest snapshot, that it follows, that both sides have stepped down.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Cluster, Daemon, Pair, Word};
use crate::wait;

/// Between two questions about states, which are late anyway: each is a program that is started, and many wait at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until one side holds a complete copy of the newest mirror snapshot of the other.
///
/// Asked of the snapshots and not of the states, which are late and may tell of a copy that is older.
pub async fn in_step(from: &Cluster, to: &Cluster, image: &str) -> Result<()> {
    let what = format!("{} has the newest of {image}", to.name());
    wait::until_answer_every(PAUSE, &what, || async {
        let theirs = from.rbd().snapshots(image).await?;
        let theirs = theirs.iter().filter(|s| s.namespace.kind == "mirror");
        let newest = theirs.map(|s| s.id).max();
        ensure!(newest.is_some(), "the source has no snapshot");
        let ours = to.rbd().snapshots(image).await?;
        let mut has = ours.iter().map(|s| &s.namespace);
        let has = has.any(|n| n.complete && n.primary_snap_id == newest);
        Ok(has.then_some(()))
    })
    .await
}

/// Waits until a side says of itself that it follows and holds a copy, and the other side has heard of it.
pub async fn follows(from: &Cluster, to: &Cluster, image: &str) -> Result<()> {
    let what = format!("{} follows with {image}", to.name());
    wait::until_answer_every(PAUSE, &what, || async {
        let status = to.rbd().status(image).await?;
        let follows = status.state.daemon == Daemon::Up
            && status.state.word == Word::Replaying
            && status
                .replay()
                .is_some_and(|r| r.local_snapshot_timestamp > 0);
        // The primary hears of it a moment later.
        let told = from.rbd().status(image).await?;
        let told = told.peer_sites.iter().any(|p| p.state == status.state);
        let both = follows && told;
        Ok(both.then_some(()))
    })
    .await
}

/// Waits until both sides have stepped down and say so.
pub async fn drained(pair: &Pair, image: &str) -> Result<()> {
    let what = format!("{image} is drained");
    wait::until_answer_every(PAUSE, &what, || async {
        let one = pair.dr1.rbd().status(image).await?;
        let two = pair.dr2.rbd().status(image).await?;
        let both = one.drained() && two.drained();
        Ok(both.then_some(()))
    })
    .await
}
