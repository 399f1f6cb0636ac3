//! Times and states in words.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use lifeboat_api::common::condition;

/// A length of time, two units at most: `850ms`, `42s`, `5m12s`, `3h5m`, `4d2h`.
pub(crate) fn span(length: Duration) -> String {
    let (seconds, millis) = (length.as_secs(), length.subsec_millis());
    let two = |big: u64, unit: &str, small: u64, sub: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{sub}")
        }
    };
    match seconds {
        0 if millis > 0 => format!("{millis}ms"),
        0..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// A length of time in seconds with one decimal, for lists of steps.
pub(crate) fn seconds(length: Duration) -> String {
    format!("{:.1}s", length.as_secs_f64())
}

/// The time from `then` to `now`; zero if clocks disagree about the order.
pub(crate) fn between(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// How long ago something was, to the second.
pub(crate) fn age(time: &Time, now: Timestamp) -> String {
    span(Duration::from_secs(between(time.0, now).as_secs()))
}

/// How long ago, or that it never was.
pub(crate) fn age_or_never(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| "never".to_owned(), |t| age(t, now))
}

/// The status of a condition; one that nobody wrote is Unknown, never fine.
pub(crate) fn state(conditions: &[Condition], kind: &str) -> String {
    condition(conditions, kind).map_or_else(|| "Unknown".to_owned(), |c| c.status.clone())
}

/// A text, or a dash.
pub(crate) fn dash(text: Option<&str>) -> String {
    text.filter(|t| !t.is_empty()).unwrap_or("-").to_owned()
}

/// The name of an object.
pub(crate) fn name(object: &impl Resource) -> String {
    object.meta().name.clone().unwrap_or_default()
}

/// A count with its noun: `1 volume`, `2 volumes`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// A sentence with a full stop, whether it had one or not.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let of = |ms| span(Duration::from_millis(ms));
        assert_eq!(of(0), "0s");
        assert_eq!(of(850), "850ms");
        assert_eq!(of(42_900), "42s");
        assert_eq!(of(312_000), "5m12s");
        assert_eq!(of(3_600_000), "1h");
        assert_eq!(of(11_100_000), "3h5m");
        assert_eq!(of(4 * 86_400_000 + 7_200_000), "4d2h");
    }

    #[test]
    fn a_time_to_come_is_no_age() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let later = Time("2026-01-02T03:05:05Z".parse().unwrap());
        assert_eq!(age(&later, now), "0s");
        assert_eq!(age_or_never(None, now), "never");
    }
}
