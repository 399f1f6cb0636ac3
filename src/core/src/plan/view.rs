//! The planner's input, with names for the questions that several flows ask of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::intent::{Intent, MoveKind, Policy, Workloads};
use crate::journal::Journal;
use crate::observed::{
    CaptureFacts, CapturedVolume, ClusterFacts, Contact, Deleting, Holder, Mark, Observed, Role,
    VolumeFacts, VrFacts, VrStatus, WorkloadFacts,
};
use crate::step::{Force, Step};
use crate::wait::Reason;

/// The planner's input.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) policy: &'a Policy,
    pub(super) intent: &'a Intent,
    pub(super) observed: &'a Observed,
    pub(super) journal: &'a Journal,
    /// The oldest version of a capture that will do.
    pub(super) oldest_capture: u64,
}

impl<'a> View<'a> {
    pub(super) fn at(&self, id: &ClusterId) -> &'a ClusterFacts {
        self.observed.cluster(id)
    }
    pub(super) fn fresh(&self, id: &ClusterId) -> bool {
        self.at(id).contact.is_fresh()
    }
    /// Whether it can be taken for lost, on the word of a person. Not the opposite of fresh.
    pub(super) fn silent(&self, id: &ClusterId) -> bool {
        self.at(id).contact.is_silent(self.now)
    }
    /// Whether nobody registers the cluster any more: it was given up by a person, and not just a moment ago.
    pub(super) fn given_up(&self, id: &ClusterId) -> bool {
        matches!(self.at(id).contact, Contact::Unregistered { .. }) && self.silent(id)
    }
    /// Whether the owner was given up.
    pub(super) fn owner_gone(&self) -> bool {
        let owner = self.journal.owner.as_ref();
        owner.is_some_and(|owner| self.given_up(owner))
    }
    /// Why nothing can be done on a cluster that is not fresh: `lost`, or else what passes by itself.
    pub(super) fn unseen(&self, id: &ClusterId, lost: Reason) -> Reason {
        if self.silent(id) {
            lost
        } else {
            Reason::OutOfStep
        }
    }
    /// The newest complete capture, unless it is older than one that is known to have existed.
    pub(super) fn capture(&self) -> Option<&'a CaptureFacts> {
        self.observed
            .archive
            .newest
            .as_ref()
            .filter(|c| c.version >= self.oldest_capture)
    }
    /// An older capture than is known to have existed, the newer ones being unreadable. Good only for a failover whose
    /// source cannot be captured again, and only if it [`lacks`](Self::lacks) nothing.
    pub(super) fn older_capture(&self) -> Option<&'a CaptureFacts> {
        let newest = self.observed.archive.newest.as_ref();
        newest.filter(|c| c.version < self.journal.capture && self.lacks(c).is_empty())
    }
    /// Claims that a capture does not hold, although they were copied after it was taken: newer captures held them.
    pub(super) fn lacks(&self, capture: &CaptureFacts) -> Vec<&'a ClaimKey> {
        let synced = self.journal.synced.iter();
        synced
            .filter(|(k, s)| s.at > capture.taken_at && !capture.volumes.contains_key(*k))
            .map(|(k, _)| k)
            .collect()
    }
    /// What is known of the copy of a captured volume: of that very one, whatever was copied under the claim's name.
    pub(super) fn copied(&self, claim: &ClaimKey, of: &CapturedVolume) -> Copied<'a> {
        let Some(known) = self.journal.synced.get(claim) else {
            return Copied::Never;
        };
        match known.handle.as_deref() {
            Some(h) if h == of.csi.handle || of.origin.as_deref() == Some(h) => {
                Copied::At(known.at)
            }
            Some(other) => Copied::Another(other),
            // Noted before handles were. A sync after the capture can only be of a volume that was there by then.
            None if self.capture().is_some_and(|c| known.at >= c.taken_at) => Copied::At(known.at),
            None => Copied::Unsaid(known.at),
        }
    }
    /// The oldest sync of the captured volumes; None when one of them has no copy that is known.
    pub(super) fn oldest_sync(&self) -> Option<Timestamp> {
        let all = self.capture()?.volumes.iter();
        let times: Option<Vec<Timestamp>> = all.map(|(k, c)| self.copied(k, c).at()).collect();
        times?.into_iter().min()
    }
    /// The same view, for a failover from `from`: if that is gone, an older capture will do.
    pub(super) fn failing_over(&self, from: &ClusterId) -> Self {
        let older = self.older_capture().filter(|_| self.silent(from));
        Self {
            oldest_capture: older.map_or(self.oldest_capture, |c| c.version),
            ..*self
        }
    }
    /// What is asked for and was not carried out yet.
    pub(super) fn pending(&self) -> Option<MoveKind> {
        (self.journal.served.as_ref() != Some(&self.intent.request))
            .then(|| self.intent.request.kind())
    }
    /// The record that each cluster should hold.
    pub(super) fn record(&self, cluster: &ClusterId, force: Force) -> Option<Step> {
        let owner = self.journal.owner.clone()?;
        let served = self
            .journal
            .served
            .as_ref()
            .map(crate::intent::Request::fingerprint);
        let wanted_force = (force == Force::Granted).then_some(self.journal.epoch);
        let held = self.at(cluster).record.as_ref();
        let same = held.is_some_and(|r| {
            r.written_to.is_none()
                && r.owner == owner
                && r.epoch == self.journal.epoch
                && r.force == wanted_force
                && r.served == served
        });
        (!same).then(|| Step::Record {
            cluster: cluster.clone(),
            owner,
            epoch: self.journal.epoch,
            force,
            served,
        })
    }
    /// Whether every replication of these claims on the owner is primary at the present epoch, seen fresh.
    pub(super) fn primary_everywhere(&self, claims: &BTreeSet<ClaimKey>) -> bool {
        let Some(owner) = &self.journal.owner else {
            return false;
        };
        let facts = self.at(owner);
        facts.contact.is_fresh()
            && !claims.is_empty()
            && claims.iter().all(|k| {
                replication(facts, k).is_some_and(|r| {
                    r.epoch == Some(self.journal.epoch)
                        && r.desired == Role::Primary
                        && r.status == VrStatus::Primary
                })
            })
    }
    /// The workloads of the application: those of the newest capture, with their replicas.
    pub(super) fn captured_workloads(&self) -> BTreeMap<WorkloadKey, i32> {
        match (self.intent.workloads, self.capture()) {
            (Workloads::Selected, Some(capture)) => capture.workloads.clone(),
            _ => BTreeMap::new(),
        }
    }
    /// Clusters other than the owner.
    pub(super) fn others(&self) -> impl Iterator<Item = &'a ClusterId> {
        let owner = self.journal.owner.as_ref();
        self.observed
            .clusters
            .keys()
            .filter(move |id| Some(*id) != owner)
    }
}

