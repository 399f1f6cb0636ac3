//! `cargo xtask test-csi-replication`: builds and runs the program of `e2e/src/bin/test-csi-replication`.

use anyhow::Result;

use crate::{
    command::{beside, command, run as run_command},
    test::{build, go, step},
};

/// What the program is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, and say how to look around. Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
    /// Only what a person does by hand with VolumeReplications; no hub.
    #[arg(long)]
    by_hand: bool,
}

/// Builds everything, as the tests do, and runs it. It installs Ceph and builds the control planes itself, if need be.
pub(crate) fn run(args: &Args) -> Result<()> {
    go()?;
    step(&mut build())?;
    let mut program = command(beside("test-csi-replication")?);
    program.args(args.keep.then_some("--keep"));
    program.args(args.by_hand.then_some("--by-hand"));
    run_command(&mut program)
}
