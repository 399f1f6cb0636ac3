//! What the stand-in says in a status, word for word as the controllers do.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::DynamicObject;
use lifeboat_proto::replication::{
    GetVolumeReplicationInfoResponse, get_volume_replication_info_response::Status as Health,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{Kind, text};

/// After the first demotion, and after any failure of a secondary.
pub(super) const AFTER_DEMOTE: Duration = Duration::from_secs(15);
/// While a copy is not in step.
pub(super) const RESYNC: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Promote,
    Demote,
    Resync,
}

impl Aim {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Promote => ("FailedToPromote", "failed to promote"),
            Self::Demote => ("FailedToDemote", "failed to demote"),
            Self::Resync => ("FailedToResync", "failed to resync"),
        }
    }
}

/// A status that is being written.
pub(super) struct Told {
    kind: Kind,
    aim: Aim,
    generation: Option<i64>,
    now: Timestamp,
    status: Value,
}

impl Told {
    pub(super) fn new(kind: Kind, vr: &DynamicObject, now: Timestamp) -> Self {
        let mut status = vr.data.get("status").cloned().unwrap_or_else(|| json!({}));
        let aim = match text(&vr.data, "/spec/replicationState").as_str() {
            "primary" => Aim::Promote,
            "secondary" => Aim::Demote,
            _ => Aim::Resync,
        };
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        // The older one keeps the very first time, the newer one never stores it.
        if kind == Kind::Operator && status.get("lastStartTime").is_none() {
            status["lastStartTime"] = json!(second);
        }
        let generation = vr.metadata.generation;
        Self {
            kind,
            aim,
            generation,
            now: second,
            status,
        }
    }

    pub(super) fn aim(&self) -> Aim {
        self.aim
    }

    pub(super) fn state(&self) -> String {
        text(&self.status, "/state")
    }

    /// As it is stored for an object of this generation.
    pub(super) fn status(mut self, generation: Option<i64>) -> Value {
        if self.state().is_empty() {
            self.status["state"] = json!("Unknown");
        }
        self.status["observedGeneration"] = json!(generation);
        let all = self
            .status
            .get_mut("conditions")
            .and_then(Value::as_array_mut);
        // The marks may have moved the generation within the pass.
        for condition in all.into_iter().flatten() {
            if condition["observedGeneration"] == json!(self.generation) {
                condition["observedGeneration"] = json!(generation);
            }
        }
        self.status
    }

    fn set(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let message = match self.kind {
            Kind::Operator => String::new(),
            Kind::Addons => format!("volume {message}"),
        };
        let mut since = json!(self.now);
        let mut all = match self.status.get_mut("conditions").map(Value::take) {
            Some(Value::Array(all)) => all,
            Some(_) | None => Vec::new(),
        };
        let place = all.iter().position(|c| c["type"] == name);
        if let Some(old) = place.and_then(|i| all.get(i))
            && old["status"] == status
        {
            since = old["lastTransitionTime"].clone();
        }
        let condition = json!({
            "type": name, "status": status, "reason": reason, "message": message,
            "observedGeneration": self.generation, "lastTransitionTime": since,
        });
        match place.and_then(|i| all.get_mut(i)) {
            Some(old) => *old = condition,
            None => all.push(condition),
        }
        self.status["conditions"] = Value::Array(all);
    }

    fn three(&mut self, completed: [&str; 3], degraded: [&str; 3], resyncing: [&str; 3]) {
        for (name, [status, reason, message]) in [
            ("Completed", completed),
            ("Degraded", degraded),
            ("Resyncing", resyncing),
        ] {
            self.set(name, status, reason, message);
        }
    }

    fn drop(&mut self, name: &str) {
        if let Some(all) = self
            .status
            .get_mut("conditions")
            .and_then(Value::as_array_mut)
        {
            all.retain(|c| c["type"] != name);
        }
    }

    fn say(&mut self, state: Option<&str>, message: &str) {
        if let Some(state) = state {
            self.status["state"] = json!(state);
        }
        self.status["message"] = json!(message);
    }

    fn complete(&mut self) {
        self.status["lastCompletionTime"] = json!(self.now);
    }

