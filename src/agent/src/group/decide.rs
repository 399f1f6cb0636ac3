//! What to do about a group. Pure: no clock, no I/O; the same view gives the same decision.
//!
//! ```text
//!  Mark --> Record (content) --> Create --> Follow (VolumeReplication) --> Report, now and then
//!                 ^                |
//!                 +---- Modify <---+   a claim joins or leaves; who leaves is freed after the driver knows
//!
//!  deletion: Stop (VolumeReplication) --> Dissolve (no members, then no group) --> Discard (content) --> Release
//! ```

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::group::VolumeGroupReplicationStatus;
use lifeboat_drivers::Capability;

use super::members::{self, Volume};
use super::status;
use super::view::{ContentFacts, GroupView, Server};
use crate::decide::{Refusal, offers, usable_secret};
use crate::view::{Class, ClassFacts, DriverView, Life, Mark, SecretView};

/// What to do next about a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Nothing until something changes.
    Leave,
    /// Nothing for this long.
    Wait(Duration),
    /// Say why nothing is done.
    Refuse(Refusal),
    /// Put our marks on the group and its claims.
    Mark,
    /// Write down which volumes shall be in the group, before the driver is told.
    Record(Vec<Volume>),
    /// Have the driver make the group.
    Create(Vec<Volume>),
    /// Tell the driver who is in the group now.
    Modify {
        handle: String,
        volumes: Vec<Volume>,
    },
    /// Let go of claims that left.
    Free(Vec<String>),
    /// Ask for the group's role.
    Follow,
    /// Say how the group does.
    Report(VolumeGroupReplicationStatus),
    /// Delete the VolumeReplication.
    Stop,
    /// Have the driver take the group apart.
    Dissolve { handle: String },
    /// Delete the content.
    Discard,
    /// Remove our marks: claims first, the group last.
    Release,
    /// Deletion cannot go on; say why.
    Stuck { why: String },
}

/// Decides the next step for one group.
pub(super) fn decide(v: &GroupView, now: Timestamp) -> Decision {
    if v.server == Server::Another || matches!(v.class, Class::Foreign) {
        return Decision::Leave;
    }
    match v.life {
        Life::Ending => ending(v, now),
        Life::Living => living(v, now).unwrap_or_else(Decision::Refuse),
    }
}

fn living(v: &GroupView, now: Timestamp) -> Result<Decision, Refusal> {
    let class = match &v.class {
        Class::Foreign => return Ok(Decision::Leave),
        Class::Missing { name } => {
            return Err(Refusal::because(format!(
                "VolumeGroupReplicationClass {name:?} does not exist; create it"
            )));
        }
        Class::Broken { why } => return Err(Refusal::because(why)),
        Class::Ours(class) => class,
    };
    // A change of role is passed on whatever became of the membership: a claim that cannot join must not hold back a
    // failover of those that are in.
    if let Some(volume) = &v.volume.facts
        && volume.life == Life::Living
        && volume.follows == Mark::Absent
        && handle(v).is_some()
        && v.volume_class.is_some()
    {
        return Ok(Decision::Follow);
    }
    usable_secret(&v.secret)?;
    let volumes = members::volumes(v, &class.driver)?;
    usable(v, &volumes)?;
    let handles: Vec<String> = volumes.iter().map(|m| m.handle.clone()).collect();
    let content = v.content.facts.as_ref();
    let settled = handle(v).is_some() && content.is_some_and(|c| c.told == handles);
    if let Some(decision) = driver_trouble(v, class, settled)? {
        return Ok(decision);
    }
    if v.finalizer == Mark::Absent || v.named == Mark::Absent || !members::all_marked(v)? {
        return Ok(Decision::Mark);
    }
    if !content.is_some_and(|c| c.marked && c.recorded == handles) {
        return Ok(Decision::Record(volumes));
    }
    if !settled {
        let call = match handle(v) {
            None => Decision::Create(volumes),
            Some(handle) => Decision::Modify {
                handle: handle.to_owned(),
                volumes,
            },
        };
        return Ok(v.tries.wait(now).map_or(call, Decision::Wait));
    }
    if !v.leavers.is_empty() {
        return Ok(Decision::Free(v.leavers.clone()));
    }
    let wanted = status::of(v, volumes.iter().map(|m| m.claim.clone()).collect());
    Ok(match &v.volume.facts {
        None => Decision::Follow,
        Some(_) if wanted != v.status => Decision::Report(wanted),
        Some(_) => Decision::Leave,
    })
}

