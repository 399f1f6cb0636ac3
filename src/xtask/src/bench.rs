//! `cargo xtask bench`: builds the benchmarks, optimised, and runs one of them.

use anyhow::Result;
use clap::Subcommand;

use crate::command::{beside, cargo, command, run as run_command};

/// Which benchmark; without a word that of the moves.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    which: Option<Which>,
    #[command(flatten)]
    moves: Told,
}

#[derive(Subcommand)]
enum Which {
    /// Moves of placements, from the edit to the end, on the simulated world.
    Moves(Told),
    /// The agent on a real kube-apiserver, beside what that can do.
    Agent(Told),
    /// Moves on two Ceph clusters, beside what the storage itself needs.
    Ceph(Told),
}

/// What a benchmark is told.
#[derive(clap::Args)]
struct Told {
    /// A few only, for a look.
    #[arg(long)]
    quick: bool,
    /// Which calls there were, and how many.
    #[arg(long)]
    calls: bool,
    /// How many placements, or volumes.
    numbers: Vec<usize>,
}

/// Builds them and runs one.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (name, told) = match &args.which {
        None => ("bench", &args.moves),
        Some(Which::Moves(told)) => ("bench", told),
        Some(Which::Agent(told)) => ("bench-agent", told),
        Some(Which::Ceph(told)) => ("bench-ceph", told),
    };
    // All at once, also the product: with another selection cargo may choose other features and compile everything again.
    run_command(&mut cargo(
        "build --release --locked --package lifeboat-cli --package lifeboat-lab --package lifeboat-e2e \
         --bin lifeboat --bin bench --bin bench-agent --bin bench-ceph --bin rbd-driver --bin record-writer",
    ))?;
    let mut bench = command(beside(&format!("../release/{name}"))?);
    bench.env("LIFEBOAT_BIN", beside("../release/lifeboat")?);
    bench.args(told.numbers.iter().map(ToString::to_string));
    bench.args(told.quick.then_some("--quick"));
    bench.args(told.calls.then_some("--calls"));
    run_command(&mut bench)
}
