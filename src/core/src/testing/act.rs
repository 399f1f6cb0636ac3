//! What the executor does with a step.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ids::{ClaimKey, ClusterId, Epoch, ResyncRequest};
use crate::observed::{
    CaptureFacts, CapturedVolume, ClaimPhase, ClusterFacts, Deleting, Mark, RecordFacts, Retained,
    Role, SwitchOff, VrFacts, VrStatus,
};
use crate::step::{Force, Outcome, Step};
use crate::wait::{Blocker, Reason};

use super::{Link, Model, Site, running, volume};

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown { why: why.into() }
}

fn refused(why: &str) -> Outcome {
    Outcome::Failed(Blocker::new(Reason::StepFailed, why, "none"))
}

/// Does one step. What is not answered has not happened; that it may have, the tests try with cut lists.
pub(super) fn act(model: &mut Model, step: &Step) -> Outcome {
    let (capture, now) = (model.capture.clone(), model.now);
    match step {
        Step::Finish => {
            model.finished = true;
            return Outcome::Done;
        }
        Step::Capture {
            cluster,
            epoch,
            claims,
        } => return take_capture(model, cluster, *epoch, claims),
        _ => {}
    }
    let Some(site) = step
        .cluster()
        .and_then(|c| model.sites.get_mut(c))
        .filter(|s| s.link == Link::Up)
    else {
        return unknown("no answer");
    };
    match step {
        Step::Finish | Step::Capture { .. } => Outcome::Done,
        Step::Record {
            owner,
            epoch,
            force,
            served,
            cluster: _,
        } => {
            if site
                .truth
                .record
                .as_ref()
                .is_some_and(|r| r.epoch > *epoch || r.epoch == *epoch && r.owner != *owner)
            {
                return refused("an epoch never goes down");
            }
            site.truth.record = Some(RecordFacts {
                written_to: None,
                owner: owner.clone(),
                epoch: *epoch,
                force: (*force == Force::Granted).then_some(*epoch),
                served: served.clone(),
            });
            Outcome::Done
        }
        Step::Retain { claims, cluster: _ } => {
            for key in claims.keys() {
                let Some(x) = site.truth.volumes.get_mut(key) else {
                    return unknown("the claim is gone");
                };
                if let Some(pv) = &mut x.volume {
                    pv.mark = Mark::Ours;
                    pv.retained = Retained::Yes;
                }
                if let Some(claim) = &mut x.claim {
                    claim.mark = Mark::Ours;
                }
            }
            Outcome::Done
        }
        Step::Replicate {
            claims,
            role,
            epoch,
            cluster: _,
        } => replicate(site, claims, (*role, *epoch), now),
        Step::Resync {
            claims,
            epoch,
            until,
            cluster: _,
            salvage: _,
        } => {
            let classes = claims.iter().map(|(k, o)| (k.clone(), o.class.clone()));
            let done = replicate(site, &classes.collect(), (Role::Resync, *epoch), now);
            for (key, order) in claims {
                let x = site.truth.volumes.get_mut(key);
                if let Some(r) = x.and_then(|x| x.replication.as_mut())
                    && r.desired == Role::Resync
                {
                    let (epoch, number) = (*epoch, order.number);
                    r.resync_asked = Some(ResyncRequest { epoch, number });
                    r.resync_until = Some(*until);
                }
            }
            done
        }
        Step::Restore {
            capture: version, ..
        } => restore(site, capture.filter(|c| c.version == *version)),
        Step::Nudge { claims, cluster: _ } => {
            site.nudged.extend(claims.iter().cloned());
            Outcome::Done
        }
        Step::Quiesce {
            workloads,
            cluster: _,
        } => {
            for key in workloads.keys() {
                if let Some(w) = site.truth.workloads.get_mut(key) {
                    w.remembered = w.remembered.or(Some(w.replicas));
                    w.replicas = 0;
                }
            }
            Outcome::Done
        }
        Step::Resume {
            workloads,
            cluster: _,
        } => {
            for (key, n) in workloads {
                if let Some(w) = site.truth.workloads.get_mut(key)
                    && w.remembered.take().is_some()
                {
                    w.replicas = *n;
                }
            }
            Outcome::Done
        }
        Step::Start {
            capture: version, ..
        } => start(site, capture.filter(|c| c.version == *version)),
        Step::RemoveWorkloads {
            workloads,
            cluster: _,
        } => {
            for key in workloads {
                if let Some(w) = site.truth.workloads.get_mut(key) {
                    w.deleting = Deleting::Yes;
                }
            }
            Outcome::Done
        }
        Step::Release { claims, cluster: _ } => {
            for key in claims {
                delete_replication(site, key);
            }
            Outcome::Done
        }
        Step::RemoveClaims { claims, cluster: _ } => {
            for key in claims.keys() {
                if let Some(x) = site.truth.volumes.get_mut(key) {
                    if let Some(c) = x.claim.as_mut().filter(|c| c.mark == Mark::Ours) {
                        c.deleting = Deleting::Yes;
                    }
                    if let Some(p) = x.volume.as_mut().filter(|p| p.mark == Mark::Ours) {
                        p.deleting = Deleting::Yes;
                    }
                }
            }
            Outcome::Done
        }
        Step::Unprotect { claims, cluster: _ } => {
            for key in claims.keys() {
                site.disable.insert(key.clone());
                delete_replication(site, key);
                if let Some(x) = site.truth.volumes.get_mut(key) {
                    if let Some(c) = &mut x.claim {
                        c.mark = Mark::Unmarked;
                    }
                    if let Some(p) = &mut x.volume {
                        p.mark = Mark::Unmarked;
                        p.retained = Retained::No;
                    }
                }
            }
            Outcome::Done
        }
        Step::LetGo {
            volumes,
            cluster: _,
        } => {
            for name in volumes {
                site.truth.former.remove(name);
            }
            Outcome::Done
        }
        Step::Forget { cluster: _ } => {
            site.truth.record = None;
            Outcome::Done
        }
    }
}

