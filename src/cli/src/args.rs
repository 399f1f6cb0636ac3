//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cmd;
use crate::input::duration;
use crate::output::Format;

const CODES: &str = "Exit codes: 0 done; 1 refused, blocked or failed (the reason is on standard error); \
2 wrong usage; 3 not over within --timeout (it goes on without this command).";

/// Disaster recovery for stateful applications across Kubernetes clusters.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version, after_help = CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub: it drives every DRPlacement of the cluster it runs in.
    Hub(cmd::hub::HubArgs),
    /// Run the agent of a managed cluster: it serves VolumeReplications with the storage drivers of the cluster.
    Agent(cmd::agent::AgentArgs),
    /// See it work: three simulated clusters on this machine, an application, a lost site.
    Demo(cmd::demo::DemoArgs),
    /// Show placements, where they run and how well they are protected.
    Status(cmd::status::StatusArgs),
    /// Move an application to another cluster, with all of its data, or not at all.
    #[command(after_help = CODES)]
    Relocate(cmd::relocate::RelocateArgs),
    /// Bring an application up elsewhere from its last synced copy, accepting the loss of what came after.
    #[command(after_help = CODES)]
    Failover(cmd::failover::FailoverArgs),
    /// Say in plain words what is believed about a placement, since when, and why something is or is not done.
    Explain(cmd::explain::ExplainArgs),
    /// Add, remove and list managed clusters.
    #[command(subcommand)]
    Cluster(cmd::cluster::ClusterCommand),
}

/// Which hub to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct HubAccess {
    /// The kubeconfig file [default: what KUBECONFIG names, or ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the hub [default: the current context].
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
}

/// One placement on the hub.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlacementArgs {
    /// Name of the DRPlacement.
    pub(crate) name: String,
    /// Its namespace [default: that of the context].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubAccess,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How to write the answer: in words, or as the objects that it is about.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Whether and how long to follow a move.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Follow the move and show each step with its time.
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to follow it, such as 90s or 10m.
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}