/// What is known of the copy of one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied<'a> {
    /// It was current then.
    At(Timestamp),
    /// Nothing.
    Never,
    /// What was copied is the volume of this handle, not this one.
    Another(&'a str),
    /// Something was copied then, and it was not noted which volume.
    Unsaid(Timestamp),
}

impl Copied<'_> {
    pub(super) fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Another(_) | Self::Unsaid(_) => None,
        }
    }
}

/// The replication of a claim.
pub(super) fn replication<'a>(c: &'a ClusterFacts, claim: &ClaimKey) -> Option<&'a VrFacts> {
    c.volumes.get(claim).and_then(|v| v.replication.as_ref())
}

/// Whether any part of it carries our mark.
pub(super) fn ours(v: &VolumeFacts) -> bool {
    v.claim.as_ref().is_some_and(|c| c.mark == Mark::Ours)
        || v.volume.as_ref().is_some_and(|p| p.mark == Mark::Ours)
        || v.replication.as_ref().is_some_and(|r| r.mark == Mark::Ours)
}

/// Claims of which any part carries our mark.
pub(super) fn our_claims(c: &ClusterFacts) -> BTreeSet<ClaimKey> {
    c.volumes
        .iter()
        .filter(|(_, v)| ours(v))
        .map(|(k, _)| k.clone())
        .collect()
}

/// Whether a record, or anything that carries our mark, was seen there.
pub(super) fn holds_anything(c: &ClusterFacts) -> bool {
    c.record.is_some() || c.volumes.values().any(ours)
}

/// Claims whose replication carries our mark.
pub(super) fn replicated(c: &ClusterFacts) -> BTreeSet<ClaimKey> {
    let yes = |v: &VolumeFacts| v.replication.as_ref().is_some_and(|r| r.mark == Mark::Ours);
    c.volumes
        .iter()
        .filter(|(_, v)| yes(v))
        .map(|(k, _)| k.clone())
        .collect()
}

/// Claims of ours of which a claim, volume or replication is there and not yet on its way out.
pub(super) fn lasting(c: &ClusterFacts, claims: &BTreeSet<ClaimKey>) -> BTreeSet<ClaimKey> {
    let stays = |k: &&ClaimKey| {
        c.volumes.get(*k).is_some_and(|x| {
            x.claim
                .as_ref()
                .is_some_and(|c| c.mark == Mark::Ours && c.deleting == Deleting::No)
                || x.volume
                    .as_ref()
                    .is_some_and(|p| p.mark == Mark::Ours && p.deleting == Deleting::No)
        })
    };
    claims.iter().filter(stays).cloned().collect()
}

/// Claims whose replication is ours and not yet on its way out.
pub(super) fn held(c: &ClusterFacts) -> BTreeSet<ClaimKey> {
    replicated(c)
        .into_iter()
        .filter(|k| replication(c, k).is_some_and(|r| r.deleting == Deleting::No))
        .collect()
}

/// Claims with the names of their volumes.
pub(super) fn with_volumes(
    c: &ClusterFacts,
    claims: &BTreeSet<ClaimKey>,
) -> BTreeMap<ClaimKey, Option<String>> {
    claims
        .iter()
        .map(|k| {
            (
                k.clone(),
                c.volumes
                    .get(k)
                    .and_then(|v| v.volume.as_ref())
                    .map(|p| p.name.clone()),
            )
        })
        .collect()
}

/// Up to three names and how many more.
pub(super) fn names<T: std::fmt::Display>(of: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = of.into_iter().map(|n| n.to_string()).collect();
    match all.as_slice() {
        [first @ .., _, _] if first.len() >= 2 => {
            let shown = all.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let rest = all.len().saturating_sub(3);
            if rest == 0 {
                shown
            } else {
                format!("{shown} and {rest} more")
            }
        }
        _ => all.join(", "),
    }
}

/// Who holds volumes, in words.
pub(super) fn holders(of: &[&Holder]) -> String {
    names(
        of.iter()
            .map(|h| format!("{} {}", h.kind, h.name))
            .collect::<BTreeSet<_>>(),
    )
}

/// Scaled to zero by us, with a count to give back.
pub(super) fn quiesced(w: &WorkloadFacts) -> Option<i32> {
    w.remembered.filter(|_| w.replicas == 0)
}
