//! How calls for a group or a fence went, and when the next may be made. Pure.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_kit::queue::backoff;

/// Kept between two passes, and lost with the process: nothing that safety rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// What the rest belongs to; another spec or class starts afresh.
    pub(crate) fingerprint: u64,
    failures: u32,
    not_before: Option<Timestamp>,
}

impl Tries {
    /// No call was made yet.
    pub(crate) fn new(fingerprint: u64) -> Self {
        Self {
            fingerprint,
            ..Self::default()
        }
    }

    /// How long to wait before the next call, if at all.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let until = self.not_before.filter(|until| *until > now)?;
        until.duration_since(now).try_into().ok()
    }

    /// After one more failure: what to remember, and how long to wait.
    pub(crate) fn after_failure(&self, now: Timestamp, seed: u64) -> (Self, Duration) {
        let failures = self.failures.saturating_add(1);
        let wait = backoff(failures, seed);
        let next = Self {
            fingerprint: self.fingerprint,
            failures,
            not_before: now.checked_add(wait).ok(),
        };
        (next, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let (once, first) = Tries::default().after_failure(now, 0);
        let (_, second) = once.after_failure(now, 0);
        assert!(second > first);
        assert_eq!(once.wait(now), Some(first));
        assert_eq!(once.wait(now + first), None);
    }
}
