//! `lifeboat`: the hub, the agent, the demonstration, and what people type. One binary, one image.
//!
//! Invariants of this crate: a verb reads, then says, then acts; what is shown is computed by pure functions from
//! objects and a time; standard output carries the answer and nothing else, standard error carries everything said on
//! the way; the exit code is part of the interface (see `failure`).

mod args;
mod client;
mod cmd;
mod failure;
mod follow;
mod input;
mod output;
mod placement;
mod verdict;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Twice is no harm: a library may have installed the same one before us.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("error: could not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(cmd::run(cli.command));
    // Whatever still hangs in a blocking read of the terminal must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(&format!("error: {}", lifeboat_kit::error::full(&failure)));
            ExitCode::from(failure.code())
        }
    }
}
