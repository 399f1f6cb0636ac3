//! What is known of one cluster, and how well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use lifeboat_api::cluster::Signal;
use lifeboat_api::common::to_time;
use lifeboat_core::observed::{AgentFacts, Contact, Replicator};
use lifeboat_kit::WatchEvent;
use tokio::time::Instant;

use super::agent::Agents;
use super::kept::{Kept, Tables, Touch};
use super::table::Change;

/// Name of the watch on the agents' Leases.
pub(crate) const LEASE: &str = "Leases";

/// Whether a watch is in step.
#[derive(Debug, Clone, PartialEq)]
enum Watching {
    /// The list is not read yet.
    Reading {
        since: Timestamp,
    },
    Synced,
    Lost {
        since: Timestamp,
        why: String,
    },
}

/// The signal of the API server.
pub(crate) const API_SIGNAL: &str = "ApiServer";
/// The state of a signal whose source does not accept our credentials.
pub(crate) const AUTH_ERROR: &str = "AuthError";

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Silent,
    Denied,
}

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) instant: Instant,
}

/// What is known of one cluster.
pub(crate) struct View {
    pub(crate) tables: Tables,
    watches: BTreeMap<&'static str, Watching>,
    /// Whether everything was in step at least once.
    complete: bool,
    stale_after: Duration,
    /// When it was first tried.
    started: Timestamp,
    proof: Option<Moment>,
    failure: Option<(Trouble, String)>,
    version: Option<String>,
    agents: Agents,
    /// Who works the VolumeReplications there, by its DRCluster.
    replicator: Replicator,
    signals: Vec<Signal>,
    told: Option<Told>,
    /// The uid that the cluster has; none: it was never seen before, and is whatever it is.
    expected: Option<String>,
}

/// What the others were last woken for.
#[derive(PartialEq)]
struct Told {
    contact: Contact,
    /// Why it is not fresh, in kind: whoever registers a cluster that nobody reaches is told so at the first failure.
    trouble: Option<Trouble>,
    agent: AgentFacts,
    replicator: Replicator,
    version: Option<String>,
    uid: Option<String>,
}

impl View {
    pub(crate) fn new(stale_after: Duration, expected: Option<String>, started: Timestamp) -> Self {
        Self {
            tables: Tables::default(),
            watches: BTreeMap::new(),
            complete: false,
            stale_after,
            started,
            proof: None,
            failure: None,
            version: None,
            agents: Agents::default(),
            replicator: Replicator::Agent,
            signals: Vec::new(),
            told: None,
            expected,
        }
    }

    /// When it was first tried with these credentials.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// The uid that the cluster must have to be taken for itself.
    pub(crate) fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    pub(crate) fn expect(&mut self, uid: Option<String>) {
        self.expected = uid;
    }

    /// Whether this is known to be the cluster that it was. Until then nothing seen here is the cluster's.
    pub(crate) fn is_itself(&self) -> bool {
        self.expected.is_none() || self.expected == self.uid()
    }

    /// Why this is another cluster than it was.
    pub(crate) fn stranger(&self) -> Option<String> {
        let (expected, uid) = (self.expected.as_ref()?, self.uid()?);
        (*expected != uid).then(|| {
            format!("was registered with the cluster of uid {expected}, and its kubeconfig now leads to uid {uid}")
        })
    }

    /// All watches begin anew: until each is in step, what is known is not an answer. One that was out of step before
    /// stays so since then.
    pub(crate) fn begin(&mut self, kinds: impl IntoIterator<Item = &'static str>, at: Timestamp) {
        for kind in kinds {
            let since = match self.watches.get(kind) {
                Some(Watching::Lost { since, .. } | Watching::Reading { since }) => *since,
                Some(Watching::Synced) | None => at,
            };
            self.watches.insert(kind, Watching::Reading { since });
        }
    }

    /// The cluster answered a probe that was sent at `sent`. Says whether it was silent for so long before that the
    /// watches must begin anew: a connection can die unnoticed, and would show the past as the present.
    pub(crate) fn prove(&mut self, sent: Moment, version: String) -> Healed {
        let silent = self
            .proof
            .filter(|p| sent.instant.duration_since(p.instant) >= self.patience());
        if silent.is_some() {
            // Whatever was lost meanwhile is out of step from this answer on, and not for as long as the silence was:
            // a cluster that has just answered must not count as silent for being read.
            for state in self.watches.values_mut() {
                *state = Watching::Reading { since: sent.at };
            }
        }
        self.proof = Some(sent);
        self.version = Some(version);
        self.failure = None;
        if silent.is_some() {
            Healed::Yes
        } else {
            Healed::No
        }
    }

    /// A probe, or the connection itself, failed.
    pub(crate) fn fail(&mut self, trouble: Trouble, why: String) {
        self.failure = Some((trouble, why));
    }

    /// Takes what a watch tells; answers whom it concerns.
    pub(crate) fn take<R: Kept>(
        &mut self,
        event: WatchEvent<R::Object>,
        now: Moment,
    ) -> BTreeSet<Touch> {
        let was = self.watches.get(R::KIND) == Some(&Watching::Synced);
        self.follow(R::KIND, &event, now.at);
        let changes = R::table(&mut self.tables).take(event);
        if was {
            self.touched(&changes)
        } else {
            // Coming into step is a change of contact, which wakes everybody anyway.
            BTreeSet::new()
        }
    }

