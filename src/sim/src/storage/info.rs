//! What a primary tells of its peers.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    StorageError,
    network::SiteId,
    state::State,
    volume::{Copy, Rebuild, Role, Shipment, Volume},
};

/// How mirroring fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Each peer follows.
    Healthy,
    /// The peers are on their way: nothing is known to be wrong.
    Unknown,
    /// A peer cannot be seen.
    Degraded,
    /// The copies contradict each other.
    SplitBrain,
}

/// What one peer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerSync {
    /// When its newest complete snapshot was taken.
    pub last_sync: Timestamp,
    /// How long that took to arrive.
    pub took: Duration,
    /// How much arrived.
    pub bytes: i64,
}

/// What a primary knows of its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncInfo {
    /// The peer that is furthest behind, of those that are reached: one that is being copied anew counts from the
    /// beginning of the reign. What is said of a single time has to hold for every copy.
    pub slowest: PeerSync,
    /// Each peer that holds something, by site.
    pub peers: BTreeMap<String, PeerSync>,
    /// How mirroring fares.
    pub health: Health,
}

impl PeerSync {
    fn of(s: &Shipment) -> Self {
        Self {
            last_sync: s.taken,
            took: s.took,
            bytes: s.bytes,
        }
    }
}

impl State {
    pub(super) fn info(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<SyncInfo, StorageError> {
        let name = self.open(site, handle, now)?;
        let copy = self.mirrored(site, &name, handle)?;
        if copy.role != Role::Primary {
            return Err(StorageError::NotPrimary {
                handle: handle.to_owned(),
            });
        }
        let peers: BTreeMap<String, PeerSync> = copy
            .shipped
            .iter()
            .map(|(peer, s)| (self.net.name(*peer).to_owned(), PeerSync::of(s)))
            .collect();
        let slowest = self.slowest(site, &name);
        let slowest = slowest.ok_or_else(|| StorageError::NotSyncedYet {
            handle: handle.to_owned(),
        })?;
        Ok(SyncInfo {
            slowest,
            peers,
            health: self.health(site, &name),
        })
    }

    /// None: no peer holds anything. With no peer in reach the newest of what was confirmed stands.
    fn slowest(&self, site: SiteId, name: &str) -> Option<PeerSync> {
        let volume = self.volumes.get(name)?;
        let copy = volume.copies.get(&site)?;
        let newest = copy
            .shipped
            .values()
            .max_by_key(|s| s.taken)
            .map(PeerSync::of)?;
        let rebuilt = PeerSync {
            last_sync: copy.base,
            took: Duration::ZERO,
            bytes: 0,
        };
        let reached = volume.copies.iter();
        let reached = reached.filter(|(peer, _)| **peer != site && self.net.reaches(site, **peer));
        let known = reached.filter_map(|(peer, c)| match copy.shipped.get(peer) {
            Some(shipment) => Some(PeerSync::of(shipment)),
            None => (c.rebuild == Rebuild::Asked && c.synced.is_none()).then_some(rebuilt),
        });
        Some(known.min_by_key(|p| p.last_sync).unwrap_or(newest))
    }

    pub(super) fn health(&self, site: SiteId, name: &str) -> Health {
        let Some(volume) = self.volumes.get(name) else {
            return Health::Unknown;
        };
        let Some(copy) = volume.copies.get(&site) else {
            return Health::Unknown;
        };
        if copy.split {
            return Health::SplitBrain;
        }
        match copy.role {
            Role::Primary => self.health_of_peers(site, volume),
            Role::Secondary => self.health_of_follower(site, copy, name),
        }
    }

    fn health_of_peers(&self, site: SiteId, volume: &Volume) -> Health {
        let peer_health = |peer: SiteId| match volume.copies.get(&peer) {
            _ if !self.net.reaches(site, peer) => Health::Degraded,
            Some(copy) if copy.synced.is_some() => Health::Healthy,
            Some(_) | None => Health::Unknown,
        };
        let peers = self.net.ids().filter(|peer| *peer != site);
        peers.map(peer_health).max().unwrap_or(Health::Unknown)
    }

    fn health_of_follower(&self, site: SiteId, copy: &Copy, name: &str) -> Health {
        if self.is_replaying(site, name) && copy.synced.is_some() {
            return Health::Healthy;
        }
        let sees_all = self
            .net
            .ids()
            .filter(|peer| *peer != site)
            .all(|peer| self.net.reaches(site, peer));
        if sees_all {
            Health::Unknown
        } else {
            Health::Degraded
        }
    }

    /// The handle of the image on the first peer that has a copy.
    pub(super) fn destination(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<String, StorageError> {
        let name = self.open(site, handle, now)?;
        self.mirrored(site, &name, handle)?;
        let peer = self
            .volumes
            .get(&name)
            .and_then(|v| v.copies.keys().find(|peer| **peer != site).copied());
        let peer = peer.ok_or_else(|| StorageError::NoDestination {
            handle: handle.to_owned(),
        })?;
        Ok(self.handle(peer, &name))
    }
}
