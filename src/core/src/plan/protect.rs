//! What protection of the owner's volumes needs, volume by volume: one that cannot be protected holds nobody else back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimKey, ClusterId};
use jiff::{SignedDuration, Timestamp};

use crate::journal::{Journal, Synced};
use crate::observed::{
    AgentFacts, ClaimPhase, ClusterFacts, Current, Deleting, Mark, Replicator, Retained, Role,
    Selected, SwitchOff, VolumeFacts, VrFacts, VrStatus,
};
use crate::step::{Force, Step};
use crate::wait::{Blocker, Reason};

use super::quarantine::old_owners;
use super::view::{View, held, names, ours, replication};
use super::{anew, identity};

/// The claims that can be protected with their class, and what is wrong with the others.
pub(super) struct Protectable {
    pub(super) classes: BTreeMap<ClaimKey, String>,
    pub(super) wrong: BTreeMap<ClaimKey, Blocker>,
}

impl Protectable {
    pub(super) fn claims(&self) -> BTreeSet<ClaimKey> {
        self.classes.keys().cloned().collect()
    }
}

/// Sorts the selected claims of a cluster.
pub(super) fn protectable(v: &View<'_>, on: &ClusterId) -> Protectable {
    let facts = v.at(on);
    let mut out = Protectable {
        classes: BTreeMap::new(),
        wrong: BTreeMap::new(),
    };
    for (key, volume) in &facts.volumes {
        let Some(claim) = &volume.claim else { continue };
        if claim.selected == Selected::No || claim.deleting == Deleting::Yes {
            continue;
        }
        match class_of(v, facts, key, volume) {
            Ok(class) => drop(out.classes.insert(key.clone(), class)),
            Err(blocker) => drop(out.wrong.insert(key.clone(), blocker)),
        }
    }
    out
}

fn class_of(
    v: &View<'_>,
    facts: &ClusterFacts,
    key: &ClaimKey,
    volume: &VolumeFacts,
) -> Result<String, Blocker> {
    let cannot = |what: String, remedy: &str| {
        Err(Blocker::new(
            Reason::VolumeUnprotectable,
            format!("claim {key} {what}"),
            remedy,
        ))
    };
    let claim_mark = volume.claim.as_ref().map(|c| &c.mark);
    let vr_mark = volume.replication.as_ref().map(|r| &r.mark);
    let pv_mark = volume.volume.as_ref().map(|p| &p.mark);
    for mark in [claim_mark, vr_mark, pv_mark].into_iter().flatten() {
        if let Mark::Other { placement, uid } = mark {
            return Err(identity::claimed(v, key, placement, uid));
        }
    }
    if vr_mark == Some(&Mark::Unmarked) {
        return cannot(
            "has a VolumeReplication that Lifeboat did not make".into(),
            "delete that VolumeReplication, or leave the claim out of the pvcSelector",
        );
    }
    let Some(claim) = &volume.claim else {
        return cannot("is gone".into(), "make it again");
    };
    match claim.phase {
        ClaimPhase::Bound => {}
        ClaimPhase::Pending => {
            return cannot("is not Bound".into(), "look at the events of the claim");
        }
        ClaimPhase::Lost => {
            return cannot(
                "has lost its volume".into(),
                "restore the PersistentVolume it names",
            );
        }
    }
    let Some(pv) = &volume.volume else {
        return cannot(
            "names a PersistentVolume that does not exist".into(),
            "restore it",
        );
    };
    let Some(csi) = &pv.csi else {
        return cannot(
            format!("is on {}, which is not a CSI volume", pv.name),
            "only CSI volumes can be replicated; leave it out of the pvcSelector",
        );
    };
    let Some(storage) = &claim.storage_class else {
        return cannot(
            "has no storage class".into(),
            "leave it out of the pvcSelector",
        );
    };
    let Some(class) = v.policy.classes.get(storage) else {
        return cannot(
            format!(
                "is of storage class {storage}, which the policy has no VolumeReplicationClass for"
            ),
            "add it to classes of the DRPolicy",
        );
    };
    class_fits(facts, class, &csi.driver)
        .map(|()| class.clone())
        .map_err(|what| {
            Blocker::new(
                Reason::ClassMismatch,
                format!("claim {key}: {what}"),
                "make the VolumeReplicationClass, or correct the DRPolicy",
            )
        })
}

