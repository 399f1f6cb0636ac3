//! One site's array: the only way to touch its images.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Arrival, Fabric, Handles, Health, Power, Promotion, Readiness, Resync, Role, StorageError,
    SyncInfo, WriteError,
    log::{Entry, Record, RoleChange},
    network::SiteId,
    volume::Inflow,
};

/// One site's array.
#[derive(Debug, Clone)]
pub struct Array {
    fabric: Arc<Fabric>,
    id: SiteId,
    site: String,
}

impl Array {
    pub(super) fn new(fabric: Arc<Fabric>, id: SiteId, site: String) -> Self {
        Self { fabric, id, site }
    }

    /// Name of its site.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The fabric that it is part of.
    pub fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// How handles read here and elsewhere.
    pub fn handles(&self) -> Handles {
        self.fabric.handles()
    }

    /// Makes an empty image, writable and not mirrored, and tells its handle here.
    pub fn create(&self, name: &str) -> Result<String, StorageError> {
        self.fabric.with(|s, now| s.create(self.id, name, now))
    }

    /// Deletes an image for real; an absent image is no error.
    pub fn delete(&self, handle: &str) -> Result<(), StorageError> {
        self.fabric.with(|s, now| s.delete(self.id, handle, now))
    }

    /// Switches mirroring on: each array that can be seen gets a copy.
    pub fn enable(&self, handle: &str) -> Result<(), StorageError> {
        self.fabric.with(|s, now| s.enable(self.id, handle, now))
    }

    /// Switches mirroring off.
    pub fn disable(&self, handle: &str) -> Result<(), StorageError> {
        self.fabric.with(|s, now| s.disable(self.id, handle, now))
    }

    /// Makes the local copy primary.
    pub fn promote(&self, handle: &str, how: Promotion) -> Result<(), StorageError> {
        self.fabric
            .with(|s, now| s.promote(self.id, handle, how, now))
    }

    /// Makes the local copy secondary, with a final snapshot.
    pub fn demote(&self, handle: &str) -> Result<(), StorageError> {
        self.fabric.with(|s, now| s.demote(self.id, handle, now))
    }

    /// Asks whether the copies are in step, or has the local one copied anew.
    pub fn resync(&self, handle: &str, ask: Resync) -> Result<Readiness, StorageError> {
        self.fabric
            .with(|s, now| s.resync(self.id, handle, ask, now))
    }

    /// What the local primary knows of its peers.
    pub fn info(&self, handle: &str) -> Result<SyncInfo, StorageError> {
        self.fabric.with(|s, now| s.info(self.id, handle, now))
    }

    /// The handle of the copy on a peer.
    pub fn destination(&self, handle: &str) -> Result<String, StorageError> {
        self.fabric
            .with(|s, now| s.destination(self.id, handle, now))
    }

    /// From now on what begins to arrive at the copy here stops half way: nothing that is newer arrives whole.
    pub fn stop_copying(&self, handle: &str) -> Result<(), StorageError> {
        self.set_inflow(handle, Inflow::Stopped)
    }

    /// What began to arrive goes on, as long as its source is there.
    pub fn resume_copying(&self, handle: &str) -> Result<(), StorageError> {
        self.set_inflow(handle, Inflow::Runs)
    }

    fn set_inflow(&self, handle: &str, inflow: Inflow) -> Result<(), StorageError> {
        self.fabric
            .with(|s, now| s.set_inflow(self.id, handle, inflow, now))
    }

    /// How far the copy here has come.
    pub fn arrival(&self, handle: &str) -> Result<Arrival, StorageError> {
        self.fabric.with(|s, now| s.arrival(self.id, handle, now))
    }

    /// How many bytes of the copy here the newest primary in sight does not hold.
    pub fn divergence(&self, handle: &str) -> Result<u64, StorageError> {
        self.fabric
            .with(|s, now| s.divergence(self.id, handle, now))
    }

    /// Makes an image of its own, not mirrored, of what the one here holds now; answers its handle and its bytes. One of that
    /// label that is there stays as it is.
    pub fn keep(&self, handle: &str, label: &str) -> Result<(String, u64), StorageError> {
        self.fabric
            .with(|s, now| s.keep(self.id, handle, label, now))
    }

