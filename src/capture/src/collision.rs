//! Whether an object that is already on the target is ours to change.

use serde_json::Value;

use crate::names;
use crate::object::{describe, text};

/// Whose an existing object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collision {
    /// There is no such object.
    None,
    /// Made for this placement.
    Ours,
    /// Somebody else's: it must not be changed, and the move must not go on over it.
    Foreign {
        /// What it is and why it is not ours.
        why: String,
    },
}

/// Whether `existing` (null: no such object) was made for this placement. Only the mark counts: a likeness in name or
/// content proves nothing, and adopting the wrong `PersistentVolume` hands one application's data to another.
pub fn collides(existing: &Value, placement_uid: &str) -> Collision {
    if existing.is_null() {
        return Collision::None;
    }
    let mark = existing
        .pointer("/metadata/labels")
        .and_then(|l| l.get(names::PLACEMENT_UID))
        .and_then(Value::as_str);
    match mark {
        Some(uid) if uid == placement_uid && !uid.is_empty() => Collision::Ours,
        Some(uid) => Collision::Foreign {
            why: format!(
                "{} belongs to the placement with uid {uid}",
                describe(existing)
            ),
        },
        None => Collision::Foreign {
            why: format!(
                "{} exists and was not made by a restore of this placement",
                describe(existing)
            ),
        },
    }
}

/// A field in which an existing `PersistentVolume` differs from the one wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: &'static str,
    /// What it is.
    pub existing: String,
    /// What it should be.
    pub wanted: String,
}

/// The first difference that makes an existing `PersistentVolume` another volume than the wanted one: driver, handle
/// or claim. These cannot be changed in place, so such a volume must be replaced, not adopted.
pub fn volume_differs(existing: &Value, wanted: &Value) -> Option<Difference> {
    const FIELDS: [&str; 4] = [
        "/spec/csi/driver",
        "/spec/csi/volumeHandle",
        "/spec/claimRef/namespace",
        "/spec/claimRef/name",
    ];
    FIELDS.into_iter().find_map(|field| {
        let (existing, wanted) = (
            text(existing, field).unwrap_or_default(),
            text(wanted, field).unwrap_or_default(),
        );
        (existing != wanted).then(|| Difference {
            field,
            existing: existing.to_owned(),
            wanted: wanted.to_owned(),
        })
    })
}
