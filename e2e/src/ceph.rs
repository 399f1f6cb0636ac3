//! Real storage: two Ceph clusters on this machine that mirror each other, and a CSI-Addons driver over the `rbd` program.
//!
//! - [`Pair`]: both clusters, with mirroring both ways.
//! - [`Cluster`]: one of them, to kill, freeze, mend, or take single daemons from.
//! - [`Rbd`]: the `rbd` program with typed answers; every call ends in time, whatever the cluster does.
//! - [`content`]: writing to images, and checksums of what they hold.
//! - [`driver`]: the CSI-Addons driver that the agent talks to.
//! - [`copying`]: waiting for copies.
//! - [`sites`]: two Kubernetes clusters on the two Ceph clusters, with agents.
//! - [`Hub`]: a hub over both.
//! - [`Mount`]: a real file system on an image.
//! - [`records`]: what an application writes there, and what of it is found later.
//! - [`Machine`]: a node whose pods have their volumes mounted, and write.
//! - [`Fleet`]: all of it: sites that can be lost, cut off and brought back, a hub, and applications that write.
//!
//! Everything is a plain process on the loopback address. `e2e/ceph/install.sh` installs Ceph where it is missing.

mod cluster;
mod conf;
pub mod content;
pub mod copying;
pub mod driver;
mod fleet;
pub mod hub;
mod machine;
mod mount;
mod pair;
mod rbd;
pub mod records;
mod serve;
pub mod sites;
mod slot;
mod status;

pub use cluster::{Cluster, Part};
pub use fleet::{App, Fleet, Volume};
pub use hub::Hub;
pub use machine::Machine;
pub use mount::{FileSystem, Found, Mount};
pub use pair::Pair;
pub use rbd::{Force, Rbd, RbdError, User};
pub use serve::start_driver;
pub use status::{
    Daemon, Info, MirrorStatus, Mirroring, Parent, PeerSite, Replay, Snapshot, SnapshotNamespace,
    State, Word, incomplete_copy,
};

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// The pool of all images.
pub const POOL: &str = "replicapool";

/// Installs Ceph's programs, if they are not there.
pub async fn install() -> Result<()> {
    let script = crate::tools::folder().join("ceph/install.sh");
    let run = Command::new(&script).stdin(Stdio::null()).status().await;
    let status = run.with_context(|| format!("could not run {}", script.display()))?;
    ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(())
}
