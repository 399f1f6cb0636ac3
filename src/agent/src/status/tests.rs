//! Each condition, as a row of a table.

use super::*;
use lifeboat_drivers::Retry;

fn about(wanted: ReplicationState) -> About {
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    About {
        subject: Subject::Volume,
        generation: 3,
        wanted,
        begun: at,
        now: at,
    }
}

fn table(status: &VolumeReplicationStatus) -> Vec<String> {
    status
        .conditions
        .iter()
        .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
        .collect()
}

fn run(wanted: ReplicationState, outcomes: &[Outcome]) -> VolumeReplicationStatus {
    outcomes
        .iter()
        .fold(VolumeReplicationStatus::default(), |old, outcome| {
            after(&old, outcome, about(wanted))
        })
}

fn failed(aim: Aim, prerequisite: Prerequisite) -> Outcome {
    let (text, message) = (
        "rpc error: code = Internal desc = no".to_owned(),
        "no".to_owned(),
    );
    Outcome::Failed(Failed {
        aim,
        prerequisite,
        text,
        message,
        retry: Retry::Soon,
        event: aim.reason(),
    })
}

fn told(health: Health) -> Outcome {
    let last_sync = Some("2026-01-02T03:00:00Z".parse().unwrap());
    let duration = Some(jiff::SignedDuration::from_secs(90));
    Outcome::Told(Info {
        last_sync,
        duration,
        bytes: Some(7),
        health,
        message: "fine".into(),
    })
}

use ReplicationState::{Primary, Resync, Secondary};

/// The event, the role asked for, what happened, and the state, message and conditions after it.
type Case = (
    &'static str,
    ReplicationState,
    Vec<Outcome>,
    &'static str,
    &'static str,
    &'static [&'static str],
);

#[test]
fn every_event_gives_the_conditions_that_consumers_know() {
    let cases: Vec<Case> = vec![
        (
            "promoted",
            Primary,
            vec![Outcome::Promoted],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "promote failed",
            Primary,
            vec![failed(Aim::Promote, Prerequisite::Met)],
            "Unknown",
            "no",
            &[
                "Completed=False/FailedToPromote",
                "Degraded=True/Error",
                "Resyncing=False/NotResyncing",
                "Validated=True/PrerequisiteMet",
            ],
        ),
        (
            "row 22",
            Primary,
            vec![failed(Aim::Promote, Prerequisite::NotMet)],
            "Unknown",
            "no",
            &[
                "Completed=False/FailedToPromote",
                "Degraded=True/Error",
                "Resyncing=False/NotResyncing",
                "Validated=False/PrerequisiteNotMet",
            ],
        ),
        (
            "row 23",
            Primary,
            vec![
                failed(Aim::Promote, Prerequisite::NotMet),
                Outcome::Promoted,
            ],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
                "Validated=True/PrerequisiteMet",
            ],
        ),
        (
            "demoted",
            Secondary,
            vec![Outcome::Demoted],
            "Secondary",
            "volume is marked secondary and is degraded",
            &[
                "Completed=True/Demoted",
                "Degraded=True/VolumeDegraded",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "demote failed",
            Secondary,
            vec![Outcome::Promoted, failed(Aim::Demote, Prerequisite::Met)],
            "Primary",
            "no",
            &[
                "Completed=False/FailedToDemote",
                "Degraded=True/Error",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "not in step",
            Secondary,
            vec![Outcome::Demoted, Outcome::NotInStep],
            "Secondary",
            "volume is degraded",
            &[
                "Completed=True/Demoted",
                "Degraded=True/VolumeDegraded",
                "Resyncing=True/ResyncTriggered",
            ],
        ),
        (
            "in step",
            Secondary,
            vec![
                Outcome::Promoted,
                told(Health::Healthy),
                Outcome::Demoted,
                Outcome::InStep,
            ],
            "Secondary",
            "volume is marked secondary",
            &[
                "Completed=True/Demoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "resync, not ready, on a fresh volume",
            Resync,
            vec![Outcome::NotInStep],
            "Unknown",
            "volume is degraded",
            &[
                "Completed=True/Demoted",
                "Degraded=True/VolumeDegraded",
                "Resyncing=True/ResyncTriggered",
            ],
        ),
        (
            "resync ready",
            Resync,
            vec![Outcome::InStep],
            "Secondary",
            "volume is marked for resyncing",
            &[
                "Completed=True/Demoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "resync failed",
            Resync,
            vec![failed(Aim::Resync, Prerequisite::Met)],
            "Unknown",
            "no",
            &[
                "Completed=False/FailedToResync",
                "Degraded=True/Error",
                "Resyncing=False/FailedToResync",
            ],
        ),
        (
            "row 28",
            Primary,
            vec![Outcome::Promoted, told(Health::Degraded)],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
                "Replicating=False/NotReplicating",
            ],
        ),
        (
            "row 31",
            Primary,
            vec![
                Outcome::Promoted,
                Outcome::NotTold(NotTold::Failed("x".into())),
            ],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
                "Replicating=Unknown/Replicating",
            ],
        ),
        (
            "row 30",
            Primary,
            vec![
                Outcome::Promoted,
                told(Health::Healthy),
                Outcome::NotTold(NotTold::NotOffered),
            ],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
            ],
        ),
        (
            "row 72",
            Primary,
            vec![Outcome::Promoted, Outcome::Destination(Err("x".into()))],
            "Primary",
            "volume is marked primary",
            &[
                "Completed=True/Promoted",
                "Degraded=False/Healthy",
                "Resyncing=False/NotResyncing",
                "DestinationInfoAvailable=False/FailedToGetDestinationInfo",
            ],
        ),
    ];
    for (event, wanted, outcomes, state, message, conditions) in cases {
        let status = run(wanted, &outcomes);
        assert_eq!(status.state.as_deref(), Some(state), "{event}");
        assert_eq!(status.message.as_deref(), Some(message), "{event}");
        assert_eq!(table(&status), conditions, "{event}");
        assert_eq!(status.observed_generation, Some(3), "{event}");
        assert!(
            status
                .conditions
                .iter()
                .all(|c| c.observed_generation == Some(3)),
            "{event}"
        );
    }
}