/// Whether the class exists on the cluster and belongs to the driver.
pub(super) fn class_fits(facts: &ClusterFacts, class: &str, driver: &str) -> Result<(), String> {
    match facts.replication_classes.get(class) {
        Some(provisioner) if provisioner == driver => Ok(()),
        Some(provisioner) => Err(format!(
            "VolumeReplicationClass {class} belongs to the driver {provisioner}, the volume to {driver}"
        )),
        None => Err(format!("VolumeReplicationClass {class} does not exist")),
    }
}

/// The steps that protection lacks, in order. A capture is taken once all else is in place.
pub(super) fn steps(v: &View<'_>, on: &ClusterId, p: &Protectable) -> Vec<Step> {
    let facts = v.at(on);
    let mut steps = Vec::new();
    if p.classes.is_empty() {
        return steps;
    }
    let unretained: BTreeMap<ClaimKey, String> = p
        .classes
        .keys()
        .filter_map(|k| unretained(facts, k))
        .collect();
    if !unretained.is_empty() {
        steps.push(Step::Retain {
            cluster: on.clone(),
            claims: unretained,
        });
    }
    steps.extend(v.record(on, Force::Denied));
    let other = anew::to_let_go(v, on, p);
    if !other.is_empty() {
        steps.push(Step::Release {
            cluster: on.clone(),
            claims: other.into_iter().collect(),
        });
    }
    let lacking = |k: &ClaimKey| {
        replication(facts, k).is_none_or(|r| {
            // A word to switch off that is left of a protection that was to end is taken back with the same step.
            r.desired != Role::Primary
                || r.epoch != Some(v.journal.epoch)
                || r.switch_off == SwitchOff::Said
        })
    };
    let unreplicated: BTreeMap<ClaimKey, String> = p
        .classes
        .iter()
        .filter(|(k, _)| lacking(k))
        .map(|(k, c)| (k.clone(), c.clone()))
        .collect();
    if !unreplicated.is_empty() {
        steps.extend(old_owners(v));
        steps.push(Step::Replicate {
            cluster: on.clone(),
            claims: unreplicated,
            role: Role::Primary,
            epoch: v.journal.epoch,
        });
    }
    if steps.is_empty() && !captured(v, &p.claims()) {
        steps.push(Step::Capture {
            cluster: on.clone(),
            epoch: v.journal.epoch,
            claims: p.classes.keys().cloned().collect(),
        });
    }
    steps
}

/// Whether the newest capture holds these claims as they are now.
pub(super) fn captured(v: &View<'_>, claims: &BTreeSet<ClaimKey>) -> bool {
    v.observed.archive.current == Current::Yes
        && v.capture().is_some_and(|c| {
            c.epoch == v.journal.epoch && claims.iter().all(|k| c.volumes.contains_key(k))
        })
}

fn unretained(facts: &ClusterFacts, key: &ClaimKey) -> Option<(ClaimKey, String)> {
    let volume = facts.volumes.get(key)?;
    let (claim, pv) = (volume.claim.as_ref()?, volume.volume.as_ref()?);
    let done = pv.retained == Retained::Yes && pv.mark == Mark::Ours && claim.mark == Mark::Ours;
    (!done).then(|| (key.clone(), pv.name.clone()))
}

/// Claims of ours that the selector no longer matches.
pub(super) fn deselected(facts: &ClusterFacts) -> BTreeSet<ClaimKey> {
    let gone =
        |v: &VolumeFacts| ours(v) && v.claim.as_ref().is_some_and(|c| c.selected == Selected::No);
    let all = facts
        .volumes
        .iter()
        .filter(|(_, v)| gone(v))
        .map(|(k, _)| k.clone())
        .collect();
    still_protected(facts, &all)
}

/// Protected claims that somebody deletes: they are held until the selector lets them go, for to end protection gives
/// the volume its reclaim policy back.
pub(super) fn doomed(facts: &ClusterFacts) -> Vec<Blocker> {
    let doomed = |v: &VolumeFacts| {
        ours(v)
            && v.claim
                .as_ref()
                .is_some_and(|c| c.selected == Selected::Yes && c.deleting == Deleting::Yes)
    };
    let found = facts.volumes.iter().filter(|(_, v)| doomed(v));
    found
        .map(|(key, _)| {
            Blocker::new(
                Reason::Deleting,
                format!("claim {key} is being deleted, and is protected"),
                "to give it and its data up, remove the label that pvcSelector matches from the claim",
            )
        })
        .chain(orphaned(facts))
        .collect()
}

