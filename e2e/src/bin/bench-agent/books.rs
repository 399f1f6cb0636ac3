//! What was written to the API server, by its own count, and what the agent used of the machine, by the kernel's.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use kube::Client;

use super::count;

/// What the agent writes to; the API server's own house-keeping writes to other things.
const WRITTEN: [&str; 4] = [
    "volumereplications",
    "persistentvolumeclaims",
    "persistentvolumes",
    "events",
];
/// Verbs that change something, as the metric names them.
const WRITES: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
/// Of the times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// All counts at one moment.
pub(crate) struct Books {
    writes: BTreeMap<String, f64>,
    cpu: Duration,
    peak_mb: f64,
}

/// What came between two moments.
pub(crate) struct Cost {
    writes: BTreeMap<String, f64>,
    /// Processor time of the agent.
    pub(crate) cpu: Duration,
    /// The most memory that the agent ever held, in megabytes.
    pub(crate) peak_mb: f64,
}

impl Books {
    /// Reads the counts. `agent` is its process, if it runs.
    pub(crate) async fn open(client: &Client, agent: Option<u32>) -> Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = client.request_text(request).await?;
        let (cpu, peak_mb) = match agent {
            Some(pid) => process(pid)?,
            None => (Duration::ZERO, 0.0),
        };
        Ok(Self {
            writes: written(&metrics),
            cpu,
            peak_mb,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Cost {
        let new = |(what, n): (&String, &f64)| {
            let old = before.writes.get(what).copied().unwrap_or_default();
            (what.clone(), n - old)
        };
        Cost {
            writes: self.writes.iter().map(new).collect(),
            cpu: self.cpu.saturating_sub(before.cpu),
            peak_mb: self.peak_mb,
        }
    }
}

impl Cost {
    /// Takes out what this program wrote itself: so many edits of volumes.
    pub(crate) fn edits(&mut self, edits: usize) {
        if let Some(n) = self.writes.get_mut("PATCH volumereplications") {
            *n -= count(edits);
        }
    }

    /// Writes, without events.
    pub(crate) fn writes(&self) -> f64 {
        let real = self.writes.iter().filter(|(what, _)| !is_event(what));
        real.map(|(_, n)| n).sum()
    }

    pub(crate) fn events(&self) -> f64 {
        let events = self.writes.iter().filter(|(what, _)| is_event(what));
        events.map(|(_, n)| n).sum()
    }

    /// Which writes there were, for each of so many volumes.
    pub(crate) fn each(&self, volumes: f64) -> impl Iterator<Item = String> {
        let some = self.writes.iter().filter(|(_, n)| **n != 0.0);
        some.map(move |(what, n)| format!("{:>13.2} {what}", n / volumes))
    }
}

fn is_event(what: &str) -> bool {
    what.ends_with(" events")
}

/// The writes by verb and resource, from lines such as `apiserver_request_total{code="200",resource="events",verb="POST",…} 5`.
fn written(metrics: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in metrics.lines() {
        let Some((labels, value)) = line
            .strip_prefix("apiserver_request_total{")
            .and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let at = labels.split(',').find_map(|l| l.strip_prefix(name));
            at.map(|quoted| quoted.trim_start_matches('=').trim_matches('"'))
        };
        let (Some(resource), Some(verb)) = (label("resource"), label("verb")) else {
            continue;
        };
        if WRITTEN.contains(&resource) && WRITES.contains(&verb) {
            let part = label("subresource").filter(|part| !part.is_empty());
            let part = part.map(|part| format!("/{part}")).unwrap_or_default();
            *all.entry(format!("{verb} {resource}{part}")).or_default() +=
                value.parse().unwrap_or(0.0);
        }
    }
    all
}

/// Processor time and the most memory of a process so far.
fn process(pid: u32) -> Result<(Duration, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses and may hold anything; user and system time are the 12th and 13th after it.
    let (_, rest) = stat.rsplit_once(')').context("a stat without a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u32>().ok());
    let used = ticks(11).zip(ticks(12)).context("a stat without times")?;
    let seconds = (f64::from(used.0) + f64::from(used.1)) / TICKS_PER_SECOND;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next())
        .and_then(|kb| kb.parse::<u32>().ok())
        .context("a status without VmHWM")?;
    Ok((Duration::from_secs_f64(seconds), f64::from(peak) / 1024.0))
}
