//! What an array says of its copies, and the independent copies that it makes.

use jiff::Timestamp;

use super::{
    RoleChange, StorageError,
    network::SiteId,
    state::State,
    volume::{Inflow, RECORD_BYTES, Role},
};

/// How the name of each image begins that was kept.
const KEPT: &str = "kept-";

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// All that began to arrive has arrived whole.
    Whole {
        /// When it was taken.
        taken: Timestamp,
    },
    /// A snapshot stopped half way.
    Partial {
        /// When that one was taken.
        taken: Timestamp,
    },
    /// Nothing has arrived whole yet.
    Nothing,
}

impl State {
    /// From now on what begins to arrive at the copy of an image here stops half way, or goes on.
    pub(super) fn set_inflow(
        &mut self,
        site: SiteId,
        handle: &str,
        inflow: Inflow,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = self.open(site, handle, now)?;
        let volume = self.volumes.get_mut(&name);
        if let Some(copy) = volume.and_then(|v| v.copies.get_mut(&site)) {
            copy.inflow = inflow;
        }
        self.refresh(&name, now);
        Ok(())
    }

    pub(super) fn arrival(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<Arrival, StorageError> {
        let name = self.open(site, handle, now)?;
        let copy = self.mirrored(site, &name, handle)?;
        Ok(match (copy.arriving, copy.synced) {
            (Some(taken), Some(_)) => Arrival::Partial { taken },
            (None, Some(taken)) => Arrival::Whole { taken },
            (_, None) => Arrival::Nothing,
        })
    }

    /// How many bytes of the copy here the newest primary in sight does not hold.
    pub(super) fn divergence(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        let unknown = |why| StorageError::DivergenceUnknown {
            handle: handle.to_owned(),
            why,
        };
        let name = self.open(site, handle, now)?;
        let here = self.mirrored(site, &name, handle)?;
        if here.role == Role::Primary {
            return Err(unknown("it is primary"));
        }
        let volume = self.volumes.get(&name);
        let peers = volume.into_iter().flat_map(|v| &v.copies);
        let leader = peers
            .filter(|(peer, c)| c.role == Role::Primary && self.net.reaches(site, **peer))
            .max_by_key(|(_, c)| c.term);
        let (_, leader) = leader.ok_or_else(|| unknown("no primary can be seen"))?;
        let both = here.log.iter().zip(&leader.log);
        let common = both.take_while(|(a, b)| a == b).count();
        let records = u64::try_from(here.log.len().saturating_sub(common)).unwrap_or(u64::MAX);
        Ok(records.saturating_mul(RECORD_BYTES.unsigned_abs()))
    }

    /// Makes an image of its own of what the one here holds now: writable and not mirrored. Answers its handle and its size;
    /// one of that label that is there is answered as it is.
    pub(super) fn keep(
        &mut self,
        site: SiteId,
        handle: &str,
        label: &str,
        now: Timestamp,
    ) -> Result<(String, u64), StorageError> {
        let kept = &format!("{KEPT}{label}");
        let name = self.open(site, handle, now)?;
        let copy = self.copy(site, &name, handle)?;
        let log = copy.log.clone();
        let made = match self.create(site, kept, now) {
            Ok(made) => {
                let copy = self.volumes.get_mut(kept);
                if let Some(copy) = copy.and_then(|v| v.copies.get_mut(&site)) {
                    copy.log = log;
                }
                made
            }
            Err(StorageError::Exists { handle }) => handle,
            Err(other) => return Err(other),
        };
        let records = self
            .copy(site, kept, &made)
            .map_or(0, |copy| copy.log.len());
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        Ok((made, records.saturating_mul(RECORD_BYTES.unsigned_abs())))
    }

    /// Takes such an image away; an absent one is no error, and another one is none of these.
    pub(super) fn drop_kept(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = match self.open(site, handle, now) {
            Ok(name) => name,
            Err(StorageError::NotFound { .. }) => return Ok(()),
            Err(other) => return Err(other),
        };
        if !name.starts_with(KEPT) {
            return Err(StorageError::NotFound {
                handle: handle.to_owned(),
            });
        }
        self.volumes.remove(&name);
        self.note(now, site, &name, RoleChange::Removed);
        Ok(())
    }
}
