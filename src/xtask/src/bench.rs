//! `cargo xtask bench`: hands over to the benchmarks of the lab.

use anyhow::Result;

use crate::command::{beside, cargo, command, run as run_command};

/// What the benchmarks are told.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds them optimised and runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    // With the binary that users get: of the lab alone cargo would choose other features for the dependencies, and compile
    // nearly all of them once more.
    run_command(&mut cargo(
        "build --release --locked --package lifeboat-cli --package lifeboat-lab --bin lifeboat --bin bench",
    ))?;
    run_command(command(beside("../release/bench")?).args(&args.rest))
}
