//! Runs rows: one on the simulated API server, or all of them on a real one.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::ground::{Kube, Server};
use crate::leaks::Leaks;
use crate::numbers::{HIGHEST, of};
use crate::on::{On, Row};
use crate::rows::ROWS;

/// Rows that take kinds away from the whole cluster, or give its server so much to do that others would wait in vain: alone,
/// and first.
const ALONE: [&str; 6] = [
    "row_64_",
    "row_79_a_class_whose_kind",
    "kinds_of_an_older_version",
    "a_record_that_cannot_be_written",
    "a_thousand_volumes",
    "each_code_at_each_call",
];
/// A real socket knows no paused clock.
const REAL_TIME: &str = "_over_a_unix_socket";
/// Of what a row does on a real server, most is waiting for answers.
const AT_ONCE: usize = 6;

/// Runs one row on the simulated API server. Once all of the table have passed in this process, says so.
pub fn simulated(name: &str) {
    static PASSED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    let row = ROWS.iter().find(|row| row.name == name).unwrap();
    run(row, &Server::Simulated, &Leaks::new(None));
    let mut passed = PASSED.lock();
    let before = passed.len();
    passed.extend(of(name));
    if passed.len() != before && is_complete(&passed) {
        say(&format!("{HIGHEST} rows on {}", Server::Simulated.name()));
    }
}

fn is_complete(rows: &BTreeSet<u32>) -> bool {
    (1..=HIGHEST).all(|row| rows.contains(&row))
}

/// Runs every row whose name contains `filter` on a real API server; answers what failed. `token` is what the agent signs in
/// with: nobody may see it.
pub fn on_kube(kube: Kube, token: &str, filter: &str) -> Vec<String> {
    let (kube, leaks) = (Arc::new(kube), Leaks::new(Some(token.to_owned())));
    let admin = kube.admin();
    let server = Server::Kube(kube.clone());
    let chosen = ROWS.iter().filter(|row| row.name.contains(filter));
    let chosen = chosen.filter(|row| !SIMULATED_ONLY.contains(&row.name));
    let (first, others): (Vec<&Row>, _) =
        chosen.partition(|row| ALONE.iter().any(|alone| row.name.starts_with(alone)));
    let report = Mutex::new(Report::default());
    for row in first {
        attempt(row, &server, &leaks, &report);
        // Whatever it took away or changed is put back.
        runtime(false).block_on(kube.install());
    }
    let queue = Mutex::new(VecDeque::from(others));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(row) = queue.lock().pop_front() else {
                        return;
                    };
                    attempt(row, &server, &leaks, &report);
                }
            });
        }
    });
    runtime(false).block_on(async { leaks.sweep(&Client::try_from(admin).unwrap()).await });
    let mut report = report.into_inner();
    let found = leaks.found();
    if !found.is_empty() {
        report.failed.push(format!("a secret was seen: {found:#?}"));
    }
    if report.failed.is_empty() && is_complete(&report.passed) {
        say(&format!("{HIGHEST} rows on {}", server.name()));
    }
    report.failed
}

/// Rows about the simulated server itself: a real one does nothing twice at the same nanosecond.
const SIMULATED_ONLY: [&str; 1] = ["the_same_script_twice_gives_the_same_calls_at_the_same_times"];

#[derive(Default)]
struct Report {
    passed: BTreeSet<u32>,
    failed: Vec<String>,
}

fn attempt(row: &Row, server: &Server, leaks: &Leaks, report: &Mutex<Report>) {
    let run = std::panic::AssertUnwindSafe(|| run(row, server, leaks));
    let start = tokio::time::Instant::now();
    let result = std::panic::catch_unwind(run);
    let took = start.elapsed();
    let mut report = report.lock();
    match result {
        Ok(()) => {
            say(&format!("row {} ... ok, {took:.1?}", row.name));
            report.passed.extend(of(row.name));
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            let text = text.unwrap_or_default();
            say(&format!("row {} ... FAILED, {took:.1?}", row.name));
            report.failed.push(format!("{}: {text}", row.name));
        }
    }
}

fn run(row: &Row, server: &Server, leaks: &Leaks) {
    let paused = !row.name.ends_with(REAL_TIME);
    // Everything at every level is searched; `RUST_LOG=debug` also shows it.
    let shown = fmt::layer()
        .with_test_writer()
        .with_filter(EnvFilter::from_default_env());
    let all = tracing_subscriber::registry()
        .with(leaks.clone())
        .with(shown);
    let on = On::new(server.clone(), paused, leaks.clone());
    let runtime = runtime(paused);
    let _logged = tracing_subscriber::util::SubscriberInitExt::set_default(all);
    runtime.block_on(async {
        (row.run)(&on).await;
        on.finish().await;
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

fn runtime(paused: bool) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(paused).build().unwrap()
}

/// Past the test harness, which shows what a test prints only if it fails.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
