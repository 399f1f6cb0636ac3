//! From text to a scenario.

use std::time::Duration;

use super::{Bound, Deed, Fact, Line, Plant, Script, Setting, Sight, Switched, Verb};

/// A line that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: `{text}`: {why}")]
pub struct ParseError {
    /// Its number, from 1.
    pub number: usize,
    /// Its text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads a scenario. Empty lines and what follows a `#` say nothing.
pub fn parse(text: &str) -> Result<Script, ParseError> {
    let mut script = Script {
        setting: Vec::new(),
        lines: Vec::new(),
    };
    for (number, line) in (1..).zip(text.lines()) {
        let said = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = said.split_whitespace().collect();
        let bad = |why: String| ParseError {
            number,
            text: said.to_owned(),
            why,
        };
        match words.as_slice() {
            [] => {}
            ["lab", rest @ ..] if script.lines.is_empty() => {
                script.setting.push(setting(rest).map_err(bad)?);
            }
            ["lab", ..] => return Err(bad("the setting comes before everything else".to_owned())),
            words => {
                let verb = verb(words).map_err(bad)?;
                script.lines.push(Line {
                    number,
                    text: said.to_owned(),
                    verb,
                });
            }
        }
    }
    Ok(script)
}

fn setting(words: &[&str]) -> Result<Setting, String> {
    match words {
        ["unplaced"] => Ok(Setting::Unplaced),
        ["unregistered", cluster] => Ok(Setting::Unregistered((*cluster).to_owned())),
        ["hubs", n] => number(n).map(Setting::Hubs),
        ["hubs", n, "all", "acting"] => number(n).map(Setting::ActingHubs),
        ["clusters", all @ ..] => Ok(Setting::Clusters(
            all.iter().map(|c| (*c).to_owned()).collect(),
        )),
        ["stateful"] => Ok(Setting::Stateful),
        ["handles", "differ"] => Ok(Setting::HandlesDiffer),
        ["renamed", cluster] => Ok(Setting::Renamed((*cluster).to_owned())),
        ["neighbour"] => Ok(Setting::Neighbour),
        _ => Err("no such setting".to_owned()),
    }
}

fn verb(words: &[&str]) -> Result<Verb, String> {
    match words {
        ["wait", what @ .., "within", time] => Ok(Verb::Wait {
            what: sight(what)?,
            within: duration(time)?,
        }),
        ["wait", ..] => Err("say how long: `within 60s`".to_owned()),
        ["expect", what @ ..] => fact(what).map(Verb::Expect),
        words => deed(words).map(Verb::Do),
    }
}

fn deed(words: &[&str]) -> Result<Deed, String> {
    let own = |s: &str| s.to_owned();
    Ok(match words {
        ["relocate", "to", c] => Deed::Relocate(own(c)),
        ["failover", "to", c] => Deed::Failover(own(c)),
        ["prefer", c] => Deed::Prefer(own(c)),
        ["request", id] => Deed::Request(own(id)),
        ["remove"] => Deed::Remove,
        ["place", "on", c] => Deed::Place {
            cluster: own(c),
            label: None,
        },
        ["place", "on", c, "selecting", l] => Deed::Place {
            cluster: own(c),
            label: Some(own(l)),
        },
        ["kill", "site", c] => Deed::Kill(own(c)),
        ["black", "out", "site", c] => Deed::BlackOut(own(c)),
        ["revive", "site", c] => Deed::Revive(own(c)),
        ["stop", "hub"] => Deed::StopHub,
        ["start", "hub"] => Deed::StartHub,
        ["crash", "hub"] => Deed::CrashHub,
        ["kill", "leader"] => Deed::KillLeader,
        ["partition", a, b] => Deed::Partition(own(a), own(b)),
        ["heal", a, b] => Deed::Heal(own(a), own(b)),
        ["stop", "mirroring", a, b] => Deed::StopMirroring(own(a), own(b)),
        ["resume", "mirroring", a, b] => Deed::ResumeMirroring(own(a), own(b)),
        ["register", c] => Deed::Register(own(c)),
        ["pass", time] => Deed::Pass(duration(time)?),
        ["policy", "clusters", all @ ..] => Deed::Policy(all.iter().map(|c| own(c)).collect()),
        ["delete", "policy"] => Deed::DeletePolicy,
        ["delete", "replications", "on", c] => Deed::DeleteReplications(own(c)),
        ["plant", what, "on", c] => Deed::Plant(plant(what)?, own(c)),
        ["clear", what, "on", c] => Deed::Clear(plant(what)?, own(c)),
        _ => return Err("nobody can do that".to_owned()),
    })
}

fn plant(word: &str) -> Result<Plant, String> {
    match word {
        "claim" => Ok(Plant::Claim),
        "volume" => Ok(Plant::Volume),
        "pod" => Ok(Plant::Pod),
        "unbound" => Ok(Plant::Unbound),
        "local" => Ok(Plant::Local),
        "foreign" => Ok(Plant::Foreign),
        "terminating" => Ok(Plant::Terminating),
        other => Err(format!("`{other}` is nothing to plant")),
    }
}

fn sight(words: &[&str]) -> Result<Sight, String> {
    let own = |s: &str| s.to_owned();
    Ok(match words {
        ["phase", p] => Sight::Phase {
            phase: own(p),
            cluster: None,
        },
        ["phase", p, "on", c] => Sight::Phase {
            phase: own(p),
            cluster: Some(own(c)),
        },
        ["settled", "on", c] => Sight::Settled(own(c)),
        ["running", "on", c] => Sight::Running(own(c)),
        ["condition", k, s] => Sight::Condition {
            kind: own(k),
            status: own(s),
            reason: None,
        },
        ["condition", k, s, "reason", r] => Sight::Condition {
            kind: own(k),
            status: own(s),
            reason: Some(own(r)),
        },
        ["blocker", r] => Sight::Blocker {
            reason: own(r),
            naming: None,
        },
        ["blocker", r, "naming", text] => Sight::Blocker {
            reason: own(r),
            naming: Some(own(text)),
        },
        ["event", r] => Sight::Event {
            reason: own(r),
            naming: None,
        },
        ["event", r, "naming", text] => Sight::Event {
            reason: own(r),
            naming: Some(own(text)),
        },
        ["replications", "on", c] => Sight::Replications(own(c)),
        ["gone"] => Sight::Gone,
        ["records", n] => Sight::Records(number(n)?),
        _ => return Err("nothing to wait for".to_owned()),
    })
}

fn fact(words: &[&str]) -> Result<Fact, String> {
    let own = |s: &str| s.to_owned();
    Ok(match words {
        ["lost", n @ ..] => Fact::Lost(bound(n)?),
        ["forked", n @ ..] => Fact::Forked(bound(n)?),
        ["doubled", n @ ..] => Fact::Doubled(bound(n)?),
        ["primary", "only", "on", c] => Fact::PrimaryOnlyOn(own(c)),
        ["only", "data", "on", c] => Fact::OnlyDataOn(own(c)),
        ["workload", "only", "on", c] => Fact::WorkloadOnlyOn(own(c)),
        ["epoch", n] => Fact::Epoch(n.parse().map_err(|_| format!("`{n}` is no epoch"))?),
        ["phase", p] => Fact::Phase(own(p)),
        ["cluster", c] => Fact::Cluster(own(c)),
        ["stays", time] => Fact::Stays(duration(time)?),
        ["reclaim", p, "on", c] => Fact::Reclaim(own(p), own(c)),
        ["replication", "never", "switched", "off"] => Fact::Switched(Switched::Never),
        ["replication", "switched", "off"] => Fact::Switched(Switched::Off),
        ["no", "marks", "on", c] => Fact::NoMarks(own(c)),
        ["all", "in", ns, "of", "class", class, "on", c] => Fact::AllIn {
            namespace: own(ns),
            class: own(class),
            site: own(c),
        },
        ["writers", n] => Fact::Writers(number(n)?),
        ["the", "neighbour", "moves"] => Fact::NeighbourMoves,
        _ => return Err("nothing to expect".to_owned()),
    })
}

fn bound(words: &[&str]) -> Result<Bound, String> {
    match words {
        [n] => number(n).map(Bound::Exactly),
        ["at", "most", n] => number(n).map(Bound::AtMost),
        _ => Err("say a number, or `at most` one".to_owned()),
    }
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

/// `250ms`, `60s` or `5m`.
fn duration(word: &str) -> Result<Duration, String> {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = word.get(digits.len()..).unwrap_or_default();
    let n: u64 = digits.parse().map_err(|_| format!("`{word}` is no time"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(n)),
        "s" => Ok(Duration::from_secs(n)),
        "m" => Ok(Duration::from_secs(n * 60)),
        _ => Err(format!("`{word}` has no unit: ms, s or m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_line_by_line() {
        let script = parse("lab unplaced # so\n\nrelocate to west\nwait phase Steady on west within 2m\nexpect lost at most 3").unwrap();
        assert_eq!(script.setting, [Setting::Unplaced]);
        let verbs: Vec<Verb> = script.lines.iter().map(|l| l.verb.clone()).collect();
        let what = Sight::Phase {
            phase: "Steady".into(),
            cluster: Some("west".into()),
        };
        assert_eq!(
            verbs,
            [
                Verb::Do(Deed::Relocate("west".into())),
                Verb::Wait {
                    what,
                    within: Duration::from_secs(120)
                },
                Verb::Expect(Fact::Lost(Bound::AtMost(3))),
            ]
        );
        assert_eq!(script.lines.first().map(|l| l.number), Some(3));
    }

    #[test]
    fn a_bad_line_is_named() {
        let told = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            told("relocate to west\nfly to mars"),
            "line 2: `fly to mars`: nobody can do that"
        );
        assert_eq!(
            told("wait gone"),
            "line 1: `wait gone`: say how long: `within 60s`"
        );
        assert_eq!(
            told("pass 5"),
            "line 1: `pass 5`: `5` has no unit: ms, s or m"
        );
        assert_eq!(
            told("expect lost some"),
            "line 1: `expect lost some`: `some` is no number"
        );
        assert_eq!(
            told("remove\nlab unplaced"),
            "line 2: `lab unplaced`: the setting comes before everything else"
        );
    }
}
