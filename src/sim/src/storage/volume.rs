//! One image on all its arrays: histories, and what mirroring has shipped by a given time.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    log::{self, Term},
    network::{Network, SiteId, earlier, later},
};

/// Bytes that one record counts for.
pub(super) const RECORD_BYTES: i64 = 4096;

/// Who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The copy that takes writes.
    Primary,
    /// A copy that follows, or waits to.
    Secondary,
}

/// Whether a copy is part of mirroring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mirroring {
    On,
    Off,
}

/// Where a rebuild stands that somebody asked for; a demotion or promotion forgets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebuild {
    NotAsked,
    /// Asked once; asking again does nothing more.
    Asked,
}

/// How fast snapshots are taken and whole images copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    pub(super) full_copy: Duration,
}

/// What a peer has confirmed to hold of a primary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shipment {
    pub(super) taken: Timestamp,
    pub(super) took: Duration,
    pub(super) bytes: i64,
}

/// Where a term began: in which older one, and whether at its very end.
#[derive(Debug, Clone, Copy)]
struct Parent {
    term: Term,
    complete: bool,
}

/// The image on one array.
pub(super) struct Copy {
    pub(super) role: Role,
    pub(super) mirroring: Mirroring,
    pub(super) log: Vec<log::Entry>,
    /// The reign that the content belongs to.
    pub(super) term: Term,
    /// The content is all that was written in `term`: the demotion has arrived.
    pub(super) complete: bool,
    /// The last reign that this copy led itself, until it follows another.
    pub(super) led: Option<Term>,
    /// Phase of the snapshots while it leads.
    pub(super) base: Timestamp,
    /// Time of the final snapshot, once it leads no more.
    final_at: Option<Timestamp>,
    /// Time of the newest complete snapshot here; none: nothing usable.
    pub(super) synced: Option<Timestamp>,
    follows_since: Timestamp,
    pub(super) split: bool,
    pub(super) rebuild: Rebuild,
    /// As primary: what each peer has confirmed in this term.
    pub(super) shipped: BTreeMap<SiteId, Shipment>,
    /// The role of each peer when it was last seen.
    pub(super) seen: BTreeMap<SiteId, Role>,
    /// Whether what is on its way here gets there.
    pub(super) inflow: Inflow,
    /// A snapshot of this time has begun to arrive and is not whole.
    pub(super) arriving: Option<Timestamp>,
    /// How much of the log the content before the newest has: what a forced promotion leaves of a copy that is not whole.
    pub(super) before: usize,
}

/// Whether snapshots that begin to arrive at a copy arrive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inflow {
    Runs,
    /// Each stops half way.
    Stopped,
}

impl Copy {
    fn leader(term: Term, now: Timestamp) -> Self {
        Self {
            role: Role::Primary,
            mirroring: Mirroring::Off,
            log: Vec::new(),
            term,
            complete: false,
            led: Some(term),
            base: now,
            final_at: None,
            synced: Some(now),
            follows_since: now,
            split: false,
            rebuild: Rebuild::NotAsked,
            shipped: BTreeMap::new(),
            seen: BTreeMap::new(),
            inflow: Inflow::Runs,
            arriving: None,
            before: 0,
        }
    }

    /// An empty copy that waits for its first snapshot.
    pub(super) fn follower(now: Timestamp) -> Self {
        Self {
            role: Role::Secondary,
            mirroring: Mirroring::On,
            led: None,
            synced: None,
            ..Self::leader(Term(0), now)
        }
    }

    fn is_following(&self) -> bool {
        self.role == Role::Secondary && self.mirroring == Mirroring::On && !self.split
    }

    /// The newest snapshot taken at or before `at`, and whether it is the final one.
    fn snapshot_before(&self, at: Timestamp, interval: Duration) -> (Timestamp, bool) {
        if let Some(end) = self.final_at.filter(|end| at >= *end) {
            return (end, true);
        }
        let past = at
            .duration_since(self.base)
            .max(SignedDuration::ZERO)
            .as_nanos();
        let step = i128::try_from(interval.as_nanos())
            .unwrap_or(i128::MAX)
            .max(1);
        let whole = u64::try_from(past - past % step).map_or(Duration::MAX, Duration::from_nanos);
        (later(self.base, whole), false)
    }

    /// Whether this content is the beginning of `of`. Each term has one writer, so that the last entry speaks for all before it.
    fn begins(&self, of: &Self) -> bool {
        match self.log.len().checked_sub(1) {
            None => true,
            Some(last) => self.log.get(last).map(|e| e.term) == of.log.get(last).map(|e| e.term),
        }
    }
}

/// One image on all its arrays.
pub(super) struct Volume {
    pub(super) copies: BTreeMap<SiteId, Copy>,
    terms: BTreeMap<Term, Option<Parent>>,
}

/// What a refresh found out, for the journal.
pub(super) enum Found {
    Split(SiteId),
    Removed(SiteId),
    Created(SiteId),
}

