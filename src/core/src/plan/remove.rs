//! Protection is taken away: the copies first, the owner last; images stay, and volumes get their policy back if a claim has them.

use crate::ids::ClusterId;
use crate::observed::Contact;
use crate::report::Severity;
use crate::step::Step;
use crate::wait::{Blocker, Reason};

use super::cleanup;
use super::draft::Draft;
use super::protect::still_protected;
use super::view::{View, holds_anything, names, our_claims, with_volumes};

pub(super) fn next(v: &View<'_>) -> Draft {
    for id in v.others() {
        // Nothing seen is nothing there only where everything was seen, or where nobody can look any more.
        let seen = match v.at(id).contact {
            Contact::Fresh | Contact::Stale { .. } => true,
            Contact::Unregistered { .. } => v.given_up(id),
            Contact::Behind { .. }
            | Contact::Never { .. }
            | Contact::Refused { .. }
            | Contact::Replaced { .. } => false,
        };
        let fresh = v.fresh(id);
        let left = our_claims(v.at(id)).is_empty();
        // A record there can be deleted only when the owner is done, and by then the cluster must still be in reach.
        if left && seen && (fresh || !holds_anything(v.at(id))) {
            continue;
        }
        if !fresh {
            return unreachable(v, id);
        }
        return cleanup::let_go(v, id);
    }
    let Some(owner) = v.journal.owner.clone() else {
        return Draft::act("lets the placement go", vec![Step::Finish]);
    };
    let facts = v.at(&owner);
    let ours = our_claims(facts);
    // A cluster that nobody registers any more, and that holds nothing as far as is known, is gone for good.
    let gone = v.given_up(&owner) && ours.is_empty();
    if !v.fresh(&owner) && !gone {
        return unreachable(v, &owner);
    }
    let protected = still_protected(facts, &ours);
    if !protected.is_empty() {
        let step = Step::Unprotect {
            cluster: owner.clone(),
            claims: with_volumes(facts, &protected),
        };
        return Draft::act(
            format!("ending protection of {} on {owner}", names(&ours)),
            vec![step],
        )
        .again(1_000);
    }
    if !ours.is_empty() {
        return Draft::wait(format!(
            "waits for the replication of {} on {owner} to end",
            names(&ours)
        ))
        .again(1_000);
    }
    if v.fresh(&owner) && !facts.former.is_empty() {
        let step = Step::LetGo {
            cluster: owner.clone(),
            volumes: facts.former.iter().cloned().collect(),
        };
        let which = names(&facts.former);
        let said = format!(
            "no claim has {which} on {owner} any more: kept, with reclaim policy Retain; delete what is not needed"
        );
        return Draft::act(format!("letting {which} on {owner} go"), vec![step]).event(
            Severity::Normal,
            "VolumesKept",
            said,
        );
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
        let draft = Draft::act("removing the ownership records", records);
        let kept = kept_copies(v);
        if kept.is_empty() {
            return draft;
        }
        let said = format!(
            "kept copies stay, and nobody deletes them any more: {}",
            names(kept)
        );
        return draft.event(Severity::Warning, "CopiesKept", said);
    }
    Draft::act("lets the placement go", vec![Step::Finish])
}

/// Copies of former primaries that are there, of which only the ownership records tell.
fn kept_copies(v: &View<'_>) -> Vec<String> {
    let all = v.observed.clusters.iter();
    let all = all.flat_map(|(id, c)| c.diverged.iter().map(move |d| (id, d)));
    all.filter_map(|(id, d)| {
        let kept = d.kept.as_ref().filter(|k| k.dropped.is_none())?;
        let (driver, handle) = (&kept.csi.driver, &kept.csi.handle);
        Some(format!("{handle} of {} ({driver} on {id})", d.claim))
    })
    .collect()
}

fn unreachable(v: &View<'_>, id: &ClusterId) -> Draft {
    let message = format!(
        "{id} {}, and {} objects of this placement",
        v.at(id).contact.describe(),
        if holds_anything(v.at(id)) {
            "still has"
        } else {
            "may have"
        }
    );
    let remedy = "bring it back, or delete its DRCluster if it is gone for good";
    let blocker = Blocker::new(Reason::ClusterUnreachable, message.clone(), remedy);
    Draft::wait(format!("removal waits: {message}"))
        .blocked(blocker)
        .again(1_000)
}
