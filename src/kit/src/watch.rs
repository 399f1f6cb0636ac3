//! Watching one kind on one cluster, for ever.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::error::full;
use crate::hash::fnv;
use crate::retry::Waits;

/// First wait after a broken watch; doubles up to [`LONGEST`]. Each may be twice as long, by what is watched.
const FIRST: Duration = Duration::from_millis(150);
/// Longest wait between two tries.
const LONGEST: Duration = Duration::from_millis(2500);

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum WatchEvent<K> {
    /// Every object there is. Whatever is not in it is gone. Comes first, and again after each `Lost`.
    Synced(Vec<K>),
    /// An object is new or changed.
    Apply(K),
    /// An object is gone; this is its last state.
    Delete(K),
    /// The watch broke: what we know is ageing until the next `Synced`.
    Lost(String),
}

/// Watches until cancelled and hands each event to `sink`, in order. Never fails: a broken watch is an event, and after
/// it the watch starts from a full list, so that recovery is as visible as the loss.
/// Managed fields are removed from every object: nothing reads them, and they are most of the memory.
pub async fn watch_into<K>(
    api: Api<K>,
    config: watcher::Config,
    mut sink: impl FnMut(WatchEvent<K>) + Send,
    cancel: CancellationToken,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    // The watches of one cluster break together; their full lists must not all come at once.
    let mut waits = Waits::new(FIRST, LONGEST, fnv(api.resource_url()));
    loop {
        let mut session = Session {
            sink: &mut sink,
            listed: Vec::new(),
            waits: &mut waits,
        };
        let lost = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            lost = session.run(api.clone(), config.clone()) => lost,
        };
        debug!(error = %lost, "watch lost");
        sink(WatchEvent::Lost(lost));
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(waits.after_failure()) => {}
        }
    }
}

struct Session<'a, K, S> {
    sink: &'a mut S,
    listed: Vec<K>,
    waits: &'a mut Waits,
}

impl<K, S> Session<'_, K, S>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: FnMut(WatchEvent<K>) + Send,
{
    async fn run(&mut self, api: Api<K>, config: watcher::Config) -> String {
        let mut events = pin!(watcher(api, config));
        loop {
            match events.try_next().await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return "the watch ended".to_owned(),
                Err(error) => return full(&error),
            }
        }
    }

    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => self.listed.push(strip(object)),
            Event::InitDone => {
                self.waits.reset();
                (self.sink)(WatchEvent::Synced(std::mem::take(&mut self.listed)));
            }
            Event::Apply(object) => (self.sink)(WatchEvent::Apply(strip(object))),
            Event::Delete(object) => (self.sink)(WatchEvent::Delete(strip(object))),
        }
    }
}

fn strip<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
