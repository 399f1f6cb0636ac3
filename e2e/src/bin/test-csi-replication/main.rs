//! `cargo xtask test-csi-replication`: CSI volume replication shown step by step on two real control planes and two real Ceph
//! clusters, first by hand and then with the hub. The exit code says whether everything was as it should be.
#![expect(clippy::print_stdout, reason = "a program for a person at a terminal")]

mod by_hand;
mod look;
mod report;
mod with_hub;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lifeboat_e2e::{
    Tool,
    ceph::{
        POOL,
        sites::{NAMES, Sites},
    },
    tool,
};

use report::Report;

/// Shows volume replication step by step, on real Kubernetes API servers and real Ceph.
#[derive(Parser)]
#[command(name = "test-csi-replication")]
struct Args {
    /// Leave everything running at the end, also after a failure, and say how to look around. Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
    /// Only what a person does by hand with VolumeReplications; no hub.
    #[arg(long)]
    by_hand: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut report = Report::default();
    let ended = run(&args, &mut report).await;
    report.sum_up(ended.as_ref().err());
    if ended.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(args: &Args, report: &mut Report) -> Result<()> {
    println!("Starting two control planes, two Ceph clusters, their drivers and agents ...");
    let mut sites = Sites::start().await.context("the clusters did not start")?;
    let ended = tokio::select! {
        ended = story(args, &sites, report) => ended,
        stop = tokio::signal::ctrl_c() => stop.map_err(Into::into),
    };
    if args.keep {
        keep(&sites, ended.as_ref().err()).await?;
    }
    if ended.is_ok() {
        sites.went_well();
    }
    ended
}

async fn story(args: &Args, sites: &Sites, report: &mut Report) -> Result<()> {
    by_hand::story(sites, report, args.keep && args.by_hand).await?;
    if !args.by_hand {
        with_hub::story(sites, report, args.keep).await?;
    }
    Ok(())
}

/// Says how to look around, and waits for Ctrl-C.
async fn keep(sites: &Sites, failed: Option<&anyhow::Error>) -> Result<()> {
    if let Some(error) = failed {
        println!("\nIt stopped here: {error:#}");
    }
    let kubectl = tool(Tool::Kubectl).await?;
    println!("\nEverything is left running. To look around, in another terminal:");
    for name in NAMES {
        let config = sites.site(name).plane.kubeconfig_path();
        let (kubectl, config) = (kubectl.display(), config.display());
        println!("  {kubectl} --kubeconfig {config} get volumereplication,pvc,pv -A");
    }
    for site in sites.pair.both() {
        let conf = site.conf().display();
        println!("  rbd -c {conf} ls {POOL}");
        println!("  rbd -c {conf} mirror pool status {POOL} --verbose");
    }
    println!("Ctrl-C ends it all.");
    Ok(tokio::signal::ctrl_c().await?)
}