    pub(super) fn promoted(&mut self) {
        self.say(Some("Primary"), "volume is marked primary");
        self.three(
            [
                "True",
                "Promoted",
                "is promoted to primary and replicating to secondary",
            ],
            ["False", "Healthy", "is healthy"],
            ["False", "NotResyncing", "is not resyncing"],
        );
        self.complete();
    }

    pub(super) fn demoted(&mut self) {
        self.say(
            Some("Secondary"),
            "volume is marked secondary and is degraded",
        );
        self.three(
            ["True", "Demoted", "is demoted to secondary"],
            ["True", "VolumeDegraded", "is degraded"],
            ["False", "NotResyncing", "is not resyncing"],
        );
    }

    pub(super) fn not_in_step(&mut self) {
        self.say(None, "volume is degraded");
        let text = "is resyncing changes from primary to secondary";
        self.three(
            ["True", "Demoted", "is demoted to secondary"],
            ["True", "VolumeDegraded", "is degraded"],
            ["True", "ResyncTriggered", text],
        );
        self.drop("Replicating");
    }

    pub(super) fn in_step(&mut self) {
        let message = match self.aim {
            Aim::Resync => "volume is marked for resyncing",
            Aim::Promote | Aim::Demote => "volume is marked secondary",
        };
        self.say(Some("Secondary"), message);
        self.three(
            ["True", "Demoted", "is demoted to secondary"],
            ["False", "Healthy", "is healthy"],
            ["False", "NotResyncing", "is not resyncing"],
        );
        self.drop("Replicating");
        if let Some(status) = self.status.as_object_mut() {
            // Duration and bytes stay.
            status.remove("lastSyncTime");
        }
        self.complete();
    }

    pub(super) fn failed(&mut self, aim: Aim, why: &str) {
        let (reason, words) = aim.words();
        self.say(None, why);
        let words = format!("{words}: {why}");
        let resyncing = match aim {
            Aim::Promote | Aim::Demote => ["False", "NotResyncing", "is not resyncing"],
            Aim::Resync => ["False", reason, &words],
        };
        let degraded = ["True", "Error", "is degraded"];
        self.three(["False", reason, &words], degraded, resyncing);
        if self.kind == Kind::Addons && aim == Aim::Promote {
            self.set(
                "Validated",
                "True",
                "PrerequisiteMet",
                "prerequisites are met",
            );
        }
    }

    pub(super) fn not_enabled(&mut self, why: &Status) {
        self.failed(Aim::Promote, why.message());
        if self.kind == Kind::Addons && why.code() == Code::FailedPrecondition {
            // It stays so, whatever comes of it later.
            let text = format!("prerequisites are not met: {}", why.message());
            self.set("Validated", "False", "PrerequisiteNotMet", &text);
        }
    }

    pub(super) fn informed(&mut self, info: &GetVolumeReplicationInfoResponse) {
        if let Some(at) = &info.last_sync_time {
            self.status["lastSyncTime"] = json!(Timestamp::from_second(at.seconds).ok());
        }
        if let Some(took) = &info.last_sync_duration {
            self.status["lastSyncDuration"] = json!(format!("{}s", took.seconds));
        }
        self.status["lastSyncBytes"] = json!(info.last_sync_bytes);
        let words = &info.status_message;
        let (status, reason, text) = match info.status() {
            Health::Healthy => ("True", "Replicating", format!("is replicating: {words}")),
            Health::Degraded | Health::Error => (
                "False",
                "NotReplicating",
                format!("is not replicating: {words}"),
            ),
            Health::Unknown => (
                "Unknown",
                "Replicating",
                format!("replication status is unknown: {words}"),
            ),
        };
        self.set("Replicating", status, reason, &text);
    }

    pub(super) fn uninformed(&mut self, why: &str) {
        let text = format!("replication status is unknown: {why}");
        self.set("Replicating", "Unknown", "Replicating", &text);
    }
}

/// How long a primary is not asked about: half the interval of its class if that is long, the interval if it is not, else an hour.
pub(super) fn refresh(interval: Option<&str>) -> Duration {
    let parse = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
    };
    match interval.and_then(parse) {
        Some(interval) if interval >= Duration::from_secs(120) => interval / 2,
        Some(interval) if !interval.is_zero() => interval,
        Some(_) | None => Duration::from_secs(3_600),
    }
}
