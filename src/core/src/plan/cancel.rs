//! Taking a move back before its commit.

use std::collections::BTreeMap;

use crate::ids::{ClaimKey, ClusterId, WorkloadKey};
use crate::intent::{Life, MoveKind};
use crate::journal::{Cancelled, Phase};
use crate::observed::{Role, VrStatus};
use crate::step::{Force, Step};
use crate::wait::{Blocker, Reason};

use super::draft::{Draft, Wish};
use super::failover;
use super::quarantine::old_owners;
use super::view::{View, held, lasting, names, our_claims, quiesced, replication, with_volumes};

/// Taking a relocation back: the source becomes primary again at the same epoch, for nobody else was ever allowed to.
pub(super) fn cancel(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Draft {
    let mut refused = Draft::default();
    if v.intent.life == Life::Wanted && v.pending() == Some(MoveKind::Failover) {
        match failover::wish(v, from) {
            Wish::Begin(draft) => return draft,
            Wish::Held(draft) => refused = draft,
            Wish::None => {}
        }
    }
    if !v.fresh(from) {
        let message = format!("{from} {}", v.at(from).contact.describe());
        let remedy = if v.intent.life == Life::Leaving {
            "bring it back, or delete its DRCluster if it is gone for good"
        } else {
            "bring it back, or accept the loss of what was not copied: action: Failover"
        };
        let blocker = Blocker::new(
            v.unseen(from, Reason::SourceUnreachable),
            message.clone(),
            remedy,
        );
        return Draft::wait(format!("taking the move back: {message}"))
            .blocked(blocker)
            .blocked_all(refused.blockers)
            .gated(refused.gates)
            .again(1_000);
    }
    let facts = v.at(from);
    let ours = held(facts);
    let wrong: BTreeMap<ClaimKey, String> = ours
        .iter()
        .filter_map(|k| {
            replication(facts, k)
                .filter(|r| r.desired != Role::Primary || r.epoch != Some(v.journal.epoch))
                .map(|r| (k.clone(), r.class.clone()))
        })
        .collect();
    let mut steps: Vec<Step> = v.record(from, Force::Denied).into_iter().collect();
    if !wrong.is_empty() {
        steps.extend(old_owners(v));
        steps.push(Step::Replicate {
            cluster: from.clone(),
            claims: wrong,
            role: Role::Primary,
            epoch: v.journal.epoch,
        });
    }
    if !steps.is_empty() {
        return Draft::act(format!("making {from} primary again"), steps);
    }
    if !ours.is_empty() && !v.primary_everywhere(&ours) {
        let failed = ours
            .iter()
            .filter_map(|k| match replication(facts, k).map(|r| &r.status) {
                Some(VrStatus::Failed { message } | VrStatus::Apart { message }) => Some(Blocker::new(
                    Reason::Promoting,
                    format!("{k} on {from}: {message}"),
                    "the agent tries again; look at the driver if this stays, or fail over: action: Failover",
                )),
                _ => None,
            });
        return Draft::wait(format!(
            "waits for the volumes on {from} to be primary again"
        ))
        .blocked_all(failed.collect());
    }
    let stopped: BTreeMap<WorkloadKey, i32> = facts
        .workloads
        .iter()
        .filter_map(|(k, w)| quiesced(w).map(|n| (k.clone(), n)))
        .collect();
    if !stopped.is_empty() {
        return Draft::act(
            format!("starting {} on {from} again", names(stopped.keys())),
            vec![Step::Resume {
                cluster: from.clone(),
                workloads: stopped,
            }],
        );
    }
    // An older copy there, with a replication of its own, is cleaned up afterwards and in another way.
    let mut left = our_claims(v.at(to));
    left.retain(|k| replication(v.at(to), k).is_none());
    let stay = lasting(v.at(to), &left);
    if v.fresh(to) && !left.is_empty() && stay.is_empty() {
        return Draft::wait(format!("waits for {} on {to} to be gone", names(left))).again(1_000);
    }
    if v.fresh(to) && !stay.is_empty() {
        let claims = with_volumes(v.at(to), &stay);
        return Draft::act(
            format!("removing what was prepared on {to}"),
            vec![Step::RemoveClaims {
                cluster: to.clone(),
                claims,
            }],
        )
        .again(1_000);
    }
    Draft::journal(v, |j| {
        if let Some(record) = j.moves.first_mut() {
            record.cancelled = Some(Cancelled::BeforeCommit);
            record.ended = Some(v.now);
        }
        if v.intent.request.preferred == *from && v.intent.request.kind() == MoveKind::Relocate {
            j.served = Some(v.intent.request.clone());
        }
        j.phase = Phase::Steady;
    })
}
