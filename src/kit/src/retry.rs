//! The policy for calls that are made once, outside a reconcile loop.

use std::time::Duration;

use backon::ExponentialBuilder;

/// 100 ms doubling to 2 s, five more tries, no jitter: for a short errand whose caller waits.
pub fn errand() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_factor(2.0)
        .with_max_times(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backon::BackoffBuilder;

    #[test]
    fn an_errand_gives_up_after_five_more_tries() {
        let delays: Vec<u128> = errand().build().map(|d| d.as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600]);
    }
}
