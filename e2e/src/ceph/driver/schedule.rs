//! The parameters of a class: how an image is mirrored, and how often a snapshot is taken for it.

use std::collections::HashMap;

use tonic::Status;

/// What the parameters of a class say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) mode: Mode,
    pub(super) flatten: Flatten,
    /// Interval and, if given, the time of day it counts from.
    pub(super) schedule: Option<(String, Option<String>)>,
}

/// What is shipped to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What changed between two snapshots.
    Snapshot,
    /// Every write.
    Journal,
}

impl Mode {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Journal => "journal",
        }
    }
}

/// What becomes of a clone that is to be mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flatten {
    /// It stays one.
    Never,
    /// It is made complete in itself first.
    Force,
}

impl Parameters {
    /// Reads them; `INVALID_ARGUMENT` for what is not understood. A schedule is ignored in journal mode, which needs none.
    pub(super) fn read(all: &HashMap<String, String>) -> Result<Self, Status> {
        let get = |key: &str| all.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let wrong = |key: &str, value: &str| {
            Status::invalid_argument(format!("{key} {value:?} is not supported"))
        };
        let mode = match get("mirroringMode") {
            None | Some("snapshot") => Mode::Snapshot,
            Some("journal") => Mode::Journal,
            Some(other) => return Err(wrong("mirroringMode", other)),
        };
        let flatten = match get("flattenMode") {
            None | Some("never") => Flatten::Never,
            Some("force") => Flatten::Force,
            Some(other) => return Err(wrong("flattenMode", other)),
        };
        let (interval, start) = (get("schedulingInterval"), get("schedulingStartTime"));
        let schedule = match (interval, start) {
            (None, None) => None,
            (None, Some(start)) => {
                return Err(Status::invalid_argument(format!(
                    "schedulingStartTime {start:?} without schedulingInterval"
                )));
            }
            (Some(interval), _) if !is_interval(interval) => {
                return Err(wrong("schedulingInterval", interval));
            }
            (Some(interval), start) => Some((interval.to_owned(), start.map(str::to_owned))),
        };
        Ok(Self {
            mode,
            flatten,
            schedule: schedule.filter(|_| mode == Mode::Snapshot),
        })
    }
}

/// Digits and one of m, h, d.
fn is_interval(text: &str) -> bool {
    let digits = text.strip_suffix(['m', 'h', 'd']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters, tonic::Code> {
        let all = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Parameters::read(&all.collect()).map_err(|s| s.code())
    }

    #[test]
    fn without_parameters_snapshots_are_shipped_when_somebody_takes_one() {
        let read = read(&[]).unwrap();
        assert_eq!((read.mode, read.flatten), (Mode::Snapshot, Flatten::Never));
        assert_eq!(read.schedule, None);
    }

    #[test]
    fn a_schedule_has_an_interval_and_may_have_a_start() {
        let with = |start| read(&[("schedulingInterval", "1d"), ("schedulingStartTime", start)]);
        let start = Some("14:00:00-05:00".to_owned());
        assert_eq!(
            with("14:00:00-05:00").unwrap().schedule,
            Some(("1d".to_owned(), start))
        );
        assert_eq!(with("").unwrap().schedule, Some(("1d".to_owned(), None)));
        let journal = [("schedulingInterval", "1m"), ("mirroringMode", "journal")];
        assert_eq!(read(&journal).unwrap().schedule, None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            ("mirroringMode", "pool"),
            ("flattenMode", "sometimes"),
            ("schedulingInterval", "1s"),
            ("schedulingInterval", "m"),
            ("schedulingInterval", "1.5h"),
            ("schedulingStartTime", "14:00"),
        ] {
            assert_eq!(read(&[bad]), Err(tonic::Code::InvalidArgument), "{bad:?}");
        }
    }
}
