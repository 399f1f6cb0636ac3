//! One placement in full.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::placement::{
    Action, ActionRecord, DivergenceStatus, Gate, StepRecord, VolumeStatus,
};
use lifeboat_api::{DRCluster, DRPlacement, DRPlacementStatus};

use super::fleet;
use super::table::{indent, table};
use super::text::{age, age_or_never, between, dash, name, seconds, span};

/// How many moves are shown.
const MOVES: usize = 3;

/// One placement in full, and the clusters.
pub(crate) fn detail(
    placement: &DRPlacement,
    clusters: Option<&[DRCluster]>,
    now: Timestamp,
) -> String {
    let none = DRPlacementStatus::default();
    let status = placement.status.as_ref().unwrap_or(&none);
    let mut text = head(placement, status, now);
    section(&mut text, "Conditions", &conditions(status, now));
    section(&mut text, "Volumes", &volumes(&status.volumes, now));
    section(&mut text, "Gates", &gates(&status.gates));
    section(&mut text, "Blockers", &blockers(status));
    if !status.divergence.is_empty() {
        let never_sent = divergence(&status.divergence, now);
        section(&mut text, "Written and never sent", &never_sent);
    }
    section(&mut text, "Last moves", &moves(&status.actions));
    if let Some(clusters) = clusters {
        section(&mut text, "Clusters", &fleet::clusters(clusters, now));
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n{title}\n{}",
        indent(if body.is_empty() { "none" } else { body }, 2)
    );
}

fn head(placement: &DRPlacement, status: &DRPlacementStatus, now: Timestamp) -> String {
    let spec = &placement.spec;
    let wanted = match (spec.action, &spec.failover_cluster) {
        (Some(Action::Failover), Some(to)) => {
            format!("{} (Failover to {to})", spec.preferred_cluster)
        }
        (Some(action), _) => format!("{} ({action:?})", spec.preferred_cluster),
        (None, _) => spec.preferred_cluster.clone(),
    };
    let lines = [
        (
            "Placement",
            format!(
                "{}/{}",
                dash(placement.metadata.namespace.as_deref()),
                name(placement)
            ),
        ),
        ("Policy", spec.policy_ref.name.clone()),
        ("Runs on", dash(status.cluster.as_deref())),
        ("Wanted on", wanted),
        ("Phase", fleet::phase(placement)),
        ("Step", dash(status.step.as_deref())),
        (
            "Epoch",
            status
                .epoch
                .map_or_else(|| "-".to_owned(), |e| e.to_string()),
        ),
        (
            "Last sync",
            ago(age_or_never(status.last_sync_time.as_ref(), now)),
        ),
    ];
    let rows = lines
        .iter()
        .map(|(key, value)| format!("{:<11}{value}\n", format!("{key}:")));
    rows.collect()
}

fn ago(age: String) -> String {
    if age == "never" {
        age
    } else {
        format!("{age} ago")
    }
}

fn conditions(status: &DRPlacementStatus, now: Timestamp) -> String {
    if status.conditions.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = status
        .conditions
        .iter()
        .map(|c| {
            vec![
                c.type_.clone(),
                c.status.clone(),
                age(&c.last_transition_time, now),
                c.reason.clone(),
                c.message.clone(),
            ]
        })
        .collect();
    table(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], &rows)
}

/// Volumes, one line each.
pub(crate) fn volumes(all: &[VolumeStatus], now: Timestamp) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|v| {
            vec![
                format!("{}/{}", v.namespace, v.name),
                v.state.clone(),
                age_or_never(v.last_sync_time.as_ref(), now),
                dash(v.handle.as_deref()),
                dash(v.message.as_deref()),
            ]
        })
        .collect();
    table(&["CLAIM", "STATE", "LAST-SYNC", "HANDLE", "MESSAGE"], &rows)
}

/// What lost clusters had written and never sent, one line for each volume.
fn divergence(all: &[DivergenceStatus], now: Timestamp) -> String {
    let kept = |d: &DivergenceStatus| match (&d.kept_as, &d.dropped_at, &d.kept_until) {
        (None, _, _) => "-".to_owned(),
        (Some(handle), Some(dropped), _) => format!("{handle}, dropped {} ago", age(dropped, now)),
        (Some(handle), None, Some(until)) => format!("{handle} until {}", until.0),
        (Some(handle), None, None) => handle.clone(),
    };
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|d| {
            let size = d.bytes.map(|b| format!("{b} bytes"));
            vec![
                d.cluster.clone(),
                format!("{}/{}", d.namespace, d.name),
                d.epoch.to_string(),
                size.or_else(|| d.message.clone())
                    .unwrap_or_else(|| "not known".to_owned()),
                kept(d),
            ]
        })
        .collect();
    table(
        &["CLUSTER", "CLAIM", "EPOCH", "NEVER-SENT", "KEPT-AS"],
        &rows,
    )
}

/// Gates, one line each.
pub(crate) fn gates(all: &[Gate]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|g| {
            let (state, name, seen) = (g.state.clone(), g.name.clone(), g.message.clone());
            vec![asked_for(g), state, name, seen]
        })
        .collect();
    table(&["MOVE", "STATE", "GATE", "SEEN"], &rows)
}

