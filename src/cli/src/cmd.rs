//! The verbs, one file each.

pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod failover;
pub(crate) mod hub;
pub(crate) mod program;
pub(crate) mod relocate;
pub(crate) mod status;

use crate::args::Command;
use crate::failure::Failure;

/// Runs a verb to its end.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Hub(args) => hub::run(args).await,
        Command::Agent(args) => agent::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Relocate(args) => relocate::run(args).await,
        Command::Failover(args) => failover::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Cluster(command) => cluster::run(command).await,
    }
}
