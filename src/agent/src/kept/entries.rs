//! What a record says of kept copies, and each change to that. Pure: a change is made to the record as it is when it is
//! written, and says itself whether it still holds.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::common::to_time;
use lifeboat_api::{Divergence, KeptCopy};

/// Of each claim so many past divergences stay on record, besides those with a copy.
const HISTORY: usize = 3;

/// What has to be done before something is thrown away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: a copy is there, and will be for most of the time.
    Nothing,
    /// The driver is to make a copy of this name, or to say that it has it.
    Copy(String),
}

/// The copy that is wanted.
pub(crate) struct Wish {
    /// What it is called, unless a copy of that name was there before.
    pub(crate) name: String,
    /// How long it is to be kept.
    pub(crate) time: Duration,
    /// The present.
    pub(crate) now: Timestamp,
}

/// The entry of a claim at an epoch.
pub(crate) fn find<'a>(
    all: impl IntoIterator<Item = &'a Divergence>,
    claim: &str,
    epoch: i64,
) -> Option<&'a Divergence> {
    let mut all = all.into_iter();
    all.find(|d| d.claim == claim && d.epoch == epoch)
}

/// Puts in what was measured; what is said there of copies stays.
pub(super) fn put(all: &mut Vec<Divergence>, new: &Divergence) {
    match same_entry(all, new) {
        Some(old) => {
            old.measured_at = new.measured_at.clone();
            old.bytes = new.bytes;
            old.message.clone_from(&new.message);
        }
        None => all.push(new.clone()),
    }
    let has_copies = |d: &Divergence| copies(d).next().is_some();
    let mut past: Vec<i64> = all
        .iter()
        .filter(|d| d.claim == new.claim && !has_copies(d))
        .map(|d| d.epoch)
        .collect();
    past.sort_unstable();
    let oldest = past.len().checked_sub(HISTORY).and_then(|n| past.get(n));
    if let Some(oldest) = oldest.copied() {
        all.retain(|d| d.claim != new.claim || has_copies(d) || d.epoch >= oldest);
    }
}

/// Names the copy that is to be there, before it is asked for. Nothing if the entry is gone.
pub(super) fn reserve(all: &mut [Divergence], of: &Divergence, wish: &Wish) -> Option<Need> {
    let entry = same_entry(all, of)?;
    match entry.kept.take_if(|kept| !counts(kept)) {
        // Its name is not used again: to that, a driver that is deleting it may answer the very copy.
        Some(spent) => {
            if spent.dropped_at.is_none() {
                entry.replaced.push(spent);
            }
            entry.copy_name = Some(format!("{}.{}", wish.name, wish.now.as_second()));
        }
        None if lasts(entry.kept.as_ref(), wish.time, wish.now) => return Some(Need::Nothing),
        None => {}
    }
    let name = entry.copy_name.get_or_insert_with(|| wish.name.clone());
    Some(Need::Copy(name.clone()))
}

/// Records that the driver has a copy of this name; `None` if it is not to be counted on: it came to be dropped meanwhile.
pub(super) fn made(
    all: &mut [Divergence],
    of: &Divergence,
    name: &str,
    copy: &KeptCopy,
) -> Option<()> {
    let entry = same_entry(all, of)?;
    if entry.copy_name.as_deref() != Some(name) {
        return None;
    }
    match &mut entry.kept {
        Some(old) if old.driver == copy.driver && old.volume_handle == copy.volume_handle => {
            if !counts(old) {
                return None;
            }
            old.keep_until = copy.keep_until.clone();
        }
        kept => {
            let other = kept.replace(copy.clone());
            let other = other.filter(|other| other.dropped_at.is_none());
            entry.replaced.extend(other);
        }
    }
    Some(())
}

/// Says that a copy is being dropped, if it is still to be.
pub(super) fn dropping(all: &mut [Divergence], copy: &KeptCopy, now: Timestamp) -> Option<()> {
    let all = all.iter_mut();
    let mut copies = all.flat_map(|d| d.kept.iter_mut().chain(&mut d.replaced));
    let copy = copies.find(|known| same_copy(known, copy))?;
    copy.dropping_since.get_or_insert_with(|| to_time(now));
    Some(())
}

/// Says that a copy was dropped.
pub(super) fn dropped(all: &mut [Divergence], copy: &KeptCopy, now: Timestamp) {
    for entry in all {
        entry.replaced.retain(|known| !same_copy(known, copy));
        if let Some(known) = entry.kept.as_mut().filter(|known| same_copy(known, copy)) {
            known.dropped_at = Some(to_time(now));
        }
    }
}

/// The copies that are not dropped yet.
pub(super) fn copies(entry: &Divergence) -> impl Iterator<Item = &KeptCopy> {
    let all = entry.kept.iter().chain(&entry.replaced);
    all.filter(|copy| copy.dropped_at.is_none())
}

/// Whether a copy that was made is there for most of the time that it is wanted from now on: the resync it was made for may
/// have been refused since, for long.
pub(crate) fn lasts(kept: Option<&KeptCopy>, time: Duration, now: Timestamp) -> bool {
    let enough = now.checked_add(time / 2);
    kept.is_some_and(|kept| counts(kept) && enough.is_ok_and(|enough| kept.keep_until.0 >= enough))
}

