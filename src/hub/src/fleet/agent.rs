//! The agents of a cluster, by the Leases they renew: one for each driver that one of them serves. Their clocks are never
//! compared with ours: what counts is when we saw a renewal.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use lifeboat_api::common::{COPY_STATE, DriverState, SALVAGE};
use lifeboat_api::names;
use lifeboat_core::observed::{AgentFacts, Replicator};
use lifeboat_kit::WatchEvent;
use tokio::time::Instant;

use super::rows::annotation;

/// How far two clocks may differ before a Lease seen for the first time, and run out by its own words, counts as alive.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Duration of a Lease that names none.
const DEFAULT_TTL: Duration = Duration::from_secs(15);

/// The Leases of the agents as last seen, by name.
#[derive(Debug, Default)]
pub(crate) struct Agents(BTreeMap<String, AgentSeen>);

/// What one Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    /// It is renewed.
    Alive,
    /// Whoever served the driver does so no more.
    GivenUp,
    /// It has run out.
    Silent,
}

impl Agents {
    /// Takes what the watch on the Leases tells.
    pub(crate) fn take(&mut self, event: &WatchEvent<Lease>, at: Timestamp, now: Instant) {
        let name = |lease: &Lease| lease.metadata.name.clone().unwrap_or_default();
        let mut before = std::mem::take(&mut self.0);
        let mut read = |lease: &Lease| {
            let seen = AgentSeen::read(lease, before.remove(&name(lease)).as_ref(), at, now);
            (name(lease), seen)
        };
        match event {
            WatchEvent::Synced(all) => self.0 = all.iter().map(read).collect(),
            WatchEvent::Apply(lease) => {
                let (name, seen) = read(lease);
                self.0 = before;
                self.0.insert(name, seen);
            }
            WatchEvent::Delete(lease) => {
                before.remove(&name(lease));
                self.0 = before;
            }
            WatchEvent::Lost(_) => self.0 = before,
        }
    }

    /// When each runs out unless it is renewed.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = Instant> {
        self.0.values().filter_map(AgentSeen::expiry)
    }

    /// Whether any agent is alive, whose agent is not, and what is wrong with the other drivers. A driver whose agent has given it up is left out: it was
    /// taken away, or another agent has yet to take it.
    pub(crate) fn facts(&self, now: Instant) -> AgentFacts {
        if self.0.is_empty() {
            return AgentFacts::Unseen;
        }
        let alive = |seen: &AgentSeen| seen.life(now) == Life::Alive;
        if !self.0.values().any(alive) {
            let latest = self.0.values().map(|seen| seen.at).max();
            return AgentFacts::Silent {
                since: latest.unwrap_or(Timestamp::UNIX_EPOCH),
            };
        }
        let silent = |seen: &AgentSeen| {
            let driver = seen.driver.as_ref()?;
            (seen.life(now) == Life::Silent).then(|| (driver.name.clone(), seen.at))
        };
        let silent: BTreeMap<String, Timestamp> = self.0.values().filter_map(silent).collect();
        let trouble = |driver: DriverState| match (driver.state.as_str(), driver.message.as_str()) {
            ("Ready", _) => (driver.name, String::new()),
            (state, "") => (driver.name, format!("it is {state}")),
            (_, message) => (driver.name, message.to_owned()),
        };
        let served = self.drivers(now).into_iter();
        let served = served.filter(|driver| !silent.contains_key(&driver.name));
        let offering = |what: &str| {
            let offers = |driver: &DriverState| driver.capabilities.iter().any(|c| c == what);
            let all = served.clone().filter(offers);
            all.map(|driver| driver.name).collect()
        };
        AgentFacts::Alive {
            telling: offering(COPY_STATE),
            keeping: offering(SALVAGE),
            drivers: served.map(trouble).collect(),
            silent,
        }
    }

    /// Who works the VolumeReplications there, as the agents last said. One that is silent is taken at its word; one that gave a
    /// driver up is not.
    pub(crate) fn replicator(&self, now: Instant) -> Replicator {
        let leaves = |seen: &AgentSeen| {
            seen.life(now) != Life::GivenUp
                && seen.driver.as_ref().is_some_and(|d| !d.left_to.is_empty())
        };
        if self.0.values().any(leaves) {
            Replicator::Upstream
        } else {
            Replicator::Agent
        }
    }

    /// The drivers as their agents last told. Of one whose agent is silent nothing is known.
    pub(crate) fn drivers(&self, now: Instant) -> Vec<DriverState> {
        let each = self.0.values().filter_map(|seen| {
            let driver = seen.driver.clone()?;
            match seen.life(now) {
                Life::Alive => Some(driver),
                Life::GivenUp => None,
                Life::Silent => Some(DriverState {
                    name: driver.name,
                    state: "Unknown".to_owned(),
                    message: format!("its agent has been silent since {}", seen.at),
                    ..DriverState::default()
                }),
            }
        });
        each.collect()
    }
}

/// One Lease as last seen.
#[derive(Debug, Clone)]
struct AgentSeen {
    stamp: (Option<String>, Option<Timestamp>),
    /// When we saw the last renewal; none: it had run out when we saw it first.
    renewed: Option<Instant>,
    at: Timestamp,
    ttl: Duration,
    driver: Option<DriverState>,
}

