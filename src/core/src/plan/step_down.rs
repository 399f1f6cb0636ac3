//! Those that are not the owner any more learn it, before anybody else is asked to be primary.

use std::collections::BTreeMap;

use crate::ids::{ClaimKey, ClusterId};
use crate::observed::{Deleting, Role, VrFacts};
use crate::step::{Force, Step};

use super::view::View;

/// Before anybody is asked to be primary, clusters that answer and may still take themselves for the owner learn better.
pub(super) fn old_owners(v: &View<'_>) -> Vec<Step> {
    let answering = v.others().filter(|id| v.fresh(id));
    answering
        .flat_map(|id| {
            let primary = step_down(v, id);
            let knows = v.at(id).record.is_some() || primary.is_some();
            let record = knows.then(|| v.record(id, Force::Denied)).flatten();
            record.into_iter().chain(primary)
        })
        .collect()
}

/// The step by which a cluster that is not the owner gives up what it holds as primary.
pub(super) fn step_down(v: &View<'_>, id: &ClusterId) -> Option<Step> {
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
    r.mark == crate::observed::Mark::Ours && r.deleting == Deleting::No
}
