//! The status after a step, as consumers of the CSI-Addons controllers know it. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::common::{set_condition, to_time};
use lifeboat_api::replication::{ReplicationState, VolumeReplicationStatus};
use lifeboat_drivers::{Health, Info};

use crate::outcome::{Aim, Failed, NotTold, Outcome, Prerequisite};
use crate::schedule::go_duration;
use crate::view::SourceView;

/// What a status speaks of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) subject: Subject,
    pub(crate) generation: i64,
    pub(crate) wanted: ReplicationState,
    /// When the step began.
    pub(crate) begun: Timestamp,
    pub(crate) now: Timestamp,
}

/// What conditions speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Volume,
    Group,
}

impl Subject {
    pub(crate) fn of(source: &SourceView) -> Self {
        match source {
            SourceView::Group(_) | SourceView::NoGroup { .. } => Self::Group,
            SourceView::UnsupportedKind
            | SourceView::Unread
            | SourceView::NoClaim { .. }
            | SourceView::Claim(_) => Self::Volume,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Group => "volume group",
        }
    }
}

/// The status after `outcome`. Every condition that stays speaks of this generation.
pub(crate) fn after(
    old: &VolumeReplicationStatus,
    outcome: &Outcome,
    about: About,
) -> VolumeReplicationStatus {
    let mut next = Next {
        status: old.clone(),
        about,
    };
    match outcome {
        Outcome::Promoted => next.promoted(),
        Outcome::Demoted => next.demoted(),
        Outcome::InStep => next.in_step(),
        Outcome::NotInStep => next.not_in_step(),
        Outcome::Failed(failed) => next.failed(failed),
        Outcome::Refused(text) => next.failed_for(Aim::of(about.wanted), text, text),
        Outcome::Refreshed => next.primary(),
        Outcome::Told(info) => next.told(info),
        Outcome::NotTold(why) => next.not_told(why),
        Outcome::Destination(found) => next.destination(found),
        // Conditions are left as they are: whoever reads them must not take a deletion for a role.
        Outcome::Stuck(why) => {
            next.status.message = Some(why.clone());
            return next.status;
        }
    }
    next.finish()
}

struct Next {
    status: VolumeReplicationStatus,
    about: About,
}

