//! Clusters on which the controllers of the CSI-Addons project stay in charge of the volumes: the hub's moves work by what those
//! say, and the placement says what is weaker.

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_api::common::condition;
use lifeboat_lab::lab::{Beside, Look, Upstream};
use lifeboat_lab::{Lab, LabError, LabSpec};
use lifeboat_sim::upstream::Kind;

use crate::support::paused;

/// These controllers look again after 15 or 30 s, and their primaries are asked about once a minute.
const WITHIN: Duration = Duration::from_secs(900);

fn spec(sites: &[&str], upstream: Upstream) -> LabSpec {
    let upstream = sites.iter().map(|s| ((*s).to_owned(), upstream));
    LabSpec {
        write_every: Duration::from_millis(500),
        upstream: upstream.collect::<BTreeMap<_, _>>(),
        ..LabSpec::paused(2)
    }
}

fn guarded(lab: &Lab) -> (String, String, String) {
    let status = lab.placement().and_then(|p| p.status).unwrap_or_default();
    let said = condition(&status.conditions, "Guarded").cloned().unwrap();
    (said.status, said.reason, said.message)
}

/// There and back, lost and regained.
async fn moves(spec: LabSpec, said_of: &str) {
    let lab = Lab::start(spec).await.unwrap();
    lab.settled_on("east", WITHIN).await.unwrap();
    let (status, reason, message) = guarded(&lab);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "UpstreamControllers")
    );
    assert!(
        message.starts_with(&format!("on {said_of} the controllers")),
        "{message}"
    );

    for to in ["west", "east"] {
        lab.relocate(to).await.unwrap();
        lab.settled_on(to, WITHIN).await.unwrap();
    }
    let records = lab.ledger();
    assert_eq!((records.lost, records.forked, records.doubled), (0, 0, 0));

    lab.kill_site("east").unwrap();
    // Nobody there can say whether a copy is whole.
    let accept = serde_json::json!({"spec": {"acceptRisks": ["UnverifiedCopy"]}});
    lab.edit(accept).await.unwrap();
    lab.failover("west").await.unwrap();
    let runs =
        |p: &lifeboat_api::DRPlacement| p.cluster() == "west" && p.condition("Available") == "True";
    lab.until("runs on west", WITHIN, runs).await.unwrap();
    lab.revive_site("east").unwrap();
    lab.settled_on("west", WITHIN).await.unwrap();
    let lost = lab.ledger().lost;

    lab.relocate("east").await.unwrap();
    lab.settled_on("east", WITHIN).await.unwrap();
    let records = lab.ledger();
    assert_eq!((records.lost, records.doubled), (lost, 0));
    lab.check().await.unwrap();
}

#[test]
fn all_moves_work_by_the_newer_controllers_alone() {
    let upstream = Upstream {
        kind: Kind::Addons,
        beside: Beside::Nothing,
    };
    let spec = spec(&["east", "west", "north"], upstream);
    paused(moves(spec, "east, west, north"));
}

#[test]
fn all_moves_work_by_the_newer_controllers_with_a_heartbeat_beside_them() {
    let upstream = Upstream {
        kind: Kind::Addons,
        beside: Beside::Heartbeat,
    };
    let spec = spec(&["east", "west", "north"], upstream);
    paused(moves(spec, "east, west, north"));
}

#[test]
fn the_older_controller_tells_of_no_sync_and_nothing_is_called_protected() {
    let upstream = Upstream {
        kind: Kind::Operator,
        beside: Beside::Heartbeat,
    };
    paused(async {
        let spec = spec(&["east", "west", "north"], upstream);
        let lab = Lab::start(spec).await.unwrap();
        let runs = |p: &lifeboat_api::DRPlacement| p.condition("Available") == "True";
        lab.until("runs on east", WITHIN, runs).await.unwrap();
        lab.relocate("west").await.unwrap();
        let moved = lab.settled_on("west", WITHIN).await;
        assert!(matches!(moved, Err(LabError::Timeout { .. })));
        let status = lab.placement().and_then(|p| p.status).unwrap();
        let said = condition(&status.conditions, "Protected").unwrap();
        assert_eq!(
            (said.status.as_str(), said.reason.as_str()),
            ("False", "NotSynced")
        );
        assert_eq!(status.cluster.as_deref(), Some("east"), "{:?}", status.step);
    });
}

#[test]
fn all_moves_work_between_an_agent_and_the_newer_controllers() {
    let upstream = Upstream {
        kind: Kind::Addons,
        beside: Beside::Nothing,
    };
    paused(moves(spec(&["east"], upstream), "east"));
}

#[test]
fn where_agents_work_the_volumes_every_promotion_is_guarded() {
    paused(async {
        let lab = Lab::start(LabSpec::paused(1)).await.unwrap();
        lab.settled_on("east", WITHIN).await.unwrap();
        assert_eq!(guarded(&lab).0, "True");
    });
}
