//! Many placements, and the clusters, one line each.

use jiff::Timestamp;
use lifeboat_api::{DRCluster, DRPlacement, DRPlacementStatus};

use super::table::table;
use super::text::{age_or_never, dash, name, state};

/// Whether lines carry their namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// One namespace: its name is known.
    One,
    /// All of them.
    All,
}

/// Placements, one line each.
pub(crate) fn placements(all: &[DRPlacement], namespaces: Namespaces, now: Timestamp) -> String {
    if all.is_empty() {
        return "No placements.\n".to_owned();
    }
    let mut header = vec![
        "NAME",
        "CLUSTER",
        "PHASE",
        "AVAILABLE",
        "PROTECTED",
        "LAST-SYNC",
        "BLOCKERS",
        "STEP",
    ];
    if namespaces == Namespaces::All {
        header.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = all.iter().map(|p| row(p, namespaces, now)).collect();
    table(&header, &rows)
}

fn row(placement: &DRPlacement, namespaces: Namespaces, now: Timestamp) -> Vec<String> {
    let none = DRPlacementStatus::default();
    let status = placement.status.as_ref().unwrap_or(&none);
    let mut cells = vec![
        name(placement),
        dash(status.cluster.as_deref()),
        phase(placement),
        state(&status.conditions, "Available"),
        state(&status.conditions, "Protected"),
        age_or_never(status.last_sync_time.as_ref(), now),
        status.blockers.len().to_string(),
        dash(status.step.as_deref()),
    ];
    if namespaces == Namespaces::All {
        cells.insert(0, dash(placement.metadata.namespace.as_deref()));
    }
    cells
}

/// The phase; a star marks a status that does not speak of the newest spec.
pub(crate) fn phase(placement: &DRPlacement) -> String {
    let status = placement.status.as_ref();
    let phase = dash(status.and_then(|s| s.phase.as_deref()));
    let seen = status.and_then(|s| s.observed_generation);
    if seen == placement.metadata.generation {
        phase
    } else {
        format!("{phase}*")
    }
}

/// Clusters, one line each.
pub(crate) fn clusters(all: &[DRCluster], now: Timestamp) -> String {
    if all.is_empty() {
        return "No clusters.\n".to_owned();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|cluster| {
            let status = cluster.status.clone().unwrap_or_default();
            vec![
                name(cluster),
                status
                    .health
                    .clone()
                    .unwrap_or_else(|| "Unknown".to_owned()),
                dash(cluster.spec.region.as_deref()),
                state(&status.conditions, "Reachable"),
                state(&status.conditions, "AgentAlive"),
                state(&status.conditions, "DriversReady"),
                age_or_never(status.last_proof_of_life_time.as_ref(), now),
                dash(status.kubernetes_version.as_deref()),
            ]
        })
        .collect();
    let header = [
        "CLUSTER",
        "HEALTH",
        "REGION",
        "REACHABLE",
        "AGENT",
        "DRIVERS",
        "LAST-SEEN",
        "VERSION",
    ];
    table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{cluster, now, placement, steady};

    #[test]
    fn a_fleet() {
        let mut fresh = placement("web");
        fresh.metadata.namespace = Some("shop".to_owned());
        let text = placements(&[steady("db", "east"), fresh], Namespaces::All, now());
        let expected = "\
NAMESPACE  NAME  CLUSTER  PHASE   AVAILABLE  PROTECTED  LAST-SYNC  BLOCKERS  STEP
default    db    east     Steady  True       True       12s        0         protected on west
shop       web   -        -*      Unknown    Unknown    never      0         -
";
        assert_eq!(text, expected);
        let one = placements(&[steady("db", "east")], Namespaces::One, now());
        assert!(one.starts_with("NAME  CLUSTER"), "{one}");
        assert_eq!(placements(&[], Namespaces::One, now()), "No placements.\n");
    }

    #[test]
    fn clusters_unheard_of_are_unknown() {
        let mut silent = cluster("west", "Healthy");
        silent.status = None;
        let expected = "\
CLUSTER  HEALTH   REGION  REACHABLE  AGENT    DRIVERS  LAST-SEEN  VERSION
east     Healthy  r1      True       True     True     2s         v1.33.0
west     Unknown  r1      Unknown    Unknown  Unknown  never      -
";
        assert_eq!(
            clusters(&[cluster("east", "Healthy"), silent], now()),
            expected
        );
    }
}
