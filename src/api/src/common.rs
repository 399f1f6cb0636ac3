//! Pieces that several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name of an object in a known place.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One storage driver, as the agent of a cluster sees it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverState {
    /// Name of the driver, as StorageClasses and VolumeReplicationClasses name it.
    pub name: String,
    /// Whether the driver answers and offers volume replication: Ready, NotReady or Unknown.
    pub state: String,
    /// What is wrong, when it is not ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it offers, such as `volume_replication.VOLUME_REPLICATION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Who works its volumes, where the agent does not: Upstream. Absent: the agent does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left_to: String,
}

/// Of what a driver offers: it says whether a copy is complete, before that is promoted by force.
pub const COPY_STATE: &str = "CopyState";

/// Of what a driver offers: it makes independent copies of what a resync would throw away, and its agent knows to ask for them.
pub const SALVAGE: &str = "Salvage";

/// Takes the description off an enum's schema: in an optional field it would replace the field's own, which is what
/// `kubectl explain` should print.
pub(crate) fn let_the_field_speak(schema: &mut schemars::Schema) {
    schema.remove("description");
}

/// Sets one condition in a list: replaces the one of its type, and keeps its transition time unless the status changes.
pub fn set_condition(conditions: &mut Vec<Condition>, new: Condition) {
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old) => {
            let since = if old.status == new.status {
                old.last_transition_time.clone()
            } else {
                new.last_transition_time.clone()
            };
            *old = new;
            old.last_transition_time = since;
        }
        None => conditions.push(new),
    }
}

/// The condition of that type, if it is there.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// A time as the API writes it: seconds, UTC.
pub fn to_time(at: jiff::Timestamp) -> Time {
    let whole = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    Time(whole)
}
