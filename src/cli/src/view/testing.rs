//! Objects for tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use lifeboat_api::cluster::{DRCluster, DRClusterSpec, DRClusterStatus, Replication};
use lifeboat_api::common::NameRef;
use lifeboat_api::placement::{ActionRecord, Blocker, Gate, StepRecord, VolumeStatus};
use lifeboat_api::{DRPlacement, DRPlacementSpec, DRPlacementStatus};

/// The time at which tests look.
pub(crate) fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// Some seconds before that.
pub(crate) fn ago(seconds: i64) -> Time {
    Time(now() - jiff::SignedDuration::from_secs(seconds))
}

/// A placement that no hub has seen.
pub(crate) fn placement(name: &str) -> DRPlacement {
    let spec: DRPlacementSpec = serde_json::from_value(
        serde_json::json!({"policyRef": {"name": "gold"}, "preferredCluster": "east"}),
    )
    .unwrap();
    let mut p = DRPlacement::new(name, spec);
    p.metadata.namespace = Some("default".to_owned());
    p.metadata.generation = Some(2);
    p
}

/// A placement at rest on a cluster, protected.
pub(crate) fn steady(name: &str, cluster: &str) -> DRPlacement {
    let mut p = placement(name);
    cluster.clone_into(&mut p.spec.preferred_cluster);
    let gate = |target: Option<&str>, name: &str, state: &str, message: &str| Gate {
        action: "Failover".to_owned(),
        target: target.map(str::to_owned),
        name: name.to_owned(),
        state: state.to_owned(),
        message: message.to_owned(),
    };
    p.status = Some(DRPlacementStatus {
        observed_generation: Some(2),
        phase: Some("Steady".to_owned()),
        step: Some("protected on west".to_owned()),
        cluster: Some(cluster.to_owned()),
        epoch: Some(3),
        last_sync_time: Some(ago(12)),
        volumes: vec![volume(0, 12), volume(1, 8)],
        gates: vec![
            gate(None, "SourceDown", "Unknown", "east still answers"),
            gate(Some("west"), "TargetHealthy", "Pass", "west answers"),
        ],
        conditions: vec![
            condition("Available", "True", "Good"),
            condition("Protected", "True", "Good"),
        ],
        ..DRPlacementStatus::default()
    });
    p
}

fn volume(n: u32, age: i64) -> VolumeStatus {
    VolumeStatus {
        namespace: "default".to_owned(),
        name: format!("data-{n}"),
        handle: Some(format!("vol-{n}")),
        state: "Primary".to_owned(),
        last_sync_time: Some(ago(age)),
        message: None,
    }
}

/// A condition that is an hour old.
pub(crate) fn condition(kind: &str, status: &str, reason: &str) -> Condition {
    let message = if status == "True" {
        "all is well"
    } else {
        "something is wrong"
    };
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: ago(3600),
        observed_generation: Some(2),
    }
}

/// Something in the way.
pub(crate) fn blocker(reason: &str) -> Blocker {
    Blocker {
        reason: reason.to_owned(),
        message: "something is wrong".to_owned(),
        remedy: "mend it".to_owned(),
    }
}

/// A move of an hour ago.
pub(crate) fn moved(kind: &str, from: &str, to: &str) -> ActionRecord {
    let at = |text: &str| Some(Time(text.parse().unwrap()));
    let step = |name: &str, start: &str, ms| StepRecord {
        name: name.to_owned(),
        start_time: at(start),
        milliseconds: Some(ms),
    };
    ActionRecord {
        kind: kind.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        epoch: Some(3),
        start_time: at("2026-01-02T02:00:00Z"),
        available_time: at("2026-01-02T02:00:04Z"),
        complete_time: at("2026-01-02T02:01:00Z"),
        data_loss_seconds: Some(7),
        result: "Succeeded".to_owned(),
        steps: vec![
            step("Promote", "2026-01-02T02:00:00Z", 1500),
            step("Start", "2026-01-02T02:00:01.5Z", 2500),
        ],
    }
}

/// A cluster that answered two seconds ago.
pub(crate) fn cluster(name: &str, health: &str) -> DRCluster {
    let spec = DRClusterSpec {
        kubeconfig_secret_ref: NameRef {
            name: format!("cluster-{name}"),
        },
        region: Some("r1".to_owned()),
        fencing: None,
        replication: Replication::Agent,
        maintenance: None,
    };
    let mut c = DRCluster::new(name, spec);
    c.status = Some(DRClusterStatus {
        health: Some(health.to_owned()),
        last_proof_of_life_time: Some(ago(2)),
        kubernetes_version: Some("v1.33.0".to_owned()),
        conditions: ["Reachable", "AgentAlive", "DriversReady"]
            .map(|k| condition(k, "True", "Good"))
            .to_vec(),
        ..DRClusterStatus::default()
    });
    c
}
