//! What agents, storage and Kubernetes do by themselves, one tick at a time.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::ids::{ClaimKey, ClusterId};
use crate::observed::{
    ClaimPhase, Deleting, Holder, Managed, RecordFacts, Role, VrFacts, VrStatus,
};

use super::{Image, Link, Model, Site, claims};

impl Model {
    /// A second passes.
    pub fn tick(&mut self) {
        let second = SignedDuration::from_secs(1);
        self.now = self.now.checked_add(second).unwrap_or(self.now);
        for site in self.sites.values_mut().filter(|s| s.link != Link::Dead) {
            site.kubernetes();
        }
        let names: Vec<ClusterId> = self.sites.keys().cloned().collect();
        for name in &names {
            self.agent(name);
        }
        self.copy();
        for site in self.sites.values_mut().filter(|s| s.link != Link::Dead) {
            site.write(&mut self.next_record);
        }
    }

    /// Every replication of a site goes one step on.
    fn agent(&mut self, name: &ClusterId) {
        let now = self.now;
        for key in claims() {
            let rivals = self.sites.iter().filter(|(n, _)| *n != name);
            let images: Vec<(Link, Image)> = rivals
                .filter_map(|(_, s)| s.images.get(&key).map(|i| (s.link, i.clone())))
                .collect();
            if let Some(site) = self.sites.get_mut(name)
                && site.link != Link::Dead
                && site.disabled(&key)
            {
                // Switched off on the primary: the copies go.
                let others = self.sites.iter_mut().filter(|(n, _)| *n != name);
                others.for_each(|(_, s)| drop(s.images.remove(&key)));
                continue;
            }
            let Some(site) = self.sites.get_mut(name).filter(|s| s.link != Link::Dead) else {
                continue;
            };
            let link = site.link;
            let heard = |l: Link| l == Link::Up && link == Link::Up;
            let elsewhere = images.iter().any(|(_, i)| i.primary);
            let live = images.iter().any(|(l, i)| heard(*l) && i.primary);
            let Site {
                truth,
                images: mine,
                rebuilt,
                ..
            } = site;
            let record = truth.record.clone();
            let Some(x) = truth.volumes.get_mut(&key) else {
                continue;
            };
            let bound = x
                .claim
                .as_ref()
                .is_some_and(|c| c.phase == ClaimPhase::Bound);
            let Some(r) = x.replication.as_mut().filter(|_| bound) else {
                continue;
            };
            let image = mine.entry(key.clone()).or_default();
            // Nobody says which copy is in step, so in step is only who has them all.
            let copied = images.iter().all(|(_, i)| i.records == image.records);
            r.status = match r.desired {
                Role::Primary => promote(r, record.as_ref(), name, image, elsewhere),
                Role::Secondary => {
                    let fresh = r.status == VrStatus::Pending;
                    image.primary = false;
                    if fresh || live || !copied {
                        VrStatus::Demoted
                    } else {
                        VrStatus::Drained
                    }
                }
                Role::Resync if r.resync_issued < r.resync_asked && r.resync_until <= Some(now) => {
                    VrStatus::Failed {
                        message: "the order to resync has lapsed".into(),
                    }
                }
                Role::Resync if live => {
                    image.primary = false;
                    if let Some(asked) = r.resync_asked.filter(|a| rebuilt.get(&key) < Some(a)) {
                        image.records.clear();
                        r.resync_issued = Some(asked);
                        rebuilt.insert(key.clone(), asked);
                    }
                    VrStatus::Resyncing
                }
                Role::Resync => VrStatus::Demoted,
            };
        }
    }

