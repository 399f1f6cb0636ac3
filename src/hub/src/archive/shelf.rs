//! All that the Secrets of one placement say, judged without asking anyone: which versions there are, which of them
//! are complete, which can go.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use k8s_openapi::api::core::v1::Secret;

use super::manifest::Manifest;
use super::slot::{Slot, parse};
use super::{ArchiveError, Broken, Found, Stored, Version};

/// The Secrets of one placement.
pub(super) struct Shelf<'a> {
    uid: &'a str,
    slots: BTreeMap<u64, Slot>,
}

impl<'a> Shelf<'a> {
    /// Sorts Secrets by version. What is not named as ours is not ours.
    pub(super) fn new(uid: &'a str, secrets: Vec<Secret>) -> Self {
        let slots = BTreeMap::new();
        let mut shelf = Self { uid, slots };
        shelf.add(secrets);
        shelf
    }

    /// Adds more of the placement's Secrets.
    pub(super) fn add(&mut self, secrets: Vec<Secret>) {
        for secret in secrets {
            let name = secret.metadata.name.clone().unwrap_or_default();
            let Some((version, last)) = parse(&name) else {
                continue;
            };
            self.slots.entry(version).or_default().add(last, secret);
        }
    }

    /// The highest version there is a trace of.
    pub(super) fn highest_version(&self) -> u64 {
        self.slots.keys().next_back().copied().unwrap_or(0)
    }

    /// The highest epoch there is a trace of, complete or not: whoever began to write with it owns the placement.
    pub(super) fn highest_epoch(&self) -> Option<u64> {
        self.slots.values().filter_map(Slot::epoch).max()
    }

    /// Versions from the newest to the oldest. The epoch comes first: a hub that lost the ownership may still finish a
    /// write with a higher number. An epoch that cannot be told counts as the newest, so that it is reported.
    fn newest_first(&self) -> Vec<(u64, &Slot)> {
        let mut slots: Vec<_> = self
            .slots
            .iter()
            .map(|(version, slot)| (*version, slot))
            .collect();
        slots.sort_by_key(|(version, slot)| {
            std::cmp::Reverse((slot.epoch().unwrap_or(u64::MAX), *version))
        });
        slots
    }

    /// The newest complete version and what is wrong with newer ones.
    pub(super) fn newest_complete(&self) -> Result<Found, ArchiveError> {
        let mut broken = Vec::new();
        for (version, slot) in self.newest_first() {
            match slot.open(self.uid, version) {
                Ok((manifest, capture)) => {
                    return Ok(Found {
                        capture,
                        stored: stored(&manifest),
                        broken,
                    });
                }
                Err(why) => broken.push(Broken {
                    version,
                    epoch: slot.epoch(),
                    why,
                }),
            }
        }
        let uid = self.uid.to_owned();
        Err(if broken.is_empty() {
            ArchiveError::Nothing { uid }
        } else {
            ArchiveError::NoneComplete { uid, broken }
        })
    }

    /// Every version, the newest first.
    pub(super) fn versions(&self) -> Vec<Version> {
        let judge = |(version, slot): (u64, &Slot)| match slot.open(self.uid, version) {
            Ok((manifest, _)) => Version::Complete(Box::new(manifest)),
            Err(why) => Version::Broken(Broken {
                version,
                epoch: slot.epoch(),
                why,
            }),
        };
        self.newest_first().into_iter().map(judge).collect()
    }

    /// Versions that nobody needs: complete ones beyond the newest `keep`, and incomplete ones that are older, by
    /// number and by epoch, than a complete one. A newer incomplete one may be a write under way.
    pub(super) fn worthless(&self, keep: NonZeroUsize) -> BTreeSet<u64> {
        let mut complete: Vec<(u64, Option<u64>)> = Vec::new();
        let mut broken: Vec<(u64, Option<u64>)> = Vec::new();
        for (version, slot) in self.newest_first() {
            let list = if slot.open(self.uid, version).is_ok() {
                &mut complete
            } else {
                &mut broken
            };
            list.push((version, slot.epoch()));
        }
        let superseded = |(version, epoch): &(u64, Option<u64>)| {
            complete.iter().any(|(v, e)| v > version && e >= epoch)
        };
        let mut doomed: BTreeSet<u64> = broken
            .iter()
            .filter(|b| superseded(b))
            .map(|(v, _)| *v)
            .collect();
        doomed.extend(
            complete
                .iter()
                .skip(keep.get())
                .map(|(version, _)| *version),
        );
        doomed
    }

    /// Names of the Secrets of some versions, in the order to remove them.
    pub(super) fn names(&self, versions: &BTreeSet<u64>) -> Vec<String> {
        let slots = self
            .slots
            .iter()
            .filter(|(version, _)| versions.contains(version));
        slots.flat_map(|(_, slot)| slot.names()).collect()
    }

    /// Every version there is a trace of.
    pub(super) fn all(&self) -> BTreeSet<u64> {
        self.slots.keys().copied().collect()
    }
}

fn stored(manifest: &Manifest) -> Stored {
    Stored {
        version: manifest.version,
        epoch: manifest.epoch,
        fingerprint: manifest.fingerprint.clone(),
        taken_at: manifest.taken_at,
    }
}