fn handle(v: &GroupView) -> Option<&str> {
    v.content.facts.as_ref()?.handle.as_deref()
}

/// Whether a group can be made of what there is.
fn usable(v: &GroupView, volumes: &[Volume]) -> Result<(), Refusal> {
    if v.volume_class.is_none() {
        return Err(Refusal::because(
            "spec.volumeReplicationClassName is not set, so it is not known how the group is replicated; set it",
        ));
    }
    match &v.content.facts {
        None if volumes.is_empty() => Err(Refusal::because(
            "the selector matches no PersistentVolumeClaim in this namespace",
        )),
        Some(ContentFacts {
            of_another: Some(other),
            ..
        }) => Err(Refusal::because(format!(
            "VolumeGroupReplicationContent {:?} belongs to {other}",
            v.content.name
        ))),
        Some(content) if content.ending => Err(Refusal::because(format!(
            "VolumeGroupReplicationContent {:?} is being deleted; it goes when this VolumeGroupReplication is deleted",
            v.content.name
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Whether the driver can do what is needed: nothing, for a group that is as it should be.
fn driver_trouble(
    v: &GroupView,
    class: &ClassFacts,
    settled: bool,
) -> Result<Option<Decision>, Refusal> {
    let needed = if handle(v).is_some() {
        Capability::ModifyVolumeGroup
    } else {
        Capability::VolumeGroup
    };
    if settled && v.driver != DriverView::Unknown {
        return Ok(None);
    }
    let offered = offers(&v.driver, &class.driver, needed, needed.as_str())?;
    Ok((offered == Mark::Absent).then_some(Decision::Leave))
}

fn ending(v: &GroupView, now: Timestamp) -> Decision {
    if v.finalizer == Mark::Absent {
        return Decision::Leave;
    }
    if let Some(volume) = &v.volume.facts {
        return match (volume.life, &volume.trouble) {
            (Life::Living, _) => Decision::Stop,
            (Life::Ending, None) => Decision::Leave,
            (Life::Ending, Some(why)) => Decision::Stuck {
                why: format!("VolumeReplication {:?}: {why}", v.volume.name),
            },
        };
    }
    let handle = match &v.content.facts {
        None
        | Some(ContentFacts {
            of_another: Some(_),
            ..
        }) => return Decision::Release,
        Some(content) => match &content.handle {
            None => return Decision::Discard,
            Some(handle) => handle.clone(),
        },
    };
    let class = match &v.class {
        Class::Ours(class) => class,
        Class::Foreign => return Decision::Leave,
        Class::Missing { name } => {
            let why = format!(
                "VolumeGroupReplicationClass {name:?} does not exist, so the driver's credentials are not known; create it again"
            );
            return Decision::Stuck { why };
        }
        Class::Broken { why } => return Decision::Stuck { why: why.clone() },
    };
    match (&v.secret, &v.driver) {
        (SecretView::Unusable { why }, _) => Decision::Stuck { why: why.clone() },
        (SecretView::Present(_), DriverView::Unknown) => Decision::Leave,
        (SecretView::Present(_), DriverView::Away { why }) => Decision::Stuck {
            why: format!("driver {} is not ready: {why}", class.driver),
        },
        (SecretView::Present(_), DriverView::Ready(_)) => v
            .tries
            .wait(now)
            .map_or(Decision::Dissolve { handle }, Decision::Wait),
    }
}

#[cfg(test)]
mod tests;
