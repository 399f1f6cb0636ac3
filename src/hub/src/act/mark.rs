//! The placement's mark on objects: what carries another's is not touched.

use lifeboat_api::names;
use lifeboat_core::wait::Reason;
use serde_json::{Value, json};

use super::At;
use super::object::{Whose, name, text, version, whose};
use super::parts::{Part, refuse};

/// Refuses an object that another placement has marked.
pub(crate) fn check_free(at: &At<'_>, object: &Value) -> Part {
    match whose(object, &at.scope.uid) {
        Whose::Ours | Whose::Nobodys => Ok(()),
        Whose::Other(placement) => refuse(
            Reason::ClaimedByOther,
            format!(
                "{} {} on {} belongs to the placement {placement}",
                text(object, "/kind").unwrap_or("object"),
                name(object),
                at.remote.cluster()
            ),
            remedy(at, &placement),
        ),
    }
}

/// What to do about an object that carries the mark of another placement, or of an earlier one of the same name.
pub(crate) fn remedy(at: &At<'_>, placement: &str) -> String {
    if placement == at.scope.key.to_string() {
        return format!(
            "It was made for an earlier DRPlacement of that name. If that is gone for good, remove the label {}; if this is the same placement, make the DRPlacement again with the annotation {}.",
            names::PLACEMENT_UID,
            names::IDENTITY
        );
    }
    "Two placements cannot protect one volume: change the selector of one of them. If the other placement is gone, remove the label lifeboat.dev/placement-uid.".to_owned()
}

/// A patch that marks an object as ours, if it is still as it was read.
pub(crate) fn marking(at: &At<'_>, object: &Value) -> Value {
    json!({ "metadata": {
        "resourceVersion": version(object),
        "labels": { names::PLACEMENT_UID: at.scope.uid },
        "annotations": { names::PLACEMENT: at.scope.key.to_string() },
    } })
}

/// A patch that takes our marks off; `more` names further annotations.
pub(crate) fn unmarking(more: &[&str]) -> Value {
    let gone = |keys: &[&str]| {
        keys.iter()
            .map(|k| ((*k).to_owned(), Value::Null))
            .collect::<serde_json::Map<_, _>>()
    };
    let mut annotations = gone(&[names::PLACEMENT, names::RESTORED_EPOCH, names::NUDGE]);
    annotations.extend(gone(more));
    json!({ "metadata": { "labels": gone(&[names::PLACEMENT_UID]), "annotations": annotations } })
}
