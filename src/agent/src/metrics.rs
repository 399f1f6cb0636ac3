//! What the agent counts.

use std::time::Duration;

use lifeboat_drivers::{Code, Observer, Rpc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    driver: String,
    rpc: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Flight {
    driver: String,
    rpc: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

/// What the agent counts. Clones share one set of counters.
#[derive(Clone)]
pub(crate) struct Metrics {
    calls: Family<Call, Histogram, fn() -> Histogram>,
    in_flight: Family<Flight, Gauge>,
    refused: Family<Refused, Counter>,
    status_writes: Counter,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::new_with_constructor(histogram as fn() -> Histogram),
            in_flight: Family::default(),
            refused: Family::default(),
            status_writes: Counter::default(),
        };
        let help = "How long calls to a driver took, by how they ended";
        registry.register("lifeboat_driver_call_seconds", help, metrics.calls.clone());
        let help = "Calls to a driver that have not been answered yet";
        registry.register(
            "lifeboat_driver_calls_in_flight",
            help,
            metrics.in_flight.clone(),
        );
        let help =
            "Requests of a hub that were refused because of their epoch or for want of a grant";
        registry.register("lifeboat_agent_refusals", help, metrics.refused.clone());
        let help = "Statuses of VolumeReplications that were written";
        registry.register(
            "lifeboat_agent_status_writes",
            help,
            metrics.status_writes.clone(),
        );
        metrics
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Refused { reason }).inc();
    }

    pub(crate) fn status_written(&self) {
        self.status_writes.inc();
    }
}

impl Observer for Metrics {
    fn begun(&self, driver: &str, rpc: Rpc) {
        let labels = Flight {
            driver: driver.to_owned(),
            rpc: rpc.as_str(),
        };
        self.in_flight.get_or_create(&labels).inc();
    }

    fn ended(&self, driver: &str, rpc: Rpc, code: Code, took: Duration) {
        let (driver, rpc) = (driver.to_owned(), rpc.as_str());
        self.in_flight
            .get_or_create(&Flight {
                driver: driver.clone(),
                rpc,
            })
            .dec();
        let labels = Call {
            driver,
            rpc,
            code: format!("{code:?}"),
        };
        self.calls
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }
}
