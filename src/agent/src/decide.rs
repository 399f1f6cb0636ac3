//! What to do about a volume. Pure: no clock, no I/O; the same view gives the same decision.
//!
//! ```text
//!            grant, claim, driver in order?
//!                 no -> Refuse (conditions say why; no call)
//!  Unknown --Promote--> Primary --Demote--> Secondary --Check until in step--> idle
//!     ^                    |                    |
//!     |                    +--Ask now and then  +--Promote--> Primary
//!     +--Resync (spec) ------------------------------^
//! ```

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::common::condition;
use lifeboat_api::replication::ReplicationState;
use lifeboat_drivers::{Capability, Force};

use ending::ending;
pub(crate) use grant::still_ordered;

use crate::view::{
    Backing, ClaimView, Class, DriverView, Grant, GroupHandle, GroupSource, HubRule, Life, Mark,
    Owner, Rule, SecretView, SourceView, VolumeView,
};

/// What to do next about a volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// Nothing until something changes.
    Leave,
    /// Nothing for this long.
    Wait(Duration),
    /// Write the status that could not be written.
    Rewrite,
    /// Say why nothing is done.
    Refuse(Refusal),
    /// Store the epoch that the hub granted, before acting on it.
    Accept,
    /// Put our marks on the VolumeReplication and its claim.
    Claim,
    /// Enable and promote.
    Promote(ForceRule),
    /// Demote; enable first a volume that we know nothing of.
    Demote { enable: Mark },
    /// Ask a secondary whether it is in step; demote again first if that is not confirmed.
    Check { demote: Mark, force: Force },
    /// Throw the local copy away and take the peer's.
    Resync { enable: Mark, force: Force },
    /// Note that the one forced resync of this request, epoch and number, is about to be sent.
    IssueResync { request: (i64, u32), enable: Mark },
    /// Say that it is not known whether the forced resync that was noted reached the driver.
    FailResync,
    /// Take away that an earlier request failed: a later one was answered.
    ForgetFailure,
    /// The role is right: bring the conditions up to date without a call.
    Refresh,
    /// Ask how replication goes.
    Ask,
    /// Stop replicating: the object is being deleted.
    Disable,
    /// Remove our marks; if the volume was given up without Disable, say why.
    Release { why: Option<String> },
    /// Deletion cannot go on; say why.
    Stuck { why: String },
}

/// When a promotion may be forced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ForceRule {
    /// As soon as the driver asks for it, as upstream does.
    WhenAsked,
    /// The hub granted force for this epoch.
    Granted,
    /// Not at this epoch.
    Denied { epoch: i64 },
}

/// Why nothing is done, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is wrong and what to do about it.
    pub(crate) text: String,
    /// Reason of the Warning event, if there is one.
    pub(crate) event: Option<&'static str>,
    /// When to look again, if no watch would tell.
    pub(crate) again: Option<Duration>,
}

impl Refusal {
    pub(crate) fn because(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            event: None,
            again: None,
        }
    }
}

/// A Secret is not watched: reading every Secret of a cluster is more than the agent should be able to do.
const SECRET_AGAIN: Duration = Duration::from_secs(2);

/// Refuses as long as the credentials cannot be used.
pub(crate) fn usable_secret(secret: &SecretView) -> Result<(), Refusal> {
    match secret {
        SecretView::Present(_) => Ok(()),
        SecretView::Unusable { why } => Err(Refusal {
            again: Some(SECRET_AGAIN),
            ..Refusal::because(why)
        }),
    }
}

/// Whether a driver is there and offers what is `needed`, in `words`; absent as long as it was not asked.
pub(crate) fn offers(
    driver: &DriverView,
    name: &str,
    needed: Capability,
    words: &str,
) -> Result<Mark, Refusal> {
    match driver {
        DriverView::Unknown => Ok(Mark::Absent),
        DriverView::Away { why } => Err(Refusal::because(format!(
            "driver {name} is not ready: {why}"
        ))),
        DriverView::Ready(all) if !all.contains(&needed) => Err(Refusal::because(format!(
            "driver {name} does not offer {words}"
        ))),
        DriverView::Ready(_) => Ok(Mark::There),
    }
}

/// Decides the next step for one volume.
pub(crate) fn decide(v: &VolumeView, now: Timestamp) -> Decision {
    if matches!(v.class, Class::Foreign) {
        return Decision::Leave;
    }
    if v.memory.unwritten.is_some() && v.life == Life::Living {
        return Decision::Rewrite;
    }
    match v.life {
        Life::Ending => ending(v, now),
        Life::Living => living(v, now).unwrap_or_else(Decision::Refuse),
    }
}

