//! What the volumes say of themselves, from one watch.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, pin_mut};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use lifeboat_api::{VolumeReplication, common::condition};
use tokio::{sync::watch, task::JoinHandle};

/// Of a volume of which the driver was asked how replication goes, and the status says what it answered.
pub(crate) const TOLD: &str = "told";

/// Of every volume that the watch has shown.
pub(crate) const SEEN: &str = "seen";

/// How many volumes are in each state, of those whose present spec is served; and how many are told of.
type Counts = BTreeMap<String, usize>;

/// Kept up until this is dropped.
pub(crate) struct Watched {
    counts: watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

impl Watched {
    pub(crate) fn start(api: Api<VolumeReplication>) -> Self {
        let (tell, counts) = watch::channel(Counts::new());
        let task = tokio::spawn(async move {
            let mut states = BTreeMap::new();
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(volume) | Event::InitApply(volume)) = event else {
                    continue;
                };
                let now = reached(&volume);
                let before = states.insert(volume.name_any(), now.clone());
                if before.as_ref() == Some(&now) {
                    continue;
                }
                tell.send_modify(|counts| {
                    for state in before.unwrap_or_default() {
                        *counts.entry(state).or_default() -= 1;
                    }
                    for state in now {
                        *counts.entry(state).or_default() += 1;
                    }
                });
            }
        });
        Self { counts, task }
    }

    /// Waits until so many volumes are in this state.
    pub(crate) async fn until(&self, wanted: usize, state: &str, limit: Duration) -> Result<()> {
        let mut counts = self.counts.clone();
        let all = counts.wait_for(|c| c.get(state).is_some_and(|n| *n >= wanted));
        match tokio::time::timeout(limit, all).await {
            Ok(reached) => reached.map(drop).context("the watch has ended"),
            Err(_) => bail!(
                "of {wanted} that are to be {state}: {:?}",
                *self.counts.borrow()
            ),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// That it is there, the state of a volume whose present spec is served, and whether it is told of.
fn reached(volume: &VolumeReplication) -> Vec<String> {
    let seen = std::iter::once(SEEN.to_owned());
    let Some(status) = &volume.status else {
        return seen.collect();
    };
    let current = status.observed_generation == volume.metadata.generation;
    let done = condition(&status.conditions, "Completed").is_some_and(|c| c.status == "True");
    let state = status.state.clone().filter(|_| current && done);
    let told = condition(&status.conditions, "Replicating");
    seen.chain(state)
        .chain(told.map(|_| TOLD.to_owned()))
        .collect()
}
