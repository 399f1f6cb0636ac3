//! How the agent is set up.

use std::net::SocketAddr;
use std::time::Duration;

use lifeboat_api::names;
use lifeboat_drivers::Endpoint;

/// How the agent is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The drivers to serve: the name that classes use, and where it listens.
    pub drivers: Vec<(String, Endpoint)>,
    /// Namespace of the agent's Leases, one for each driver.
    pub namespace: String,
    /// Namespace of the drivers' pods. The Leases of the CSI-Addons sidecars there are held too, so that no sidecar and the agent
    /// ever serve one driver at once. Absent: no sidecar runs.
    pub driver_namespace: Option<String>,
    /// Who this process is: a pod name, or anything else that differs between two agents of one cluster.
    pub identity: String,
    /// How long one call to a driver may take.
    pub rpc_timeout: Duration,
    /// How long a Lease of the agent lasts that is not renewed. It is renewed each third of it.
    pub lease_ttl: Duration,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; nowhere if absent.
    pub admin: Option<SocketAddr>,
    /// How many volumes of one driver are worked on at once.
    pub concurrency: usize,
    /// How many claims a VolumeGroupReplication may select, 100 at most.
    pub max_group_claims: usize,
    /// Whether VolumeReplications are served.
    pub replication: Replication,
    /// How often drivers are asked.
    pub polls: Polls,
}

/// Whether VolumeReplications are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// They are.
    On,
    /// They are left to another controller; only the heartbeat runs.
    Off,
}

/// How often drivers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polls {
    /// From a demotion to the first resync check, and after a failure of a secondary.
    pub after_demote: Duration,
    /// Between two resync checks.
    pub resync: Duration,
    /// Of a hub-managed secondary: from demotion to the first check; doubles up to `hub_longest`.
    pub hub_first: Duration,
    /// Of a hub-managed volume: the longest wait between two checks or tries.
    pub hub_longest: Duration,
    /// Of a hub-managed primary: between two questions about replication.
    pub sync: Duration,
    /// Of any other primary whose class names no interval: between two questions about replication.
    pub info: Duration,
    /// Between two probes of a driver that answers.
    pub probe: Duration,
    /// Between two probes of a driver that does not.
    pub probe_away: Duration,
}

impl Default for Polls {
    fn default() -> Self {
        Self {
            after_demote: Duration::from_secs(15),
            resync: Duration::from_secs(30),
            hub_first: Duration::from_millis(200),
            hub_longest: Duration::from_secs(5),
            sync: Duration::from_secs(5),
            info: Duration::from_secs(3600),
            probe: Duration::from_secs(5),
            probe_away: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// The defaults, for these drivers.
    pub fn new(identity: &str, drivers: Vec<(String, Endpoint)>) -> Self {
        Self {
            drivers,
            namespace: names::SYSTEM_NAMESPACE.to_owned(),
            driver_namespace: None,
            identity: identity.to_owned(),
            rpc_timeout: Duration::from_secs(60),
            lease_ttl: Duration::from_secs(15),
            admin: None,
            concurrency: 64,
            max_group_claims: 100,
            replication: Replication::On,
            polls: Polls::default(),
        }
    }
}