impl AgentSeen {
    /// Takes the Lease as it is now, given how it was seen before.
    fn read(lease: &Lease, before: Option<&Self>, at: Timestamp, now: Instant) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|h| !h.is_empty());
        let renew_time = spec.renew_time.map(|t| t.0);
        let seconds = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let ttl = seconds.map_or(DEFAULT_TTL, Duration::from_secs);
        let held = holder.is_some();
        let stamp = (holder, renew_time);
        let (renewed, at) = match before {
            Some(before) if before.stamp == stamp => (before.renewed, before.at),
            Some(_) if held => (Some(now), at),
            None if held && !long_over(renew_time, ttl, at) => (Some(now), at),
            Some(_) | None => (None, renew_time.unwrap_or(at)),
        };
        let driver = annotation(&lease.metadata, names::DRIVER);
        Self {
            stamp,
            renewed,
            at,
            ttl,
            driver: driver.and_then(|text| serde_json::from_str(text).ok()),
        }
    }

    /// When it runs out unless it is renewed.
    fn expiry(&self) -> Option<Instant> {
        self.renewed.map(|at| at + self.ttl)
    }

    fn life(&self, now: Instant) -> Life {
        match (&self.stamp.0, self.expiry()) {
            (None, _) => Life::GivenUp,
            (Some(_), Some(end)) if end > now => Life::Alive,
            (Some(_), _) => Life::Silent,
        }
    }
}

fn long_over(renew_time: Option<Timestamp>, ttl: Duration, now: Timestamp) -> bool {
    let end = renew_time.and_then(|at| at.checked_add(ttl).ok()?.checked_add(SKEW).ok());
    end.is_none_or(|end| end < now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::json;

    fn lease(driver: &str, holder: &str, renewed: &str, wrong: &str) -> Lease {
        let state = if wrong.is_empty() {
            "Ready"
        } else {
            "NotReady"
        };
        let told = json!({"name": driver, "state": state, "message": wrong});
        let body = json!({
            "metadata": {"name": names::driver_lease(driver), "annotations": {names::DRIVER: told.to_string()}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
        });
        serde_json::from_value(body).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn alive(drivers: &[(&str, &str)]) -> AgentFacts {
        let drivers = drivers
            .iter()
            .map(|(name, wrong)| ((*name).to_owned(), (*wrong).to_owned()));
        AgentFacts::Alive {
            drivers: drivers.collect(),
            silent: BTreeMap::new(),
            telling: BTreeSet::new(),
            keeping: BTreeSet::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn life_is_a_renewal_that_we_saw_whatever_the_agents_clock_says() {
        let start = Instant::now();
        let late = |s| start + Duration::from_secs(s);
        let mut agents = Agents::default();
        assert_eq!(agents.facts(start), AgentFacts::Unseen);
        let old = lease("d1", "a", "2026-01-01T11:00:00.000000Z", "");
        agents.take(&WatchEvent::Synced(vec![old]), now(), start);
        assert!(matches!(agents.facts(start), AgentFacts::Silent { .. }));
        let renewed = lease("d1", "a", "2026-01-01T11:00:05.000000Z", "no socket");
        agents.take(&WatchEvent::Apply(renewed.clone()), now(), late(5));
        assert_eq!(agents.facts(late(19)), alive(&[("d1", "no socket")]));
        agents.take(&WatchEvent::Synced(vec![renewed.clone()]), now(), late(18));
        assert!(matches!(agents.facts(late(20)), AgentFacts::Silent { .. }));
        agents.take(&WatchEvent::Delete(renewed), now(), late(20));
        assert_eq!(agents.facts(late(20)), AgentFacts::Unseen);
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_tells_of_its_copies_only_if_its_agent_says_so_and_lives() {
        let start = Instant::now();
        let offers = json!({"name": "d1", "state": "Ready", "capabilities": ["volume_replication.VOLUME_REPLICATION", COPY_STATE]});
        let at = "2026-01-01T12:00:00.000000Z";
        let mut leases = [lease("d1", "a", at, ""), lease("d2", "a", at, "")];
        let annotations = leases[0].metadata.annotations.as_mut().unwrap();
        annotations.insert(names::DRIVER.to_owned(), offers.to_string());
        let mut agents = Agents::default();
        agents.take(&WatchEvent::Synced(leases.to_vec()), now(), start);
        let telling = |at| match agents.facts(at) {
            AgentFacts::Alive { telling, .. } => telling,
            AgentFacts::Unseen | AgentFacts::Silent { .. } => BTreeSet::new(),
        };
        assert_eq!(telling(start), BTreeSet::from(["d1".to_owned()]));
        assert_eq!(telling(start + Duration::from_secs(15)), BTreeSet::new());
    }

    #[tokio::test(start_paused = true)]
    async fn each_driver_is_as_well_as_the_agent_that_serves_it() {
        let start = Instant::now();
        let late = |s| start + Duration::from_secs(s);
        let at = "2026-01-01T12:00:00.000000Z";
        let mut agents = Agents::default();
        let both = vec![lease("d1", "a", at, ""), lease("d2", "b", at, "")];
        agents.take(&WatchEvent::Synced(both), now(), start);
        assert_eq!(agents.facts(late(1)), alive(&[("d1", ""), ("d2", "")]));
        assert_eq!(agents.expiries().min(), Some(late(15)));
        // One agent lives on, the other does not.
        let on = lease("d1", "a", "2026-01-01T12:00:10.000000Z", "");
        agents.take(&WatchEvent::Apply(on), now(), late(10));
        let one_silent = AgentFacts::Alive {
            drivers: [("d1".to_owned(), String::new())].into(),
            silent: [("d2".to_owned(), now())].into(),
            telling: BTreeSet::new(),
            keeping: BTreeSet::new(),
        };
        assert_eq!(agents.facts(late(16)), one_silent);
        assert_eq!(agents.drivers(late(16))[1].state, "Unknown");
        // What was given up is nobody's any more.
        agents.take(&WatchEvent::Apply(lease("d2", "", at, "")), now(), late(16));
        assert_eq!(agents.facts(late(17)), alive(&[("d1", "")]));
    }
}
