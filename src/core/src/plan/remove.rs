//! Protection is taken away: the copies first, the owner last; images stay, and the volumes get their policy back.

use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::view::{View, names, our_claims, replicated, with_volumes};

pub(super) fn next(v: &View<'_>) -> Draft {
    for id in v.others() {
        let facts = v.at(id);
        let left = our_claims(facts);
        if left.is_empty() {
            continue;
        }
        if !v.fresh(id) {
            return unreachable(v, id);
        }
        let released: Vec<_> = replicated(facts).into_iter().collect();
        let mut steps = Vec::new();
        if !released.is_empty() {
            steps.push(Step::Release {
                cluster: id.clone(),
                claims: released,
            });
        }
        steps.push(Step::RemoveClaims {
            cluster: id.clone(),
            claims: with_volumes(facts, &left),
        });
        return Draft::act(format!("removing the copies' objects on {id}"), steps).again(1_000);
    }
    let Some(owner) = v.journal.owner.clone() else {
        return Draft::act("lets the placement go", vec![Step::Finish]);
    };
    let facts = v.at(&owner);
    if !v.fresh(&owner) {
        return unreachable(v, &owner);
    }
    let ours = our_claims(facts);
    if !ours.is_empty() {
        let step = Step::Unprotect {
            cluster: owner.clone(),
            claims: with_volumes(facts, &ours),
        };
        return Draft::act(
            format!("ending protection of {} on {owner}", names(&ours)),
            vec![step],
        )
        .again(1_000);
    }
    let records: Vec<Step> = v
        .observed
        .clusters
        .iter()
        .filter(|(_, c)| c.contact.is_fresh() && c.record.is_some())
        .map(|(id, _)| Step::Forget {
            cluster: id.clone(),
        })
        .collect();
    if !records.is_empty() {
        return Draft::act("removing the ownership records", records);
    }
    Draft::act("lets the placement go", vec![Step::Finish])
}

fn unreachable(v: &View<'_>, id: &crate::ids::ClusterId) -> Draft {
    let message = format!(
        "{id} {}, and still has objects of this placement",
        v.at(id).contact.describe()
    );
    let remedy = "bring it back, or delete its DRCluster if it is gone for good";
    Draft::wait(format!("removal waits: {message}")).blocked(Blocker::new(
        Reason::ClusterUnreachable,
        message,
        remedy,
    ))
}