    /// Takes the answer to a write; answers whom it concerns.
    pub(crate) fn note<R: Kept>(&mut self, object: &R::Object) -> BTreeSet<Touch> {
        let change = R::table(&mut self.tables).note(object);
        self.touched(change.as_slice())
    }

    fn touched<R: Kept>(&self, changes: &[Change<R>]) -> BTreeSet<Touch> {
        let mut all = BTreeSet::new();
        for change in changes {
            for row in &change.rows {
                R::touch(&change.key, row, &self.tables, &mut all);
                all.extend(row.uid().map(|uid| Touch::Placement(uid.to_owned())));
            }
        }
        all
    }

    /// Takes what the watch on the agents' Leases tells.
    pub(crate) fn take_lease(&mut self, event: &WatchEvent<Lease>, now: Moment) {
        self.follow(LEASE, event, now.at);
        self.agents.take(event, now.at, now.instant);
    }

    fn follow<K>(&mut self, kind: &'static str, event: &WatchEvent<K>, at: Timestamp) {
        let next = match (event, self.watches.get(kind)) {
            (WatchEvent::Synced(_), _) => Watching::Synced,
            (
                WatchEvent::Lost(why),
                Some(Watching::Lost { since, .. } | Watching::Reading { since }),
            ) => {
                let (since, why) = (*since, explain(kind, why));
                Watching::Lost { since, why }
            }
            (WatchEvent::Lost(why), Some(Watching::Synced) | None) => {
                let why = explain(kind, why);
                Watching::Lost { since: at, why }
            }
            (WatchEvent::Apply(_) | WatchEvent::Delete(_), _) => return,
        };
        self.watches.insert(kind, next);
    }

    /// How well the cluster is known.
    pub(crate) fn contact(&self, now: Instant) -> Contact {
        if let Some(why) = self.stranger() {
            let since = self.started;
            return Contact::Replaced { since, why };
        }
        let failure = self.failure.as_ref().map(|(_, why)| why.clone());
        let since = self.proof.map_or(self.started, |proof| proof.at);
        // Whoever refuses us is alive.
        if let Some((Trouble::Denied, why)) = &self.failure {
            let why = why.clone();
            return Contact::Behind { since, why };
        }
        let Some(proof) = self.proof else {
            let why = failure.unwrap_or_else(|| "no answer yet".to_owned());
            return Contact::Never { since, why };
        };
        if now.duration_since(proof.instant) >= self.patience() {
            let why = failure.unwrap_or_else(|| "no answer".to_owned());
            return if self.complete {
                Contact::Stale { since, why }
            } else {
                Contact::Never { since, why }
            };
        }
        match self.behind() {
            Some((since, why)) => Contact::Behind { since, why },
            None if !self.is_itself() => {
                let why = "its namespace kube-system is not seen".to_owned();
                let since = self.started;
                Contact::Never { since, why }
            }
            None => Contact::Fresh,
        }
    }

    /// How old the last answer may be. A probe that failed is half the proof of silence.
    fn patience(&self) -> Duration {
        match self.failure {
            Some(_) => self.stale_after / 2,
            None => self.stale_after,
        }
    }

    /// Since when something is out of step, and what; a watch that is lost says more than one that is being read.
    fn behind(&self) -> Option<(Timestamp, String)> {
        let mut found: Option<(u8, Timestamp, String)> = None;
        for (kind, state) in &self.watches {
            let (rank, since, why) = match state {
                Watching::Synced => continue,
                Watching::Lost { since, why } => (0, *since, why.clone()),
                Watching::Reading { since } => (1, *since, format!("its {kind} are being read")),
            };
            found = match found {
                Some((best, first, words)) if best <= rank => Some((best, first.min(since), words)),
                Some((_, first, _)) => Some((rank, first.min(since), why)),
                None => Some((rank, since, why)),
            };
        }
        found.map(|(_, since, why)| (since, why))
    }

