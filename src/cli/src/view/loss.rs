//! What a failover would give up, and what speaks against it: shown before anybody is asked.

use std::fmt::Write;

use jiff::Timestamp;
use lifeboat_api::placement::Gate;
use lifeboat_api::{DRPlacement, DRPlacementStatus};
use lifeboat_core::intent::MoveKind;

use super::detail;
use super::table::{indent, table};
use super::text::{age, count, dash, name, state};

/// What a failover to `to` would mean now.
pub(crate) fn preview(placement: &DRPlacement, to: &str, now: Timestamp) -> String {
    let none = DRPlacementStatus::default();
    let status = placement.status.as_ref().unwrap_or(&none);
    let from = dash(status.cluster.as_deref());
    let mut text = format!("Failover of {} from {from} to {to}\n\n", name(placement));
    text.push_str(&losses(status, now));
    if state(&status.conditions, "Available") == "True" {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n{from} still runs it. A relocation would lose nothing: lifeboat relocate {} --to {to}",
            name(placement)
        );
    }
    let _ = write!(text, "\nGates\n{}", indent(&gates(status, to), 2));
    for blocker in &status.blockers {
        let _ = write!(text, "\nIn the way: {}\n", crate::verdict::line(blocker));
    }
    text
}

/// What the hub says of this failover: of no other move, and of no other target.
fn gates(status: &DRPlacementStatus, to: &str) -> String {
    let is_asked = |g: &&Gate| {
        g.action == MoveKind::Failover.as_str()
            && g.target.as_deref().is_none_or(|target| target == to)
    };
    let asked: Vec<Gate> = status.gates.iter().filter(is_asked).cloned().collect();
    let mut text = detail::gates(&asked);
    if !asked.iter().any(|g| g.target.is_some()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "the hub has not said whether {to} is fit");
    }
    text
}

fn losses(status: &DRPlacementStatus, now: Timestamp) -> String {
    if status.volumes.is_empty() {
        return "The hub knows no volumes of it: what would be lost cannot be said.\n".to_owned();
    }
    let never = status
        .volumes
        .iter()
        .filter(|v| v.last_sync_time.is_none())
        .count();
    let oldest = status
        .volumes
        .iter()
        .filter_map(|v| v.last_sync_time.as_ref())
        .min_by_key(|t| t.0);
    let mut text = String::new();
    if let Some(oldest) = oldest {
        let _ = writeln!(
            text,
            "Everything written in the last {} may be lost (as far as the hub has seen).",
            age(oldest, now)
        );
    }
    if never > 0 {
        let _ = writeln!(
            text,
            "{} never copied: a failover is refused until {}.",
            count(never, "volume") + if never == 1 { " was" } else { " were" },
            if never == 1 { "it is" } else { "they are" }
        );
    }
    let rows: Vec<Vec<String>> = status
        .volumes
        .iter()
        .map(|v| {
            let lost = v.last_sync_time.as_ref().map_or_else(
                || "refused: no copy".to_owned(),
                |t| format!("last {}", age(t, now)),
            );
            vec![format!("{}/{}", v.namespace, v.name), v.state.clone(), lost]
        })
        .collect();
    text.push_str(&indent(&table(&["CLAIM", "STATE", "WOULD-LOSE"], &rows), 2));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{now, steady};

    #[test]
    fn losses_are_named_volume_by_volume() {
        let mut p = steady("db", "east");
        p.status.as_mut().unwrap().volumes[1].last_sync_time = None;
        let text = preview(&p, "west", now());
        let expected = "\
Failover of db from east to west

Everything written in the last 12s may be lost (as far as the hub has seen).
1 volume was never copied: a failover is refused until it is.
  CLAIM           STATE    WOULD-LOSE
  default/data-0  Primary  last 12s
  default/data-1  Primary  refused: no copy

east still runs it. A relocation would lose nothing: lifeboat relocate db --to west

Gates
  MOVE              STATE    GATE           SEEN
  Failover          Unknown  SourceDown     east still answers
  Failover to west  Pass     TargetHealthy  west answers
";
        assert_eq!(text, expected);
    }

    #[test]
    fn gates_of_another_move_or_another_target_are_not_shown() {
        let mut p = steady("db", "east");
        let gate = |action: &str, target: &str, message: &str| Gate {
            action: action.to_owned(),
            target: Some(target.to_owned()),
            name: "TargetAnswers".to_owned(),
            state: "Fail".to_owned(),
            message: message.to_owned(),
        };
        let gates = &mut p.status.as_mut().unwrap().gates;
        gates.insert(0, gate("Relocate", "west", "of the relocation that waits"));
        gates.push(gate("Failover", "north", "of another target"));
        let to_west = preview(&p, "west", now());
        assert!(!to_west.contains("of the relocation"), "{to_west}");
        assert!(!to_west.contains("of another target"), "{to_west}");
        assert!(to_west.contains("west answers"), "{to_west}");
        let to_north = preview(&p, "north", now());
        assert!(to_north.contains("of another target"), "{to_north}");
        assert!(!to_north.contains("west answers"), "{to_north}");
        let to_south = preview(&p, "south", now());
        assert!(
            to_south.contains("has not said whether south is fit"),
            "{to_south}"
        );
    }

    #[test]
    fn nothing_known_is_said_so() {
        let text = preview(&crate::view::testing::placement("db"), "west", now());
        assert!(text.contains("what would be lost cannot be said"), "{text}");
        assert!(
            text.contains("the hub has not said whether west is fit"),
            "{text}"
        );
    }
}
