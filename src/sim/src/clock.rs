//! The time of a simulated world. It runs on tokio's clock, so under a paused runtime it moves only when that does.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A wall clock derived from tokio's monotonic one.
#[derive(Debug)]
pub struct SimClock {
    base: Timestamp,
    start: Instant,
}

impl SimClock {
    /// A clock that starts at the real time and runs on from there.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where real time enters a simulated world"
    )]
    pub fn system() -> Arc<Self> {
        Self::at(Timestamp::now())
    }

    /// A clock that shows `base` now and runs on from there.
    pub fn at(base: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            base,
            start: Instant::now(),
        })
    }

    /// A clock that always differs from this one by `skew`, for a machine whose time is wrong.
    #[must_use]
    pub fn skewed(&self, skew: SignedDuration) -> Arc<Self> {
        let base = self.base.checked_add(skew).unwrap_or(self.base);
        Arc::new(Self {
            base,
            start: self.start,
        })
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.base
            .checked_add(self.elapsed())
            .unwrap_or(Timestamp::MAX)
    }

    /// How long the clock has been running.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time as Kubernetes writes it in object metadata: whole seconds, UTC.
    pub fn stamp(&self) -> String {
        stamp(self.now())
    }
}

/// A time as Kubernetes writes it in object metadata.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moves_with_the_paused_clock_and_not_otherwise() {
        let clock = SimClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(clock.stamp(), "2026-01-02T03:04:05Z");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.stamp(), "2026-01-02T03:05:05Z");
        assert_eq!(
            clock.skewed(SignedDuration::from_secs(-5)).stamp(),
            "2026-01-02T03:05:00Z"
        );
    }
}
