//! The drivers that are served, each with a supervisor that knows whether it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use lifeboat_api::common::DriverState;
use lifeboat_api::names;
use lifeboat_drivers::{Driver, Liveness};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::lease::Annotations;
use lifeboat_kit::{Readiness, Ready};
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::cache::Work;
use crate::config::{Config, Replication};
use crate::slots::{Slot, Slots};
use crate::turn::{Stand, Turn};
use crate::view::DriverView;

/// One driver and what is known of it.
struct Member {
    driver: Driver,
    view: RwLock<DriverView>,
    doubt: Notify,
    turn: Turn,
    annotations: Annotations,
    slots: Slots,
    /// Fences have their own: a fence is not to stand in line behind volumes whose calls hang.
    fences: Slots,
    /// So has what is done about copies that are kept: it may take as long as the volumes are large, and no promotion is to stand
    /// in line behind it.
    copies: Slots,
}

/// The drivers that are served.
pub(crate) struct Fleet {
    members: BTreeMap<String, Member>,
    readiness: Readiness,
    replication: Replication,
    /// Of each driver.
    at_once: usize,
}

impl Fleet {
    pub(crate) fn new(readiness: Readiness, config: &Config) -> Self {
        Self {
            members: BTreeMap::new(),
            readiness,
            replication: config.replication,
            at_once: config.concurrency,
        }
    }

    /// Takes a driver in; `annotations` are those of its Lease.
    pub(crate) fn add(&mut self, driver: Driver, turn: Turn, annotations: Annotations) {
        let name = driver.name().to_owned();
        let member = Member {
            driver,
            view: RwLock::new(DriverView::Unknown),
            doubt: Notify::new(),
            turn,
            annotations,
            slots: Slots::new(self.at_once),
            fences: Slots::new(self.at_once),
            copies: Slots::new(self.at_once),
        };
        self.members.insert(name.clone(), member);
        self.tell_how(&name);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Whether a driver is ours to serve now.
    pub(crate) fn serves(&self, name: &str) -> bool {
        let member = self.members.get(name);
        member.is_some_and(|member| member.turn.stand() == Stand::Ours)
    }

    /// Whether any is.
    pub(crate) fn serves_any(&self) -> bool {
        self.members.keys().any(|name| self.serves(name))
    }

    pub(crate) fn driver(&self, name: &str) -> Option<&Driver> {
        self.members.get(name).map(|member| &member.driver)
    }

    /// A slot of a driver, or a place in its line.
    pub(crate) fn enter(&self, driver: &str, work: &Work) -> Option<Slot<'_>> {
        let member = self.members.get(driver)?;
        let slots = match work {
            Work::Fence(_) => &member.fences,
            Work::Group(_) | Work::Ownership(_) | Work::Volume(_) => &member.slots,
        };
        slots.enter(work)
    }

    /// A slot of a driver for measuring, keeping or dropping, or a place in its line.
    pub(crate) fn enter_copies(&self, driver: &str, work: &Work) -> Option<Slot<'_>> {
        self.members.get(driver)?.copies.enter(work)
    }

    /// Who finds a slot now that found none before.
    pub(crate) fn call(&self) -> impl Iterator<Item = Work> {
        let members = self.members.values();
        let lines = members.flat_map(|m| [&m.slots, &m.fences, &m.copies]);
        lines.filter_map(Slots::call)
    }

    /// How much may be done at once: what all slots hold, and as much as one driver's for what needs none.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once * (3 * self.members.len() + 1)
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

    /// Puts how a driver does into readiness and on its Lease.
    fn tell_how(&self, name: &str) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        let (state, message, capabilities) = match (member.turn.stand(), &*member.view.read()) {
            (Stand::Aside { why, .. }, _) => ("NotReady", why, Vec::new()),
            (_, DriverView::Unknown) => ("Unknown", String::new(), Vec::new()),
            (_, DriverView::Away { why }) => ("NotReady", why.clone(), Vec::new()),
            (_, DriverView::Ready(offers)) => {
                let offers = offers.iter().map(|c| c.as_str().to_owned());
                ("Ready", String::new(), offers.collect())
            }
        };
        let ready = match state {
            "Ready" => Ready::Yes,
            "Unknown" => Ready::No("not asked yet".to_owned()),
            _ => Ready::No(message.clone()),
        };
        self.readiness.set(&format!("driver {name}"), ready);
        let state = DriverState {
            name: name.to_owned(),
            state: state.to_owned(),
            message,
            capabilities,
            left_to: match self.replication {
                Replication::On => String::new(),
                Replication::Off => "Upstream".to_owned(),
            },
        };
        let text = serde_json::to_string(&state).unwrap_or_default();
        member.annotations.send_if_modified(|all| {
            all.insert(names::DRIVER.to_owned(), text.clone()) != Some(text.clone())
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
        *member.view.write() = view;
        self.tell_how(name);
        true
    }
}

/// Follows whose turn it is to serve a driver. Everything is looked at anew: what waited while another served it, and what is
/// not ours any more.
pub(crate) async fn follow_turn(agent: Arc<Agent>, name: String, cancel: CancellationToken) {
    let Some(member) = agent.fleet.members.get(&name) else {
        return;
    };
    let mut turn = member.turn.clone();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = turn.changed() => {}
        }
        agent.fleet.tell_how(&name);
        agent.wake(agent.caches.everything());
        if let Stand::Aside { why, by: Some(_) } = turn.stand() {
            warn!(driver = name, %why, "stands aside");
            let note = format!("driver {name} is left alone: {why}");
            warn_of(&agent, &name, "StandsAside", "Serve", note).await;
        }
    }
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
    match view {
        DriverView::Unknown => {}
        DriverView::Ready(_) => {
            info!(driver = name, "driver is ready");
            let news = News {
                kind: EventKind::Normal,
                reason: "DriverReady",
                action: "Probe",
                note: format!("driver {name} is ready"),
            };
            agent.recorder.tell(&lease_of(agent, name), news).await;
        }
        DriverView::Away { why } => {
            warn!(driver = name, %why, "driver is not ready");
            let note = format!("driver {name} is not ready: {why}; its volumes wait for it");
            warn_of(agent, name, "DriverNotReady", "Probe", note).await;
        }
    }
}

async fn warn_of(
    agent: &Agent,
    driver: &str,
    reason: &'static str,
    action: &'static str,
    note: String,
) {
    let news = News {
        kind: EventKind::Warning,
        reason,
        action,
        note,
    };
    agent.recorder.tell(&lease_of(agent, driver), news).await;
}

fn lease_of(agent: &Agent, driver: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        namespace: Some(agent.config.namespace.clone()),
        name: Some(names::driver_lease(driver)),
        ..ObjectReference::default()
    }
}
