//! The invariants, looked at whenever anything happens.
//!
//! - No array ever throws data away that exists nowhere else.
//! - No image ever holds two records of one number.
//! - Two primaries exist only after a failover, and one of them is on the cluster it left.
//! - A placement at rest has its objects on its owner and nowhere else.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, Client, ResourceExt, api::ListParams, runtime::watcher};
use lifeboat_api::{DRPlacement, VolumeReplication, names};
use lifeboat_kit::{
    WatchEvent,
    task::{Task, spawn},
    watch_into,
};
use lifeboat_sim::{
    storage::{Event, Power},
    world::World,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Book, Chronicle, Key, Look, Topic};

/// Starts all watchers.
pub(super) fn watch_all(
    world: &Arc<World>,
    hub: &Client,
    book: &Arc<Book>,
    chronicle: &Arc<Chronicle>,
    cancel: &CancellationToken,
) -> Vec<Task<()>> {
    let (rested, at_rest) = mpsc::unbounded_channel();
    let guard = Guard {
        world: Arc::clone(world),
        book: Arc::clone(book),
        chronicle: Arc::clone(chronicle),
        left: Arc::default(),
    };
    let (a, b) = (guard.clone(), guard.clone());
    let placements = Api::<DRPlacement>::all(hub.clone());
    let sink = move |event| a.placement_event(event, &rested);
    let config = watcher::Config::default();
    vec![
        spawn(
            "placements",
            watch_into(placements, config, sink, cancel.clone()),
        ),
        spawn("arrays", async move { b.arrays().await }),
        spawn("rest", async move { guard.rest(at_rest).await }),
    ]
}

#[derive(Clone)]
struct Guard {
    world: Arc<World>,
    book: Arc<Book>,
    chronicle: Arc<Chronicle>,
    /// Sites that something was failed over from.
    left: Arc<Mutex<BTreeSet<String>>>,
}

impl Guard {
    fn broken(&self, what: String) {
        self.chronicle.say(Topic::Broken, what.clone());
        self.book.violated(what);
    }

    fn placement_event(
        &self,
        event: WatchEvent<DRPlacement>,
        rested: &mpsc::UnboundedSender<DRPlacement>,
    ) {
        match event {
            WatchEvent::Synced(all) => {
                let there: BTreeSet<Key> = all.iter().map(Key::from_object).collect();
                for gone in self.book.keys().into_iter().filter(|k| !there.contains(k)) {
                    self.forget(&gone);
                }
                for one in all {
                    self.placement(one, rested);
                }
            }
            WatchEvent::Apply(one) => self.placement(one, rested),
            WatchEvent::Delete(one) => self.forget(&Key::from_object(&one)),
            WatchEvent::Lost(why) => tracing::debug!(why, "the laboratory lost its watch"),
        }
    }

    fn forget(&self, key: &Key) {
        self.book.remove(key);
        self.chronicle
            .say(Topic::Placement, format!("{key} is gone"));
    }

    fn placement(&self, new: DRPlacement, rested: &mpsc::UnboundedSender<DRPlacement>) {
        let key = Key::from_object(&new);
        let old = self.book.set(new.clone());
        self.chronicle.placement(&key, old.as_ref(), &new);
        let actions = new.status.iter().flat_map(|s| &s.actions);
        let failovers = actions.filter(|a| a.kind == "Failover");
        self.left.lock().extend(failovers.map(|a| a.from.clone()));
        if let Some(old) = &old {
            self.never_back(&key, old, &new);
        }
        let was = old.as_ref().map_or("", Look::phase);
        if new.phase() == "Steady" && was != "Steady" {
            // Nobody listens any more only when the laboratory ends.
            drop(rested.send(new));
        }
    }

    fn never_back(&self, key: &Key, old: &DRPlacement, new: &DRPlacement) {
        let same = old.uid() == new.uid();
        if same && new.epoch() < old.epoch() {
            self.broken(format!(
                "{key}: the epoch went from {} down to {}",
                old.epoch(),
                new.epoch()
            ));
        }
        let moved = !old.cluster().is_empty() && old.cluster() != new.cluster();
        if same && moved && new.epoch() <= old.epoch() {
            let (from, to) = (old.cluster(), new.cluster());
            self.broken(format!(
                "{key}: the owner changed from {from} to {to} without a higher epoch"
            ));
        }
    }

    /// Follows the arrays.
    async fn arrays(&self) {
        let fabric = self.world.fabric();
        let mut changes = fabric.watch();
        let mut seen = 0;
        loop {
            let events = fabric.events_since(seen);
            seen += events.len();
            for event in &events {
                self.chronicle.array(event);
            }
            let touched: BTreeSet<String> = events.iter().filter_map(|e| self.volume(e)).collect();
            for volume in touched {
                self.one_primary(&volume);
            }
            for lost in fabric.destroyed() {
                self.broken(format!(
                    "{} lost the data of {} ({:?})",
                    lost.site, lost.handle, lost.how
                ));
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The volume that an event is about; none if it is about the whole array.
    fn volume(&self, event: &Event) -> Option<String> {
        let site = self.world.site(&event.site).ok()?;
        site.array
            .volume_name(&event.handle)
            .filter(|name| !name.is_empty())
    }

    fn one_primary(&self, volume: &str) {
        let lead = self.world.fabric().primaries(volume);
        if lead.len() < 2 {
            return;
        }
        let left = self.left.lock();
        if !lead.iter().any(|site| left.contains(site)) {
            self.broken(format!(
                "{volume} is primary on {} at once without a failover",
                lead.join(" and ")
            ));
        }
    }

    /// Looks for what a placement at rest left elsewhere.
    async fn rest(&self, mut rested: mpsc::UnboundedReceiver<DRPlacement>) {
        while let Some(placement) = rested.recv().await {
            let key = Key::from_object(&placement);
            let mut found = Vec::new();
            for site in self
                .world
                .sites()
                .filter(|s| s.name != placement.cluster() && s.array.power() == Power::On)
            {
                let uid = placement.uid().unwrap_or_default();
                let left = left_behind(&site.api.admin(), &uid).await;
                found.extend(left.into_iter().map(|o| format!("{o} on {}", site.name)));
            }
            let face = |p: &DRPlacement| (p.phase().to_owned(), p.epoch(), p.cluster().to_owned());
            let still = self
                .book
                .get(&key)
                .is_some_and(|now| face(&now) == face(&placement));
            if still && !found.is_empty() {
                self.broken(format!(
                    "{key} rests on {} and left {}",
                    placement.cluster(),
                    found.join(", ")
                ));
            }
        }
    }
}

/// Objects of a placement on one cluster.
async fn left_behind(client: &Client, uid: &str) -> Vec<String> {
    let ours = ListParams::default().labels(&format!("{}={uid}", names::PLACEMENT_UID));
    let mut found = Vec::new();
    if let Ok(all) = Api::<PersistentVolume>::all(client.clone())
        .list(&ours)
        .await
    {
        found.extend(
            all.items
                .iter()
                .map(|o| format!("PersistentVolume {}", o.name_any())),
        );
    }
    if let Ok(all) = Api::<PersistentVolumeClaim>::all(client.clone())
        .list(&ours)
        .await
    {
        found.extend(all.items.iter().map(|o| format!("claim {}", o.name_any())));
    }
    if let Ok(all) = Api::<VolumeReplication>::all(client.clone())
        .list(&ours)
        .await
    {
        found.extend(
            all.items
                .iter()
                .map(|o| format!("VolumeReplication {}", o.name_any())),
        );
    }
    found
}