/// Protected volumes whose claims are gone: they stay, on all sides, until a person decides.
fn orphaned(facts: &ClusterFacts) -> impl Iterator<Item = Blocker> {
    facts.volumes.iter().filter_map(|(key, x)| {
        let pv = x.volume.as_ref().filter(|p| x.claim.is_none() && p.mark == Mark::Ours)?;
        Some(Blocker::new(
            Reason::VolumeUnprotectable,
            format!(
                "claim {key} is gone; its volume {} and its copies are kept",
                pv.name
            ),
            "make the claim again with that volumeName, and remove claimRef.uid from the volume; or delete the volume to give it up",
        ))
    })
}

/// What of these claims has not reached another cluster since the present owner took over, in words.
pub(super) fn unsynced(v: &View<'_>, on: &ClusterId, claims: &BTreeSet<ClaimKey>) -> Vec<String> {
    let facts = v.at(on);
    let since = v.journal.protected_since;
    let other = |k: &ClaimKey| {
        let x = facts.volumes.get(k);
        x.is_some_and(|x| anew::of_another(v, k, x))
    };
    let tell = |k: &ClaimKey| match replication(facts, k) {
        Some(_) if other(k) => Some(format!(
            "{k} was made anew and has another volume than its VolumeReplication is of, which is made anew too"
        )),
        None => Some(format!("{k} is not replicated yet")),
        Some(r) => match &r.status {
            VrStatus::Primary if r.last_sync.is_none() => {
                Some(format!("{k} has not been copied yet"))
            }
            VrStatus::Primary if r.last_sync < since => {
                Some(format!("{k} has not been copied since it came to {on}"))
            }
            VrStatus::Primary => None,
            VrStatus::Failed { message } | VrStatus::Apart { message } => {
                Some(format!("{k}: {message}"))
            }
            VrStatus::Pending | VrStatus::Drained | VrStatus::Demoted | VrStatus::Resyncing => {
                Some(format!("{k} is not primary yet"))
            }
        },
    };
    claims.iter().filter_map(tell).collect()
}

/// How long a replication that was made anew may take to tell of its copies, before none means none.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// The journal with the last syncs that are seen, if they are worth a write: first ones, later ones by a quarter of the
/// RPO, and those of which the copy is gone.
pub(super) fn newer_syncs(v: &View<'_>, on: &ClusterId) -> Option<Journal> {
    let step = (v.policy.rpo_seconds / 4).clamp(1, 300);
    let mut journal = v.journal.clone();
    let mut worth = false;
    let gone = deselected(v.at(on));
    for (key, volume) in &v.at(on).volumes {
        let primary =
            primary(v, volume).filter(|_| !gone.contains(key) && !anew::of_another(v, key, volume));
        let Some((seen, pv)) = primary
            .and_then(|r| r.last_sync)
            .zip(volume.volume.as_ref())
        else {
            continue;
        };
        let Some(csi) = &pv.csi else { continue };
        let known = v.journal.synced.get(key);
        let same = known.is_some_and(|k| k.handle.as_ref() == Some(&csi.handle));
        // One that was noted without a handle gets it.
        let newer = known.is_none_or(|k| seen > k.at || k.handle.is_none() && seen == k.at);
        if !newer {
            continue;
        }
        let first_of_owner = known.is_none_or(|k| Some(k.at) < v.journal.protected_since)
            && Some(seen) >= v.journal.protected_since;
        worth |= first_of_owner
            || !same
            || known.is_none_or(|k| seen.as_second() - k.at.as_second() >= step);
        let synced = Synced {
            at: seen,
            handle: Some(csi.handle.clone()),
        };
        journal.synced.insert(key.clone(), synced);
    }
    // Not worth a write of its own: an older journal does not have it.
    journal.identity.get_or_insert_with(|| v.intent.uid.clone());
    let lost = lost_copies(v, on).filter(|(_, until)| *until <= v.now);
    for (key, _) in lost {
        worth |= journal.synced.remove(key).is_some();
    }
    if let Some(newest) = &v.observed.archive.newest {
        // A capture that was just compared with the owner is the newest, even if the archive lost count.
        let certain = v.observed.archive.current == Current::Yes && newest.epoch == v.journal.epoch;
        if newest.version > journal.capture || certain && newest.version != journal.capture {
            journal.capture = newest.version;
            worth = true;
        }
    }
    worth.then_some(journal)
}

