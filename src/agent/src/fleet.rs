//! The drivers that are served, each with a supervisor that knows whether it answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use lifeboat_api::common::DriverState;
use lifeboat_api::names;
use lifeboat_drivers::{Driver, DriverConfig, Endpoint, Liveness};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::lease::Annotations;
use lifeboat_kit::{Readiness, Ready};
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::metrics::Metrics;
use crate::view::DriverView;

/// One driver and what is known of it.
struct Member {
    driver: Driver,
    view: RwLock<DriverView>,
    doubt: Notify,
}

/// The drivers that are served.
pub(crate) struct Fleet {
    members: BTreeMap<String, Member>,
    annotations: Annotations,
    readiness: Readiness,
}

impl Fleet {
    pub(crate) fn new(
        drivers: &[(String, Endpoint)],
        rpc_timeout: Duration,
        metrics: &Metrics,
        annotations: Annotations,
        readiness: Readiness,
    ) -> Self {
        let member = |(name, endpoint): &(String, Endpoint)| {
            let config = DriverConfig {
                name: name.clone(),
                endpoint: endpoint.clone(),
                rpc_timeout,
            };
            let driver = Driver::observed(config, Arc::new(metrics.clone()));
            readiness.set(&part(name), Ready::No("not asked yet".to_owned()));
            (
                name.clone(),
                Member {
                    driver,
                    view: RwLock::new(DriverView::Unknown),
                    doubt: Notify::new(),
                },
            )
        };
        let members = drivers.iter().map(member).collect();
        let fleet = Self {
            members,
            annotations,
            readiness,
        };
        fleet.publish();
        fleet
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn serves(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(crate) fn driver(&self, name: &str) -> Option<&Driver> {
        self.members.get(name).map(|member| &member.driver)
    }

    pub(crate) fn view(&self, name: &str) -> DriverView {
        self.members
            .get(name)
            .map_or(DriverView::Unknown, |member| member.view.read().clone())
    }

    /// A call did not reach the driver: ask it at once how it is.
    pub(crate) fn doubt(&self, name: &str) {
        if let Some(member) = self.members.get(name) {
            member.doubt.notify_one();
        }
    }

    /// What the agent's Lease tells of the drivers.
    fn states(&self) -> Vec<DriverState> {
        let state = |(name, member): (&String, &Member)| {
            let (state, message, capabilities) = match &*member.view.read() {
                DriverView::Unknown => ("Unknown", String::new(), Vec::new()),
                DriverView::Away { why } => ("NotReady", why.clone(), Vec::new()),
                DriverView::Ready(offers) => (
                    "Ready",
                    String::new(),
                    offers.iter().map(|c| c.as_str().to_owned()).collect(),
                ),
            };
            DriverState {
                name: name.clone(),
                state: state.to_owned(),
                message,
                capabilities,
            }
        };
        self.members.iter().map(state).collect()
    }

    fn publish(&self) {
        let text = serde_json::to_string(&self.states()).unwrap_or_default();
        self.annotations.send_if_modified(|all| {
            all.insert(names::DRIVERS.to_owned(), text.clone()) != Some(text.clone())
        });
    }

    /// Takes what a supervisor found; answers whether it is news.
    fn learn(&self, name: &str, view: DriverView) -> bool {
        let Some(member) = self.members.get(name) else {
            return false;
        };
        if *member.view.read() == view {
            return false;
        }
        let ready = match &view {
            DriverView::Ready(_) => Ready::Yes,
            DriverView::Away { why } => Ready::No(why.clone()),
            DriverView::Unknown => Ready::No("not asked yet".to_owned()),
        };
        *member.view.write() = view;
        self.readiness.set(&part(name), ready);
        self.publish();
        true
    }
}

fn part(name: &str) -> String {
    format!("driver {name}")
}

/// Asks one driver now and then how it is, for ever; a driver that is away is asked more often.
pub(crate) async fn supervise(agent: Arc<Agent>, name: String, cancel: CancellationToken) {
    let Some(member) = agent.fleet.members.get(&name) else {
        return;
    };
    loop {
        let view = look(&member.driver).await;
        let wait = match &view {
            DriverView::Ready(_) => agent.config.polls.probe,
            DriverView::Away { .. } | DriverView::Unknown => agent.config.polls.probe_away,
        };
        if agent.fleet.learn(&name, view.clone()) {
            agent.wake(agent.caches.work_of(&name));
            tell(&agent, &name, &view).await;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = member.doubt.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn look(driver: &Driver) -> DriverView {
    let identity = match driver.identify().await {
        Ok(identity) => identity,
        Err(error) => return DriverView::Away { why: error.message },
    };
    if !identity.name.is_empty() && identity.name != driver.name() {
        warn!(configured = driver.name(), says = %identity.name, "the driver calls itself otherwise");
    }
    match driver.probe().await {
        Ok(Liveness::Ready) => DriverView::Ready(identity.capabilities),
        Ok(Liveness::Starting) => DriverView::Away {
            why: "it says it is not ready".to_owned(),
        },
        Err(error) => DriverView::Away { why: error.message },
    }
}

async fn tell(agent: &Agent, name: &str, view: &DriverView) {
    let lease = ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        namespace: Some(agent.config.namespace.clone()),
        name: Some(names::AGENT_LEASE.to_owned()),
        ..ObjectReference::default()
    };
    let news = match view {
        DriverView::Unknown => return,
        DriverView::Ready(_) => {
            info!(driver = name, "driver is ready");
            let note = format!("driver {name} is ready");
            News {
                kind: EventKind::Normal,
                reason: "DriverReady",
                action: "Probe",
                note,
            }
        }
        DriverView::Away { why } => {
            warn!(driver = name, %why, "driver is not ready");
            let note = format!("driver {name} is not ready: {why}; its volumes wait for it");
            News {
                kind: EventKind::Warning,
                reason: "DriverNotReady",
                action: "Probe",
                note,
            }
        }
    };
    agent.recorder.tell(&lease, news).await;
}