impl Next {
    /// `message` follows the words `volume` or `volume group`.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let message = format!("{} {message}", self.about.subject.as_str());
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.about.generation),
            last_transition_time: to_time(self.about.now),
        };
        set_condition(&mut self.status.conditions, condition);
    }

    fn drop(&mut self, kind: &str) {
        self.status.conditions.retain(|c| c.type_ != kind);
    }

    fn has(&self, kind: &str) -> bool {
        self.status.conditions.iter().any(|c| c.type_ == kind)
    }

    /// Conditions that only some drivers bring are kept, and speak of this generation too: a consumer that compares
    /// generations would otherwise wait for ever.
    fn finish(mut self) -> VolumeReplicationStatus {
        let generation = Some(self.about.generation);
        self.status.observed_generation = generation;
        for condition in &mut self.status.conditions {
            condition.observed_generation = generation;
        }
        if self.status.state.as_deref().unwrap_or_default().is_empty() {
            self.status.state = Some("Unknown".to_owned());
        }
        self.status
    }

    fn begin(&mut self) {
        self.status.last_start_time = Some(to_time(self.about.begun));
    }

    fn complete(&mut self) {
        self.status.last_completion_time = Some(to_time(self.about.now));
    }

    fn promoted(&mut self) {
        self.begin();
        self.complete();
        self.status.state = Some("Primary".to_owned());
        self.primary();
    }

    fn primary(&mut self) {
        self.status.message = Some("volume is marked primary".to_owned());
        self.set(
            "Completed",
            "True",
            "Promoted",
            "is promoted to primary and replicating to secondary",
        );
        self.set("Degraded", "False", "Healthy", "is healthy");
        self.set("Resyncing", "False", "NotResyncing", "is not resyncing");
        // Said once that it is not met, it must be said that it is: consumers wait for it.
        if self.has("Validated") {
            self.set(
                "Validated",
                "True",
                "PrerequisiteMet",
                "prerequisites are met",
            );
        }
    }

    fn demoted(&mut self) {
        self.begin();
        self.status.state = Some("Secondary".to_owned());
        self.status.message = Some("volume is marked secondary and is degraded".to_owned());
        self.set("Completed", "True", "Demoted", "is demoted to secondary");
        self.set("Degraded", "True", "VolumeDegraded", "is degraded");
        self.set("Resyncing", "False", "NotResyncing", "is not resyncing");
    }

    fn not_in_step(&mut self) {
        self.status.message = Some("volume is degraded".to_owned());
        self.set("Completed", "True", "Demoted", "is demoted to secondary");
        self.set("Degraded", "True", "VolumeDegraded", "is degraded");
        let text = "is resyncing changes from primary to secondary";
        self.set("Resyncing", "True", "ResyncTriggered", text);
        self.drop("Replicating");
    }

    fn in_step(&mut self) {
        self.complete();
        self.status.state = Some("Secondary".to_owned());
        let message = match self.about.wanted {
            ReplicationState::Resync => "volume is marked for resyncing",
            ReplicationState::Primary | ReplicationState::Secondary => "volume is marked secondary",
        };
        self.status.message = Some(message.to_owned());
        self.set("Completed", "True", "Demoted", "is demoted to secondary");
        self.set("Degraded", "False", "Healthy", "is healthy");
        self.set("Resyncing", "False", "NotResyncing", "is not resyncing");
        self.drop("Replicating");
        // What a primary knew of its copies says nothing about a secondary.
        self.status.last_sync_time = None;
        self.status.last_sync_duration = None;
        self.status.last_sync_bytes = None;
    }

    fn failed(&mut self, failed: &Failed) {
        self.failed_for(failed.aim, &failed.text, &failed.message);
        if failed.aim == Aim::Promote {
            match failed.prerequisite {
                Prerequisite::Met => self.set(
                    "Validated",
                    "True",
                    "PrerequisiteMet",
                    "prerequisites are met",
                ),
                Prerequisite::NotMet => {
                    let text = format!("prerequisites are not met: {}", failed.text);
                    self.set("Validated", "False", "PrerequisiteNotMet", &text);
                }
            }
        }
    }

    fn failed_for(&mut self, aim: Aim, text: &str, message: &str) {
        self.status.message = Some(message.to_owned());
        let why = format!("failed to {}: {text}", aim.verb());
        self.set("Completed", "False", aim.reason(), &why);
        self.set("Degraded", "True", "Error", "is degraded");
        match aim {
            Aim::Promote | Aim::Demote => {
                self.set("Resyncing", "False", "NotResyncing", "is not resyncing");
            }
            Aim::Resync => self.set("Resyncing", "False", "FailedToResync", &why),
        }
    }

    fn told(&mut self, info: &Info) {
        if let Some(at) = info.last_sync {
            self.status.last_sync_time = Some(to_time(at));
        }
        if let Some(duration) = info.duration {
            self.status.last_sync_duration = Some(go_duration(duration));
        }
        if let Some(bytes) = info.bytes {
            self.status.last_sync_bytes = Some(bytes);
        }
        let words = &info.message;
        match info.health {
            Health::Healthy => {
                self.set(
                    "Replicating",
                    "True",
                    "Replicating",
                    &format!("is replicating: {words}"),
                );
            }
            Health::Degraded | Health::Error => {
                self.set(
                    "Replicating",
                    "False",
                    "NotReplicating",
                    &format!("is not replicating: {words}"),
                );
            }
            Health::Unknown => {
                let text = format!("replication status is unknown: {words}");
                self.set("Replicating", "Unknown", "Replicating", &text);
            }
        }
    }

    fn not_told(&mut self, why: &NotTold) {
        match why {
            NotTold::NotOffered => self.drop("Replicating"),
            NotTold::Nothing => {}
            NotTold::Failed(text) => {
                let text = format!("replication status is unknown: {text}");
                self.set("Replicating", "Unknown", "Replicating", &text);
            }
        }
    }

    fn destination(&mut self, found: &Result<Option<String>, String>) {
        let kind = "DestinationInfoAvailable";
        match found {
            Ok(Some(handle)) => {
                self.status.destination_volume_id = Some(handle.clone());
                self.set(
                    kind,
                    "True",
                    "DestinationInfoUpdated",
                    "destination is known",
                );
            }
            Ok(None) => self.set(
                kind,
                "False",
                "DestinationInfoPending",
                "destination is not known yet",
            ),
            Err(text) => {
                let text = format!("destination is not known: {text}");
                self.set(kind, "False", "FailedToGetDestinationInfo", &text);
            }
        }
    }
}

#[cfg(test)]
mod tests;
