//! A claim that was deleted and made anew has another volume, and the replication that still carries its name is of the
//! volume before: it says Primary, and nothing of the new one is copied. It is let go and made anew, which switches nothing
//! off: the volume before and its copies stay as they are.

use std::collections::BTreeSet;

use crate::ids::{ClaimKey, ClusterId};
use crate::observed::{Deleting, Mark, VolumeFacts};

use super::protect::Protectable;
use super::view::View;

/// Whether the replication is of another volume than the claim has now. It must be older than the volume; but a volume
/// object that was restored for the same handle is younger too, and that handle was copied.
pub(super) fn of_another(v: &View<'_>, key: &ClaimKey, x: &VolumeFacts) -> bool {
    let (Some(r), Some(pv)) = (&x.replication, &x.volume) else {
        return false;
    };
    let synced = v.journal.synced.get(key).and_then(|s| s.handle.as_ref());
    let same = pv.csi.as_ref().is_none_or(|c| synced == Some(&c.handle));
    let younger = r.created.zip(pv.created).is_some_and(|(r, pv)| pv > r);
    r.mark == Mark::Ours && younger && !same
}

/// The claims whose replication must be let go, for it is of another volume.
pub(super) fn to_let_go(v: &View<'_>, on: &ClusterId, p: &Protectable) -> BTreeSet<ClaimKey> {
    let there = &v.at(on).volumes;
    let stays = |x: &VolumeFacts| {
        let r = x.replication.as_ref();
        r.is_some_and(|r| r.deleting == Deleting::No)
    };
    let other = |k: &&ClaimKey| {
        let x = there.get(*k);
        x.is_some_and(|x| stays(x) && of_another(v, k, x))
    };
    p.classes.keys().filter(other).cloned().collect()
}
