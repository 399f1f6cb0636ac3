//! How long to wait before what failed is tried again: doubling, bounded, and spread. The numbers are those of `backon`;
//! the seed that spreads them is an argument, so that two runs under a paused clock wait alike.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// So many doublings reach every bound there is.
const ENOUGH: u32 = 32;

/// The waits of one thing that fails again and again: each up to twice as long as the one before, without end.
#[derive(Debug)]
pub struct Waits {
    builder: ExponentialBuilder,
    current: <ExponentialBuilder as BackoffBuilder>::Backoff,
    longest: Duration,
}

impl Waits {
    /// From `first` to `longest`, and longer than that by up to as much again, by `seed`: what failed together does not
    /// come back together.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        let builder = doubling(first, longest)
            .with_jitter()
            .with_jitter_seed(seed);
        Self {
            builder,
            current: builder.build(),
            longest,
        }
    }

    /// The next one.
    pub fn after_failure(&mut self) -> Duration {
        self.current.next().unwrap_or(self.longest)
    }

    /// It went well: the next failure is the first.
    pub fn reset(&mut self) {
        self.current = self.builder.build();
    }
}

/// The wait after the n-th failure in a row: `first`, doubled by each further one up to `longest`.
pub fn after(failures: u32, first: Duration, longest: Duration) -> Duration {
    let before = failures.saturating_sub(1).min(ENOUGH);
    let mut waits = doubling(first, longest).build();
    usize::try_from(before)
        .ok()
        .and_then(|before| waits.nth(before))
        .unwrap_or(longest)
}

fn doubling(first: Duration, longest: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_factor(2.0)
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    #[test]
    fn waits_double_up_to_the_longest_and_never_end() {
        let millis = |n| after(n, FIRST, LONGEST).as_millis();
        let all: Vec<u128> = (0..8).map(millis).collect();
        assert_eq!(all, [100, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(millis(u32::MAX), 2000);
    }

    #[test]
    fn one_seed_waits_alike_and_two_do_not() {
        let some = |seed| {
            let mut waits = Waits::new(FIRST, LONGEST, seed);
            (0..6).map(|_| waits.after_failure()).collect::<Vec<_>>()
        };
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
    }

    #[test]
    fn each_wait_is_its_turn_and_up_to_as_much_again() {
        let mut waits = Waits::new(FIRST, LONGEST, 7);
        for failures in 1..40 {
            let (wait, least) = (waits.after_failure(), after(failures, FIRST, LONGEST));
            assert!(wait >= least && wait <= least * 2, "{failures}: {wait:?}");
        }
        waits.reset();
        assert!(waits.after_failure() < FIRST * 2);
    }
}
