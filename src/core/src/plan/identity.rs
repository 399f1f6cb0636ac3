//! Whether a DRPlacement is the one whose marks the clusters carry. A hub that is built anew makes each of them with
//! another uid; only a person can say that it is the same placement, and only before it is decided on.

use crate::ids::ClaimKey;
use crate::intent::{Identity, Life};
use crate::observed::RecordFacts;
use crate::wait::{Blocker, Reason};

use super::view::View;

/// The annotation by which a person says so; core knows nothing of Kubernetes, but people must be told its name.
const IDENTITY: &str = "lifeboat.dev/identity";

/// The DRPlacement does not say any more what it said when it was decided on: under another uid nothing that was made
/// for it would be found again.
pub(super) fn changed(v: &View<'_>) -> Option<Blocker> {
    let named = v.intent.named.as_ref()?;
    if v.journal.owner.is_none() || *named == v.intent.uid {
        return None;
    }
    Some(Blocker::new(
        Reason::IdentityUnclear,
        format!(
            "records, marks and captures of {} carry the identity {}, and the DRPlacement now names {named}",
            v.intent.placement, v.intent.uid
        ),
        format!(
            "set the annotation {IDENTITY}: {} of the DRPlacement, or remove the annotation if that is its own uid; nothing is done until then",
            v.intent.uid
        ),
    ))
}

/// What stands in the way of a first decision: the records of an earlier DRPlacement of this name, or a word of a person
/// that nothing bears out. `record` is the newest that carries the uid.
pub(super) fn unclear(v: &View<'_>, record: Option<&RecordFacts>) -> Option<Blocker> {
    let (name, uid) = (&v.intent.placement, &v.intent.uid);
    let clusters = v.observed.clusters.iter();
    let all = || {
        let clusters = clusters.clone();
        clusters.flat_map(|(id, c)| c.namesakes.iter().map(move |n| (id, n)))
    };
    if let Some((id, other)) = all().find(|(_, n)| n.uid == *uid) {
        return Some(Blocker::new(
            Reason::IdentityUnclear,
            format!(
                "{uid} is the identity of the placement {}, not of {name}: {id} holds its DROwnership {}",
                other.placement, other.record
            ),
            format!("correct the annotation {IDENTITY} of the DRPlacement, or remove it"),
        ));
    }
    let taken_over = v.intent.identity == Identity::TakenOver;
    let captured = v.observed.archive.newest.is_some();
    match v.intent.life {
        Life::Wanted => {}
        // To let it go would delete captures that were never its own.
        Life::Leaving if taken_over && record.is_none() && captured => {
            return Some(Blocker::new(
                Reason::IdentityUnclear,
                format!(
                    "the archive holds captures of the identity {uid}, which {name} has not taken over yet"
                ),
                format!("remove the annotation {IDENTITY} to let this DRPlacement go without them"),
            ));
        }
        Life::Leaving => return None,
    }
    if let Some((id, earlier)) = all().max_by_key(|(_, n)| n.epoch) {
        return Some(Blocker::new(
            Reason::IdentityUnclear,
            format!(
                "{id} holds the DROwnership {} of an earlier DRPlacement {name} with the uid {}: owner {}, epoch {}; the present uid is {uid}",
                earlier.record, earlier.uid, earlier.owner, earlier.epoch
            ),
            format!(
                "if this is the same placement, set the annotation {IDENTITY}: {} on the DRPlacement, and it takes over what the clusters hold; if that one is gone for good and its data given up, delete that DROwnership",
                earlier.uid
            ),
        ));
    }
    (taken_over && record.is_none() && !captured).then(|| {
        Blocker::new(
            Reason::IdentityUnclear,
            format!("no cluster holds a DROwnership of {name} with the uid {uid}, and the archive no capture of it"),
            format!("correct the annotation {IDENTITY} of the DRPlacement, or remove it if the placement is new"),
        )
    })
}

/// A claim that carries another's mark.
pub(super) fn claimed(v: &View<'_>, key: &ClaimKey, placement: &str, uid: &str) -> Blocker {
    if *placement != v.intent.placement {
        return Blocker::new(
            Reason::ClaimedByOther,
            format!("claim {key} is protected by the placement {placement}"),
            "change the pvcSelector of one of the two",
        );
    }
    Blocker::new(
        Reason::ClaimedByOther,
        format!(
            "claim {key} carries the mark of an earlier DRPlacement {placement} with the uid {uid}; the present uid is {}",
            v.intent.uid
        ),
        format!(
            "if that one is gone for good, remove the label lifeboat.dev/placement-uid from the claim, its volume and its VolumeReplication; if this is the same placement, make the DRPlacement again with the annotation {IDENTITY}: {uid}"
        ),
    )
}