/// The replication of a volume that is primary at the present epoch.
fn primary<'a>(v: &View<'_>, volume: &'a VolumeFacts) -> Option<&'a VrFacts> {
    let settled = |r: &&VrFacts| {
        r.status == VrStatus::Primary
            && r.epoch == Some(v.journal.epoch)
            && r.deleting == Deleting::No
    };
    volume.replication.as_ref().filter(settled)
}

/// Claims whose copy was told of by the present owner, whose replication was made anew since, and which now tells of no
/// copy at all, with the time from which this counts: then replication was switched off, and the copy is gone.
fn lost_copies<'a>(
    v: &View<'a>,
    on: &ClusterId,
) -> impl Iterator<Item = (&'a ClaimKey, Timestamp)> {
    let (v, facts) = (*v, v.at(on));
    facts.volumes.iter().filter_map(move |(key, volume)| {
        let r = primary(&v, volume).filter(|r| r.last_sync.is_none())?;
        let (known, created) = (v.journal.synced.get(key)?, r.created?);
        // What an earlier owner copied is no worse because the present one has not copied anything yet.
        let told_here = Some(known.at) >= v.journal.protected_since;
        let until = created.checked_add(SETTLED).ok()?;
        (told_here && created > known.at).then_some((key, until))
    })
}

/// When to look again at a replication that may yet tell of its copies.
pub(super) fn settles_in(v: &View<'_>, on: &ClusterId) -> Option<u64> {
    let left = lost_copies(v, on).map(|(_, until)| until.as_millisecond() - v.now.as_millisecond());
    left.filter_map(|ms| u64::try_from(ms).ok()).min()
}

/// What is wrong with the agent or the drivers that these claims need.
pub(super) fn agent_trouble(
    facts: &ClusterFacts,
    on: &ClusterId,
    drivers: &BTreeSet<String>,
) -> Option<Blocker> {
    match &facts.agent {
        // Whoever works the volumes there has no Lease that says how it does.
        AgentFacts::Unseen | AgentFacts::Silent { .. }
            if facts.replicator == Replicator::Upstream =>
        {
            None
        }
        AgentFacts::Unseen => Some(Blocker::new(
            Reason::AgentNotAlive,
            format!("no agent has been seen on {on}"),
            "install spoke-deploy on the cluster, or look at the agent's pod",
        )),
        AgentFacts::Silent { since } => Some(Blocker::new(
            Reason::AgentNotAlive,
            format!("the agent on {on} has been silent since {since}"),
            "look at the agent's pod in lifeboat-system",
        )),
        AgentFacts::Alive {
            drivers: states,
            silent,
            telling: _,
            keeping: _,
        } => {
            let quiet = drivers.iter().filter_map(|d| silent.get_key_value(d));
            let quiet: Vec<String> = quiet.map(|(d, at)| format!("{d} since {at}")).collect();
            if !quiet.is_empty() {
                return Some(Blocker::new(
                    Reason::AgentNotAlive,
                    format!(
                        "the agent on {on} that serves a storage driver has been silent: {}",
                        names(quiet)
                    ),
                    "look at the pod of that agent in lifeboat-system; those of the other drivers go on",
                ));
            }
            let bad: Vec<String> = drivers
                .iter()
                .filter_map(|d| match states.get(d) {
                    Some(wrong) if wrong.is_empty() => None,
                    Some(wrong) => Some(format!("{d}: {wrong}")),
                    None if facts.replicator == Replicator::Upstream => None,
                    None => Some(format!("{d} is not among the agent's drivers")),
                })
                .collect();
            (!bad.is_empty()).then(|| {
                Blocker::new(
                    Reason::DriverNotReady,
                    format!("storage driver on {on}: {}", names(bad)),
                    "look at the driver's pod, and at --driver of the agent",
                )
            })
        }
    }
}

/// Those whose protection has not been ended yet; a replication that is on its way out only takes time.
pub(super) fn still_protected(
    facts: &ClusterFacts,
    claims: &BTreeSet<ClaimKey>,
) -> BTreeSet<ClaimKey> {
    let marked = |k: &&ClaimKey| {
        facts.volumes.get(*k).is_some_and(|x| {
            let ours = crate::observed::Mark::Ours;
            x.claim.as_ref().is_some_and(|c| c.mark == ours)
                || x.volume.as_ref().is_some_and(|p| p.mark == ours)
        })
    };
    let replicated = held(facts);
    claims
        .iter()
        .filter(|k| marked(k) || replicated.contains(*k))
        .cloned()
        .collect()
}
