//! What each operation on a role does and refuses: the state machine behind the driver's calls.

use jiff::Timestamp;

use super::{
    StorageError,
    log::{Loss, RoleChange},
    network::SiteId,
    state::State,
    volume::{Copy, Mirroring, Rebuild, Role, Volume},
};

/// How a copy is made primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// Only when all that was written elsewhere has arrived and no peer is primary.
    Plain,
    /// From whatever is here; what has not arrived is lost.
    Forced,
}

/// What is asked of a resync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// Only tell whether the copies are in step.
    Check,
    /// Throw the local image away and copy it anew.
    Rebuild,
}

/// Whether both sides are demoted and in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They are: either may be promoted without loss.
    Ready,
    /// They are not, or it cannot be known.
    NotReady,
}

impl State {
    pub(super) fn copy(
        &self,
        site: SiteId,
        name: &str,
        handle: &str,
    ) -> Result<&Copy, StorageError> {
        let copy = self.volumes.get(name).and_then(|v| v.copies.get(&site));
        copy.ok_or_else(|| StorageError::NotFound {
            handle: handle.to_owned(),
        })
    }

    pub(super) fn mirrored(
        &self,
        site: SiteId,
        name: &str,
        handle: &str,
    ) -> Result<&Copy, StorageError> {
        let copy = self.copy(site, name, handle)?;
        match copy.mirroring {
            Mirroring::On => Ok(copy),
            Mirroring::Off => Err(StorageError::NotEnabled {
                handle: handle.to_owned(),
            }),
        }
    }

    /// An empty image, primary and unmirrored.
    pub(super) fn create(
        &mut self,
        site: SiteId,
        name: &str,
        now: Timestamp,
    ) -> Result<String, StorageError> {
        self.powered(site)?;
        self.refresh(name, now);
        let handle = self.handle(site, name);
        if self
            .volumes
            .get(name)
            .is_some_and(|v| v.copies.contains_key(&site))
        {
            return Err(StorageError::Exists { handle });
        }
        let term = self.next_term();
        self.volumes
            .entry(name.to_owned())
            .or_insert_with(Volume::new)
            .create(site, term, now);
        self.note(now, site, name, RoleChange::Created);
        Ok(handle)
    }

    /// The image is gone, and with a primary its copies on the arrays that it sees. An absent image is no error.
    pub(super) fn delete(
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
        let led = self.copy(site, &name, handle)?.role == Role::Primary;
        self.mourn(now, site, &name, Loss::Deleted);
        let followers = if led {
            self.followers(site, &name)
        } else {
            Vec::new()
        };
        for gone in std::iter::once(site).chain(followers) {
            if let Some(volume) = self.volumes.get_mut(&name) {
                volume.copies.remove(&gone);
            }
            self.note(now, gone, &name, RoleChange::Removed);
        }
        self.refresh(&name, now);
        Ok(())
    }

    /// Arrays whose copy follows the one at `site`.
    fn followers(&self, site: SiteId, name: &str) -> Vec<SiteId> {
        let Some(volume) = self.volumes.get(name) else {
            return Vec::new();
        };
        let follow = volume
            .copies
            .keys()
            .filter(|peer| volume.source_of(**peer, &self.net) == Some(site));
        follow.copied().collect()
    }

    pub(super) fn enable(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = self.open(site, handle, now)?;
        if self.copy(site, &name, handle)?.mirroring == Mirroring::On {
            return Ok(());
        }
        if let Some(volume) = self.volumes.get_mut(&name) {
            volume.enable(site, now);
        }
        self.note(now, site, &name, RoleChange::Enabled);
        self.refresh(&name, now);
        Ok(())
    }

    /// A secondary that follows a primary answers OK and does nothing: the primary's own end of mirroring removes it.
    pub(super) fn disable(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = self.open(site, handle, now)?;
        let copy = self.copy(site, &name, handle)?;
        match (copy.mirroring, copy.role) {
            (Mirroring::Off, _) => Ok(()),
            (Mirroring::On, Role::Primary) => {
                if let Some(copy) = self
                    .volumes
                    .get_mut(&name)
                    .and_then(|v| v.copies.get_mut(&site))
                {
                    copy.mirroring = Mirroring::Off;
                    copy.shipped.clear();
                }
                self.note(now, site, &name, RoleChange::Disabled);
                self.refresh(&name, now);
                Ok(())
            }
            (Mirroring::On, Role::Secondary) if self.is_replaying(site, &name) => Ok(()),
            (Mirroring::On, Role::Secondary) => Err(StorageError::SecondaryNotReplaying {
                handle: handle.to_owned(),
            }),
        }
    }

