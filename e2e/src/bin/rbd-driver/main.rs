//! `rbd-driver`: the CSI-Addons driver of one Ceph cluster, on a unix socket, for tests. See `lifeboat_e2e::ceph::driver`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use lifeboat_e2e::ceph::driver::{CLUSTER, Config, Driver, NAME};

/// Serves CSI-Addons for the images of one Ceph cluster.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long)]
    socket: PathBuf,
    /// The cluster's ceph.conf.
    #[arg(long)]
    conf: PathBuf,
    /// The cluster that volume handles name.
    #[arg(long, default_value = CLUSTER)]
    cluster_id: String,
    /// A pool by the number that volume handles name, as NUMBER=NAME; may be repeated.
    #[arg(long = "pool", value_parser = pool, required = true)]
    pools: Vec<(u64, String)>,
    /// The name that classes and volumes call it by.
    #[arg(long, default_value = NAME)]
    name: String,
}

fn pool(text: &str) -> Result<(u64, String)> {
    let (number, name) = text.split_once('=').context("NUMBER=NAME is wanted")?;
    Ok((number.parse()?, name.to_owned()))
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let Args {
        socket,
        conf,
        cluster_id,
        pools,
        name,
    } = Args::parse();
    let driver = Driver::new(Config {
        name,
        conf,
        cluster: cluster_id,
        pools: BTreeMap::from_iter(pools),
    });
    driver.serve(&socket).await
}