/// The move that a gate is asked for.
pub(crate) fn asked_for(gate: &Gate) -> String {
    match &gate.target {
        Some(target) => format!("{} to {target}", gate.action),
        None => gate.action.clone(),
    }
}

fn blockers(status: &DRPlacementStatus) -> String {
    status
        .blockers
        .iter()
        .map(|b| crate::verdict::line(b) + "\n")
        .collect()
}

fn moves(all: &[ActionRecord]) -> String {
    let mut text = String::new();
    for record in all.iter().take(MOVES) {
        text.push_str(&headline(record));
        text.push('\n');
        text.push_str(&indent(&steps(record), 2));
    }
    text
}

/// One move in one line, with what was measured.
pub(crate) fn headline(record: &ActionRecord) -> String {
    let mut text = format!("{} {} -> {}", record.kind, record.from, record.to);
    if let Some(epoch) = record.epoch {
        let _ = write!(text, ", epoch {epoch}");
    }
    if let Some(start) = &record.start_time {
        let _ = write!(text, ", began {}", start.0);
        if let Some(available) = &record.available_time {
            let _ = write!(
                text,
                ", available after {}",
                span(between(start.0, available.0))
            );
        }
        if let Some(complete) = &record.complete_time {
            let _ = write!(text, ", over after {}", span(between(start.0, complete.0)));
        }
    }
    if let Some(lost) = record.data_loss_seconds {
        let lost = u64::try_from(lost).unwrap_or_default();
        let _ = write!(
            text,
            ", gave up {} of work",
            span(Duration::from_secs(lost))
        );
    }
    if !record.result.is_empty() {
        let _ = write!(text, ": {}", record.result);
    }
    text
}

fn steps(record: &ActionRecord) -> String {
    if record.steps.is_empty() {
        return String::new();
    }
    let origin = record.start_time.as_ref().map(|t| t.0);
    let rows: Vec<Vec<String>> = record
        .steps
        .iter()
        .map(|s| {
            vec![
                offset(s, origin),
                s.name.clone(),
                s.milliseconds.map_or_else(|| "-".to_owned(), took),
            ]
        })
        .collect();
    table(&["AT", "STEP", "TOOK"], &rows)
}

/// When a step began, counted from the beginning of its move.
pub(crate) fn offset(step: &StepRecord, origin: Option<Timestamp>) -> String {
    match (&step.start_time, origin) {
        (Some(start), Some(origin)) => format!("+{}", seconds(between(origin, start.0))),
        _ => "-".to_owned(),
    }
}

/// How long a step took.
pub(crate) fn took(milliseconds: i64) -> String {
    seconds(Duration::from_millis(
        u64::try_from(milliseconds).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{ago, blocker, cluster, moved, now, steady};

    #[test]
    fn a_placement_in_full() {
        let mut p = steady("db", "east");
        let status = p.status.as_mut().unwrap();
        status.blockers.push(blocker("TargetUnreachable"));
        status.actions.push(moved("Failover", "west", "east"));
        let diverged = |name: &str, bytes, kept: Option<&str>| DivergenceStatus {
            cluster: "west".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            epoch: 3,
            bytes,
            message: bytes.is_none().then(|| "no common snapshot".to_owned()),
            kept_as: kept.map(str::to_owned),
            kept_until: kept.map(|_| ago(-60)),
            ..DivergenceStatus::default()
        };
        status.divergence = vec![
            diverged("data-0", Some(4096), Some("vol-9")),
            diverged("data-1", None, None),
        ];
        let clusters = [cluster("east", "Healthy"), cluster("west", "Lost")];
        let expected = "\
Placement: default/db
Policy:    gold
Runs on:   east
Wanted on: east
Phase:     Steady
Step:      protected on west
Epoch:     3
Last sync: 12s ago

Conditions
  TYPE       STATUS  SINCE  REASON  MESSAGE
  Available  True    1h     Good    all is well
  Protected  True    1h     Good    all is well

Volumes
  CLAIM           STATE    LAST-SYNC  HANDLE  MESSAGE
  default/data-0  Primary  12s        vol-0   -
  default/data-1  Primary  8s         vol-1   -

Gates
  MOVE              STATE    GATE           SEEN
  Failover          Unknown  SourceDown     east still answers
  Failover to west  Pass     TargetHealthy  west answers

Blockers
  TargetUnreachable: something is wrong
    what to do: mend it

Written and never sent
  CLUSTER  CLAIM           EPOCH  NEVER-SENT          KEPT-AS
  west     default/data-0  3      4096 bytes          vol-9 until 2026-01-02T03:05:05Z
  west     default/data-1  3      no common snapshot  -

Last moves
  Failover west -> east, epoch 3, began 2026-01-02T02:00:00Z, available after 4s, over after 1m, gave up 7s of work: Succeeded
    AT     STEP     TOOK
    +0.0s  Promote  1.5s
    +1.5s  Start    2.5s

Clusters
  CLUSTER  HEALTH   REGION  REACHABLE  AGENT  DRIVERS  LAST-SEEN  VERSION
  east     Healthy  r1      True       True   True     2s         v1.33.0
  west     Lost     r1      True       True   True     2s         v1.33.0
";
        let text = detail(&p, Some(&clusters), now());
        assert_eq!(text, expected);
    }
}
