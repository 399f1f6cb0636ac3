//! The questions asked before a move. Each is answered Pass, Fail or Unknown; only a Pass lets a move go on.

mod copy_state;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimKey, ClusterId};
use crate::intent::{Failovers, MoveKind};
use crate::observed::{CapturedVolume, Contact, Mark, NamespaceFacts};
use crate::report::{GateReport, Tri};
use crate::wait::{Blocker, Reason};

use super::protect::{agent_trouble, class_fits, protectable, unsynced};
use super::unproven;
use super::view::{Copied, View, names, ours};

/// The answers, and what stands in the way.
#[derive(Default)]
pub(super) struct Gates {
    pub(super) gates: Vec<GateReport>,
    pub(super) blockers: Vec<Blocker>,
}

impl Gates {
    fn pass(&mut self, name: &str, message: impl Into<String>) {
        self.gates.push(GateReport {
            action: MoveKind::Relocate,
            target: None,
            name: name.to_owned(),
            state: Tri::True,
            message: message.into(),
        });
    }
    fn fail(&mut self, name: &str, state: Tri, blocker: Blocker) {
        self.gates.push(GateReport {
            action: MoveKind::Relocate,
            target: None,
            name: name.to_owned(),
            state,
            message: blocker.message.clone(),
        });
        self.blockers.push(blocker);
    }
    pub(super) fn open(&self) -> bool {
        self.blockers.is_empty()
    }
    /// Says of all answers which cluster they are about.
    fn about(mut self, to: &ClusterId) -> Self {
        for gate in &mut self.gates {
            gate.target = Some(to.clone());
        }
        self
    }
    /// Says of all answers which kind of move they are for.
    fn asked_for(mut self, action: MoveKind) -> Self {
        for gate in &mut self.gates {
            gate.action = action;
        }
        self
    }
    fn and(mut self, other: Self) -> Self {
        self.gates.extend(other.gates);
        self.blockers.extend(other.blockers);
        self
    }
}

