//! Nobody owns the placement, as far as this journal knows: adopt what the clusters record, or decide for the first time.

use crate::ids::{ClusterId, Epoch};
use crate::intent::{Life, MoveKind};
use crate::journal::Phase;
use crate::observed::{ClusterFacts, RecordFacts, Role, VrStatus};
use crate::report::Severity;
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::identity;
use super::view::{View, our_claims, quiesced, replicated, replication};

/// Nothing is decided before every cluster of the policy has been heard: one that is silent may record a newer owner.
pub(super) fn next(v: &View<'_>) -> Draft {
    let silent: Vec<Blocker> = v
        .policy
        .clusters
        .iter()
        .filter(|id| !v.fresh(id))
        .map(|id| unheard(v, id))
        .collect();
    if !silent.is_empty() {
        return Draft::wait("waits until every cluster of the policy has been heard")
            .blocked_all(silent)
            .again(1_000);
    }
    if let Some(blocker) = v.observed.archive.unreadable.as_ref().map(|why| {
        Blocker::new(
            Reason::ArchiveUnreadable,
            format!("the archive could not be read: {why}"),
            "check that the hub can list Secrets in its namespace",
        )
    }) {
        return Draft::wait("waits for the archive")
            .blocked(blocker)
            .again(2_000);
    }
    let record = newest(v);
    if let Some(blocker) = identity::unclear(v, record) {
        return Draft::wait(
            "waits for a person: whether this placement is an earlier one cannot be told",
        )
        .blocked(blocker)
        .again(5_000);
    }
    let Some(record) = record else {
        return match v.intent.life {
            Life::Leaving => Draft::act(
                "lets the placement go: it was never begun",
                vec![Step::Finish],
            ),
            Life::Wanted => first(v),
        };
    };
    match conflict(v, record) {
        Some(blocker) => Draft::wait("waits for a person: who owns it cannot be told")
            .blocked(blocker)
            .again(5_000),
        None => adopt(v, record),
    }
}

/// The record of the highest epoch; of several, the one that the owner itself holds, for only that one has the grant.
fn newest<'a>(v: &View<'a>) -> Option<&'a RecordFacts> {
    let held = |(id, c): (&'a ClusterId, &'a ClusterFacts)| c.record.as_ref().map(|r| (id, r));
    let records = v.observed.clusters.iter().filter_map(held);
    records
        .max_by_key(|(id, r)| (r.epoch, r.owner == **id))
        .map(|(_, r)| r)
}

/// A record that was copied from another cluster, two owners at one epoch, or a capture of a later epoch than any cluster records: nothing can be concluded.
fn conflict(v: &View<'_>, record: &RecordFacts) -> Option<Blocker> {
    let copied = v.observed.clusters.iter().find_map(|(id, c)| {
        let from = c.record.as_ref()?.written_to.as_ref()?;
        Some((id, from))
    });
    if let Some((id, from)) = copied {
        let whence = if from == id {
            format!("an earlier cluster called {id}")
        } else {
            from.to_string()
        };
        return Some(Blocker::new(
            Reason::OwnershipConflict,
            format!(
                "the DROwnership on {id} was written to {whence}, and copied: it says nothing of {id}"
            ),
            format!(
                "find out where the application runs, and delete that DROwnership on {id}; if {from} was renamed to {id}, correct spec.cluster"
            ),
        ));
    }
    let rival = v
        .observed
        .clusters
        .iter()
        .filter_map(|(id, c)| c.record.as_ref().map(|r| (id, r)))
        .find(|(_, r)| r.epoch == record.epoch && r.owner != record.owner);
    if let Some((id, r)) = rival {
        return Some(Blocker::new(
            Reason::OwnershipConflict,
            format!(
                "at epoch {} the clusters record two owners: {} and, on {id}, {}",
                r.epoch, record.owner, r.owner
            ),
            "find out where the application runs, and delete the DROwnership that is wrong",
        ));
    }
    let capture = v.observed.archive.newest.as_ref()?;
    (capture.epoch > record.epoch).then(|| {
        Blocker::new(
            Reason::OwnershipConflict,
            format!(
                "the archive holds a capture of {} at epoch {}, the clusters record {} at epoch {}",
                capture.source, capture.epoch, record.owner, record.epoch
            ),
            "bring the cluster of that capture back, or delete the capture's Secrets if its data is given up",
        )
    })
}

