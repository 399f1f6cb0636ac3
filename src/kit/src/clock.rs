//! Time as an argument: the only places where the product reads a wall clock.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    /// What the clock shows.
    fn now(&self) -> Timestamp;
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to share.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the product reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that starts where it is told and moves with tokio's, so that a paused runtime stops it.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: Timestamp,
    start: Instant,
}

impl TokioClock {
    /// A clock that shows `base` now.
    pub fn at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.base
            .checked_add(self.start.elapsed())
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_tokio_clock_moves_only_with_the_runtime() {
        let clock = TokioClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let first = clock.now();
        assert_eq!(first, clock.now());
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().duration_since(first).as_secs(), 90);
    }
}
