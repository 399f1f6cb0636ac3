//! How fast the agent is on a real kube-apiserver: `cargo xtask bench agent [--quick] [--calls] [VOLUMES...]`.
//!
//! For each number of volumes, with a driver that answers at once and with one that takes 50 ms: all of them fresh, until all
//! are Primary; the agent started again when nothing is to be done; and a thousand of them made Secondary at once. Beside it
//! stands what the API server can do, measured in the same run: writes of the same kind from a client that does nothing else.
//! The agent is the real program; agent, API server, etcd, driver and this program share the machine.
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

mod books;
mod ground;
mod watched;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use lifeboat_e2e::Program;
use lifeboat_sim::csi_addons::{Fault, Rpc};
use tokio::time::Instant;

use books::{Books, Cost};
use ground::Ground;
use watched::TOLD;

/// How long the slow driver takes for each change.
const SLOW: Duration = Duration::from_millis(50);
/// So many change their role at once.
const FLIPPED: usize = 1000;
/// Longer than any part takes, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(600);
/// What a volume needs at least: its claim is marked, it gets its finalizer, and its status says what it is.
const LEAST_WRITES: f64 = 3.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let sizes: &[usize] = match (&asked, quick) {
        (asked, _) if !asked.is_empty() => asked,
        (_, true) => &[100],
        (_, false) => &[1000, 10_000],
    };
    println!("{}", Line::head());
    let runtime = tokio::runtime::Runtime::new()?;
    for volumes in sizes {
        for delay in [Duration::ZERO, SLOW] {
            runtime
                .block_on(bench(*volumes, delay))
                .with_context(|| format!("with {volumes} volumes and {delay:?}"))?;
        }
    }
    Ok(())
}

/// All measurements for one number of volumes and one driver.
async fn bench(volumes: usize, delay: Duration) -> Result<()> {
    let ground = Ground::prepare(volumes).await?;
    if !delay.is_zero() {
        for rpc in [Rpc::Enable, Rpc::Promote, Rpc::Demote] {
            ground.driver.script().always(rpc, Fault::Delay(delay));
        }
    }
    let watched = ground.watch();
    let rate = ground.write_rate().await?;
    let line = |what: &'static str, count: usize, took: Duration, cost: Cost| Line {
        what,
        volumes: count,
        delay,
        took,
        rate,
        cost,
    };

    let before = Books::open(&ground.client, None).await?;
    let start = Instant::now();
    let agent = ground.start_agent()?;
    watched.until(volumes, "Primary", PATIENCE).await?;
    let took = start.elapsed();
    // What follows a promotion belongs to what it costs: the agent asks the driver how replication goes, and says so.
    watched.until(volumes, TOLD, PATIENCE).await?;
    let after = Books::open(&ground.client, agent.pid()).await?;
    line("fresh", volumes, took, after.since(&before)).print();
    agent.end().await?;

    let calls = ground.driver.calls().len();
    let before = Books::open(&ground.client, None).await?;
    let agent = ground.start_agent()?;
    let took = looked_at_all(&ground, &agent, calls, volumes).await?;
    let cost = Books::open(&ground.client, agent.pid())
        .await?
        .since(&before);
    let written = cost.writes();
    line("started again", volumes, took, cost).print();
    ensure!(
        written == 0.0,
        "{written} writes though nothing was to be done"
    );

    let flipped = volumes.min(FLIPPED);
    let before = Books::open(&ground.client, agent.pid()).await?;
    let start = Instant::now();
    ground.make_secondary(flipped).await?;
    watched.until(flipped, "Secondary", PATIENCE).await?;
    let took = start.elapsed();
    let mut cost = Books::open(&ground.client, agent.pid())
        .await?
        .since(&before);
    cost.edits(flipped);
    line("to secondary", flipped, took, cost).print();
    agent.end().await
}

/// Waits until the agent has asked the driver about each volume, and has changed none; tells how long that took.
async fn looked_at_all(
    ground: &Ground,
    agent: &Program,
    calls: usize,
    volumes: usize,
) -> Result<Duration> {
    let start = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    loop {
        looks.tick().await;
        let new = ground.driver.calls().split_off(calls);
        let change = new.iter().find(|call| call.rpc != Rpc::Info);
        ensure!(change.is_none(), "{change:?} though nothing was to be done");
        let asked: BTreeSet<&str> = new.iter().map(|call| call.handle.as_str()).collect();
        if asked.len() >= volumes {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{} of {volumes} were asked about; the agent says:\n{}",
            asked.len(),
            agent.log()?
        );
    }
}

/// A line of the table.
struct Line {
    what: &'static str,
    volumes: usize,
    delay: Duration,
    took: Duration,
    /// Writes per second that the API server can do.
    rate: f64,
    cost: Cost,
}

impl Line {
    fn print(&self) {
        println!("{self}");
        if std::env::args().any(|a| a == "--calls") {
            let each = self.cost.each(count(self.volumes));
            each.for_each(|line| println!("{line}"));
        }
    }

    fn head() -> String {
        format!(
            "{:>7} {:>6} {:<14} {:>8} {:>9} {:>10} {:>10} {:>8} {:>9} {:>7} {:>8}",
            "volumes",
            "driver",
            "what",
            "s",
            "volumes/s",
            "writes/vol",
            "events/vol",
            "floor s",
            "x floor",
            "CPU s",
            "peak MB"
        )
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = count(self.volumes);
        let took = self.took.as_secs_f64();
        let least = match self.what {
            "started again" => 0.0,
            "fresh" => LEAST_WRITES,
            // The edit and the new status.
            _ => 2.0,
        };
        let floor = count * least / self.rate;
        let ratio = if floor > 0.0 {
            format!("{:.2}", took / floor)
        } else {
            "-".to_owned()
        };
        write!(
            f,
            "{:>7} {:>6} {:<14} {took:>8.2} {:>9.0} {:>10.2} {:>10.2} {floor:>8.2} {ratio:>9} {:>7.2} {:>8.0}",
            self.volumes,
            format!("{} ms", self.delay.as_millis()),
            self.what,
            count / took,
            self.cost.writes() / count,
            self.cost.events() / count,
            self.cost.cpu.as_secs_f64(),
            self.cost.peak_mb,
        )
    }
}

/// A number of things, for ratios.
fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