fn unheard(v: &View<'_>, id: &ClusterId) -> Blocker {
    Blocker::new(
        v.unseen(id, Reason::ClusterUnreachable),
        format!(
            "{id} {}; it may record another owner",
            v.at(id).contact.describe()
        ),
        "bring the cluster back, or mend its DRCluster; take it out of the DRPolicy only if it is destroyed: if it lives and records a newer owner, two sites will write",
    )
}

fn first(v: &View<'_>) -> Draft {
    let owner = v.intent.request.preferred.clone();
    let newest = v.observed.archive.newest.as_ref();
    if let Some(capture) = newest.filter(|c| c.source != owner) {
        let blocker = Blocker::new(
            Reason::OwnershipConflict,
            format!(
                "no cluster records an owner, but the application was captured on {} last, not on {owner}",
                capture.source
            ),
            format!("set preferredCluster to {}, where it ran", capture.source),
        );
        return Draft::wait("waits for a person: who owns it cannot be told").blocked(blocker);
    }
    let known = newest.map_or(Epoch::default(), |c| c.epoch);
    let said = format!("{} is protected on {owner}", v.intent.placement);
    Draft::journal(v, |j| {
        j.identity = Some(v.intent.uid.clone());
        j.epoch = known;
        j.commit(owner);
        j.phase = Phase::Steady;
        j.served = Some(v.intent.request.clone());
        j.protected_since = Some(v.now);
    })
    .event(Severity::Normal, "Protecting", said)
}

/// The journal was lost: the clusters tell who owns the placement. What was half done is done again from there.
fn adopt(v: &View<'_>, record: &RecordFacts) -> Draft {
    let owner = record.owner.clone();
    let phase = rebuilt(v, record);
    let served = (record.served.as_deref() == Some(v.intent.request.fingerprint().as_str()))
        .then(|| v.intent.request.clone());
    let said = format!(
        "rebuilt from the clusters: {owner} owns {} at epoch {}",
        v.intent.placement, record.epoch
    );
    Draft::journal(v, |j| {
        j.identity = Some(v.intent.uid.clone());
        j.owner = Some(owner);
        j.epoch = record.epoch;
        j.phase = phase;
        j.served = served;
        j.protected_since = Some(v.now);
        // Should it become unreadable later, that is known.
        j.capture = v.capture().map_or(0, |c| c.version);
    })
    .event(Severity::Normal, "OwnershipRecovered", said)
}

/// Where the placement was in its life, as far as the clusters and the archive tell.
fn rebuilt(v: &View<'_>, record: &RecordFacts) -> Phase {
    let owner = record.owner.clone();
    let left = v
        .observed
        .clusters
        .iter()
        .find(|(id, c)| **id != owner && !our_claims(c).is_empty());
    let other = left
        .map(|(id, _)| id.clone())
        .or_else(|| v.policy.clusters.iter().find(|id| **id != owner).cloned());
    let (Some(capture), Some(from)) = (v.capture(), other) else {
        return Phase::Steady;
    };
    let arrived = capture.source == owner && capture.epoch == record.epoch;
    if !arrived {
        // Committed, and not known to run there: promotion and start are done again from the beginning.
        let kind = if record.force == Some(record.epoch) {
            MoveKind::Failover
        } else {
            MoveKind::Relocate
        };
        return Phase::Promoting {
            from,
            to: owner,
            kind,
        };
    }
    if stepped_down(v.at(&owner)) {
        return Phase::Cancelling {
            from: owner,
            to: from,
        };
    }
    match left {
        None => Phase::Steady,
        Some((_, facts)) => Phase::CleaningUp {
            from,
            to: owner,
            kind: left_by(facts),
            resync: None,
        },
    }
}

/// Whether the owner was stopped or demoted for a move that was never committed.
fn stepped_down(facts: &ClusterFacts) -> bool {
    let demoted = |k: &_| replication(facts, k).is_some_and(|r| r.desired != Role::Primary);
    replicated(facts).iter().any(demoted) || facts.workloads.values().any(|w| quiesced(w).is_some())
}

/// A side whose volumes are all handed over in step was left by a relocation; any other takes the owner's data anew.
fn left_by(facts: &ClusterFacts) -> MoveKind {
    let in_step = |k: &_| {
        replication(facts, k)
            .is_some_and(|r| r.desired == Role::Secondary && r.status == VrStatus::Drained)
    };
    if replicated(facts).iter().all(in_step) {
        MoveKind::Relocate
    } else {
        MoveKind::Failover
    }
}