impl Volume {
    pub(super) fn new() -> Self {
        Self {
            copies: BTreeMap::new(),
            terms: BTreeMap::new(),
        }
    }

    /// Puts an empty, writable, unmirrored image on an array.
    pub(super) fn create(&mut self, site: SiteId, term: Term, now: Timestamp) {
        self.terms.insert(term, None);
        self.copies.insert(site, Copy::leader(term, now));
    }

    /// Switches mirroring on; the first snapshot is of now.
    pub(super) fn enable(&mut self, site: SiteId, now: Timestamp) {
        if let Some(copy) = self.copies.get_mut(&site) {
            copy.mirroring = Mirroring::On;
            copy.base = now;
        }
    }

    /// Starts a reign of the copy at `site`, from what it holds. Of one that is not whole that is less than it had: arrays go
    /// back to the content before, and say nothing.
    pub(super) fn lead(&mut self, site: SiteId, term: Term, now: Timestamp) {
        if let Some(copy) = self.copies.get_mut(&site) {
            if copy.arriving.take().is_some() {
                copy.log.truncate(copy.before);
                copy.complete = false;
            }
            self.terms.insert(
                term,
                Some(Parent {
                    term: copy.term,
                    complete: copy.complete,
                }),
            );
            copy.role = Role::Primary;
            copy.term = term;
            copy.complete = false;
            copy.led = Some(term);
            copy.base = now;
            copy.final_at = None;
            copy.synced = Some(now);
            copy.split = false;
            copy.rebuild = Rebuild::NotAsked;
            copy.shipped.clear();
        }
    }

    /// Ends the reign of the copy at `site` with a final snapshot.
    pub(super) fn step_down(&mut self, site: SiteId, now: Timestamp) {
        if let Some(copy) = self.copies.get_mut(&site) {
            copy.role = Role::Secondary;
            copy.complete = true;
            copy.final_at = Some(now);
            copy.synced = Some(now);
            copy.follows_since = now;
            copy.rebuild = Rebuild::NotAsked;
        }
    }

    /// Throws the copy at `site` away; it is copied anew when there is something to copy from.
    pub(super) fn wipe(&mut self, site: SiteId, now: Timestamp) {
        for copy in self.copies.values_mut() {
            copy.shipped.remove(&site);
        }
        if let Some(copy) = self.copies.get_mut(&site) {
            let (seen, inflow) = (std::mem::take(&mut copy.seen), copy.inflow);
            *copy = Copy {
                seen,
                inflow,
                rebuild: Rebuild::Asked,
                ..Copy::follower(now)
            };
        }
    }

    /// Whether the history of `of` contains all that was ever written in `term`.
    fn contains(&self, of: Term, term: Term) -> bool {
        let mut at = of;
        while at != term {
            match self.terms.get(&at) {
                Some(Some(parent)) if parent.term == term => return parent.complete,
                Some(Some(parent)) => at = parent.term,
                Some(None) | None => return false,
            }
        }
        true
    }

    /// Brings all copies to what they are at `now`, links being as they have been since the last refresh.
    pub(super) fn refresh(&mut self, net: &Network, pace: Pace, now: Timestamp) -> Vec<Found> {
        let mut found = Vec::new();
        self.spread(net, now, &mut found);
        self.find_splits(net, &mut found);
        for site in net.ids() {
            self.receive(site, net, pace, now);
        }
        self.look_around(net);
        found
    }

    /// Mirrored primaries have a copy on each array they see; a secondary whose primary is mirrored no more is removed.
    fn spread(&mut self, net: &Network, now: Timestamp, found: &mut Vec<Found>) {
        let leads = |mirroring| {
            move |(_, c): &(&SiteId, &Copy)| c.role == Role::Primary && c.mirroring == mirroring
        };
        let lead: Vec<SiteId> = self
            .copies
            .iter()
            .filter(leads(Mirroring::On))
            .map(|(s, _)| *s)
            .collect();
        let ended: Vec<(SiteId, Term)> = self
            .copies
            .iter()
            .filter(leads(Mirroring::Off))
            .map(|(s, c)| (*s, c.term))
            .collect();
        for site in net.ids() {
            if lead.iter().any(|l| net.reaches(*l, site)) {
                if let Entry::Vacant(place) = self.copies.entry(site) {
                    place.insert(Copy::follower(now));
                    found.push(Found::Created(site));
                }
                continue;
            }
            let Some(copy) = self
                .copies
                .get(&site)
                .filter(|c| c.is_following() && c.led.is_none())
            else {
                continue;
            };
            if ended
                .iter()
                .any(|(l, term)| net.reaches(*l, site) && self.contains(*term, copy.term))
            {
                self.copies.remove(&site);
                found.push(Found::Removed(site));
            }
        }
    }