fn delete_replication(site: &mut Site, key: &ClaimKey) {
    if let Some(r) = site
        .truth
        .volumes
        .get_mut(key)
        .and_then(|x| x.replication.as_mut())
    {
        r.deleting = Deleting::Yes;
    }
}

fn replicate(
    site: &mut Site,
    claims: &BTreeMap<ClaimKey, String>,
    (role, epoch): (Role, Epoch),
    now: Timestamp,
) -> Outcome {
    for (key, class) in claims {
        let Some(x) = site
            .truth
            .volumes
            .get_mut(key)
            .filter(|x| x.claim.is_some())
        else {
            return unknown("the claim does not exist");
        };
        if let Some(old) = &x.replication {
            if old.deleting == Deleting::Yes {
                return unknown("it is still being deleted");
            }
            if old.epoch > Some(epoch) {
                return refused("it was written at a newer epoch");
            }
            if old.desired == role
                && old.epoch == Some(epoch)
                && old.switch_off == SwitchOff::Unsaid
            {
                continue;
            }
        }
        let last_sync = x.replication.as_ref().and_then(|r| r.last_sync);
        let resync_issued = x.replication.as_ref().and_then(|r| r.resync_issued);
        x.replication = Some(VrFacts {
            mark: Mark::Ours,
            desired: role,
            epoch: Some(epoch),
            class: class.clone(),
            status: VrStatus::Pending,
            resync_asked: None,
            resync_issued,
            resync_failed: x.replication.as_ref().and_then(|r| r.resync_failed),
            resync_until: None,
            last_sync,
            destination: None,
            switch_off: SwitchOff::Unsaid,
            created: x.replication.as_ref().map_or(Some(now), |r| r.created),
            deleting: Deleting::No,
        });
        site.disable.remove(key);
    }
    Outcome::Done
}

fn restore(site: &mut Site, capture: Option<CaptureFacts>) -> Outcome {
    let Some(capture) = capture else {
        return unknown("the newest capture is another one");
    };
    for key in capture.volumes.keys() {
        let x = site.truth.volumes.entry(key.clone()).or_default();
        if x.claim.as_ref().is_some_and(|c| c.mark != Mark::Ours) {
            return refused("it is not ours");
        }
        if x.claim
            .as_ref()
            .is_some_and(|c| c.deleting == Deleting::Yes)
            || x.volume
                .as_ref()
                .is_some_and(|p| p.deleting == Deleting::Yes)
        {
            return unknown("it is still being deleted");
        }
        let made = volume(key, &Mark::Ours, ClaimPhase::Pending);
        x.volume = x.volume.take().or(made.volume);
        x.claim = x.claim.take().or(made.claim);
    }
    Outcome::Done
}

fn start(site: &mut Site, capture: Option<CaptureFacts>) -> Outcome {
    let Some(capture) = capture else {
        return unknown("the newest capture is another one");
    };
    for (key, n) in &capture.workloads {
        if site
            .truth
            .workloads
            .get(key)
            .is_some_and(|w| w.deleting == Deleting::Yes)
        {
            return unknown("it is still being deleted");
        }
        let mut w = running(&Mark::Ours, *n);
        w.ready = 0;
        site.truth.workloads.insert(key.clone(), w);
    }
    Outcome::Done
}

/// What a capture of these facts would hold.
pub(super) fn capture_of(facts: &ClusterFacts, like: &CaptureFacts) -> CaptureFacts {
    let volumes = like.volumes.keys().filter_map(|key| {
        let pv = facts.volumes.get(key)?.volume.as_ref()?;
        let captured = CapturedVolume {
            csi: pv.csi.clone()?,
            origin: None,
            volume: pv.name.clone(),
            storage_class: facts
                .volumes
                .get(key)?
                .claim
                .as_ref()?
                .storage_class
                .clone(),
        };
        Some((key.clone(), captured))
    });
    CaptureFacts {
        volumes: volumes.collect(),
        workloads: facts
            .workloads
            .iter()
            .map(|(k, w)| (k.clone(), w.remembered.unwrap_or(w.replicas)))
            .collect(),
        ..like.clone()
    }
}

fn take_capture(
    model: &mut Model,
    cluster: &ClusterId,
    epoch: Epoch,
    claims: &[ClaimKey],
) -> Outcome {
    let Some(site) = model.sites.get(cluster).filter(|s| s.link == Link::Up) else {
        return unknown("no answer");
    };
    if model.capture.as_ref().is_some_and(|c| c.epoch > epoch) {
        return refused("the archive holds a newer epoch");
    }
    let nothing = CapturedVolume {
        csi: crate::observed::Csi {
            driver: String::new(),
            handle: String::new(),
        },
        origin: None,
        volume: String::new(),
        storage_class: None,
    };
    let like = CaptureFacts {
        version: model.capture.as_ref().map_or(0, |c| c.version),
        epoch,
        source: cluster.clone(),
        taken_at: model.now,
        volumes: claims
            .iter()
            .map(|k| (k.clone(), nothing.clone()))
            .collect(),
        workloads: BTreeMap::new(),
    };
    let mut taken = capture_of(&site.truth, &like);
    if taken.volumes.len() < claims.len() {
        return unknown("a claim is missing");
    }
    let same = model.capture.as_ref().is_some_and(|old| {
        taken.taken_at = old.taken_at;
        *old == taken
    });
    if !same {
        taken.version += 1;
        taken.taken_at = model.now;
        model.capture = Some(taken);
    }
    model.compared.clone_from(&model.capture);
    Outcome::Done
}
