//! What to do about a volume whose VolumeReplication is being deleted.

use jiff::Timestamp;

use super::{Decision, left};
use crate::view::{
    Backing, ClaimView, Class, DriverView, Grant, GroupHandle, HubRule, Mark, Owner, Rule,
    SecretView, SourceView, VolumeView,
};

pub(super) fn ending(v: &VolumeView, now: Timestamp) -> Decision {
    if v.finalizer == Mark::Absent || matches!(v.class, Class::Foreign) {
        return Decision::Leave;
    }
    if let Rule::Hub(hub) = &v.rule
        && let Some(released) = kept_on(v, hub)
    {
        return released;
    }
    let let_go = match &v.source {
        SourceView::Unread => return Decision::Leave,
        SourceView::UnsupportedKind => Some(None),
        SourceView::NoClaim { name } => Some(Some(format!(
            "PersistentVolumeClaim {name:?} is gone, and with it the volume's handle: let go without Disable"
        ))),
        SourceView::NoGroup { name } => Some(Some(format!(
            "VolumeGroupReplication {name:?} is gone, and with it the group's handle: let go without Disable"
        ))),
        SourceView::Claim(claim) => not_ours_to_stop(claim).then_some(None),
        SourceView::Group(group) => match (&group.owner, group.marked, &group.handle) {
            (Owner::Us, Mark::There, GroupHandle::Known(_) | GroupHandle::Driver(_)) => None,
            // No call was made for it, or there is nothing left to make one for.
            _ => Some(None),
        },
    };
    if let Some(why) = let_go {
        return Decision::Release { why };
    }
    let class = match &v.class {
        Class::Ours(class) => class,
        Class::Foreign => return Decision::Leave,
        Class::Missing { name } => {
            let why = format!(
                "VolumeReplicationClass {name:?} does not exist, so the driver is not known; create it again"
            );
            return Decision::Stuck { why };
        }
        Class::Broken { why } => return Decision::Stuck { why: why.clone() },
    };
    let blocked = match (&v.secret, no_handle(v, &class.driver), &v.driver) {
        (SecretView::Unusable { why }, _, _) => Some(why.clone()),
        (_, Some(why), _) => Some(why),
        (_, None, DriverView::Ready(_)) => None,
        (_, None, DriverView::Unknown) => return Decision::Leave,
        (_, None, DriverView::Away { why }) => {
            Some(format!("driver {} is not ready: {why}", class.driver))
        }
    };
    if let Some(why) = blocked {
        return Decision::Stuck { why };
    }
    match v.memory.not_before {
        Some(until) if until > now => Decision::Wait(left(until, now)),
        _ => Decision::Disable,
    }
}

/// Letting go of a hub-managed volume that is not to be switched off: to disable removes the peer's image, and the
/// object may be gone by accident. It is quiet where another cluster owns the volume: the hub tidies up there.
fn kept_on(v: &VolumeView, hub: &HubRule) -> Option<Decision> {
    match (&hub.grant, hub.disable) {
        // It may be another cluster's.
        (Grant::Unread, Mark::There) => Some(Decision::Leave),
        // What brought the record here brought the word to switch off, too.
        (Grant::Foreign { name, why }, _) => {
            let why = format!("DROwnership {name:?} is of another cluster: {why}");
            Some(Decision::Release { why: Some(why) })
        }
        (Grant::Present(grant), _) if grant.owner != grant.cluster => {
            Some(Decision::Release { why: None })
        }
        (_, Mark::There) => None,
        (_, Mark::Absent) => {
            let why = format!(
                "replication of {} is left on: nobody asked to switch it off; to end it, take the claim out of its DRPlacement, or delete that",
                v.key
            );
            Some(Decision::Release { why: Some(why) })
        }
    }
}

/// Whether a claim is not ours to stop: no call was made for it, or its owner goes on replicating it.
fn not_ours_to_stop(claim: &ClaimView) -> bool {
    match &claim.owner {
        Owner::Us => false,
        // An older controller marks the claim with its finalizer alone.
        Owner::Nobody => claim.finalizer == Mark::Absent,
        Owner::Other { .. } | Owner::Group { .. } => true,
    }
}

/// Why there is no handle to name to the driver.
fn no_handle(v: &VolumeView, driver: &str) -> Option<String> {
    match &v.source {
        SourceView::Claim(claim) => match &claim.volume {
            Backing::Handle(_) => None,
            Backing::NotBound => Some(format!(
                "PersistentVolumeClaim {:?} is not bound",
                claim.name
            )),
            Backing::NoVolume { name }
            | Backing::NotCsi { name }
            | Backing::Driver { name, .. } => Some(format!(
                "PersistentVolume {name:?} does not exist, or is not of driver {driver}"
            )),
        },
        SourceView::Group(group) => match &group.handle {
            GroupHandle::Known(_) => None,
            GroupHandle::NoContent | GroupHandle::Pending | GroupHandle::Driver(_) => {
                Some(format!(
                    "VolumeGroupReplicationContent {:?} does not exist, or is not of driver {driver}",
                    group.content
                ))
            }
        },
        SourceView::UnsupportedKind
        | SourceView::Unread
        | SourceView::NoClaim { .. }
        | SourceView::NoGroup { .. } => Some("what it replicates is not known".to_owned()),
    }
}
