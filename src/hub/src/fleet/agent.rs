//! The agent of a cluster, by the Lease it renews. Its clock is never compared with ours: what counts is when we saw a
//! renewal.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use lifeboat_api::common::DriverState;
use lifeboat_api::names;
use lifeboat_core::observed::AgentFacts;
use tokio::time::Instant;

use super::rows::annotation;

/// How far two clocks may differ before a Lease seen for the first time, and run out by its own words, counts as alive.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Duration of a Lease that names none.
const DEFAULT_TTL: Duration = Duration::from_secs(15);

/// The Lease as last seen.
#[derive(Debug, Clone)]
pub(crate) struct AgentSeen {
    stamp: (Option<String>, Option<Timestamp>),
    /// When we saw the last renewal; none: it had run out when we saw it first.
    renewed: Option<Instant>,
    at: Timestamp,
    ttl: Duration,
    drivers: Vec<DriverState>,
}

impl AgentSeen {
    /// Takes the Lease as it is now, given how it was seen before.
    pub(crate) fn read(lease: &Lease, before: Option<&Self>, at: Timestamp, now: Instant) -> Self {
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
        let drivers = annotation(&lease.metadata, names::DRIVERS);
        Self {
            stamp,
            renewed,
            at,
            ttl,
            drivers: drivers
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }
    }

    /// When it runs out unless it is renewed.
    pub(crate) fn expiry(&self) -> Option<Instant> {
        self.renewed.map(|at| at + self.ttl)
    }

    /// Whether the agent is alive.
    pub(crate) fn facts(&self, now: Instant) -> AgentFacts {
        if self.expiry().is_none_or(|end| end <= now) {
            return AgentFacts::Silent { since: self.at };
        }
        let trouble = |driver: &DriverState| match (driver.state.as_str(), driver.message.as_str())
        {
            ("Ready", _) => String::new(),
            (state, "") => format!("it is {state}"),
            (_, message) => message.to_owned(),
        };
        let drivers: BTreeMap<String, String> = self
            .drivers
            .iter()
            .map(|d| (d.name.clone(), trouble(d)))
            .collect();
        AgentFacts::Alive { drivers }
    }

    /// What the agent says of its drivers.
    pub(crate) fn drivers(&self) -> &[DriverState] {
        &self.drivers
    }
}

fn long_over(renew_time: Option<Timestamp>, ttl: Duration, now: Timestamp) -> bool {
    let end = renew_time.and_then(|at| at.checked_add(ttl).ok()?.checked_add(SKEW).ok());
    end.is_none_or(|end| end < now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(renewed: &str) -> Lease {
        let drivers = json!([{"name": "d1", "state": "Ready"}, {"name": "d2", "state": "NotReady", "message": "no socket"}]);
        let body = json!({"metadata": {"name": "lifeboat-agent", "annotations": {"lifeboat.dev/drivers": drivers.to_string()}},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": renewed}});
        serde_json::from_value(body).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn life_is_a_renewal_that_we_saw_whatever_the_agents_clock_says() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let start = Instant::now();
        let late = |s| start + Duration::from_secs(s);
        let old = AgentSeen::read(&lease("2026-01-01T11:00:00.000000Z"), None, now, start);
        assert!(matches!(old.facts(start), AgentFacts::Silent { .. }));
        let renewed = lease("2026-01-01T11:00:05.000000Z");
        let seen = AgentSeen::read(&renewed, Some(&old), now, late(5));
        let drivers = [("d1", ""), ("d2", "no socket")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(
            seen.facts(late(19)),
            AgentFacts::Alive {
                drivers: drivers.into()
            }
        );
        let again = AgentSeen::read(&renewed, Some(&seen), now, late(18));
        assert!(matches!(again.facts(late(20)), AgentFacts::Silent { .. }));
    }
}
