//! Which array has power, which sees which, and since when.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// An array, by its place in the list of sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteId(pub(super) usize);

/// Whether an array has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It works.
    On,
    /// It does not; its content and its roles stay as they were.
    Off,
}

/// Whether two arrays see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// They do.
    Up,
    /// They do not.
    Cut,
}

struct Site {
    name: String,
    power: Power,
    since: Timestamp,
}

struct Link {
    reach: Reach,
    since: Timestamp,
    transfer: Duration,
}

/// The arrays' power and the links between them.
pub(super) struct Network {
    sites: Vec<Site>,
    links: BTreeMap<(SiteId, SiteId), Link>,
}

impl Network {
    pub(super) fn new(names: Vec<String>, transfer: Duration, now: Timestamp) -> Self {
        let sites: Vec<Site> = names
            .into_iter()
            .map(|name| Site {
                name,
                power: Power::On,
                since: now,
            })
            .collect();
        let mut links = BTreeMap::new();
        for a in 0..sites.len() {
            for b in a + 1..sites.len() {
                links.insert(
                    (SiteId(a), SiteId(b)),
                    Link {
                        reach: Reach::Up,
                        since: now,
                        transfer,
                    },
                );
            }
        }
        Self { sites, links }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SiteId> + use<> {
        (0..self.sites.len()).map(SiteId)
    }

    pub(super) fn find(&self, name: &str) -> Option<SiteId> {
        self.sites.iter().position(|s| s.name == name).map(SiteId)
    }

    pub(super) fn name(&self, id: SiteId) -> &str {
        self.sites.get(id.0).map_or("", |s| &s.name)
    }

    pub(super) fn power(&self, id: SiteId) -> Power {
        self.sites.get(id.0).map_or(Power::Off, |s| s.power)
    }

    pub(super) fn set_power(&mut self, id: SiteId, power: Power, now: Timestamp) {
        if let Some(site) = self.sites.get_mut(id.0).filter(|s| s.power != power) {
            site.power = power;
            site.since = now;
        }
    }

    pub(super) fn set_reach(&mut self, a: SiteId, b: SiteId, reach: Reach, now: Timestamp) {
        if let Some(link) = self.links.get_mut(&pair(a, b)).filter(|l| l.reach != reach) {
            link.reach = reach;
            link.since = now;
        }
    }

    pub(super) fn set_transfer(&mut self, a: SiteId, b: SiteId, transfer: Duration) {
        if let Some(link) = self.links.get_mut(&pair(a, b)) {
            link.transfer = transfer;
        }
    }

    pub(super) fn transfer(&self, a: SiteId, b: SiteId) -> Duration {
        self.links
            .get(&pair(a, b))
            .map_or(Duration::MAX, |l| l.transfer)
    }

    /// Since when the two arrays see each other, if they do.
    pub(super) fn session(&self, a: SiteId, b: SiteId) -> Option<Timestamp> {
        let link = self
            .links
            .get(&pair(a, b))
            .filter(|l| l.reach == Reach::Up)?;
        let (one, other) = (self.sites.get(a.0)?, self.sites.get(b.0)?);
        let powered = one.power == Power::On && other.power == Power::On;
        powered.then(|| link.since.max(one.since).max(other.since))
    }

    pub(super) fn reaches(&self, a: SiteId, b: SiteId) -> bool {
        self.session(a, b).is_some()
    }
}

fn pair(a: SiteId, b: SiteId) -> (SiteId, SiteId) {
    (a.min(b), a.max(b))
}

/// `at + by`, held at the end of time.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `at - by`, held at the start of time.
pub(super) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_sub(by).ok())
        .unwrap_or(Timestamp::MIN)
}
