//! All images and the network under the fabric's one lock.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    FabricSpec, Handles, StorageError,
    log::{Destroyed, Entry, Event, Loss, RoleChange, Term},
    network::{Network, Power, SiteId},
    volume::{Found, Pace, Role, Volume},
};

pub(super) struct State {
    pub(super) net: Network,
    pub(super) pace: Pace,
    pub(super) handles: Handles,
    /// By name; a handle is derived from it.
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) events: Vec<Event>,
    pub(super) destroyed: Vec<Destroyed>,
    terms: u64,
}

impl State {
    pub(super) fn new(spec: FabricSpec, now: Timestamp) -> Self {
        let FabricSpec {
            sites,
            handles,
            interval,
            transfer,
            full_copy,
        } = spec;
        Self {
            net: Network::new(sites, transfer, now),
            pace: Pace {
                interval,
                full_copy,
            },
            handles,
            volumes: BTreeMap::new(),
            events: Vec::new(),
            destroyed: Vec::new(),
            terms: 0,
        }
    }

    pub(super) fn site(&self, name: &str) -> Result<SiteId, StorageError> {
        self.net.find(name).ok_or_else(|| StorageError::NoSuchSite {
            site: name.to_owned(),
        })
    }

    pub(super) fn next_term(&mut self) -> Term {
        self.terms += 1;
        Term(self.terms)
    }

    /// The handle of an image on a site.
    pub(super) fn handle(&self, site: SiteId, volume: &str) -> String {
        match self.handles {
            Handles::Shared => volume.to_owned(),
            Handles::PerSite => format!("{}-{volume}", self.net.name(site)),
        }
    }

    /// The image that a handle means on a site.
    pub(super) fn volume_of<'h>(&self, site: SiteId, handle: &'h str) -> Option<&'h str> {
        match self.handles {
            Handles::Shared => Some(handle),
            Handles::PerSite => handle.strip_prefix(self.net.name(site))?.strip_prefix('-'),
        }
    }

    pub(super) fn powered(&self, site: SiteId) -> Result<(), StorageError> {
        match self.net.power(site) {
            Power::On => Ok(()),
            Power::Off => Err(StorageError::Down {
                site: self.net.name(site).to_owned(),
            }),
        }
    }

    /// The image behind a handle, as of now; an error when the array is down or has no copy.
    pub(super) fn open(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<String, StorageError> {
        self.powered(site)?;
        let missing = || StorageError::NotFound {
            handle: handle.to_owned(),
        };
        let name = self.volume_of(site, handle).ok_or_else(missing)?.to_owned();
        self.refresh(&name, now);
        let here = self
            .volumes
            .get(&name)
            .is_some_and(|v| v.copies.contains_key(&site));
        if here { Ok(name) } else { Err(missing()) }
    }

    pub(super) fn note(&mut self, now: Timestamp, site: SiteId, volume: &str, what: RoleChange) {
        let handle = if volume.is_empty() {
            String::new()
        } else {
            self.handle(site, volume)
        };
        self.events.push(Event {
            at: now,
            site: self.net.name(site).to_owned(),
            handle,
            what,
        });
    }

    /// Counts the copy's content as lost.
    pub(super) fn mourn(&mut self, now: Timestamp, site: SiteId, volume: &str, how: Loss) {
        let records = self
            .volumes
            .get(volume)
            .and_then(|v| v.copies.get(&site))
            .map_or(0, |c| c.log.len());
        let (handle, name) = (self.handle(site, volume), self.net.name(site).to_owned());
        self.destroyed.push(Destroyed {
            at: now,
            site: name,
            handle,
            how,
            records,
        });
    }

    /// Brings one image to `now`.
    pub(super) fn refresh(&mut self, name: &str, now: Timestamp) {
        let Some(volume) = self.volumes.get_mut(name) else {
            return;
        };
        for found in volume.refresh(&self.net, self.pace, now) {
            match found {
                Found::Split(site) => self.note(now, site, name, RoleChange::SplitBrain),
                Found::Removed(site) => self.note(now, site, name, RoleChange::Removed),
                Found::Created(site) => self.note(now, site, name, RoleChange::Created),
            }
        }
    }

    /// Brings all images to `now`: before and after any change of the network.
    pub(super) fn refresh_all(&mut self, now: Timestamp) {
        let names: Vec<String> = self.volumes.keys().cloned().collect();
        for name in names {
            self.refresh(&name, now);
        }
    }

    pub(super) fn primaries(&mut self, name: &str, now: Timestamp) -> Vec<String> {
        self.refresh(name, now);
        let Some(volume) = self.volumes.get(name) else {
            return Vec::new();
        };
        let lead = volume
            .copies
            .iter()
            .filter(|(_, c)| c.role == Role::Primary);
        lead.map(|(site, _)| self.net.name(*site).to_owned())
            .collect()
    }

    pub(super) fn current(&mut self, name: &str, now: Timestamp) -> Vec<Entry> {
        self.refresh(name, now);
        let Some(volume) = self.volumes.get(name) else {
            return Vec::new();
        };
        let newest = volume
            .copies
            .values()
            .max_by_key(|c| (c.role == Role::Primary, c.term, c.log.len()));
        newest.map(|c| c.log.clone()).unwrap_or_default()
    }
}