/// May the application relocate now?
pub(super) fn relocate(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Gates {
    source(v, from, to)
        .and(protected(v, from))
        .and(capture(v))
        .and(target(v, to))
}

/// May it fail over now?
pub(super) fn failover(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Gates {
    let (mut g, v) = (Gates::default(), &v.failing_over(from));
    match v.policy.failover {
        Failovers::Allowed => {}
        Failovers::Disabled => g.fail(
            "FailoverAllowed",
            Tri::False,
            Blocker::new(
                Reason::FailoverDisabled,
                "the policy disables failovers",
                "set failover.mode of the DRPolicy",
            ),
        ),
    }
    if v.fresh(from) {
        g.pass(
            "SourceStopped",
            format!("{from} answers: the application is stopped there first"),
        );
    } else if let Contact::Replaced { why, .. } = &v.at(from).contact
        && v.silent(from)
    {
        // As silent: what answers under that name is not the source.
        g.pass(
            "SourceStopped",
            format!(
                "the DRCluster {from} {why}: nothing is known of the cluster that has the application, and it may still run there; its loss is taken on the word of whoever asked"
            ),
        );
    } else if v.silent(from) {
        g.pass(
            "SourceStopped",
            format!(
                "{from} {}: its loss is taken on the word of whoever asked",
                v.at(from).contact.describe()
            ),
        );
    } else {
        let message = format!(
            "{from} {}; the application may well run there",
            v.at(from).contact.describe()
        );
        let remedy =
            "wait: either it is seen again and stopped first, or it counts as silent after a while";
        let blocker = Blocker::new(Reason::OutOfStep, message, remedy);
        g.fail("SourceStopped", Tri::Unknown, blocker);
    }
    g.and(data(v, to).about(to))
        .and(capture(v))
        .and(last_copy(v, to).about(to))
        .asked_for(MoveKind::Failover)
}

/// Can it be told whether the copies there are complete, or was it accepted that it cannot?
pub(super) fn copy_state(v: &View<'_>, to: &ClusterId) -> Gates {
    copy_state::told(v, to)
        .about(to)
        .asked_for(MoveKind::Failover)
}

/// Is the cluster fit to take the application from its last copy? An old copy there that was not cleaned up yet may
/// be that copy, unless it is being rebuilt.
fn last_copy(v: &View<'_>, to: &ClusterId) -> Gates {
    let mut g = fitness(v, to, Leftovers::Allowed).and(copy_state::told(v, to));
    let asked = unproven::asked(v);
    let captured = |k: &&ClaimKey| v.capture().is_some_and(|c| c.volumes.contains_key(*k));
    let rebuilding: Vec<&ClaimKey> = v
        .at(to)
        .volumes
        .iter()
        .filter(|(k, x)| {
            let ours = x.replication.as_ref().filter(|r| r.mark == Mark::Ours);
            ours.is_some_and(|r| unproven::taken_anew(v, to, k, r))
        })
        .map(|(k, _)| k)
        .chain(unproven::untold(v, to).filter(captured))
        .filter(|k| asked.is_none() || v.journal.synced.get(*k).map(|s| s.at) <= asked)
        .collect();
    if !rebuilding.is_empty() {
        let message = format!(
            "the copy on {to} is being rebuilt and is not complete: {}",
            names(rebuilding)
        );
        g.fail(
            "TargetCopy",
            Tri::False,
            Blocker::new(
                Reason::NotSynced,
                message,
                "bring the application's cluster back, or fail over to a cluster that has a complete copy",
            ),
        );
    }
    g
}

/// Whether an old copy that is still being cleaned up stands in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    /// A failover may have nothing else.
    Allowed,
    /// A relocation has time.
    InTheWay,
}

fn source(v: &View<'_>, from: &ClusterId, to: &ClusterId) -> Gates {
    let mut g = Gates::default();
    if v.fresh(from) {
        g.pass("SourceAnswers", format!("{from} answers"));
    } else {
        let message = format!("{from} {}", v.at(from).contact.describe());
        let remedy = format!(
            "bring {from} back, or accept the loss of what was not copied: action: Failover, failoverCluster: {to}"
        );
        g.fail(
            "SourceAnswers",
            Tri::Unknown,
            Blocker::new(v.unseen(from, Reason::SourceUnreachable), message, remedy),
        );
    }
    g
}

/// Every selected claim is protected and has been copied since it came here.
fn protected(v: &View<'_>, from: &ClusterId) -> Gates {
    let mut g = Gates::default();
    let p = protectable(v, from);
    let late = unsynced(v, from, &p.claims());
    if let Some(wrong) = p.wrong.values().next() {
        let mut blocker = wrong.clone();
        if p.wrong.len() > 1 {
            blocker.message = format!(
                "{}; and {} more",
                blocker.message,
                p.wrong.len().saturating_sub(1)
            );
        }
        g.fail("VolumesProtected", Tri::False, blocker);
    } else if p.classes.is_empty() {
        g.fail("VolumesProtected", Tri::False, nothing_selected(from));
    } else if late.is_empty() {
        g.pass(
            "VolumesProtected",
            format!("{} volumes are copied", p.classes.len()),
        );
    } else {
        g.fail(
            "VolumesProtected",
            Tri::False,
            Blocker::new(
                Reason::NotSynced,
                names(late),
                "nothing to do: the move goes on once every volume has been copied",
            ),
        );
    }
    g
}

pub(super) fn nothing_selected(on: &ClusterId) -> Blocker {
    Blocker::new(
        Reason::NothingSelected,
        format!("the pvcSelector matches no claim on {on}"),
        "label the claims, or correct pvcSelector or protectedNamespaces of the DRPlacement",
    )
}

pub(super) fn all_deselected(on: &ClusterId, gone: &BTreeSet<ClaimKey>) -> Blocker {
    Blocker::new(
        Reason::NothingSelected,
        format!(
            "the pvcSelector matches no claim on {on} any more; {} stay protected",
            names(gone)
        ),
        "correct pvcSelector, protectedNamespaces or the labels of the claims; to end protection, delete the DRPlacement",
    )
}

fn capture(v: &View<'_>) -> Gates {
    let mut g = Gates::default();
    let archive = &v.observed.archive;
    if let Some(why) = &archive.unreadable {
        let blocker = Blocker::new(
            Reason::ArchiveUnreadable,
            format!("the archive could not be read: {why}"),
            "check that the hub can list Secrets in its namespace",
        );
        g.fail("CaptureComplete", Tri::Unknown, blocker);
    } else if let Some(c) = v.capture().filter(|c| !c.volumes.is_empty()) {
        let mut message = format!(
            "version {} of {} holds {} volumes",
            c.version,
            c.taken_at,
            c.volumes.len()
        );
        if c.version < v.journal.capture {
            message = format!("{message}; {}", unreadable_capture(v));
        }
        g.pass("CaptureComplete", message);
    } else {
        let mut message = unreadable_capture(v);
        if let Some(older) = archive.newest.as_ref().filter(|c| !v.lacks(c).is_empty()) {
            let lacks = names(v.lacks(older));
            message = format!("{message}; version {} lacks {lacks}", older.version);
        }
        let blocker = Blocker::new(
            Reason::NoCapture,
            message,
            "a new capture is taken as soon as the application's cluster answers; or restore the Secrets named here",
        );
        g.fail("CaptureComplete", Tri::False, blocker);
    }
    g
}

/// What is wrong with the newest capture.
pub(super) fn unreadable_capture(v: &View<'_>) -> String {
    let message = match v.journal.capture {
        0 => "the application was never captured completely".to_owned(),
        n => format!("capture version {n} is no longer readable"),
    };
    match v.observed.archive.broken.first() {
        Some(broken) => format!("{message}: {broken}"),
        None => message,
    }
}

/// A failover brings up the last copy: there must be one of every volume.
fn data(v: &View<'_>, to: &ClusterId) -> Gates {
    let mut g = Gates::default();
    let Some(capture) = v.capture() else { return g };
    let volumes = || capture.volumes.iter().map(|(k, c)| (k, v.copied(k, c)));
    let mut wrong: Vec<String> = Vec::new();
    let (mut state, mut remedy) = (
        Tri::False,
        "there is no copy to fail over to; bring the application's cluster back",
    );
    let never: Vec<&ClaimKey> = volumes()
        .filter(|(_, c)| *c == Copied::Never)
        .map(|(k, _)| k)
        .collect();
    if !never.is_empty() {
        wrong.push(format!("never copied completely: {}", names(never)));
    }
    wrong.extend(volumes().filter_map(|(k, c)| match c {
        Copied::Another(handle) => Some(format!(
            "never copied completely: {k}, whose volume was made anew; what was copied is the volume {handle} that it had before"
        )),
        Copied::At(_) | Copied::Never | Copied::Unsaid(_) => None,
    }));
    if wrong.is_empty() {
        let unsaid = volumes().filter_map(|(k, c)| match c {
            Copied::Unsaid(at) => Some(format!("{k} ({at})")),
            Copied::At(_) | Copied::Never | Copied::Another(_) => None,
        });
        let unsaid: Vec<String> = unsaid.collect();
        if !unsaid.is_empty() {
            (state, remedy) = (
                Tri::Unknown,
                "bring the application's cluster back for a moment; or, if you know that the volume was not made anew since, write {at: that time, handle: its handle} for it in status.journal.synced",
            );
            wrong.push(format!(
                "copied before the last capture, by a hub that did not note which volume it was: {}",
                names(unsaid)
            ));
        }
    }
    if wrong.is_empty() {
        let age = v.oldest_sync().map_or_else(String::new, |t| {
            format!(
                ": work since {t} ({} s) is given up",
                v.now.as_second() - t.as_second()
            )
        });
        let mut message = format!("every volume has a copy{age}");
        if v.policy.clusters.len() > 2 {
            message = format!(
                "{message}; the storage tells that a copy was made, not on which of the clusters: whether {to} has it, its promotion shows"
            );
        }
        g.pass("DataKnown", message);
    } else {
        let blocker = Blocker::new(Reason::NotSynced, wrong.join("; "), remedy);
        g.fail("DataKnown", state, blocker);
    }
    g
}

/// Is the cluster fit to take the application?
pub(super) fn target(v: &View<'_>, to: &ClusterId) -> Gates {
    fitness(v, to, Leftovers::InTheWay).about(to)
}

fn fitness(v: &View<'_>, to: &ClusterId, leftovers: Leftovers) -> Gates {
    let mut g = Gates::default();
    let facts = v.at(to);
    if !v.policy.clusters.contains(to) {
        let blocker = Blocker::new(
            Reason::ClusterNotInPolicy,
            format!("the policy has no cluster {to}"),
            "name a cluster of the policy, or add it there",
        );
        g.fail("TargetInPolicy", Tri::False, blocker);
        return g;
    }
    if !v.fresh(to) {
        let message = format!("{to} {}", facts.contact.describe());
        g.fail(
            "TargetAnswers",
            Tri::Unknown,
            Blocker::new(
                v.unseen(to, Reason::TargetUnreachable),
                message,
                "bring it back, or choose another cluster",
            ),
        );
        return g;
    }
    g.pass("TargetAnswers", format!("{to} answers"));
    let empty = BTreeMap::new();
    let volumes = v.capture().map_or(&empty, |c| &c.volumes);
    let drivers: BTreeSet<String> = volumes.values().map(|c| c.csi.driver.clone()).collect();
    match agent_trouble(facts, to, &drivers) {
        None => g.pass(
            "TargetStorage",
            format!("agent and storage drivers of {to} are ready"),
        ),
        Some(blocker) => g.fail("TargetStorage", Tri::False, blocker),
    }
    match collisions(v, to, volumes, leftovers).into_iter().next() {
        None => g.pass("TargetClear", format!("nothing on {to} is in the way")),
        Some(blocker) => g.fail("TargetClear", Tri::False, blocker),
    }
    g
}

/// What on the target is in the way of these volumes.
fn collisions(
    v: &View<'_>,
    to: &ClusterId,
    volumes: &BTreeMap<ClaimKey, CapturedVolume>,
    leftovers: Leftovers,
) -> Vec<Blocker> {
    let facts = v.at(to);
    let mut found = Vec::new();
    for (name, state) in &facts.namespaces {
        match state {
            NamespaceFacts::Active => {}
            NamespaceFacts::Terminating => found.push(Blocker::new(
                Reason::NamespaceTerminating,
                format!("namespace {name} on {to} is being deleted"),
                "wait until it is gone, or find what holds it",
            )),
        }
    }
    for (key, captured) in volumes {
        if let Some(volume) = facts.volumes.get(key) {
            let marks = [
                volume.claim.as_ref().map(|c| &c.mark),
                volume.replication.as_ref().map(|r| &r.mark),
            ];
            if marks.into_iter().flatten().any(|m| *m != Mark::Ours) {
                let message = format!(
                    "{to} has a claim or VolumeReplication {key} that Lifeboat did not make for this placement"
                );
                found.push(Blocker::new(
                    Reason::Collision,
                    message,
                    "delete or rename it: it is never taken over",
                ));
            } else if leftovers == Leftovers::InTheWay
                && ours(volume)
                && volume.replication.is_some()
            {
                let message = format!("the old copy of {key} on {to} is still being cleaned up");
                found.push(Blocker::new(
                    Reason::Deleting,
                    message,
                    "nothing to do: the move goes on afterwards",
                ));
            }
        }
        if leftovers == Leftovers::InTheWay && unproven::untold(v, to).any(|k| k == key) {
            found.push(Blocker::new(
                Reason::NotSynced,
                format!("whether the copy of {key} on {to} is complete is not proven"),
                "nothing to do: the move goes on once it is",
            ));
        }
        let class = captured.storage_class.as_ref();
        if let Some(class) = class {
            let wrong = match facts.storage_classes.get(class) {
                None => Some(format!("{to} has no storage class for {class}")),
                Some(p) if *p != captured.csi.driver => Some(format!(
                    "storage class {class} on {to} belongs to the driver {p}, the volume to {}",
                    captured.csi.driver
                )),
                Some(_) => None,
            };
            let wrong = wrong.or_else(|| {
                let Some(vrc) = v.policy.classes.get(class) else {
                    return Some(format!(
                        "the policy has no VolumeReplicationClass for storage class {class}"
                    ));
                };
                class_fits(facts, vrc, &captured.csi.driver)
                    .err()
                    .map(|what| format!("{to}: {what}"))
            });
            if let Some(what) = wrong {
                found.push(Blocker::new(
                    Reason::ClassMismatch,
                    what,
                    "make the class on the target, or correct the mapping in the DRPolicy",
                ));
            }
        }
    }
    found
}
