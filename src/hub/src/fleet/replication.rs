//! What a VolumeReplication says, read as strictly as its consumers must.

use lifeboat_api::common::condition;
use lifeboat_api::replication::ReplicationState;
use lifeboat_api::{VolumeReplication, names};
use lifeboat_core::Epoch;
use lifeboat_core::ids::ResyncRequest;
use lifeboat_core::observed::{Mark, Role, SwitchOff, VrFacts, VrStatus};

use super::rows::{annotation, created, deleting};

/// The facts, with no mark yet.
pub(crate) fn facts(vr: &VolumeReplication) -> VrFacts {
    let status = vr.status.as_ref();
    let desired = match vr.spec.replication_state {
        ReplicationState::Primary => Role::Primary,
        ReplicationState::Secondary => Role::Secondary,
        ReplicationState::Resync => Role::Resync,
    };
    VrFacts {
        mark: Mark::Unmarked,
        desired,
        epoch: annotation(&vr.metadata, names::EPOCH)
            .and_then(|text| text.parse().ok())
            .map(Epoch),
        class: vr.spec.volume_replication_class.clone(),
        status: read_status(vr, desired),
        resync_asked: asked(vr, desired),
        resync_issued: request(vr, names::RESYNC_ISSUED),
        resync_failed: request(vr, names::RESYNC_FAILED),
        resync_until: annotation(&vr.metadata, names::RESYNC_UNTIL)
            .and_then(|text| text.parse().ok()),
        last_sync: status.and_then(|s| s.last_sync_time.as_ref()).map(|t| t.0),
        destination: status
            .and_then(|s| s.destination_volume_id.clone())
            .filter(|id| !id.is_empty()),
        created: created(&vr.metadata),
        switch_off: match annotation(&vr.metadata, names::DISABLE) {
            Some("true") => SwitchOff::Said,
            _ => SwitchOff::Unsaid,
        },
        deleting: deleting(&vr.metadata),
    }
}

fn request(vr: &VolumeReplication, name: &str) -> Option<ResyncRequest> {
    let (epoch, number) = names::read_resync_request(annotation(&vr.metadata, name)?)?;
    let epoch = Epoch(epoch);
    Some(ResyncRequest { epoch, number })
}

/// The request that it carries. What says no number is the first of its epoch.
fn asked(vr: &VolumeReplication, desired: Role) -> Option<ResyncRequest> {
    let epoch = annotation(&vr.metadata, names::EPOCH)?.parse().ok()?;
    let number = annotation(&vr.metadata, names::RESYNC_REQUEST).and_then(|n| n.parse().ok());
    (desired == Role::Resync).then_some(ResyncRequest {
        epoch: Epoch(epoch),
        number: number.unwrap_or(1),
    })
}

