//! What stops, takes away or starts anything is not done where a newer owner is recorded. Another hub may have moved the
//! placement on while this one was slow, and what a step was to clean up may be what the present owner runs on.

use futures::FutureExt;
use lifeboat_api::names;
use lifeboat_core::{Epoch, Step};
use serde_json::Value;

use super::kinds::Kind;
use super::object::{annotation, name, text};
use super::parts::{Part, Pending, Trouble, gather};
use super::remote::Place;
use super::{At, stale};

/// Refuses a step for which a later epoch is recorded on its cluster. One read for each protected namespace, however many
/// volumes there are.
pub(crate) async fn none_recorded(at: &At<'_>, step: &Step) -> Part {
    let Some(epoch) = planned_in(at, step) else {
        return Ok(());
    };
    let namespaces = at.scope.namespaces.iter();
    let parts: Vec<Pending<'_>> = namespaces
        .map(|home| {
            let part = none_recorded_in(at, at.namespace(home), epoch);
            (home.clone(), part.boxed())
        })
        .collect();
    gather(parts).await.map(drop)
}

/// The epoch that a step was planned in, if it must not be done in a later one. The others take nothing away, or write an
/// epoch that is compared with what is there.
fn planned_in(at: &At<'_>, step: &Step) -> Option<Epoch> {
    match step {
        Step::Quiesce { .. }
        | Step::Resume { .. }
        | Step::RemoveWorkloads { .. }
        | Step::Release { .. }
        | Step::RemoveClaims { .. }
        | Step::Unprotect { .. } => Some(at.scope.epoch),
        Step::Start { epoch, .. } => Some(*epoch),
        Step::Record { .. }
        | Step::Retain { .. }
        | Step::Replicate { .. }
        | Step::Resync { .. }
        | Step::Capture { .. }
        | Step::Restore { .. }
        | Step::Nudge { .. }
        | Step::LetGo { .. }
        | Step::Forget { .. }
        | Step::Finish => None,
    }
}

async fn none_recorded_in(at: &At<'_>, namespace: String, epoch: Epoch) -> Part {
    let place = Place::new(Kind::Ownership, &namespace, &at.scope.ownership);
    let Some(record) = at.remote.get(place).await? else {
        return Ok(());
    };
    if text(&record, "/spec/placementUID") != Some(at.scope.uid.as_str()) {
        return Ok(());
    }
    // One that was copied from another cluster counts too, as it does for the planner: somebody has gone on.
    match record.pointer("/spec/epoch").and_then(Value::as_i64) {
        Some(recorded) if recorded > epoch.0 => {
            let owner = text(&record, "/spec/owner").unwrap_or("nobody");
            let seen = format!("{owner} at epoch {recorded}, and this was begun at epoch {epoch}");
            Err(refusal(at, &seen))
        }
        _ => Ok(()),
    }
}

/// Refuses a replication or a workload that was written at a later epoch than this hub knows: since the record was read,
/// a slow cluster may have been given to another owner.
pub(crate) fn not_written_since(at: &At<'_>, object: &Value) -> Part {
    let written = [names::EPOCH, names::RESTORED_EPOCH]
        .into_iter()
        .find_map(|key| annotation(object, key)?.parse::<i64>().ok());
    match written {
        Some(newer) if newer > at.scope.epoch.0 => {
            let kind = text(object, "/kind").unwrap_or("object");
            let seen = format!(
                "{kind} {} was written at epoch {newer}, this is epoch {}",
                name(object),
                at.scope.epoch
            );
            Err(refusal(at, &seen))
        }
        _ => Ok(()),
    }
}

fn refusal(at: &At<'_>, seen: &str) -> Trouble {
    let placement = at.scope.key.to_string();
    Trouble::Refused(stale(at.remote.cluster(), &placement, seen))
}