fn living(v: &VolumeView, now: Timestamp) -> Result<Decision, Refusal> {
    let class = match &v.class {
        Class::Foreign => return Ok(Decision::Leave),
        Class::Missing { name } => {
            return Err(Refusal::because(format!(
                "VolumeReplicationClass {name:?} does not exist; create it"
            )));
        }
        Class::Broken { why } => return Err(Refusal::because(why)),
        Class::Ours(class) => class,
    };
    if let Some(decision) = grant::granted(v, now)? {
        return Ok(decision);
    }
    usable_secret(&v.secret)?;
    if matches!(v.source, SourceView::Unread) {
        return Ok(Decision::Leave);
    }
    let source_marked = usable_source(v, &class.driver)?;
    let wait = |until: Option<Timestamp>| {
        until
            .filter(|until| *until > now)
            .map(|until| left(until, now))
    };
    let action = match v.wanted {
        ReplicationState::Primary => primary(v),
        ReplicationState::Secondary => secondary(v),
        ReplicationState::Resync => resync(v),
    };
    let marks = v.finalizer == Mark::There && source_marked == Mark::There;
    match action {
        Decision::Leave | Decision::Refresh => {
            return Ok(if marks { action } else { Decision::Claim });
        }
        Decision::Ask => {
            if let Some(wait) = wait(v.memory.next_info) {
                return Ok(Decision::Wait(wait));
            }
        }
        _ => {
            if let Some(wait) = wait(v.memory.not_before) {
                return Ok(Decision::Wait(wait));
            }
        }
    }
    // Steady roles stay as they are while a driver is away; the supervisor wakes us when it is back.
    if matches!(v.driver, DriverView::Away { .. }) && steady(v) {
        return Ok(Decision::Leave);
    }
    let needed = Capability::VolumeReplication;
    if offers(&v.driver, &class.driver, needed, "volume replication")? == Mark::Absent {
        return Ok(Decision::Leave);
    }
    if !marks {
        return Ok(Decision::Claim);
    }
    Ok(action)
}

/// Whether the volume has the role it should have, however well it does.
fn steady(v: &VolumeView) -> bool {
    match v.wanted {
        ReplicationState::Primary => state(v) == State::Primary,
        ReplicationState::Secondary | ReplicationState::Resync => state(v) == State::Secondary,
    }
}

/// The role that status claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Primary,
    Secondary,
    Unknown,
}

pub(crate) fn state(v: &VolumeView) -> State {
    match v.status.state.as_deref() {
        Some("Primary") => State::Primary,
        Some("Secondary") => State::Secondary,
        _ => State::Unknown,
    }
}

fn primary(v: &VolumeView) -> Decision {
    if state(v) != State::Primary {
        return Decision::Promote(force_rule(v));
    }
    let current = v.status.observed_generation == Some(v.generation);
    // One controller upstream leaves it so for ever, whatever became of the volume.
    let doubted = is(v, "Validated", "False");
    let well = is(v, "Completed", "True")
        && is(v, "Degraded", "False")
        && is(v, "Resyncing", "False")
        && !doubted;
    if current && well {
        Decision::Ask
    } else {
        Decision::Refresh
    }
}

fn force_rule(v: &VolumeView) -> ForceRule {
    match &v.rule {
        Rule::Upstream => ForceRule::WhenAsked,
        Rule::Hub(HubRule {
            epoch: Some(epoch),
            grant: Grant::Present(grant),
            ..
        }) if grant.force_epoch == Some(*epoch) => ForceRule::Granted,
        Rule::Hub(hub) => ForceRule::Denied {
            epoch: hub.epoch.unwrap_or_default(),
        },
    }
}

fn secondary(v: &VolumeView) -> Decision {
    match state(v) {
        State::Unknown => Decision::Demote {
            enable: Mark::There,
        },
        State::Primary => Decision::Demote {
            enable: Mark::Absent,
        },
        State::Secondary if in_step(v) => Decision::Leave,
        State::Secondary => {
            let confirmed =
                matches!(v.rule, Rule::Hub(_)) && v.memory.demoted == Some(v.generation);
            let force = match v.rule {
                Rule::Upstream => v.auto_resync,
                // A hub-managed secondary never throws data away; resync is asked for by name.
                Rule::Hub(_) => Force::No,
            };
            Decision::Check {
                demote: Mark::of(!confirmed),
                force,
            }
        }
    }
}

fn resync(v: &VolumeView) -> Decision {
    let syncing = is(v, "Resyncing", "True");
    let enable = Mark::of(state(v) == State::Unknown && !syncing);
    match &v.rule {
        Rule::Upstream if in_step(v) => Decision::Leave,
        Rule::Upstream => Decision::Resync {
            enable,
            force: Force::Yes,
        },
        Rule::Hub(HubRule {
            epoch: Some(epoch),
            resync_number,
            resync_issued,
            resync_failed,
            ..
        }) => {
            let request = (*epoch, *resync_number);
            if *resync_issued < Some(request) {
                return Decision::IssueResync { request, enable };
            }
            if in_step(v) {
                Decision::Leave
            } else if *resync_failed < *resync_issued && unanswered(v, *resync_failed, request) {
                if v.memory.answered == Some(request) {
                    Decision::ForgetFailure
                } else {
                    Decision::FailResync
                }
            } else {
                Decision::Resync {
                    enable: Mark::Absent,
                    force: Force::No,
                }
            }
        }
        // `grant::granted` refused it before.
        Rule::Hub(_) => Decision::Leave,
    }
}

