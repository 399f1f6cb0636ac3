//! The status of a group: that of its VolumeReplication, and who is in it. Pure.

use lifeboat_api::group::{LocalRef, VolumeGroupReplicationStatus};

use super::view::GroupView;
use crate::outcome::Outcome;
use crate::status::{About, Subject, after};

/// The status of a group whose claims are these: role and conditions are those of its VolumeReplication as soon as that
/// has answered what is asked now.
pub(super) fn of(v: &GroupView, claims: Vec<String>) -> VolumeGroupReplicationStatus {
    let mut status = v.status.clone();
    let current = v.volume.facts.as_ref().and_then(|f| f.current.as_ref());
    if let Some(current) = current {
        status.replication = current.clone();
        // It speaks of this object here, not of the one that it was copied from.
        let generation = Some(v.generation);
        status.replication.observed_generation = generation;
        for condition in &mut status.replication.conditions {
            condition.observed_generation = generation;
        }
    }
    let mut claims = claims;
    claims.sort();
    status.persistent_volume_claims_ref_list =
        claims.into_iter().map(|name| LocalRef { name }).collect();
    status
}

/// The status of a group that something is wrong with.
pub(super) fn failed(
    v: &GroupView,
    outcome: &Outcome,
    now: jiff::Timestamp,
) -> VolumeGroupReplicationStatus {
    let about = About {
        subject: Subject::Group,
        generation: v.generation,
        wanted: v.wanted,
        begun: now,
        now,
    };
    VolumeGroupReplicationStatus {
        replication: after(&v.status.replication, outcome, about),
        persistent_volume_claims_ref_list: v.status.persistent_volume_claims_ref_list.clone(),
    }
}
