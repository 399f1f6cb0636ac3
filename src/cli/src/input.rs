//! Asking a person, and what can be typed as a duration.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use crate::failure::Failure;

/// What a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Yes,
    /// Anything else.
    No,
}

/// Whether somebody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    /// Standard input is a terminal.
    There,
    /// It is not.
    Away,
}

/// Whether somebody can be asked.
pub(crate) fn person() -> Person {
    if std::io::stdin().is_terminal() {
        Person::There
    } else {
        Person::Away
    }
}

/// Asks for a name to be typed; only that name is a yes.
pub(crate) fn ask(
    input: &mut impl BufRead,
    out: &mut impl Write,
    name: &str,
) -> Result<Answer, Failure> {
    let failed = |source| Failure::Io {
        what: "ask",
        source,
    };
    write!(out, "Type the name of the placement to go on: ")
        .and_then(|()| out.flush())
        .map_err(failed)?;
    let mut line = String::new();
    input.read_line(&mut line).map_err(failed)?;
    Ok(if line.trim() == name {
        Answer::Yes
    } else {
        Answer::No
    })
}

/// Reads a duration such as `90s`, `10m`, `1h30m` or `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as 500ms, 90s, 10m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(bad)?),
            "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(bad)?),
            _ => return Err(bad()),
        };
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(bad())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in [
            "",
            "5",
            "m",
            "5x",
            "-1s",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_name_is_a_yes() {
        for (typed, answer) in [
            ("db\n", Answer::Yes),
            ("yes\n", Answer::No),
            ("\n", Answer::No),
            ("", Answer::No),
        ] {
            let mut shown = Vec::new();
            assert_eq!(
                ask(&mut typed.as_bytes(), &mut shown, "db").unwrap(),
                answer
            );
            assert_eq!(
                String::from_utf8(shown).unwrap(),
                "Type the name of the placement to go on: "
            );
        }
    }
}
