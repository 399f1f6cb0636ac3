//! Which volumes are in a group. Pure.

use crate::decide::{Refusal, backing_trouble};
use crate::view::{Backing, Life, Mark, Owner};

use super::view::{GroupView, Member};

/// A volume that is in a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Volume {
    pub(super) handle: String,
    pub(super) pv: String,
    pub(super) claim: String,
}

/// The claims that count: one that is going and was never taken is left out.
pub(super) fn counted(v: &GroupView) -> Result<impl Iterator<Item = &Member>, Refusal> {
    let members = v.members.as_ref().map_err(Refusal::because)?;
    Ok(members
        .iter()
        .filter(|m| m.life == Life::Living || m.finalizer == Mark::There))
}

/// The volumes of a group in the order of their handles, or the first reason why there are none.
pub(super) fn volumes(v: &GroupView, driver: &str) -> Result<Vec<Volume>, Refusal> {
    let members: Vec<&Member> = counted(v)?.collect();
    if members.len() > v.most {
        return Err(Refusal::because(format!(
            "the selector matches {} PersistentVolumeClaims, and a group may have {}; narrow the selector",
            members.len(),
            v.most
        )));
    }
    let mut volumes = Vec::new();
    for member in members {
        volumes.push(volume(member, driver)?);
    }
    volumes.sort();
    Ok(volumes)
}

fn volume(member: &Member, driver: &str) -> Result<Volume, Refusal> {
    let name = &member.claim;
    let other = match &member.owner {
        Owner::Nobody | Owner::Us => None,
        Owner::Other { name } => Some(format!("VolumeReplication {name:?}")),
        Owner::Group { name } => Some(format!("VolumeGroupReplication {name:?}")),
    };
    if let Some(other) = other {
        return Err(Refusal::because(format!(
            "PersistentVolumeClaim {name:?} is already replicated by {other}; delete one of the two, or take the claim out of the selector"
        )));
    }
    match (
        backing_trouble(name, &member.volume, driver),
        &member.volume,
    ) {
        (None, Backing::Handle(handle)) => Ok(Volume {
            handle: handle.clone(),
            pv: member.pv.clone(),
            claim: name.clone(),
        }),
        (trouble, _) => Err(Refusal::because(trouble.unwrap_or_default())),
    }
}

/// Whether every claim that counts carries our marks.
pub(super) fn all_marked(v: &GroupView) -> Result<bool, Refusal> {
    Ok(counted(v)?.all(|m| m.finalizer == Mark::There && m.owner == Owner::Us))
}
