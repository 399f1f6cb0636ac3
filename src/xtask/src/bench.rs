//! `cargo xtask bench`: hands over to the benchmarks of the lab.

use anyhow::Result;

use crate::command::{cargo, run as run_command};

/// What the benchmarks are told.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds them optimised and runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut bench = cargo("run --release --locked --package lifeboat-lab --bin bench --");
    run_command(bench.args(&args.rest))
}
