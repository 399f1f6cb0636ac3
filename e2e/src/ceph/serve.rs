//! Starting the driver of a cluster as a program.

use std::path::Path;

use anyhow::Result;

use super::{Cluster, POOL, Pair, driver::CLUSTER};
use crate::{Program, wait};

/// Starts `rbd-driver` for one cluster of a pair, and waits until it listens on the socket.
pub async fn start_driver(pair: &Pair, site: &Cluster, socket: &Path) -> Result<Program> {
    let (conf, at) = (
        site.conf().display().to_string(),
        socket.display().to_string(),
    );
    let mut args = vec!["--conf", &conf, "--socket", &at, "--cluster-id", CLUSTER];
    // A handle names the pool by its number where the volume was made.
    let pools = pair.both().map(|s| format!("{}={POOL}", s.pool()));
    for pool in &pools {
        args.extend(["--pool", pool]);
    }
    let name = format!("rbd-driver-{}", site.name());
    let program = Program::start_other(&Program::beside("rbd-driver")?, &name, &args, &[])?;
    wait::until_answer(&format!("{name} listens"), || async {
        Ok(tokio::net::UnixStream::connect(socket).await.ok())
    })
    .await?;
    Ok(program)
}