/// Whether a forced resync was noted, and what became of it was not: the agent or its machine died in between. What an answer
/// leaves behind is the status of the generation that asked, and from the second request on, that the failure before it is
/// forgotten.
fn unanswered(v: &VolumeView, failed: Option<(i64, u32)>, (epoch, number): (i64, u32)) -> bool {
    match number {
        0 | 1 => v.status.observed_generation != Some(v.generation),
        _ => failed == Some((epoch, number - 1)),
    }
}

/// Whether this generation's secondary was found in step with its peer.
fn in_step(v: &VolumeView) -> bool {
    state(v) == State::Secondary
        && v.status.observed_generation == Some(v.generation)
        && is(v, "Completed", "True")
        && is(v, "Degraded", "False")
        && is(v, "Resyncing", "False")
}

fn is(v: &VolumeView, kind: &str, status: &str) -> bool {
    condition(&v.status.conditions, kind).is_some_and(|c| c.status == status)
}

fn left(until: Timestamp, now: Timestamp) -> Duration {
    until.duration_since(now).try_into().unwrap_or_default()
}

/// Whether the source carries our marks, if it can be used.
fn usable_source(v: &VolumeView, driver: &str) -> Result<Mark, Refusal> {
    match &v.source {
        SourceView::UnsupportedKind | SourceView::Unread => {
            Err(Refusal::because("unsupported datasource kind"))
        }
        SourceView::NoClaim { name } => Err(Refusal::because(format!(
            "PersistentVolumeClaim {name:?} does not exist"
        ))),
        SourceView::Claim(claim) => usable_claim(claim, driver),
        SourceView::NoGroup { name } => Err(Refusal::because(format!(
            "VolumeGroupReplication {name:?} does not exist"
        ))),
        SourceView::Group(group) => usable_group(group, driver),
    }
}

fn usable_claim(claim: &ClaimView, driver: &str) -> Result<Mark, Refusal> {
    let name = &claim.name;
    match &claim.owner {
        Owner::Nobody | Owner::Us => {}
        Owner::Other { name: owner } => {
            let text = format!(
                "PersistentVolumeClaim {name:?} is already replicated by VolumeReplication {owner:?}; delete one of the two"
            );
            return Err(Refusal::because(text));
        }
        Owner::Group { name: group } => {
            let text = format!(
                "PersistentVolumeClaim {name:?} is already replicated by VolumeGroupReplication {group:?}"
            );
            return Err(Refusal::because(text));
        }
    }
    if claim.life == Life::Ending && claim.finalizer == Mark::Absent {
        return Err(Refusal::because(format!(
            "PersistentVolumeClaim {name:?} is marked for deletion"
        )));
    }
    match backing_trouble(name, &claim.volume, driver) {
        Some(trouble) => Err(Refusal::because(trouble)),
        None => Ok(Mark::of(
            claim.finalizer == Mark::There && claim.owner == Owner::Us,
        )),
    }
}

/// What is wrong with the volume behind a claim, for a class of this driver.
pub(crate) fn backing_trouble(claim: &str, backing: &Backing, driver: &str) -> Option<String> {
    match backing {
        Backing::NotBound => Some(format!(
            "PersistentVolumeClaim {claim:?} is not bound to any PersistentVolume"
        )),
        Backing::NoVolume { name } => Some(format!("PersistentVolume {name:?} does not exist")),
        Backing::NotCsi { name } => Some(format!("PersistentVolume {name:?} is not a CSI volume")),
        Backing::Driver {
            name,
            driver: other,
        } => Some(format!(
            "PersistentVolume {name:?} is of driver {other}, the class is of driver {driver}"
        )),
        Backing::Handle(_) => None,
    }
}

fn usable_group(group: &GroupSource, driver: &str) -> Result<Mark, Refusal> {
    let name = &group.name;
    if let Owner::Other { name: owner } = &group.owner {
        return Err(Refusal::because(format!(
            "VolumeGroupReplication {name:?} is already replicated by VolumeReplication {owner:?}; delete one of the two"
        )));
    }
    match &group.handle {
        GroupHandle::Known(_) => Ok(group.marked),
        GroupHandle::Pending | GroupHandle::NoContent => Err(Refusal::because(format!(
            "the driver has not made the group of VolumeGroupReplication {name:?} yet; see its status"
        ))),
        GroupHandle::Driver(other) => Err(Refusal::because(format!(
            "VolumeGroupReplication {name:?} is of driver {other}, the class is of driver {driver}"
        ))),
    }
}

mod ending;
mod grant;
#[cfg(test)]
mod tests;