#[test]
fn row_44_what_a_primary_knew_of_its_copies_goes_with_the_role() {
    let status = run(
        Secondary,
        &[
            Outcome::Promoted,
            told(Health::Healthy),
            Outcome::Demoted,
            Outcome::InStep,
        ],
    );
    assert_eq!(
        (
            status.last_sync_time,
            status.last_sync_duration,
            status.last_sync_bytes
        ),
        (None, None, None)
    );
}

#[test]
fn row_27_and_33_sync_facts_are_kept_until_newer_ones_come() {
    let silent = Info {
        last_sync: None,
        duration: None,
        bytes: None,
        health: Health::Healthy,
        message: String::new(),
    };
    let status = run(
        Primary,
        &[
            Outcome::Promoted,
            told(Health::Healthy),
            Outcome::Told(silent),
        ],
    );
    assert_eq!(
        status.last_sync_time.map(|t| t.0.to_string()).as_deref(),
        Some("2026-01-02T03:00:00Z")
    );
    assert_eq!(status.last_sync_duration.as_deref(), Some("1m30s"));
    assert_eq!(status.last_sync_bytes, Some(7));
}

#[test]
fn a_demotion_is_not_completion_and_a_stuck_deletion_touches_no_condition() {
    assert_eq!(
        run(Secondary, &[Outcome::Demoted]).last_completion_time,
        None
    );
    assert!(
        run(Secondary, &[Outcome::Demoted, Outcome::InStep])
            .last_completion_time
            .is_some()
    );
    let before = run(Primary, &[Outcome::Promoted]);
    let stuck = after(
        &before,
        &Outcome::Stuck("not yet".into()),
        About {
            generation: 9,
            ..about(Primary)
        },
    );
    assert_eq!(
        (stuck.conditions, stuck.message.as_deref()),
        (before.conditions, Some("not yet")),
        "row 52"
    );
}
