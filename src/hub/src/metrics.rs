//! What the hub counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::observed::Contact;
use lifeboat_core::{ClusterId, Outcome, Phase, Step};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::resolve::PlacementKey;

const BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlacementLabels {
    namespace: String,
    placement: String,
}

/// What the hub counts. Clones share one set of counters.
#[derive(Clone)]
pub(crate) struct Metrics {
    reconciles: Counter,
    conflicts: Counter,
    writes: Counter,
    dropped_events: Counter,
    steps: Family<StepLabels, Histogram, fn() -> Histogram>,
    phases: Family<PhaseLabels, Gauge>,
    contact: Family<ClusterLabels, Gauge>,
    last_sync: Family<PlacementLabels, Gauge>,
    known: Arc<Mutex<BTreeMap<PlacementKey, &'static str>>>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Counter::default(),
            conflicts: Counter::default(),
            writes: Counter::default(),
            dropped_events: Counter::default(),
            steps: Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram),
            phases: Family::default(),
            contact: Family::default(),
            last_sync: Family::default(),
            known: Arc::default(),
        };
        registry.register(
            "lifeboat_hub_reconciles",
            "Looks at a placement",
            metrics.reconciles.clone(),
        );
        let help = "Status writes that lost against another writer";
        registry.register(
            "lifeboat_hub_journal_conflicts",
            help,
            metrics.conflicts.clone(),
        );
        registry.register(
            "lifeboat_hub_status_writes",
            "Writes of a DRPlacement's status",
            metrics.writes.clone(),
        );
        registry.register(
            "lifeboat_hub_events_dropped",
            "Kubernetes Events that were not written because too many were waiting",
            metrics.dropped_events.clone(),
        );
        registry.register(
            "lifeboat_hub_step_seconds",
            "How long steps took, by how they ended",
            metrics.steps.clone(),
        );
        registry.register(
            "lifeboat_hub_placements",
            "Placements in each phase",
            metrics.phases.clone(),
        );
        registry.register(
            "lifeboat_hub_cluster_fresh",
            "1 while the cluster answers, else 0",
            metrics.contact.clone(),
        );
        let help = "Time of the oldest copy of a placement, in seconds since 1970; the age of it is what a failover loses";
        registry.register(
            "lifeboat_hub_last_sync_timestamp_seconds",
            help,
            metrics.last_sync.clone(),
        );
        metrics
    }

    pub(crate) fn reconciled(&self) {
        self.reconciles.inc();
    }

    pub(crate) fn conflicted(&self) {
        self.conflicts.inc();
    }

    pub(crate) fn wrote(&self) {
        self.writes.inc();
    }

    /// Counts Events that are lost.
    pub(crate) fn dropped_events(&self) -> Counter {
        self.dropped_events.clone()
    }

    pub(crate) fn stepped(&self, step: &Step, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Failed(_) => "failed",
        };
        self.steps
            .get_or_create(&StepLabels {
                step: step.name(),
                outcome,
            })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn placed(
        &self,
        key: &PlacementKey,
        phase: &Phase,
        last_sync: Option<jiff::Timestamp>,
    ) {
        self.count(key, Some(phase.as_str()));
        let labels = labels(key);
        match last_sync {
            Some(at) => drop(self.last_sync.get_or_create(&labels).set(at.as_second())),
            None => drop(self.last_sync.remove(&labels)),
        }
    }

    pub(crate) fn forget(&self, key: &PlacementKey) {
        self.count(key, None);
        self.last_sync.remove(&labels(key));
    }

    fn count(&self, key: &PlacementKey, phase: Option<&'static str>) {
        let mut known = self.known.lock();
        let old = match phase {
            Some(phase) => known.insert(key.clone(), phase),
            None => known.remove(key),
        };
        if let Some(old) = old {
            self.phases.get_or_create(&PhaseLabels { phase: old }).dec();
        }
        if let Some(new) = phase {
            self.phases.get_or_create(&PhaseLabels { phase: new }).inc();
        }
    }

    pub(crate) fn contact(&self, cluster: &ClusterId, contact: Option<&Contact>) {
        let labels = ClusterLabels {
            cluster: cluster.to_string(),
        };
        match contact {
            Some(contact) => drop(
                self.contact
                    .get_or_create(&labels)
                    .set(i64::from(contact.is_fresh())),
            ),
            None => drop(self.contact.remove(&labels)),
        }
    }
}

fn labels(key: &PlacementKey) -> PlacementLabels {
    PlacementLabels {
        namespace: key.namespace.clone(),
        placement: key.name.clone(),
    }
}
