//! Whose turn it is to serve a driver: that of the agent which holds the driver's Lease. Each driver has one of its own, so
//! agents with different drivers work side by side, and two that have a driver in common never both serve it.
//!
//! Where a CSI-Addons sidecar may run beside the driver too, the Lease that such sidecars contend for is held as well: one of
//! them that has it keeps the agent waiting, and as long as the agent has it none of them acts.

use std::collections::BTreeMap;

use kube::Client;
use lifeboat_api::names;
use lifeboat_kit::SharedClock;
use lifeboat_kit::lease::{Annotations, Held, Lease, LeaseConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Replication};

/// How it stands with one driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It is ours to serve.
    Ours,
    /// Another agent serves it, or none does yet.
    Waiting,
    /// A CSI-Addons sidecar may serve it. Why, and who is known to.
    Aside { why: String, by: Option<String> },
}

/// What tells whose turn it is.
#[derive(Clone)]
pub(crate) struct Turn {
    own: watch::Receiver<Held>,
    beside: Option<Beside>,
}

/// The Lease of the CSI-Addons sidecars.
#[derive(Clone)]
struct Beside {
    name: String,
    held: watch::Receiver<Held>,
}

/// What contends for one driver.
pub(crate) struct Contender {
    own: Lease,
    held: watch::Receiver<Held>,
    beside: Option<Lease>,
}

impl Turn {
    /// What tells whose turn it is to serve a driver, what contends for it, and what says how the driver does.
    pub(crate) fn new(
        driver: &str,
        config: &Config,
        client: &Client,
        clock: &SharedClock,
    ) -> (Self, Contender, Annotations) {
        let lease = LeaseConfig {
            namespace: config.namespace.clone(),
            name: names::driver_lease(driver),
            labels: BTreeMap::from([(names::LEASE.to_owned(), names::DRIVER_LEASE.to_owned())]),
            identity: config.identity.clone(),
            ttl: config.lease_ttl,
        };
        let (own, held, annotations) = Lease::new(client.clone(), lease, clock.clone());
        let namespace = config.driver_namespace.as_ref();
        let namespace = namespace.filter(|_| config.replication == Replication::On);
        let (beside, theirs) = namespace
            .map(|namespace| beside(driver, namespace, config, client, clock))
            .unzip();
        let turn = Self {
            own: held.clone(),
            beside,
        };
        let contender = Contender {
            own,
            held,
            beside: theirs,
        };
        (turn, contender, annotations)
    }

    pub(crate) fn stand(&self) -> Stand {
        if !self.own.borrow().is_yes() {
            return Stand::Waiting;
        }
        let Some(beside) = &self.beside else {
            return Stand::Ours;
        };
        let lease = &beside.name;
        match &*beside.held.borrow() {
            Held::Yes { .. } => Stand::Ours,
            Held::No { holder: None } => Stand::Aside {
                why: format!("Lease {lease} is not held yet"),
                by: None,
            },
            Held::No { holder: Some(by) } => Stand::Aside {
                why: format!(
                    "CSI-Addons sidecar {by} holds Lease {lease} and serves the driver; take the sidecar away, or run the agent with --no-replication"
                ),
                by: Some(by.clone()),
            },
        }
    }

    /// Comes back when it may stand otherwise; never if nobody is left who would say so.
    pub(crate) async fn changed(&mut self) {
        let own = changed(&mut self.own);
        let beside = async {
            match &mut self.beside {
                Some(beside) => changed(&mut beside.held).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = own => {}
            () = beside => {}
        }
    }
}

async fn changed(held: &mut watch::Receiver<Held>) {
    if held.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn beside(
    driver: &str,
    namespace: &str,
    config: &Config,
    client: &Client,
    clock: &SharedClock,
) -> (Beside, Lease) {
    let lease = LeaseConfig {
        namespace: namespace.to_owned(),
        name: names::csi_addons_lease(driver),
        labels: BTreeMap::new(),
        // A sidecar calls itself by the name of its pod, which may be ours too.
        identity: format!("{}-lifeboat", config.identity),
        ttl: config.lease_ttl,
    };
    let name = format!("{namespace}/{}", lease.name);
    let (theirs, held, _) = Lease::new(client.clone(), lease, clock.clone());
    (Beside { name, held }, theirs)
}

impl Contender {
    /// Contends until it is over, and gives up what it holds. For the Lease of the sidecars it contends only while it holds
    /// the driver's: two agents that each had one of the two would wait for each other.
    pub(crate) async fn run(mut self, over: CancellationToken) {
        let own = self.own.run(over.clone());
        let Some(beside) = &mut self.beside else {
            return own.await;
        };
        let theirs = async {
            loop {
                tokio::select! {
                    biased;
                    () = over.cancelled() => return,
                    held = self.held.wait_for(Held::is_yes) => if held.is_err() { return },
                }
                let turn = over.child_token();
                let lost = async {
                    tokio::select! {
                        biased;
                        () = turn.cancelled() => {}
                        _ = self.held.wait_for(|held| !held.is_yes()) => turn.cancel(),
                    }
                };
                tokio::join!(beside.contend_until(&turn), lost);
            }
        };
        tokio::join!(own, theirs);
    }
}
