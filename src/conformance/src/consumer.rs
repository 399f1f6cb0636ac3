//! What the main consumer of these statuses makes of them, and whether that is so.

use kube::ResourceExt;
use lifeboat_api::VolumeReplication;
use lifeboat_api::replication::ReplicationState;

use crate::driver::{Driver, Said};

/// What a consumer takes from a `VolumeReplication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet, and why.
    NotReady(String),
    /// Writable here.
    Primary,
    /// A copy that follows, or has yet to.
    Replicating,
    /// A copy that has everything: the gate of a planned move.
    InSync,
}

/// The consumer's predicate: a status of the present generation, then each condition of it.
pub(crate) fn verdict(volume: &VolumeReplication) -> Verdict {
    let generation = volume.metadata.generation;
    let status = volume.status.clone().unwrap_or_default();
    if status.observed_generation != generation {
        return Verdict::NotReady("status is of another generation".to_owned());
    }
    // `Err`: stale or absent.
    let reads = |kind: &str| {
        let found = status.conditions.iter().find(|c| c.type_ == kind);
        let found = found.ok_or_else(|| Verdict::NotReady(format!("{kind} is absent")))?;
        if found.observed_generation != generation {
            return Err(Verdict::NotReady(format!("{kind} is stale")));
        }
        Ok(found.status == "True")
    };
    let judged = || -> Result<Verdict, Verdict> {
        let no = |why: &str| Err(Verdict::NotReady(why.to_owned()));
        if volume.spec.replication_state == ReplicationState::Primary {
            let validated = status.conditions.iter().any(|c| c.type_ == "Validated");
            if validated && !reads("Validated")? {
                return no("not validated");
            }
            return if reads("Completed")? {
                Ok(Verdict::Primary)
            } else {
                no("not completed")
            };
        }
        if !reads("Completed")? {
            return no("not completed");
        }
        match (reads("Resyncing")?, reads("Degraded")?) {
            (true, true) => Ok(Verdict::Replicating),
            (false, false) if status.state.as_deref() == Some("Secondary") => Ok(Verdict::InSync),
            _ => no("neither behind nor in step"),
        }
    };
    judged().unwrap_or_else(|not_ready| not_ready)
}

/// What the driver was told last of a volume, and took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Off,
    Primary,
    Secondary,
    InStep,
}

fn role(driver: &Driver, handle: &str) -> Role {
    let mut role = Role::Off;
    for seen in driver.history(handle) {
        role = match (seen.letter, seen.said) {
            ("P" | "Pf", Some(Said::Yes)) => Role::Primary,
            ("M", Some(Said::Yes)) if role == Role::InStep => Role::InStep,
            ("M", Some(Said::Yes)) | ("R" | "Rf", Some(Said::NotReady)) => Role::Secondary,
            ("R" | "Rf", Some(Said::Yes)) => Role::InStep,
            ("D", Some(Said::Yes)) => Role::Off,
            _ => role,
        };
    }
    role
}

/// Says what is wrong: a consumer that is told of a role which the driver never took, or is not told of one that it did.
pub(crate) fn disagreement(volume: &VolumeReplication, driver: &Driver) -> Option<String> {
    let source = &volume.spec.data_source;
    let handle = match source.kind.as_str() {
        "PersistentVolumeClaim" => format!("h-{}", source.name),
        _ => "g-1".to_owned(),
    };
    let (verdict, role) = (verdict(volume), role(driver, &handle));
    let is_true = match verdict {
        Verdict::NotReady(_) => true,
        Verdict::Primary => role == Role::Primary,
        Verdict::Replicating => matches!(role, Role::Secondary | Role::InStep),
        Verdict::InSync => role == Role::InStep,
    };
    let status = volume.status.clone().unwrap_or_default();
    let message = status.message.unwrap_or_default();
    let current = status.observed_generation == volume.metadata.generation
        && volume.metadata.deletion_timestamp.is_none();
    let told = match (volume.spec.replication_state, message.as_str()) {
        (ReplicationState::Primary, "volume is marked primary") => verdict == Verdict::Primary,
        (ReplicationState::Secondary, "volume is marked secondary") => verdict == Verdict::InSync,
        (ReplicationState::Secondary, "volume is degraded") => verdict == Verdict::Replicating,
        _ => true,
    };
    let stale = status.conditions.iter().find(|c| {
        status.observed_generation == volume.metadata.generation
            && c.observed_generation != status.observed_generation
    });
    if is_true && (told || !current) && stale.is_none() {
        return None;
    }
    Some(format!(
        "{}: a consumer reads {verdict:?} from {message:?} (stale: {:?}), and the driver was told {role:?}: {:?}",
        volume.name_any(),
        stale.map(|c| &c.type_),
        driver.full_trace(&handle),
    ))
}
