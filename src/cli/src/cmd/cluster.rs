//! `lifeboat cluster`: which clusters the hub manages.

mod access;
mod add;
mod install;
mod list;
mod remove;

use crate::failure::Failure;

/// Verbs about clusters.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ClusterCommand {
    /// Prepare a cluster and register it with the hub. Again for a cluster that is registered: renews its credentials.
    Add(add::AddArgs),
    /// Take a cluster out of the hub's hands. Nothing on the cluster itself is touched.
    Remove(remove::RemoveArgs),
    /// List the clusters with their health.
    List(list::ListArgs),
}

/// Runs a verb about clusters.
pub(crate) async fn run(command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Add(args) => add::run(args).await,
        ClusterCommand::Remove(args) => remove::run(args).await,
        ClusterCommand::List(args) => list::run(args).await,
    }
}

/// Name of the Secret with the credentials of a cluster.
fn secret_name(cluster: &str) -> String {
    format!("cluster-{cluster}")
}
