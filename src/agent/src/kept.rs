//! What the ownership records say of data that never reached the owner, and the independent copies of it: each is dropped
//! when its time is over, and by nobody else.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use lifeboat_api::common::to_time;
use lifeboat_api::replication::ReplicationState;
use lifeboat_api::{
    DROwnership, DROwnershipStatus, Divergence, KeptCopy, VolumeReplication, names,
};
use lifeboat_drivers::{Retry, Secrets};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::cache::Work;
use crate::ownership;
use crate::view::{Key, SecretView};

/// Of each claim so many past divergences stay on record, besides those with a copy.
const HISTORY: usize = 3;
/// The longest sleep until a copy's time is over: clocks are set meanwhile.
const LONGEST: Duration = Duration::from_secs(3_600);
/// A copy whose resync was not sent yet is looked at again after this.
const UNSENT: Duration = Duration::from_secs(60);

/// Puts one entry into a record; `None` if the record is gone.
pub(crate) async fn record(
    agent: &Agent,
    key: &Key,
    entry: &Divergence,
) -> Result<Option<()>, CallError> {
    ownership::edit(agent, key, |status| put(status, entry)).await
}

/// Pure.
fn put(status: &mut DROwnershipStatus, entry: &Divergence) {
    let all = &mut status.divergence;
    match all
        .iter_mut()
        .find(|d| d.claim == entry.claim && d.epoch == entry.epoch)
    {
        Some(old) => *old = entry.clone(),
        None => all.push(entry.clone()),
    }
    let mut past: Vec<i64> = all
        .iter()
        .filter(|d| d.claim == entry.claim && there(d).is_none())
        .map(|d| d.epoch)
        .collect();
    past.sort_unstable();
    let oldest = past.len().checked_sub(HISTORY).and_then(|n| past.get(n));
    if let Some(oldest) = oldest.copied() {
        all.retain(|d| d.claim != entry.claim || there(d).is_some() || d.epoch >= oldest);
    }
}

/// The copy, if it was made and not dropped.
fn there(entry: &Divergence) -> Option<&KeptCopy> {
    entry.kept.as_ref().filter(|kept| kept.dropped_at.is_none())
}

/// Drops the copies of a record whose time is over; answers when to look again.
/// Idempotent because a driver that has no such copy says so by success. If interrupted: it is dropped once more.
pub(crate) async fn drop_due(agent: &Agent, key: &Key) -> Next {
    let Some((record, _)) = agent.caches.ownership(key) else {
        return Next::Wait;
    };
    // What a backup has brought from another cluster names copies that are not on this one's storage.
    if agent.cluster_uid.get() != Some(&record.spec.cluster_uid) {
        return Next::Wait;
    }
    let (mut next, mut failed) = (None, false);
    let all = record.status.iter().flat_map(|status| &status.divergence);
    for entry in all {
        // Who serves the driver looks at everything when its turn comes.
        let Some(kept) = there(entry).filter(|kept| agent.fleet.serves(&kept.driver)) else {
            continue;
        };
        let wait = match left(kept, agent.clock.now()) {
            Some(left) => left.min(LONGEST),
            None if unsent(agent, key, entry) => UNSENT,
            None => {
                let work = Work::Ownership(key.clone());
                let Some(_slot) = agent.fleet.enter(&kept.driver, &work) else {
                    return Next::Wait;
                };
                failed |= drop_one(agent, key, &record, entry, kept).await.is_err();
                continue;
            }
        };
        next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
    }
    if failed {
        return Next::Failed;
    }
    next.map_or(Next::Wait, Next::After)
}

/// How much of its time is left.
fn left(kept: &KeptCopy, now: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(kept.keep_until.0.duration_since(now)).ok()?;
    (!left.is_zero()).then_some(left)
}

/// Whether the resync that a copy was made for is still to be sent: until then it is wanted, and made sure of before.
fn unsent(agent: &Agent, key: &Key, entry: &Divergence) -> bool {
    let volumes = agent.caches.volumes_by(key);
    volumes.iter().any(|volume| orders(volume, entry))
}