/// What the status says of the present generation: the status as a whole and each condition must speak of it.
fn read_status(vr: &VolumeReplication, desired: Role) -> VrStatus {
    let generation = vr.metadata.generation;
    let Some(status) = vr
        .status
        .as_ref()
        .filter(|s| generation.is_some() && s.observed_generation == generation)
    else {
        return VrStatus::Pending;
    };
    let found =
        |kind| condition(&status.conditions, kind).filter(|c| c.observed_generation == generation);
    let said = |kind| found(kind).map(|c| c.status.as_str());
    match said("Completed") {
        Some("True") => {}
        Some("False") => {
            let words = found("Completed").map(|c| c.message.clone());
            let message = status.message.clone().filter(|m| !m.is_empty());
            let message = message.or(words).unwrap_or_default();
            // It has stepped down; what failed came after that. Who waits for the demotion must not wait for ever.
            let resync = found("Completed").is_some_and(|c| c.reason == "FailedToResync");
            let secondary = status.state.as_deref() == Some("Secondary");
            return if desired == Role::Secondary && resync && secondary {
                VrStatus::Apart { message }
            } else {
                VrStatus::Failed { message }
            };
        }
        _ => return VrStatus::Pending,
    }
    let state = status.state.as_deref().unwrap_or_default();
    if desired == Role::Primary {
        // Absent is as good as True; present, it must be True and of this generation.
        let valid = condition(&status.conditions, "Validated").is_none()
            || said("Validated") == Some("True");
        return if state == "Primary" && valid {
            VrStatus::Primary
        } else {
            VrStatus::Pending
        };
    }
    match (said("Degraded"), said("Resyncing")) {
        (Some("True"), Some("True")) => VrStatus::Resyncing,
        (Some("False"), Some("False")) if state == "Secondary" => VrStatus::Drained,
        _ if state == "Secondary" => VrStatus::Demoted,
        _ => VrStatus::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(
        desired: &str,
        state: &str,
        observed: i64,
        conditions: &[(&str, &str, i64)],
    ) -> VrStatus {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, generation)| {
                json!({"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "no luck",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let vr: VolumeReplication = serde_json::from_value(json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": "a", "generation": 2},
            "spec": {"volumeReplicationClass": "v", "replicationState": desired, "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}},
            "status": {"state": state, "observedGeneration": observed, "conditions": conditions}
        }))
        .unwrap();
        facts(&vr).status
    }

    #[test]
    fn only_the_present_generation_counts() {
        let (done, worse, again) = ("Completed", "Degraded", "Resyncing");
        let yes = |kind| (kind, "True", 2);
        let no = |kind| (kind, "False", 2);
        assert_eq!(
            status("primary", "Primary", 2, &[yes(done)]),
            VrStatus::Primary
        );
        assert_eq!(
            status("primary", "Primary", 1, &[yes(done)]),
            VrStatus::Pending
        );
        assert_eq!(
            status("primary", "Primary", 2, &[(done, "True", 1)]),
            VrStatus::Pending
        );
        assert_eq!(
            status(
                "primary",
                "Primary",
                2,
                &[yes(done), ("Validated", "True", 1)]
            ),
            VrStatus::Pending
        );
        assert_eq!(
            status("primary", "Secondary", 2, &[yes(done)]),
            VrStatus::Pending
        );
        assert_eq!(
            status(
                "secondary",
                "Secondary",
                2,
                &[yes(done), no(worse), no(again)]
            ),
            VrStatus::Drained
        );
        assert_eq!(
            status(
                "secondary",
                "Secondary",
                2,
                &[yes(done), (worse, "False", 1), no(again)]
            ),
            VrStatus::Demoted
        );
        assert_eq!(
            status(
                "resync",
                "Secondary",
                2,
                &[yes(done), yes(worse), yes(again)]
            ),
            VrStatus::Resyncing
        );
        assert_eq!(
            status(
                "secondary",
                "Secondary",
                2,
                &[yes(done), yes(worse), no(again)]
            ),
            VrStatus::Demoted
        );
        let failed = VrStatus::Failed {
            message: "no luck".into(),
        };
        assert_eq!(status("primary", "Unknown", 2, &[no(done)]), failed);
        assert_eq!(status("secondary", "Secondary", 2, &[no(done)]), failed);
        let vr = |desired: &str| {
            serde_json::from_value::<VolumeReplication>(json!({
                "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
                "metadata": {"name": "a", "generation": 2},
                "spec": {"volumeReplicationClass": "v", "replicationState": desired, "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}},
                "status": {"state": "Secondary", "observedGeneration": 2, "message": "split-brain", "conditions": [
                    {"type": done, "status": "False", "observedGeneration": 2, "reason": "FailedToResync", "message": "no luck",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
            }))
            .unwrap()
        };
        let message = "split-brain".to_owned();
        let apart = VrStatus::Apart {
            message: message.clone(),
        };
        assert_eq!(facts(&vr("secondary")).status, apart);
        assert_eq!(facts(&vr("resync")).status, VrStatus::Failed { message });
    }
}
