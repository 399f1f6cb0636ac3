//! What the command line and the environment resolve to.

use std::net::SocketAddr;
use std::time::Duration;

use lifeboat_api::names::SYSTEM_NAMESPACE;

use crate::fleet::FleetConfig;

/// Settings of the hub.
#[derive(Debug, Clone)]
pub struct Config {
    /// The hub's own namespace: kubeconfig Secrets, captures and the Lease are there.
    pub namespace: String,
    /// Who this process is: a pod name, or anything else that differs between two.
    pub identity: String,
    /// Whether only the holder of the Lease acts. Correctness does not depend on it; it saves work.
    pub leadership: Leadership,
    /// How many placements are worked on at once.
    pub concurrency: usize,
    /// How long one call to a managed cluster may take.
    pub call_deadline: Duration,
    /// How long a silent cluster is only suspected before it is shown as lost.
    pub lost_after: Duration,
    /// Times of the connections to managed clusters.
    pub fleet: FleetConfig,
    /// Where health, readiness and metrics are served; none: nowhere.
    pub admin: Option<SocketAddr>,
}

/// Whether only the holder of the Lease acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// One of several replicas: only the holder of the Lease acts.
    Lease,
    /// The only process there is.
    Alone,
}

impl Config {
    /// The usual settings for a process that calls itself `identity`.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            namespace: SYSTEM_NAMESPACE.to_owned(),
            identity: identity.into(),
            leadership: Leadership::Lease,
            concurrency: 64,
            call_deadline: Duration::from_secs(5),
            lost_after: Duration::from_secs(60),
            fleet: FleetConfig::default(),
            admin: None,
        }
    }
}