    pub(super) fn is_replaying(&self, site: SiteId, name: &str) -> bool {
        let Some(volume) = self.volumes.get(name) else {
            return false;
        };
        let source = volume
            .source_of(site, &self.net)
            .and_then(|s| volume.copies.get(&s));
        source.is_some_and(|s| s.role == Role::Primary)
    }

    pub(super) fn promote(
        &mut self,
        site: SiteId,
        handle: &str,
        how: Promotion,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = self.open(site, handle, now)?;
        let copy = self.mirrored(site, &name, handle)?;
        if copy.role == Role::Primary {
            return Ok(());
        }
        let what = match how {
            Promotion::Plain => {
                if !copy.complete || self.peer_may_lead(site, &name) {
                    return Err(StorageError::PeerPrimary {
                        handle: handle.to_owned(),
                    });
                }
                RoleChange::Promoted
            }
            Promotion::Forced if copy.synced.is_none() => {
                return Err(StorageError::Incomplete {
                    handle: handle.to_owned(),
                });
            }
            Promotion::Forced => RoleChange::ForcePromoted,
        };
        let term = self.next_term();
        if let Some(volume) = self.volumes.get_mut(&name) {
            volume.lead(site, term, now);
        }
        self.note(now, site, &name, what);
        self.refresh(&name, now);
        Ok(())
    }

    /// A peer is primary, or was when it was last seen.
    fn peer_may_lead(&self, site: SiteId, name: &str) -> bool {
        let Some(volume) = self.volumes.get(name) else {
            return false;
        };
        let leads = |peer: SiteId| {
            let known = volume
                .copies
                .get(&site)
                .and_then(|c| c.seen.get(&peer).copied());
            if self.net.reaches(site, peer) {
                volume.copies.get(&peer).map(|c| c.role)
            } else {
                known
            }
        };
        self.net
            .ids()
            .filter(|peer| *peer != site)
            .any(|peer| leads(peer) == Some(Role::Primary))
    }

    pub(super) fn demote(
        &mut self,
        site: SiteId,
        handle: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let name = self.open(site, handle, now)?;
        if self.mirrored(site, &name, handle)?.role == Role::Secondary {
            return Ok(());
        }
        if let Some(volume) = self.volumes.get_mut(&name) {
            volume.step_down(site, now);
        }
        self.note(now, site, &name, RoleChange::Demoted);
        self.refresh(&name, now);
        Ok(())
    }

    pub(super) fn resync(
        &mut self,
        site: SiteId,
        handle: &str,
        ask: Resync,
        now: Timestamp,
    ) -> Result<Readiness, StorageError> {
        let name = self.open(site, handle, now)?;
        let copy = self.mirrored(site, &name, handle)?;
        if copy.role == Role::Primary {
            return Err(StorageError::StillPrimary {
                handle: handle.to_owned(),
            });
        }
        match (ask, copy.rebuild) {
            (Resync::Rebuild, Rebuild::NotAsked) => {
                self.rebuild(site, &name, now);
                Err(StorageError::Rebuilding {
                    handle: handle.to_owned(),
                })
            }
            (Resync::Rebuild, Rebuild::Asked) | (Resync::Check, _) => {
                Ok(self.readiness(site, &name))
            }
        }
    }

    /// The image is thrown away whether or not there is anything to copy it from: arrays do as they are told.
    fn rebuild(&mut self, site: SiteId, name: &str, now: Timestamp) {
        let Some(volume) = self.volumes.get(name) else {
            return;
        };
        let mut peers = volume
            .copies
            .iter()
            .filter(|(peer, _)| self.net.reaches(site, **peer));
        if !peers.any(|(_, c)| c.role == Role::Primary) {
            self.mourn(now, site, name, Loss::ResyncWithoutPrimary);
        }
        if let Some(volume) = self.volumes.get_mut(name) {
            volume.wipe(site, now);
        }
        self.note(now, site, name, RoleChange::Resynced);
        self.refresh(name, now);
    }

    /// Ready means: all are demoted, all that can be seen hold the final snapshot, and somebody can be seen.
    fn readiness(&self, site: SiteId, name: &str) -> Readiness {
        let Some(volume) = self.volumes.get(name) else {
            return Readiness::NotReady;
        };
        let Some(here) = volume.copies.get(&site) else {
            return Readiness::NotReady;
        };
        let peers: Vec<&Copy> = volume
            .copies
            .iter()
            .filter(|(p, _)| self.net.reaches(site, **p))
            .map(|(_, c)| c)
            .collect();
        let in_step =
            |c: &Copy| c.role == Role::Secondary && c.complete && c.term == here.term && !c.split;
        let drained = in_step(here) && !peers.is_empty() && peers.iter().all(|c| in_step(c));
        if drained && !self.peer_may_lead(site, name) {
            Readiness::Ready
        } else {
            Readiness::NotReady
        }
    }
}
