//! Copies that are being taken anew, and of which it is not proven yet that they are complete. Who looks after such a copy can
//! be deleted by hand, with the claim; the image stays as it was then, and nothing on its side tells of it any more.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::ids::{ClaimKey, ClusterId};
use crate::journal::Phase;
use crate::observed::{Mark, Replicator, Role, VrFacts};
use crate::wait::{Blocker, Reason};

use super::draft::Draft;
use super::resync::{Left, note_resync};
use super::view::{View, names, replication};

/// When the copies that are being taken anew were asked for last; absent: not yet, or it is not known.
pub(super) fn asked(v: &View<'_>) -> Option<Timestamp> {
    match &v.journal.phase {
        Phase::CleaningUp { resync, .. } => *resync,
        Phase::Undecided
        | Phase::Steady
        | Phase::Relocating { .. }
        | Phase::Cancelling { .. }
        | Phase::Promoting { .. }
        | Phase::Starting { .. }
        | Phase::Removing => None,
    }
}

/// The claims whose copies on `id` are being taken anew, and which have no replication of ours there that would tell of it.
pub(super) fn untold<'a>(
    v: &View<'a>,
    id: &ClusterId,
) -> impl Iterator<Item = &'a ClaimKey> + use<'a> {
    let facts = v.at(id);
    let anew = v.journal.resyncs.get(id);
    let claims = anew.into_iter().flat_map(|anew| &anew.claims);
    claims.filter(|k| replication(facts, k).is_none_or(|r| r.mark != Mark::Ours))
}

/// Whether a copy is being taken anew, or may be. An order that nobody has carried out yet and that was taken back destroyed
/// nothing; but that is known only of an agent, which notes what it carries out. What it noted before the last change of owner
/// counts as long as the journal has the copy for unproven.
pub(super) fn taken_anew(v: &View<'_>, id: &ClusterId, key: &ClaimKey, r: &VrFacts) -> bool {
    let said = r.resync_issued.max(r.resync_failed);
    if r.desired == Role::Resync || said.is_some_and(|said| said.epoch == v.journal.epoch) {
        return true;
    }
    let anew = v.journal.resyncs.get(id);
    let noted = anew.is_some_and(|anew| anew.claims.contains(key));
    noted && (said.is_some() || v.at(id).replicator == Replicator::Upstream)
}

/// Whether the owner has synced a claim since the copies were asked for: a sync before that is not of them.
fn synced_since(v: &View<'_>, owner: &ClusterId, claim: &ClaimKey) -> bool {
    let last = replication(v.at(owner), claim).and_then(|r| r.last_sync);
    asked(v).is_some_and(|asked| last > Some(asked))
}

/// Waits for the proof of copies that nothing there tells of any more: the old side is not clean before. What the owner has no
/// more needs none.
pub(super) fn wait(v: &View<'_>, left: &Left<'_>, id: &ClusterId) -> Option<Draft> {
    let there = |k: &&ClaimKey| {
        let x = v.at(left.to).volumes.get(*k);
        x.is_some_and(|x| x.claim.is_some())
    };
    let open = untold(v, id).filter(there);
    let open: BTreeSet<&ClaimKey> = open.filter(|k| !synced_since(v, left.to, k)).collect();
    if open.is_empty() {
        return None;
    }
    let Some(asked) = left.resync else {
        // Nobody knows what became of the request before: only a sync from now on is known to be later.
        return Some(note_resync(v, left, id, (1, &BTreeSet::new())));
    };
    let (which, to) = (names(&open), left.to);
    let message = format!(
        "{which} on {id}: claim and VolumeReplication were deleted while the copy was taken anew; it is no copy until {to} has synced later than {asked}"
    );
    let remedy = format!(
        "nothing to do if that sync comes; if it does not, the storage of {id} was never told: have its image taken anew from {to} there"
    );
    let blocker = Blocker::new(Reason::NotSynced, message, remedy);
    let text = format!("waits for proof that the copies of {which} on {id} are complete");
    Some(Draft::wait(text).blocked(blocker))
}

/// Why the claims of the owner have no copy to count on, if every other cluster of the policy is taking its copy anew.
pub(super) fn everywhere(
    v: &View<'_>,
    owner: &ClusterId,
    claims: &BTreeSet<ClaimKey>,
) -> Option<String> {
    let peers = || v.policy.clusters.iter().filter(|id| *id != owner);
    let anew = |k: &&ClaimKey| {
        let of = |id: &ClusterId| v.journal.resyncs.get(id);
        peers().all(|id| of(id).is_some_and(|anew| anew.claims.contains(*k)))
            && !synced_since(v, owner, k)
    };
    let claims: Vec<&ClaimKey> = claims.iter().filter(anew).collect();
    (!claims.is_empty() && peers().next().is_some()).then(|| {
        format!(
            "being copied anew to {}, and not complete there yet: {}",
            names(peers()),
            names(claims)
        )
    })
}