    /// The storage copies from each primary to those who are behind it; a copy that went another way stays as it is.
    fn copy(&mut self) {
        let now = self.now;
        for key in claims() {
            let mut sources: BTreeMap<ClusterId, Vec<u64>> = BTreeMap::new();
            let up = || self.sites.iter().filter(|(_, s)| s.link == Link::Up);
            let primary = |s: &Site| s.images.get(&key).is_some_and(|i| i.primary);
            let live = up().any(|(_, s)| primary(s));
            for (name, site) in up() {
                let sends = replication(site, &key).is_some_and(|r| {
                    primary(site) || !live && matches!(r.status, VrStatus::Demoted)
                });
                if let Some(image) = site.images.get(&key).filter(|_| sends) {
                    sources.insert(name.clone(), image.records.clone());
                }
            }
            for (source, records) in sources {
                let mut reached = false;
                let peers = self.sites.iter_mut();
                for (_, peer) in peers.filter(|(n, s)| **n != source && s.link == Link::Up) {
                    let image = peer.images.entry(key.clone()).or_default();
                    if !image.primary && records.starts_with(&image.records) {
                        image.records.clone_from(&records);
                        reached = true;
                    }
                }
                let site = self.sites.get_mut(&source);
                if let Some(r) = site
                    .filter(|_| reached)
                    .and_then(|s| s.truth.volumes.get_mut(&key)?.replication.as_mut())
                    .filter(|r| r.status == VrStatus::Primary)
                {
                    r.last_sync = Some(now);
                }
            }
        }
    }
}

fn replication<'a>(site: &'a Site, key: &ClaimKey) -> Option<&'a VrFacts> {
    site.truth.volumes.get(key)?.replication.as_ref()
}

/// The agent promotes at the recorded epoch only; over another primary only with a grant.
fn promote(
    r: &VrFacts,
    record: Option<&RecordFacts>,
    name: &ClusterId,
    image: &mut Image,
    elsewhere: bool,
) -> VrStatus {
    let Some(record) = record.filter(|g| g.owner == *name && Some(g.epoch) == r.epoch) else {
        return VrStatus::Pending;
    };
    if image.primary || !elsewhere || record.force == r.epoch {
        image.primary = true;
        return VrStatus::Primary;
    }
    VrStatus::Failed {
        message: "FAILED_PRECONDITION: the peer is primary".into(),
    }
}

impl Site {
    /// Claims bind, pods come and go, what is deleted vanishes.
    fn kubernetes(&mut self) {
        let busy = !self.truth.holders.is_empty();
        self.truth
            .workloads
            .retain(|_, w| w.deleting == Deleting::No || w.replicas > 0 && busy);
        let replicas: i32 = self.truth.workloads.values().map(|w| w.replicas).sum();
        let bound = claims().iter().all(|k| {
            self.truth.volumes.get(k).is_some_and(|x| {
                x.claim
                    .as_ref()
                    .is_some_and(|c| c.phase == ClaimPhase::Bound)
            })
        });
        let writable = bound
            && claims()
                .iter()
                .all(|k| self.images.get(k).is_some_and(|i| i.primary));
        for w in self.truth.workloads.values_mut() {
            w.ready = if writable { w.replicas } else { 0 };
        }
        self.truth.holders = if replicas > 0 && bound {
            let pod = |claim| Holder {
                claim,
                kind: "Pod".into(),
                name: "shop/db-0".into(),
                managed: Managed::Yes,
            };
            claims().into_iter().map(pod).collect()
        } else {
            Vec::new()
        };
        let free = self.truth.holders.is_empty();
        for (key, x) in &mut self.truth.volumes {
            if let Some(c) = x.claim.as_mut().filter(|_| self.nudged.contains(key)) {
                c.phase = ClaimPhase::Bound;
            }
            if free {
                x.claim = x.claim.take().filter(|c| c.deleting == Deleting::No);
                if x.claim.is_none() {
                    x.volume = x.volume.take().filter(|p| p.deleting == Deleting::No);
                    self.nudged.remove(key);
                }
            }
        }
    }

    /// A replication that is being deleted goes. Whether it was switched off.
    fn disabled(&mut self, key: &ClaimKey) -> bool {
        let Some(x) = self.truth.volumes.get_mut(key) else {
            return false;
        };
        let gone = x
            .replication
            .as_ref()
            .is_some_and(|r| r.deleting == Deleting::Yes);
        if gone {
            x.replication = None;
            self.rebuilt.remove(key);
        }
        let off = gone && self.disable.remove(key);
        if x.claim.is_none() && x.volume.is_none() && x.replication.is_none() {
            self.truth.volumes.remove(key);
        }
        off
    }

    /// The application writes one record to every volume.
    fn write(&mut self, next: &mut u64) {
        let ready = self.truth.workloads.values().any(|w| w.ready > 0);
        let writable = self.images.values().all(|i| i.primary);
        if ready && writable && !self.truth.holders.is_empty() {
            for image in self.images.values_mut() {
                image.records.push(*next);
            }
            *next += 1;
        }
    }
}
