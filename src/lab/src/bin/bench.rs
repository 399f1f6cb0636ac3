//! What the hub costs: moves with instant storage, on the real clock, with everything in one process.
//!
//! `cargo xtask bench [--quick] [--calls] [PLACEMENTS...]` prints a table per number of placements, five volumes each.
//! All placements are edited at once. Hub, agents, arrays and four API servers share the machine: with many placements the
//! simulated API servers are most of what is measured, and the calls of a move say what real ones would have to do.
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use lifeboat_api::{DROwnership, DRPlacement, VolumeReplication};
use lifeboat_lab::{
    Lab, LabSpec,
    lab::{Key, Look, Start},
};
use lifeboat_sim::{
    clock::SimClock,
    world::{App, Machines},
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Volumes of each placement.
const VOLUMES: usize = 5;
/// How many moves there are at least behind a figure.
const MOVES: usize = 10;
/// Longer than any part takes, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks at all placements, for each hundred of them: looking must not take the time that it measures.
const LOOK: Duration = Duration::from_millis(5);
/// After so many looks nothing must be broken.
const LOOKS: usize = 40;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let sizes: &[usize] = match (&asked, quick) {
        (asked, _) if !asked.is_empty() => asked,
        (_, true) => &[1, 20],
        (_, false) => &[1, 100, 1000],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!(
        "{:>5} {:<22} {:>10} {:>10} {:>10} {:>12}",
        "drp", "what", "p50 ms", "p99 ms", "max ms", "calls/move"
    );
    for size in sizes {
        runtime
            .block_on(bench(*size))
            .with_context(|| format!("with {size} placements"))?;
    }
    Ok(())
}

/// All measurements at one size.
async fn bench(size: usize) -> Result<()> {
    let instant = Duration::from_millis(1);
    let spec = LabSpec {
        start: Start::Empty,
        machines: Machines::Own,
        write_every: Duration::ZERO,
        transfer: instant,
        full_copy: instant,
        ..LabSpec::new(SimClock::system(), VOLUMES)
    };
    let lab = Lab::start(spec).await?;
    let apps: Vec<App> = (0..size)
        .map(|n| App::new(&format!("app-{n:04}")).volumes(VOLUMES))
        .collect();
    let start = Instant::now();
    for app in &apps {
        lab.world().install_app("east", app)?;
        lab.place(app, "east")?;
    }
    reach(&lab, &apps, &settled("east")).await?;
    row(size, "protect (all)", &[start.elapsed()], None);
    lag(&lab, size).await?;

    let mut on = "east";
    let mut relocations = Measured::default();
    while relocations.moves() < MOVES {
        let to = if on == "east" { "west" } else { "east" };
        let patch = json!({"spec": {"preferredCluster": to, "action": "Relocate"}});
        one_move(&lab, &apps, &patch, to, None, &mut relocations).await?;
        on = to;
    }
    relocations.print("relocate", size);

    let mut failovers = Measured::default();
    while failovers.moves() < MOVES {
        let to = if on == "north" { "east" } else { "north" };
        lab.kill_site(on)?;
        // The hub has to take the site for lost: that takes as long as its probes are patient, and is not its work.
        let gone = |p: &DRPlacement| {
            p.condition("Available") != "True" && p.condition("FailoverArmed") == "True"
        };
        reach(&lab, &apps, &gone).await?;
        let patch = json!({"spec": {"action": "Failover", "failoverCluster": to}});
        one_move(&lab, &apps, &patch, to, Some(on), &mut failovers).await?;
        on = to;
    }
    failovers.print("failover", size);
    let calls = Calls::of(&relocations.calls, relocations.moves()).sum();
    calls_alone(&lab, size, calls).await?;
    println!("{size:>5} {:<22} {:>10}", "memory, whole world", memory());
    lab.check().await?;
    Ok(())
}

/// Moves of one kind, and how long each took.
#[derive(Default)]
struct Measured {
    available: Vec<Duration>,
    complete: Vec<Duration>,
    protected: Vec<Duration>,
    calls: Counts,
}

impl Measured {
    fn moves(&self) -> usize {
        self.complete.len()
    }

    fn print(&self, what: &str, size: usize) {
        let calls = Calls::of(&self.calls, self.moves());
        row(size, &format!("{what}: available"), &self.available, None);
        let complete = format!("{what}: complete");
        row(size, &complete, &self.complete, Some(calls.sum()));
        row(size, &format!("{what}: protected"), &self.protected, None);
        if std::env::args().any(|a| a == "--calls") {
            calls.print();
        }
    }
}

/// Moves all at once. A move away from a lost site can be complete only when that has returned.
async fn one_move(
    lab: &Lab,
    apps: &[App],
    patch: &Value,
    to: &'static str,
    lost: Option<&str>,
    measured: &mut Measured,
) -> Result<()> {
    let before = hub_calls(lab);
    let mut edited = edit_all(lab, apps, patch).await?;
    let available = reach(lab, apps, &running(to)).await?;
    measured.available.extend(spans(&edited, &available));
    if let Some(site) = lost {
        lab.revive_site(site)?;
        let now = Instant::now();
        for start in edited.values_mut() {
            *start = now;
        }
    }
    let complete = reach(lab, apps, &complete(to)).await?;
    measured.complete.extend(spans(&edited, &complete));
    for (what, n) in hub_calls(lab) {
        let new = n - before.get(&what).copied().unwrap_or_default();
        *measured.calls.entry(what).or_default() += new;
    }
    let again = reach(lab, apps, &settled(to)).await?;
    measured.protected.extend(spans(&edited, &again));
    Ok(())
}

fn settled(on: &'static str) -> impl Fn(&DRPlacement) -> bool {
    move |p| p.settled_on(on)
}

/// The old side is clean. That a new copy is complete takes as long as the driver's next snapshot, and is told apart.
fn complete(on: &'static str) -> impl Fn(&DRPlacement) -> bool {
    move |p| p.rests_on(on)
}

fn running(on: &'static str) -> impl Fn(&DRPlacement) -> bool {
    move |p| p.is_current() && p.cluster() == on && p.condition("Available") == "True"
}

/// Edits all at once, and tells when each edit was accepted.
async fn edit_all(lab: &Lab, apps: &[App], patch: &Value) -> Result<BTreeMap<Key, Instant>> {
    let one = |app: &App| {
        let api: Api<DRPlacement> = Api::namespaced(lab.hub_client(), &app.namespace);
        let (key, name) = (Key::of(app), app.name.clone());
        async move {
            let at = Instant::now();
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            Ok((key, at))
        }
    };
    stream::iter(apps.iter().map(one))
        .buffer_unordered(64)
        .try_collect()
        .await
}

/// Waits until `ok` holds for each, and tells when it first did.
async fn reach(
    lab: &Lab,
    apps: &[App],
    ok: &impl Fn(&DRPlacement) -> bool,
) -> Result<BTreeMap<Key, Instant>> {
    let mut reached = BTreeMap::new();
    let start = Instant::now();
    let look = LOOK * u32::try_from(apps.len().div_ceil(100))?;
    let mut looks = 0_usize;
    while reached.len() < apps.len() {
        let now = Instant::now();
        lab.book().for_each(|key, p| {
            if !reached.contains_key(key) && ok(p) {
                reached.insert(key.clone(), now);
            }
        });
        if start.elapsed() > PATIENCE {
            let mut late = None;
            lab.book().for_each(|key, p| {
                if late.is_none() && !reached.contains_key(key) {
                    late = Some(p.clone());
                }
            });
            let there = reached.len();
            let late = late.context("it came there after all")?;
            let told = told_of(lab, &late).await?;
            anyhow::bail!(
                "{there} of {} came there; of the others one:\n{told}",
                apps.len()
            );
        }
        if looks.is_multiple_of(LOOKS) {
            lab.check().await?;
        }
        looks += 1;
        tokio::time::sleep(look).await;
    }
    lab.check().await?;
    Ok(reached)
}

/// A placement and what each cluster has of it.
async fn told_of(lab: &Lab, placement: &DRPlacement) -> Result<String> {
    let namespace = placement.namespace().unwrap_or_default();
    let mut told = serde_saphyr::to_string(&placement.status)?;
    for site in lab.world().sites() {
        let client = lab.world().admin(&site.name)?;
        let records: Api<DROwnership> = Api::namespaced(client.clone(), &namespace);
        let replications: Api<VolumeReplication> = Api::namespaced(client, &namespace);
        let params = ListParams::default();
        let mut all = serde_json::to_value(records.list(&params).await?.items)?;
        let more = serde_json::to_value(replications.list(&params).await?.items)?;
        if let (Some(all), Value::Array(more)) = (all.as_array_mut(), more) {
            all.extend(more);
            for object in all.iter_mut() {
                object["metadata"]["managedFields"].take();
            }
        }
        let all = serde_saphyr::to_string(&all)?;
        told.extend(["--- ", &site.name, "\n", &all]);
    }
    Ok(told)
}

fn spans(from: &BTreeMap<Key, Instant>, to: &BTreeMap<Key, Instant>) -> Vec<Duration> {
    from.iter()
        .filter_map(|(key, start)| to.get(key).map(|end| end.saturating_duration_since(*start)))
        .collect()
}

/// Requests, by resource and verb.
type Counts = BTreeMap<(String, String), u64>;

/// Requests of the hub to all API servers, long-lived watches aside.
fn hub_calls(lab: &Lab) -> Counts {
    let hub = lab.world().hub().into_iter().map(|h| h.request_counts());
    let sites = lab.world().sites().map(|s| s.api.request_counts());
    let mut calls = BTreeMap::new();
    for ((user, verb, resource), n) in hub.chain(sites).flatten() {
        if user.ends_with(":lifeboat-hub") && verb != "watch" {
            *calls.entry((resource, verb)).or_default() += n;
        }
    }
    calls
}

/// Calls of a move, by resource and verb.
struct Calls(BTreeMap<(String, String), f64>);

impl Calls {
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    fn of(counts: &Counts, moves: usize) -> Self {
        let each = counts
            .iter()
            .map(|(what, n)| (what.clone(), *n as f64 / moves as f64));
        Self(each.filter(|(_, mean)| *mean > 0.0).collect())
    }

    fn sum(&self) -> f64 {
        self.0.values().sum()
    }

    fn print(&self) {
        for ((resource, verb), mean) in &self.0 {
            println!("      {mean:>8.1} {verb} {resource}");
        }
    }
}

/// From a change on a cluster to the hub's answer to it: a reclaim policy is changed by hand, and put back.
async fn lag(lab: &Lab, size: usize) -> Result<()> {
    let api: Api<PersistentVolume> = Api::all(lab.world().admin("east")?);
    let mut all = Vec::new();
    for pv in api
        .list(&ListParams::default())
        .await?
        .items
        .iter()
        .take(100)
    {
        let name = pv.name_any();
        let wrong = Patch::Merge(json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}));
        api.patch(&name, &PatchParams::default(), &wrong).await?;
        let start = Instant::now();
        loop {
            let policy = api
                .get(&name)
                .await?
                .spec
                .and_then(|s| s.persistent_volume_reclaim_policy);
            if policy.as_deref() == Some("Retain") {
                all.push(start.elapsed());
                break;
            }
            if start.elapsed() > Duration::from_secs(10) {
                println!("{size:>5} {:<22} not within 10 s", "change to reaction");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    row(size, "change to reaction", &all, None);
    Ok(())
}

/// How long the API servers take for as many calls as the hub made in a relocation of all, if nobody else does anything:
/// no hub on this machine could be faster.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of calls for people"
)]
async fn calls_alone(lab: &Lab, size: usize, each: f64) -> Result<()> {
    let wanted = (each * size as f64).round() as usize;
    // Of a kind that nobody watches.
    let api: Api<ConfigMap> = Api::default_namespaced(lab.world().admin("east")?);
    let names: Vec<String> = (0..64).map(|n| format!("bench-{n}")).collect();
    for name in &names {
        let empty = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &empty).await?;
    }
    let pairs = names.iter().cycle().take(wanted.div_ceil(2)).enumerate();
    let start = Instant::now();
    let one = |(n, name): (usize, &String)| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            api.get(&name).await?;
            let patch =
                Patch::Merge(json!({"metadata": {"annotations": {"bench": n.to_string()}}}));
            api.patch(&name, &PatchParams::default(), &patch).await?;
            anyhow::Ok(())
        }
    };
    let done = stream::iter(pairs.map(one)).buffer_unordered(64);
    done.try_collect::<Vec<()>>().await?;
    row(size, "as many calls alone", &[start.elapsed()], Some(each));
    Ok(())
}

fn row(size: usize, what: &str, spans: &[Duration], calls: Option<f64>) {
    let mut sorted = spans.to_vec();
    sorted.sort();
    let at = |percent: usize| {
        let n = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(n).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    let calls = calls.map(|c| format!("{c:.1}")).unwrap_or_default();
    println!(
        "{size:>5} {what:<22} {:>10.1} {:>10.1} {:>10.1} {calls:>12}",
        at(50),
        at(99),
        at(100)
    );
}

/// Resident memory of this process, as the kernel tells it.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.map_or_else(|| "unknown".to_owned(), |l| l.trim().to_owned())
}
