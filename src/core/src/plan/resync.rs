//! Bringing an old copy back in step: it is thrown away and made anew from the owner's data, so the proof of direction
//! comes first, the order lapses by itself, and no request is repeated but on the agent's word that it failed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::MoveKind;
use crate::journal::Phase;
use crate::observed::{AgentFacts, ClaimPhase, ClusterFacts, Deleting, Replicator, Role, VrStatus};
use crate::report::Severity;
use crate::step::{ResyncOrder, Step};
use crate::wait::{Blocker, Reason};

use super::again::{given_up, next_number, repeat};
use super::arrive;
use super::draft::Draft;
use super::hold::binding;
use super::view::{View, held, names, replication};

/// The move that left something behind.
pub(super) struct Left<'a> {
    pub(super) from: &'a ClusterId,
    pub(super) to: &'a ClusterId,
    pub(super) kind: MoveKind,
    pub(super) resync: Option<Timestamp>,
}

/// Whether the application was ready on the new owner since it came there. Moves that were asked for since, and taken
/// back, say nothing of that; a hub that does not remember looks whether it runs now.
pub(super) fn ran(v: &View<'_>, owner: &ClusterId) -> bool {
    let arrival = v.journal.arrival();
    arrival.map_or_else(|| arrive::runs(v, owner), |m| m.available.is_some())
}

/// The replications there that were not handed over in step: all of them, unless the side was left by a relocation.
/// A volume that the owner does not have any more has nothing to take; its image stays as it is.
pub(super) fn to_resync(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    facts: &ClusterFacts,
) -> BTreeSet<ClaimKey> {
    if id == left.from && left.kind == MoveKind::Relocate {
        return BTreeSet::new();
    }
    let owner = v.at(left.to);
    let wanted = |k: &ClaimKey| owner.volumes.get(k).is_some_and(|x| x.claim.is_some());
    held(facts).into_iter().filter(wanted).collect()
}

