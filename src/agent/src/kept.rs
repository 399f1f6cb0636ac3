//! What the ownership records say of data that never reached the owner, and the independent copies of it: each is dropped
//! when its time is over, and by nobody else.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use lifeboat_api::common::condition;
use lifeboat_api::replication::ReplicationState;
use lifeboat_api::{DROwnership, Divergence, KeptCopy, VolumeReplication, names};
use lifeboat_drivers::{Retry, Secrets};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::cache::Work;
use crate::ownership;
use crate::view::{Key, SecretView};

mod entries;

pub(crate) use entries::{Need, Wish, find, lasts};

/// The longest sleep until a copy's time is over: clocks are set meanwhile.
const LONGEST: Duration = Duration::from_secs(3_600);
/// A copy whose resync is not settled yet is looked at again after this.
const UNSETTLED: Duration = Duration::from_secs(60);

/// Puts what was measured into a record; `None` if the record is gone.
pub(crate) async fn record(
    agent: &Agent,
    key: &Key,
    measured: &Divergence,
) -> Result<Option<()>, CallError> {
    ownership::edit(agent, key, |all| entries::put(all, measured)).await
}

/// Writes down by what name a copy is to be made, before it is, if it has to be; `None` if the record is gone.
pub(crate) async fn reserve(
    agent: &Agent,
    key: &Key,
    of: &Divergence,
    wish: &Wish,
) -> Result<Option<Need>, CallError> {
    let done = ownership::edit(agent, key, |all| entries::reserve(all, of, wish)).await?;
    Ok(done.flatten())
}

/// What came of recording a copy.
pub(crate) enum Made {
    /// It is there.
    Recorded,
    /// It came to be dropped meanwhile.
    Dropping,
}

/// Puts the copy of this name into a record; `None` if the record is gone.
pub(crate) async fn made(
    agent: &Agent,
    key: &Key,
    of: &Divergence,
    name: &str,
    copy: &KeptCopy,
) -> Result<Option<Made>, CallError> {
    let done = ownership::edit(agent, key, |all| entries::made(all, of, name, copy)).await?;
    Ok(done.map(|done| done.map_or(Made::Dropping, |()| Made::Recorded)))
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
    let all: Vec<(&Divergence, &KeptCopy)> = all
        .flat_map(|entry| entries::copies(entry).map(move |kept| (entry, kept)))
        .collect();
    for (entry, kept) in all {
        // Who serves the driver looks at everything when its turn comes.
        if !agent.fleet.serves(&kept.driver) {
            continue;
        }
        let begun = kept.dropping_since.is_some();
        let wait = match left(kept, agent.clock.now()) {
            Some(left) if !begun => left.min(LONGEST),
            None if !begun && unsettled(agent, key, entry) => UNSETTLED,
            Some(_) | None => {
                let work = Work::Ownership(key.clone());
                // Called when there is one; copies that another driver has do not wait for it.
                if let Some(_slot) = agent.fleet.enter_copies(&kept.driver, &work) {
                    failed |= drop_one(agent, key, &record, entry, kept).await.is_err();
                }
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

/// Whether the resync that a copy was made for may still throw away what the copy holds: until then it is wanted, and made sure
/// of before each request.
fn unsettled(agent: &Agent, key: &Key, entry: &Divergence) -> bool {
    let volumes = agent.caches.volumes_by(key);
    volumes.iter().any(|volume| orders(volume, entry))
}

/// Whether a volume orders the resync of an entry and the driver was not seen to carry it out: the last request is not noted
/// yet, or it failed, or nobody knows what became of it.
fn orders(volume: &VolumeReplication, entry: &Divergence) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    let read = |name: &str| annotations.and_then(|all| all.get(name));
    let request = |name| read(name).and_then(|note| names::read_resync_request(note));
    let epoch = read(names::EPOCH).and_then(|epoch| epoch.trim().parse().ok());
    let number = read(names::RESYNC_REQUEST).and_then(|number| number.trim().parse().ok());
    let asked = volume.spec.replication_state == ReplicationState::Resync
        && volume.spec.data_source.name == entry.claim
        && epoch == Some(entry.epoch);
    let noted = request(names::RESYNC_ISSUED) >= Some((entry.epoch, number.unwrap_or(1)));
    let failed = request(names::RESYNC_FAILED).is_some_and(|(epoch, _)| epoch == entry.epoch);
    asked && (!noted || failed || !carried_out(volume))
}

/// Whether the driver said last, of this generation, that the copy is being taken anew or is in step.
fn carried_out(volume: &VolumeReplication) -> bool {
    volume.status.as_ref().is_some_and(|status| {
        let completed = condition(&status.conditions, "Completed");
        status.observed_generation == volume.metadata.generation
            && completed.is_some_and(|completed| completed.status == "True")
    })
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
    let unwritten = |error: CallError| {
        warn!(record = %key, error = %error.full(), "not written that a copy is dropped");
        Failed
    };
    // Written first, and only if nobody wants it for longer by now: from then on it is not counted on, nor asked for by its name.
    let now = agent.clock.now();
    let begun = ownership::edit(agent, key, |all| entries::dropping(all, kept, now)).await;
    let Some(()) = begun.map_err(unwritten)?.flatten() else {
        return Ok(());
    };
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
    let now = agent.clock.now();
    let dropped = ownership::edit(agent, key, |all| entries::dropped(all, kept, now)).await;
    dropped.map(drop).map_err(unwritten)
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
