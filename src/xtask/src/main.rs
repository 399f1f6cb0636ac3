//! `cargo xtask`: generate, check, test and bench.
#![expect(clippy::print_stdout, reason = "a program for a person at a terminal")]

mod bench;
mod command;
mod control_plane;
mod csi_replication;
mod generate;
mod imports;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Generate, check, test and bench.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write what is generated from the code: crds/.
    Gen(generate::Args),
    /// The house rules: generated files, imports between crates, module docs.
    Tidy,
    /// All checks and tests; what CI runs.
    Test(test::Args),
    /// CSI volume replication shown step by step on real control planes and real Ceph.
    TestCsiReplication(csi_replication::Args),
    /// The benchmarks; what follows is for them.
    Bench(bench::Args),
    /// Real Kubernetes control planes on this machine.
    ControlPlane(control_plane::Args),
    /// The kubectl the tests use: prints its path, or runs it with what follows.
    Kubectl(control_plane::KubectlArgs),
}

fn main() -> ExitCode {
    match run(&Args::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as main's own error: with RUST_BACKTRACE set, as in many a CI, the one line would drown in frames.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Gen(args) => generate::run(args),
        Verb::Tidy => tidy::run(),
        Verb::Test(args) => test::run(args),
        Verb::TestCsiReplication(args) => csi_replication::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::ControlPlane(args) => control_plane::run(args),
        Verb::Kubectl(args) => control_plane::kubectl(args),
    }
}
