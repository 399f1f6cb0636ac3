//! Nobody owns the placement, as far as this journal knows: adopt what the clusters record, or decide for the first time.

use crate::ids::{ClusterId, Epoch};
use crate::intent::{Life, MoveKind};
use crate::journal::Phase;
use crate::observed::{RecordFacts, Role, VrStatus};
use crate::report::Severity;
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::view::{View, our_claims, replicated};

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
    let newest = v
        .observed
        .clusters
        .values()
        .filter_map(|c| c.record.as_ref())
        .max_by_key(|r| r.epoch);
    match (newest, v.intent.life) {
        (Some(record), _) => adopt(v, record),
        (None, Life::Leaving) => Draft::act(
            "lets the placement go: it was never begun",
            vec![Step::Finish],
        ),
        (None, Life::Wanted) => first(v),
    }
}

fn unheard(v: &View<'_>, id: &ClusterId) -> Blocker {
    Blocker::new(
        Reason::ClusterUnreachable,
        format!(
            "{id} {}; it may record another owner",
            v.at(id).contact.describe()
        ),
        "bring the cluster back, mend its DRCluster, or take it out of the DRPolicy",
    )
}

fn first(v: &View<'_>) -> Draft {
    let owner = v.intent.request.preferred.clone();
    let known = v
        .observed
        .archive
        .newest
        .as_ref()
        .map_or(Epoch::default(), |c| c.epoch);
    let said = format!("{} is protected on {owner}", v.intent.placement);
    Draft::journal(v, |j| {
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
    let kind = if record.force == Some(record.epoch) {
        MoveKind::Failover
    } else {
        MoveKind::Relocate
    };
    let facts = v.at(&owner);
    let running = replicated(facts);
    let primary = !running.is_empty()
        && facts
            .volumes
            .values()
            .filter_map(|f| f.replication.as_ref())
            .all(|r| r.desired == Role::Primary && r.status == VrStatus::Primary);
    let left = v
        .observed
        .clusters
        .iter()
        .find(|(id, c)| **id != owner && !our_claims(c).is_empty())
        .map(|(id, _)| id.clone());
    let from = left
        .clone()
        .or_else(|| v.policy.clusters.iter().find(|id| **id != owner).cloned());
    let phase = match (primary, from) {
        (false, Some(from)) if v.capture().is_some() => Phase::Promoting {
            from,
            to: owner.clone(),
            kind,
        },
        (_, Some(from)) if left.is_some() => Phase::CleaningUp {
            from,
            to: owner.clone(),
            kind,
            resync: None,
        },
        _ => Phase::Steady,
    };
    let served = (record.served.as_deref() == Some(v.intent.request.fingerprint().as_str()))
        .then(|| v.intent.request.clone());
    let said = format!(
        "rebuilt from the clusters: {owner} owns {} at epoch {}",
        v.intent.placement, record.epoch
    );
    Draft::journal(v, |j| {
        j.owner = Some(owner);
        j.epoch = record.epoch;
        j.phase = phase;
        j.served = served;
        j.protected_since = Some(v.now);
    })
    .event(Severity::Normal, "OwnershipRecovered", said)
}