/// Takes back the requests for a resync that no agent has carried out yet, when the proof of direction is gone: the copy
/// may be the last one by the time somebody gets to it.
pub(super) fn withdraw(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Step> {
    let claims = to_resync(v, left, id, v.at(id));
    let class = |k: ClaimKey| Some((replication(v.at(id), &k)?.class.clone(), k));
    let open = unissued(v, id, &claims).into_keys().filter_map(class);
    let open: BTreeMap<ClaimKey, String> = open.map(|(class, k)| (k, class)).collect();
    let proven = match v.at(id).replicator {
        Replicator::Agent => v.primary_everywhere(&claims),
        // These controllers do not note what they carry out: given a second time, the order is carried out a second time, and
        // what was copied by then is thrown away. Not for an owner that is only out of sight for a moment.
        Replicator::Upstream => !v.silent(left.to),
    };
    if open.is_empty() || proven {
        return None;
    }
    Some(Step::Replicate {
        cluster: id.clone(),
        claims: open,
        role: Role::Secondary,
        epoch: v.journal.epoch,
    })
}

/// Has the old side take the owner's data. Destroys its own copy, so the proof of direction comes first:
/// every volume of the owner is primary at the present epoch, seen fresh. None when it is done.
pub(super) fn resync(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Draft> {
    let facts = v.at(id);
    let pending = |k: &&ClaimKey| {
        replication(facts, k)
            .is_some_and(|r| r.desired != Role::Resync || r.epoch != Some(v.journal.epoch))
    };
    let unasked: BTreeSet<ClaimKey> = claims.iter().filter(pending).cloned().collect();
    if !unasked.is_empty() && !ran(v, left.to) {
        let message = format!(
            "the copy on {id} is kept as it is: the application was never ready on {}",
            left.to
        );
        let remedy = format!(
            "look at its pods on {}; or, if its data there is no good, go back to that of {id}: action: Failover, failoverCluster: {id}",
            left.to
        );
        let blocker = Blocker::new(Reason::WorkloadStarting, message.clone(), remedy);
        return Some(Draft::wait(message).blocked(blocker));
    }
    if !unasked.is_empty() {
        let demoted = |k: &&ClaimKey| {
            replication(facts, k).is_some_and(|r| {
                matches!(
                    r.status,
                    VrStatus::Demoted
                        | VrStatus::Drained
                        | VrStatus::Resyncing
                        | VrStatus::Apart { .. }
                ) || r.desired == Role::Resync
            })
        };
        let undone: Vec<&ClaimKey> = unasked.iter().filter(|k| !demoted(k)).collect();
        if !undone.is_empty() {
            // An agent touches no volume whose claim is not bound: one made for a move that never came is bound first.
            let pending: Vec<ClaimKey> = undone
                .iter()
                .filter(|k| unbound(facts, k))
                .map(|k| (*k).clone())
                .collect();
            if !pending.is_empty() {
                return Some(binding(id, pending));
            }
            let trouble = failures(facts, id, claims, Reason::Demoting);
            return Some(
                Draft::wait(format!(
                    "{id} is quarantined; waits for {} to be demoted",
                    names(undone)
                ))
                .blocked_all(trouble),
            );
        }
        if !v.primary_everywhere(claims) {
            let blocker = Blocker::new(
                Reason::Resyncing,
                format!(
                    "{} is not seen primary at epoch {} for every volume",
                    left.to, v.journal.epoch
                ),
                "nothing to do: the resync waits for this proof, for it destroys the copy on the old side",
            );
            return Some(
                Draft::wait(format!(
                    "resync of {id} waits for proof that {} is primary",
                    left.to
                ))
                .blocked(blocker),
            );
        }
        if let Some(blocker) = salvage_impossible(v, id, &unasked) {
            let message = format!("the copy on {id} is kept as it is: {}", blocker.message);
            return Some(Draft::wait(message).blocked(blocker));
        }
        if left.resync.is_none() {
            let said = format!(
                "{id} takes the data of {} (epoch {})",
                left.to, v.journal.epoch
            );
            return Some(note_resync(v, left, id, (1, claims)).event(
                Severity::Normal,
                "ResyncStarted",
                said,
            ));
        }
        let asks = unasked.iter().map(|k| (k, next_number(v, id, k)));
        let step = order(v, id, asks);
        return Some(Draft::act(
            format!(
                "resyncing {} volumes on {id} from {}",
                unasked.len(),
                left.to
            ),
            vec![step],
        ));
    }
    if let Some(draft) = repeat(v, left, id, claims).or_else(|| renew(v, id, claims)) {
        return Some(draft);
    }
    if left.resync.is_none() {
        // Asked for before the journal was lost: only a sync from now on is known to be later.
        return Some(note_resync(v, left, id, (1, claims)));
    }
    // A resynced copy of a live primary never calls itself in step; the primary's own last sync tells.
    let owner = v.at(left.to);
    let late: Vec<&ClaimKey> = claims
        .iter()
        .filter(|k| replication(owner, k).and_then(|r| r.last_sync) <= left.resync)
        .collect();
    let accepted = |k: &&ClaimKey| {
        replication(facts, k).is_some_and(|r| {
            matches!(
                r.status,
                VrStatus::Resyncing | VrStatus::Drained | VrStatus::Demoted
            )
        })
    };
    let unaccepted: Vec<&ClaimKey> = claims.iter().filter(|k| !accepted(k)).collect();
    if late.is_empty() && unaccepted.is_empty() {
        return None;
    }
    let waiting = if late.is_empty() { unaccepted } else { late };
    let trouble = failures(facts, id, claims, Reason::Resyncing);
    let draft = Draft::wait(format!(
        "{id} is taking the data of {}: waits for {}",
        left.to,
        names(waiting)
    ))
    .blocked_all(given_up(v, id, claims).into_iter().chain(trouble).collect());
    if facts.replicator == Replicator::Upstream {
        return Some(draft);
    }
    Some(match unissued(v, id, claims).values().flatten().min() {
        Some(until) => draft.again(renewal_in(v, *until)),
        None => draft,
    })
}

/// Why what is thrown away there cannot be kept, if the policy asks for that. An agent that knows nothing of it would not refuse.
fn salvage_impossible(
    v: &View<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<Blocker> {
    v.policy.salvage_seconds?;
    let facts = v.at(id);
    let asks = "the policy asks to keep what is thrown away";
    let message = match (&facts.agent, facts.replicator) {
        (_, Replicator::Upstream) => format!(
            "{asks}, and the controllers of the CSI-Addons project, which work the volumes on {id}, make no copies"
        ),
        (AgentFacts::Alive { keeping, .. }, Replicator::Agent) => {
            let volumes = claims.iter().filter_map(|k| facts.volumes.get(k));
            let drivers = volumes.filter_map(|x| x.volume.as_ref()?.csi.as_ref());
            let drivers: BTreeSet<&String> = drivers.map(|csi| &csi.driver).collect();
            let unable: Vec<&&String> = drivers.iter().filter(|d| !keeping.contains(**d)).collect();
            if unable.is_empty() {
                return None;
            }
            let which = names(unable);
            format!("{asks}, and on {id} its agent does not say that it makes copies: {which}")
        }
        // Nobody there carries an order out.
        (AgentFacts::Unseen | AgentFacts::Silent { .. }, Replicator::Agent) => return None,
    };
    Some(Blocker::new(
        Reason::SalvageImpossible,
        message,
        "bring the agent and the storage driver there up to date; or copy by hand what you need, and remove failover.salvage from the DRPolicy",
    ))
}

/// How long an order to resync holds. An agent may be out of reach, and come to it when its copy is the last one: then it
/// must have lapsed. Its clock may be behind by less than this.
const ORDER: SignedDuration = SignedDuration::from_secs(300);
/// Orders end on such a moment, so that the same plan is made twice in a row.
const ROUND: i64 = 30;

/// The order to take the owner's data, good until it must be renewed.
pub(super) fn order<'k>(
    v: &View<'_>,
    id: &ClusterId,
    asks: impl IntoIterator<Item = (&'k ClaimKey, u32)>,
) -> Step {
    let order = |(k, number): (&ClaimKey, u32)| {
        let class = replication(v.at(id), k)?.class.clone();
        Some((k.clone(), ResyncOrder { class, number }))
    };
    let second = v.now.as_second().saturating_add(ORDER.as_secs());
    let whole = second - second.rem_euclid(ROUND);
    Step::Resync {
        cluster: id.clone(),
        claims: asks.into_iter().filter_map(order).collect(),
        epoch: v.journal.epoch,
        until: Timestamp::from_second(whole).unwrap_or(v.now),
        salvage: v.policy.salvage_seconds,
    }
}

/// The orders there that no agent has carried out yet, and how long each holds.
fn unissued(
    v: &View<'_>,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> BTreeMap<ClaimKey, Option<Timestamp>> {
    let open = |k: &ClaimKey| {
        let r = replication(v.at(id), k)?;
        let asked = r.resync_asked?;
        let issued = r.resync_issued.is_some_and(|i| i >= asked);
        (r.desired == Role::Resync && !issued).then(|| (k.clone(), r.resync_until))
    };
    claims.iter().filter_map(open).collect()
}

fn renewal_in(v: &View<'_>, until: Timestamp) -> u64 {
    let due = until.as_millisecond() - ORDER.as_secs() * 500 - v.now.as_millisecond();
    u64::try_from(due).unwrap_or_default().max(1_000)
}

/// Renews the orders that have half their time behind them, where somebody looks at that. Without the proof on which they were
/// given, [`withdraw`] has taken them back before.
fn renew(v: &View<'_>, id: &ClusterId, claims: &BTreeSet<ClaimKey>) -> Option<Draft> {
    if v.at(id).replicator == Replicator::Upstream {
        return None;
    }
    let due = |until: &Option<Timestamp>| {
        until.is_none_or(|t| t.as_second() - v.now.as_second() <= ORDER.as_secs() / 2)
    };
    let all = unissued(v, id, claims);
    let due: Vec<(&ClaimKey, u32)> = all
        .iter()
        .filter(|(_, until)| due(until))
        .filter_map(|(k, _)| Some((k, replication(v.at(id), k)?.resync_asked?.number)))
        .collect();
    if due.is_empty() {
        return None;
    }
    let said =
        format!("{id} has not begun to take the data of the owner yet: the order is renewed");
    Some(Draft::act(said, vec![order(v, id, due)]))
}

fn unbound(facts: &ClusterFacts, key: &ClaimKey) -> bool {
    let claim = facts.volumes.get(key).and_then(|x| x.claim.as_ref());
    claim.is_some_and(|c| c.phase == ClaimPhase::Pending && c.deleting == Deleting::No)
}

/// Notes when the resync is asked for: what is synced before that is not of this resync.
pub(super) fn note_resync(
    v: &View<'_>,
    left: &Left<'_>,
    id: &ClusterId,
    (number, claims): (u32, &BTreeSet<ClaimKey>),
) -> Draft {
    let (from, to, kind) = (left.from.clone(), left.to.clone(), left.kind);
    Draft::journal(v, |j| {
        j.step("Resync", v.now);
        let last = j.resyncs.entry(id.clone()).or_default();
        last.number = last.number.max(number);
        last.claims.extend(claims.iter().cloned());
        j.phase = Phase::CleaningUp {
            from,
            to,
            kind,
            resync: Some(v.now),
        };
    })
}

fn failures(
    facts: &ClusterFacts,
    id: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
    reason: Reason,
) -> Vec<Blocker> {
    let of = |k: &ClaimKey| match replication(facts, k).map(|r| &r.status) {
        Some(VrStatus::Failed { message } | VrStatus::Apart { message }) => Some(Blocker::new(
            reason,
            format!("{k} on {id}: {message}"),
            "the agent tries again; look at the driver if this stays",
        )),
        _ => None,
    };
    claims.iter().filter_map(of).collect()
}