    /// Two primaries that see each other, or a former primary whose writes the new one does not have.
    fn find_splits(&mut self, net: &Network, found: &mut Vec<Found>) {
        let mut split = Vec::new();
        let mut healed = Vec::new();
        for (site, copy) in &self.copies {
            let against = self
                .copies
                .iter()
                .filter(|(peer, _)| net.reaches(*site, **peer));
            let contradicted = against
                .clone()
                .any(|(_, peer)| self.contradicts(copy, peer));
            let seen_any = against.count() > 0;
            if contradicted && !copy.split {
                split.push(*site);
            } else if !contradicted && copy.split && copy.role == Role::Primary && seen_any {
                healed.push(*site);
            }
        }
        for site in split {
            if let Some(copy) = self.copies.get_mut(&site) {
                copy.split = true;
                found.push(Found::Split(site));
            }
        }
        for site in healed {
            if let Some(copy) = self.copies.get_mut(&site) {
                copy.split = false;
            }
        }
    }

    fn contradicts(&self, copy: &Copy, peer: &Copy) -> bool {
        match (copy.role, peer.role) {
            (Role::Primary, Role::Primary) => true,
            (Role::Primary, Role::Secondary) => {
                peer.led.is_some_and(|term| !self.contains(copy.term, term))
            }
            (Role::Secondary, Role::Primary) => {
                copy.led.is_some_and(|term| !self.contains(peer.term, term))
            }
            (Role::Secondary, Role::Secondary) => false,
        }
    }

    /// Whom the copy at `site` follows: the newest primary it sees, or else the newest former one, for its final snapshot.
    pub(super) fn source_of(&self, site: SiteId, net: &Network) -> Option<SiteId> {
        let copy = self.copies.get(&site).filter(|c| c.is_following())?;
        let seen = || {
            self.copies
                .iter()
                .filter(|(s, c)| net.reaches(site, **s) && c.mirroring == Mirroring::On)
        };
        let newest = |role| {
            seen()
                .filter(move |(_, c)| c.role == role && c.led.is_some())
                .max_by_key(|(_, c)| c.term)
                .map(|(s, _)| *s)
        };
        if let Some(primary) = newest(Role::Primary) {
            return Some(primary);
        }
        // A copy with nothing on it is only ever filled by a primary.
        newest(Role::Secondary)
            .filter(|_| copy.synced.is_some())
            .filter(|s| {
                self.copies.get(s).is_some_and(|former| {
                    former.term > copy.term || (former.term == copy.term && !copy.complete)
                })
            })
    }

    /// Applies to the copy at `site` the newest snapshot that has wholly arrived by `now`.
    fn receive(&mut self, site: SiteId, net: &Network, pace: Pace, now: Timestamp) -> Option<()> {
        let from = self.source_of(site, net)?;
        let (copy, source) = (self.copies.get(&site)?, self.copies.get(&from)?);
        if copy
            .led
            .is_some_and(|term| !self.contains(source.term, term))
        {
            return None;
        }
        let start = net
            .session(site, from)?
            .max(source.base)
            .max(copy.follows_since);
        let transfer = net.transfer(site, from);
        let related = copy.synced.is_some() && copy.begins(source);
        let (took, first) = if related {
            (transfer, start)
        } else {
            (pace.full_copy, later(start, pace.full_copy))
        };
        let arrived = earlier(now, transfer);
        let (taken, last) = if arrived >= first {
            source.snapshot_before(arrived, pace.interval)
        } else if !related && now >= first {
            source.snapshot_before(start, pace.interval)
        } else {
            return None;
        };
        if copy.term == source.term
            && copy.synced.is_some_and(|have| have >= taken)
            && copy.complete == last
        {
            return None;
        }
        if copy.inflow == Inflow::Stopped {
            self.copies.get_mut(&site)?.arriving = Some(taken);
            return None;
        }
        let upto = source.log.partition_point(|e| e.at <= taken);
        let keep = if related { copy.log.len().min(upto) } else { 0 };
        let delta: Vec<log::Entry> = source.log.get(keep..upto).unwrap_or_default().to_vec();
        let bytes = i64::try_from(delta.len())
            .unwrap_or(i64::MAX)
            .saturating_mul(RECORD_BYTES);
        let term = source.term;
        let copy = self.copies.get_mut(&site)?;
        if !delta.is_empty() {
            copy.before = keep;
        }
        copy.arriving = None;
        copy.log.truncate(keep);
        copy.log.extend(delta);
        copy.term = term;
        copy.complete = last;
        copy.led = None;
        copy.synced = Some(taken);
        self.copies
            .get_mut(&from)?
            .shipped
            .insert(site, Shipment { taken, took, bytes });
        Some(())
    }

    /// Each copy notes the role of the peers it sees.
    fn look_around(&mut self, net: &Network) {
        let roles: Vec<(SiteId, Role)> = self.copies.iter().map(|(s, c)| (*s, c.role)).collect();
        for (site, copy) in &mut self.copies {
            for (peer, role) in roles.iter().filter(|(peer, _)| net.reaches(*site, *peer)) {
                copy.seen.insert(*peer, *role);
            }
        }
    }
}
