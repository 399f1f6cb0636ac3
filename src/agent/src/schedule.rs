//! The interval that a class names, and how often its volumes are asked about.

use std::time::Duration;

/// The parameter that names it.
pub(crate) const INTERVAL: &str = "schedulingInterval";
/// From here on a volume is asked about twice per interval.
const HALVED_FROM: Duration = Duration::from_secs(120);

/// How often a primary is asked about: half its interval if that is long, else the interval, else `default`.
pub(crate) fn info_period(interval: Option<&str>, default: Duration) -> Duration {
    match interval.and_then(parse) {
        Some(interval) if interval >= HALVED_FROM => interval / 2,
        Some(interval) => interval,
        None => default,
    }
}

/// Reads a duration as Go writes it, such as `1h30m` or `1.5s`, and days (`1d`) as drivers accept them. Zero is none.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters)?;
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = next;
    }
    Duration::try_from_secs_f64(total)
        .ok()
        .filter(|d| !d.is_zero())
}

/// Writes a duration as Go does: `1m30s`, `2.5s`, `40ms`.
pub(crate) fn go_duration(duration: jiff::SignedDuration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let text = match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}s", decimal(rest, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

fn decimal(value: u128, unit: u128) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{part:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn rows_34_and_35_the_period_follows_the_interval() {
        let hour = Duration::from_secs(3600);
        let cases = [
            (Some("10s"), 10),
            (Some("1m"), 60),
            (Some("4m"), 120),
            (Some("1h"), 1800),
            (Some(""), 3600),
            (Some("2mm"), 3600),
            (None, 3600),
            (Some("1d"), 43_200),
            (Some("1h30m"), 2700),
            (Some("0s"), 3600),
        ];
        for (interval, seconds) in cases {
            assert_eq!(
                info_period(interval, hour).as_secs(),
                seconds,
                "{interval:?}"
            );
        }
    }

    #[test]
    fn durations_look_as_go_writes_them() {
        let of = |ms| go_duration(SignedDuration::from_millis(ms));
        assert_eq!(
            [0, 40, 1500, 2000, 90_000, 3_600_000, 5_400_500].map(of),
            ["0s", "40ms", "1.5s", "2s", "1m30s", "1h0m0s", "1h30m0.5s"]
        );
    }
}
