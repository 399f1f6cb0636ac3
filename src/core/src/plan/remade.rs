//! Replications that a hand deletes on an old side while its copies are taken anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimKey, ClusterId};
use crate::journal::Phase;
use crate::observed::{ClusterFacts, Deleting, Mark, Role};
use crate::report::Severity;
use crate::step::Step;

use super::draft::Draft;
use super::resync::Left;
use super::view::{View, names, replication};

/// Whether a claim there has a copy to take: it is ours, the owner has it too, and nobody deletes it.
fn takes(v: &View<'_>, left: &Left<'_>, facts: &ClusterFacts, key: &ClaimKey) -> bool {
    let owner = v.at(left.to).volumes.get(key);
    let claim = facts.volumes.get(key).and_then(|x| x.claim.as_ref());
    owner.is_some_and(|x| x.claim.is_some())
        && claim.is_some_and(|c| c.mark == Mark::Ours && c.deleting == Deleting::No)
}

/// Makes the replications again that were deleted there while their copies were taken anew: without them nobody could tell
/// whether a copy is complete, and it is asked for once more. None when there are none.
pub(super) fn remade(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Draft> {
    if !v.journal.resyncs.contains_key(id) {
        return None;
    }
    let facts = v.at(id);
    let stays = |k: &ClaimKey| replication(facts, k).is_some_and(|r| r.deleting == Deleting::No);
    let lost = facts
        .volumes
        .keys()
        .filter(|k| takes(v, left, facts, k) && !stays(k));
    let lost: BTreeSet<ClaimKey> = lost.cloned().collect();
    if lost.is_empty() {
        return None;
    }
    let which = names(&lost);
    if left.resync.is_some() {
        // What was synced since the request that was lost with them says nothing of the next one.
        let said = format!(
            "the VolumeReplications of {which} on {id} were deleted before their copies were complete: they are made again"
        );
        let draft = Draft::journal(v, |j| {
            if let Phase::CleaningUp { resync, .. } = &mut j.phase {
                *resync = None;
            }
        });
        return Some(draft.event(Severity::Warning, "ReplicationDeleted", said));
    }
    let going = lost.iter().filter(|k| replication(facts, k).is_some());
    let going: Vec<&ClaimKey> = going.collect();
    if !going.is_empty() {
        let text = format!(
            "waits for the VolumeReplications of {} on {id} to be gone, and makes them again",
            names(going)
        );
        return Some(Draft::wait(text).again(1_000));
    }
    let class = |k: &ClaimKey| Some((k.clone(), replication(v.at(left.to), k)?.class.clone()));
    let claims: BTreeMap<ClaimKey, String> = lost.iter().filter_map(class).collect();
    if claims.is_empty() {
        return Some(Draft::wait(format!(
            "waits for the replication of {which} on {}",
            left.to
        )));
    }
    let step = Step::Replicate {
        cluster: id.clone(),
        claims,
        role: Role::Secondary,
        epoch: v.journal.epoch,
    };
    Some(Draft::act(
        format!("making the VolumeReplications of {which} on {id} again"),
        vec![step],
    ))
}