fn orders(volume: &VolumeReplication, entry: &Divergence) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    let read = |name: &str| annotations.and_then(|all| all.get(name));
    let epoch = read(names::EPOCH).and_then(|epoch| epoch.trim().parse().ok());
    let issued = read(names::RESYNC_ISSUED).and_then(|note| names::read_resync_request(note));
    volume.spec.replication_state == ReplicationState::Resync
        && volume.spec.data_source.name == entry.claim
        && epoch == Some(entry.epoch)
        && issued < Some((entry.epoch, 1))
}

/// It was not dropped, and that was said.
struct Failed;

async fn drop_one(
    agent: &Agent,
    key: &Key,
    record: &DROwnership,
    entry: &Divergence,
    kept: &KeptCopy,
) -> Result<(), Failed> {
    if let Err(why) = drop_it(agent, kept).await {
        let note = format!(
            "the copy {} of {} that driver {} kept is past its time and could not be dropped: {why}; it is tried again",
            kept.volume_handle, entry.claim, kept.driver
        );
        warn!(record = %key, %note, "kept copy not dropped");
        let news = News {
            kind: EventKind::Warning,
            reason: "KeptCopyNotDropped",
            action: "Drop",
            note,
        };
        agent.recorder.tell(&record.object_ref(&()), news).await;
        return Err(Failed);
    }
    info!(record = %key, copy = %kept.volume_handle, "kept copy dropped");
    let now = to_time(agent.clock.now());
    let dropped = ownership::edit(agent, key, |status| {
        let all = status.divergence.iter_mut();
        let copies = all.filter_map(|d| d.kept.as_mut());
        for copy in copies.filter(|copy| copy.volume_handle == kept.volume_handle) {
            copy.dropped_at = Some(now.clone());
        }
    });
    dropped.await.map(drop).map_err(|error| {
        warn!(record = %key, error = %error.full(), "not written that a copy was dropped");
        Failed
    })
}

async fn drop_it(agent: &Agent, kept: &KeptCopy) -> Result<(), String> {
    let secret = kept.secret.as_ref();
    let secret = secret.map(|secret| Key::new(&secret.namespace, &secret.name));
    let secrets = match &secret {
        None => Secrets::default(),
        Some(key) => match agent.secrets.read(key).await {
            SecretView::Present(secrets) => secrets,
            SecretView::Unusable { why } => return Err(why),
        },
    };
    let driver = agent.fleet.driver(&kept.driver);
    let driver = driver.ok_or_else(|| "it is not served any more".to_owned())?;
    let dropped = driver.drop_copy(&kept.volume_handle, &secrets).await;
    if let Err(error) = &dropped
        && error.retry() == Retry::AfterCredentials
        && let Some(key) = &secret
    {
        agent.secrets.distrust(key).await;
    }
    dropped.map_err(|error| error.upstream_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(claim: &str, epoch: i64, kept: bool) -> Divergence {
        let at = to_time("2026-01-02T03:04:05Z".parse().unwrap());
        Divergence {
            claim: claim.into(),
            epoch,
            measured_at: at.clone(),
            bytes: Some(1),
            message: None,
            kept: kept.then(|| KeptCopy {
                driver: "d".into(),
                volume_handle: format!("kept-{claim}-{epoch}"),
                bytes: 1,
                kept_at: at.clone(),
                keep_until: at,
                dropped_at: None,
                secret: None,
            }),
        }
    }

    #[test]
    fn of_each_claim_the_last_few_stay_on_record_and_every_copy_that_is_there() {
        let mut status = DROwnershipStatus::default();
        put(&mut status, &entry("web", 1, false));
        put(&mut status, &entry("db", 2, true));
        for epoch in 3..=8 {
            put(&mut status, &entry("db", epoch, false));
            put(&mut status, &entry("db", epoch, false));
        }
        let all = status.divergence.iter();
        let left: Vec<(&str, i64)> = all.map(|d| (d.claim.as_str(), d.epoch)).collect();
        let db = [2, 6, 7, 8].map(|epoch| ("db", epoch));
        assert_eq!(left[0], ("web", 1));
        assert_eq!(left[1..], db);
    }
}
