//! A turn of the loop, where it meets the line for a cluster.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use kube::config::Kubeconfig;
use lifeboat_api::DRPolicy;
use lifeboat_core::Epoch;
use lifeboat_core::observed::ArchiveFacts;
use lifeboat_core::report::Report;
use lifeboat_core::step::Force;
use lifeboat_kit::TokioClock;
use lifeboat_kit::lease::Held;
use lifeboat_sim::apiserver::ApiServer;
use lifeboat_sim::clock::SimClock;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Config, Leadership};
use crate::connect::{Connect, ConnectError};
use crate::metrics::Metrics;

/// Nobody can be reached.
struct Nowhere;

impl Connect for Nowhere {
    fn connect<'a>(&'a self, _: &'a Kubeconfig) -> BoxFuture<'a, Result<Client, ConnectError>> {
        async { Err(ConnectError::Unknown("nowhere".to_owned())) }.boxed()
    }
}

fn key(name: &str) -> PlacementKey {
    PlacementKey {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

/// One step on dr1.
fn step() -> Step {
    Step::Record {
        cluster: ClusterId::new("dr1"),
        owner: ClusterId::new("dr1"),
        epoch: Epoch(1),
        force: Force::Denied,
        served: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_placement_needs_one_turn_on_a_cluster_and_not_two() {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let hub = ApiServer::new("hub", SimClock::at(now));
    let mut registry = Registry::default();
    let cancel = CancellationToken::new();
    let metrics = Metrics::new(&mut registry);
    let (desk, _told) = crate::news::Desk::new(metrics.dropped_events());
    let parts = (metrics, desk, watch::channel(Held::No { holder: None }).1);
    let clock: lifeboat_kit::SharedClock = Arc::new(TokioClock::at(now));
    let mut config = Config::new("hub-0");
    config.leadership = Leadership::Alone;
    let context = crate::run::context(
        config,
        &hub.admin(),
        Arc::new(Nowhere),
        &clock,
        parts,
        &cancel,
    );
    let placement: DRPlacement = serde_json::from_value(json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement",
        "metadata": {"namespace": "shop", "name": "db", "uid": "0123456789", "resourceVersion": "7"},
        "spec": {"policyRef": {"name": "gold"}, "preferredCluster": "dr1"}}))
    .unwrap();
    let policy: DRPolicy = serde_json::from_value(json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
        "spec": {"clusters": ["dr1", "dr2"], "classes": []}}))
    .unwrap();
    let policy = Arc::new(policy);
    let journal = Journal::default();
    let resolved = resolve(&placement, |_| Some(policy.clone()), &journal).unwrap();
    let look = Look {
        context: &context,
        placement: &placement,
        resolved: &resolved,
        observed: Arc::new(Observed {
            clusters: BTreeMap::new(),
            archive: ArchiveFacts::default(),
        }),
        journal: &journal,
    };
    // Others have all the turns but one.
    let mut others = Vec::new();
    while let Ok(turn) = context.executor.turn(&step(), &key("another")) {
        others.push(turn);
    }
    others.pop();
    let plan = Plan {
        journal: None,
        steps: vec![step()],
        aside: Vec::new(),
        again_after_ms: None,
        report: Report::default(),
    };
    let mut memory = Memory {
        confirmed: placement.metadata.resource_version.clone(),
    };
    look.follow(plan, &mut memory).await;
    // It was tried: there is no connection, which is another trouble than to find no turn.
    let stuck = context.stuck.lock().get(&key("db")).cloned().unwrap();
    let said = &stuck.blocker.message;
    assert!(said.contains("there is no connection to dr1"), "{said}");
    // And the turn was given back.
    assert!(context.executor.turn(&step(), &key("db")).is_ok());
}