/// Whether a copy is neither dropped nor being dropped.
fn counts(copy: &KeptCopy) -> bool {
    copy.dropping_since.is_none() && copy.dropped_at.is_none()
}

fn same_entry<'a>(all: &'a mut [Divergence], of: &Divergence) -> Option<&'a mut Divergence> {
    let mut all = all.iter_mut();
    all.find(|d| d.claim == of.claim && d.epoch == of.epoch)
}

/// Whether it is the same copy, not dropped, and wanted for as long as before.
fn same_copy(known: &KeptCopy, copy: &KeptCopy) -> bool {
    known.driver == copy.driver
        && known.volume_handle == copy.volume_handle
        && known.keep_until == copy.keep_until
        && known.dropped_at.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3_600).unwrap()
    }

    fn copy(handle: &str, until: i64) -> KeptCopy {
        KeptCopy {
            driver: "d".into(),
            volume_handle: handle.into(),
            bytes: 1,
            kept_at: to_time(at(0)),
            keep_until: to_time(at(until)),
            dropping_since: None,
            dropped_at: None,
            secret: None,
        }
    }

    fn entry(claim: &str, epoch: i64, kept: Option<KeptCopy>) -> Divergence {
        Divergence {
            claim: claim.into(),
            epoch,
            measured_at: to_time(at(0)),
            bytes: Some(1),
            message: None,
            copy_name: kept.as_ref().map(|_| "n".to_owned()),
            kept,
            replaced: Vec::new(),
        }
    }

    fn wish(now: i64) -> Wish {
        Wish {
            name: "n".to_owned(),
            time: 4 * HOUR,
            now: at(now),
        }
    }

    fn named(name: &str) -> Need {
        Need::Copy(name.to_owned())
    }

    #[test]
    fn of_each_claim_the_last_few_stay_on_record_and_every_copy_that_is_there() {
        let mut all = Vec::new();
        put(&mut all, &entry("web", 1, None));
        put(&mut all, &entry("db", 2, Some(copy("k", 9))));
        for epoch in 3..=8 {
            put(&mut all, &entry("db", epoch, None));
            put(&mut all, &entry("db", epoch, None));
        }
        let left: Vec<(&str, i64)> = all.iter().map(|d| (d.claim.as_str(), d.epoch)).collect();
        let db = [2, 6, 7, 8].map(|epoch| ("db", epoch));
        assert_eq!(left[0], ("web", 1));
        assert_eq!(left[1..], db);
        put(&mut all, &entry("db", 2, None));
        assert!(
            all[1].kept.is_some(),
            "what is measured says nothing of copies"
        );
    }

    #[test]
    fn a_copy_that_is_renewed_is_not_dropped_and_one_that_is_being_dropped_is_not_renewed() {
        let of = entry("db", 2, None);
        let old = copy("k", 4);
        let mut all = vec![entry("db", 2, Some(old.clone()))];
        assert_eq!(reserve(&mut all, &of, &wish(1)), Some(Need::Nothing));
        // Past its time, and renewed before the drop begins.
        assert_eq!(reserve(&mut all, &of, &wish(5)), Some(named("n")));
        assert_eq!(made(&mut all, &of, "n", &copy("k", 9)), Some(()));
        assert_eq!(dropping(&mut all, &old, at(5)), None, "it is wanted again");
        dropped(&mut all, &old, at(5));
        assert_eq!(all[0].kept, Some(copy("k", 9)));
        // The other way round: the driver was asked for it, and the drop began before its answer was recorded.
        let new = copy("k", 9);
        assert_eq!(reserve(&mut all, &of, &wish(10)), Some(named("n")));
        assert_eq!(dropping(&mut all, &new, at(10)), Some(()));
        assert_eq!(made(&mut all, &of, "n", &copy("k", 14)), None);
        let fresh = format!("n.{}", at(10).as_second());
        assert_eq!(reserve(&mut all, &of, &wish(10)), Some(named(&fresh)));
        assert_eq!(
            reserve(&mut all, &of, &wish(11)),
            Some(named(&fresh)),
            "asked again by the name that was written down"
        );
        assert_eq!(made(&mut all, &of, &fresh, &copy("k2", 14)), Some(()));
        assert_eq!(copies(&all[0]).count(), 2, "the old one is not forgotten");
        dropped(&mut all, &new, at(11));
        assert_eq!(copies(&all[0]).count(), 1);
        assert_eq!(all[0].kept, Some(copy("k2", 14)));
        // One that was dropped is replaced, and leaves nothing to drop.
        assert_eq!(dropping(&mut all, &copy("k2", 14), at(15)), Some(()));
        dropped(&mut all, &copy("k2", 14), at(15));
        assert_eq!(dropping(&mut all, &copy("k2", 14), at(15)), None, "once");
        let fresh = format!("n.{}", at(16).as_second());
        assert_eq!(reserve(&mut all, &of, &wish(16)), Some(named(&fresh)));
        assert_eq!(copies(&all[0]).count(), 0);
    }
}
