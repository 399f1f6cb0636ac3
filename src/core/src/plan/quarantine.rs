//! Those that are not the owner any more: they learn it, stop the application, and give its volumes up.

use std::collections::BTreeMap;

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::observed::{ClusterFacts, Deleting, Mark, Role, VrFacts};
use crate::step::{Force, Step};

use super::draft::Draft;
use super::view::{View, holds_anything, replication};

/// While a move waits, be it for ever: whoever returned and still takes itself for the owner is quarantined.
pub(super) fn meanwhile(v: &View<'_>, draft: Draft) -> Draft {
    if draft.journal.is_some() || !draft.steps.is_empty() {
        return draft;
    }
    let steps = old_owners(v);
    if steps.is_empty() {
        return draft;
    }
    Draft { steps, ..draft }
}

/// Before anybody is asked to be primary, clusters that answer and may still take themselves for the owner learn better.
pub(super) fn old_owners(v: &View<'_>) -> Vec<Step> {
    let others = v.others().filter(|id| v.fresh(id));
    let all = others.filter_map(|id| {
        let facts = v.at(id);
        holds_anything(facts).then(|| stop(v, id, &old_workloads(v, facts)))
    });
    all.flatten().collect()
}

/// The first cluster that has to be quarantined.
pub(super) fn contain(v: &View<'_>) -> Option<Draft> {
    let mut others = v.others().filter(|id| v.fresh(id));
    others.find_map(|id| {
        let facts = v.at(id);
        holds_anything(facts).then(|| quarantine(v, id, &old_workloads(v, facts)))?
    })
}

/// Of the steps that protect the owner, those that need no quarantine first: what is done on the owner alone, and asks
/// nobody to be primary for a claim of which another takes itself for the primary.
pub(super) fn beside_rivals(v: &View<'_>, owner: &ClusterId, steps: Vec<Step>) -> Vec<Step> {
    let rival = |k: &ClaimKey| {
        let mut others = v.others().filter(|id| v.fresh(id));
        others.any(|id| {
            replication(v.at(id), k).is_some_and(|r| is_ours(r) && r.desired == Role::Primary)
        })
    };
    let mut steps = steps;
    steps.retain_mut(|step| match step {
        step if step.cluster() != Some(owner) => false,
        Step::Replicate {
            claims,
            role: Role::Primary,
            ..
        } => {
            claims.retain(|k, _| !rival(k));
            !claims.is_empty()
        }
        _ => true,
    });
    steps
}

/// Those of the application's workloads that are still there.
pub(super) fn old_workloads(v: &View<'_>, facts: &ClusterFacts) -> BTreeMap<WorkloadKey, i32> {
    let captured = v.captured_workloads();
    facts
        .workloads
        .iter()
        .filter(|(k, _)| captured.contains_key(*k))
        .map(|(k, w)| (k.clone(), w.replicas))
        .collect()
}

/// The old side learns who owns the placement, stops the application, and gives its volumes up.
pub(super) fn quarantine(
    v: &View<'_>,
    id: &ClusterId,
    workloads: &BTreeMap<WorkloadKey, i32>,
) -> Option<Draft> {
    let steps = stop(v, id, workloads);
    let said = format!(
        "quarantining {id}: {} owns the application at epoch {}",
        v.journal.owner.as_ref().map_or("nobody", ClusterId::as_str),
        v.journal.epoch
    );
    (!steps.is_empty()).then(|| Draft::act(said, steps))
}

/// The record first: from then on the agent there promotes nothing.
fn stop(v: &View<'_>, id: &ClusterId, workloads: &BTreeMap<WorkloadKey, i32>) -> Vec<Step> {
    let mut steps: Vec<Step> = v.record(id, Force::Denied).into_iter().collect();
    let running: BTreeMap<WorkloadKey, i32> = workloads
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(k, n)| (k.clone(), *n))
        .collect();
    if !running.is_empty() {
        steps.push(Step::Quiesce {
            cluster: id.clone(),
            workloads: running,
        });
    }
    steps.extend(step_down(v, id));
    steps
}

/// The step by which a cluster that is not the owner gives up what it holds as primary.
fn step_down(v: &View<'_>, id: &ClusterId) -> Option<Step> {
    let primary: BTreeMap<ClaimKey, String> = v
        .at(id)
        .volumes
        .iter()
        .filter_map(|(k, x)| x.replication.as_ref().map(|r| (k, r)))
        .filter(|(_, r)| is_ours(r) && r.desired == Role::Primary)
        .map(|(k, r)| (k.clone(), r.class.clone()))
        .collect();
    (!primary.is_empty()).then(|| Step::Replicate {
        cluster: id.clone(),
        claims: primary,
        role: Role::Secondary,
        epoch: v.journal.epoch,
    })
}

fn is_ours(r: &VrFacts) -> bool {
    r.mark == Mark::Ours && r.deleting == Deleting::No
}