    /// Takes an image away that was made so; an absent one is no error.
    pub fn drop_kept(&self, handle: &str) -> Result<(), StorageError> {
        self.fabric.with(|s, now| s.drop_kept(self.id, handle, now))
    }

    /// The name of the image behind a handle of this array, whether or not it exists.
    pub fn volume_name(&self, handle: &str) -> Option<String> {
        self.fabric
            .with(|s, _| s.volume_of(self.id, handle).map(str::to_owned))
    }

    /// How the local copy fares, primary or not.
    pub fn health(&self, handle: &str) -> Result<Health, StorageError> {
        self.fabric.with(|s, now| {
            let name = s.open(self.id, handle, now)?;
            s.mirrored(self.id, &name, handle)?;
            Ok(s.health(self.id, &name))
        })
    }

    /// The role of the local copy; none when there is no copy or no power.
    pub fn role(&self, handle: &str) -> Option<Role> {
        self.look(handle, |copy| copy.role)
    }

    /// When the newest complete snapshot here was taken; none when there is nothing usable.
    pub fn synced_at(&self, handle: &str) -> Option<Timestamp> {
        self.look(handle, |copy| copy.synced).flatten()
    }

    /// All that is on the local copy.
    pub fn content(&self, handle: &str) -> Vec<Entry> {
        self.look(handle, |copy| copy.log.clone())
            .unwrap_or_default()
    }

    /// The last record on the local copy.
    pub fn last(&self, handle: &str) -> Option<Record> {
        self.look(handle, |copy| copy.log.last().map(|e| e.record.clone()))
            .flatten()
    }

    fn look<R>(&self, handle: &str, at: impl FnOnce(&super::volume::Copy) -> R) -> Option<R> {
        self.fabric.with(|s, now| {
            let name = s.open(self.id, handle, now).ok()?;
            s.volumes
                .get(&name)
                .and_then(|v| v.copies.get(&self.id))
                .map(at)
        })
    }

    /// Writes a record; `Ok` is the acknowledgement.
    pub fn append(&self, handle: &str, record: Record) -> Result<(), WriteError> {
        self.fabric.with(|s, now| {
            let name = s.open(self.id, handle, now).map_err(|e| match e {
                StorageError::Down { .. } => WriteError::Down,
                _ => WriteError::NotFound,
            })?;
            let copy = s
                .volumes
                .get_mut(&name)
                .and_then(|v| v.copies.get_mut(&self.id))
                .ok_or(WriteError::NotFound)?;
            match copy.role {
                Role::Secondary => Err(WriteError::Secondary),
                Role::Primary => {
                    copy.log.push(Entry {
                        record,
                        at: now,
                        term: copy.term,
                    });
                    Ok(())
                }
            }
        })
    }

    /// Handles of all images here.
    pub fn images(&self) -> Vec<String> {
        self.fabric.with(|s, now| {
            s.refresh_all(now);
            let here = s
                .volumes
                .iter()
                .filter(|(_, v)| v.copies.contains_key(&self.id));
            here.map(|(name, _)| s.handle(self.id, name)).collect()
        })
    }

    /// Whether it has power.
    pub fn power(&self) -> Power {
        self.fabric.with(|s, _| s.net.power(self.id))
    }

    /// Cuts its power: nobody sees it; content and roles stay as they are.
    pub fn power_off(&self) {
        self.set_power(Power::Off, RoleChange::PoweredOff);
    }

    /// Gives it power again: it comes back with its old content and its old roles.
    pub fn power_on(&self) {
        self.set_power(Power::On, RoleChange::PoweredOn);
    }

    fn set_power(&self, power: Power, what: RoleChange) {
        self.fabric.with(|s, now| {
            if s.net.power(self.id) == power {
                return;
            }
            s.refresh_all(now);
            s.net.set_power(self.id, power, now);
            s.note(now, self.id, "", what);
            s.refresh_all(now);
        });
    }
}