    /// When something ends by the passage of time alone.
    pub(crate) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let stale = self.proof.map(|proof| proof.instant + self.patience());
        let agents = self.agents.expiries();
        stale.into_iter().chain(agents).filter(|at| *at > now).min()
    }

    /// Draws conclusions; answers whether everybody on the cluster should know.
    pub(crate) fn conclude(&mut self, now: Moment) -> bool {
        let contact = self.contact(now.instant);
        self.complete |= contact.is_fresh();
        let agent = self.agent(now.instant);
        self.signal(
            API_SIGNAL,
            self.api_state(&contact),
            contact.describe(),
            now.at,
        );
        let (state, words) = match &agent {
            AgentFacts::Alive { silent, .. } => match silent.first_key_value() {
                None => ("Up", "renews its Lease".to_owned()),
                Some((driver, at)) => {
                    let words = format!("that of {driver} was last renewed at {at}");
                    ("Down", words)
                }
            },
            AgentFacts::Silent { since } => {
                ("Down", format!("its Lease was last renewed at {since}"))
            }
            AgentFacts::Unseen => ("Unknown", "it has no Lease".to_owned()),
        };
        self.signal("Agent", state, words, now.at);
        let trouble = self.failure.as_ref().map(|(trouble, _)| *trouble);
        let told = Told {
            trouble: trouble.filter(|_| !contact.is_fresh()),
            // How it is silent, or what is being read, may change with each try; nobody needs to be woken for that.
            contact: without_words(contact),
            agent,
            replicator: self.replicator(now.instant),
            version: self.version.clone(),
            uid: self.uid(),
        };
        let news = self.told.as_ref() != Some(&told);
        self.told = Some(told);
        news
    }

    fn api_state(&self, contact: &Contact) -> &'static str {
        match (contact, &self.failure) {
            (_, Some((Trouble::Denied, _))) => AUTH_ERROR,
            (Contact::Fresh, _) | (Contact::Behind { .. }, None) => "Up",
            (Contact::Never { .. }, None) => "Unknown",
            (_, _) => "Down",
        }
    }

    fn signal(&mut self, name: &str, state: &str, message: String, at: Timestamp) {
        if let Some(signal) = self.signals.iter_mut().find(|s| s.name == name) {
            if signal.state != state {
                signal.since = Some(to_time(at));
                state.clone_into(&mut signal.state);
            }
            signal.message = message;
        } else {
            self.signals.push(Signal {
                name: name.to_owned(),
                state: state.to_owned(),
                since: Some(to_time(at)),
                message,
            });
        }
    }

    /// What is known of the agents.
    pub(crate) fn agent(&self, now: Instant) -> AgentFacts {
        self.agents.facts(now)
    }

    /// Who works the VolumeReplications there: not an agent, if its DRCluster or an agent there says so.
    pub(crate) fn replicator(&self, now: Instant) -> Replicator {
        match self.replicator {
            Replicator::Agent => self.agents.replicator(now),
            Replicator::Upstream => Replicator::Upstream,
        }
    }

    /// What the DRCluster says of that.
    pub(crate) fn declared(&self) -> Replicator {
        self.replicator
    }

    /// Takes what the DRCluster says of that.
    pub(crate) fn declare(&mut self, replicator: Replicator) {
        self.replicator = replicator;
    }

    /// The drivers as their agents last told.
    pub(crate) fn drivers(&self, now: Instant) -> Vec<lifeboat_api::common::DriverState> {
        self.agents.drivers(now)
    }

    /// uid of kube-system.
    pub(crate) fn uid(&self) -> Option<String> {
        self.tables.namespaces.get("", "kube-system")?.uid.clone()
    }

    /// Version of the API server.
    pub(crate) fn version(&self) -> Option<String> {
        self.version.clone()
    }

    /// The last answered probe.
    pub(crate) fn last_proof(&self) -> Option<Timestamp> {
        self.proof.map(|proof| proof.at)
    }

    /// The signals, with since when.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.signals.clone()
    }
}

/// The same contact, without what happened on the last try.
fn without_words(contact: Contact) -> Contact {
    let why = String::new();
    match contact {
        Contact::Stale { since, .. } => Contact::Stale { since, why },
        Contact::Behind { since, .. } => Contact::Behind { since, why },
        Contact::Never { since, .. } => Contact::Never { since, why },
        other @ (Contact::Fresh
        | Contact::Refused { .. }
        | Contact::Replaced { .. }
        | Contact::Unregistered { .. }) => other,
    }
}

/// Whether a cluster came back after a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Healed {
    Yes,
    No,
}

fn explain(kind: &str, why: &str) -> String {
    let missing = ["404", "NotFound", "could not find the requested resource"]
        .iter()
        .any(|sign| why.contains(sign));
    // The client repeats the whole answer in its debug form; the words before it say it all.
    let why = why.split(" (Status {").next().unwrap_or(why);
    let crd = match kind {
        "VolumeReplications" => Some("VolumeReplication"),
        "VolumeReplicationClasses" => Some("VolumeReplicationClass"),
        "DROwnerships" => Some("DROwnership"),
        _ => None,
    };
    match crd.filter(|_| missing) {
        Some(crd) => format!("{crd} CRD is not installed: apply the project's crds/ there"),
        None => format!("its {kind} cannot be watched: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_news_and_another_of_its_kind_is_not() {
        let now = Moment {
            at: Timestamp::UNIX_EPOCH,
            instant: Instant::now(),
        };
        let mut view = View::new(Duration::from_secs(10), None, now.at);
        assert!(view.conclude(now), "that there is a cluster");
        assert!(!view.conclude(now));
        view.fail(Trouble::Silent, "refused".to_owned());
        assert!(view.conclude(now), "that it refuses");
        assert!(view.contact(now.instant).describe().contains("refused"));
        view.fail(Trouble::Silent, "refused again".to_owned());
        assert!(!view.conclude(now), "that it still does");
        view.fail(Trouble::Denied, "401".to_owned());
        assert!(view.conclude(now), "that it denies");
    }
}
