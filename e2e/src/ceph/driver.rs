//! A CSI-Addons driver for RBD over the `rbd` program, for tests. It answers as ceph-csi does: the same handles, codes and like
//! words; and in one case better: a copy that is incomplete is not promoted by force.
//!
//! Services: `identity.Identity`, `replication.Controller`, `fence.FenceController`, and our own `lifeboat.copies.v1.Copies`. Groups are not offered: consistent snapshots
//! of several images are not mirrored by this Ceph, so `volumegroup.Controller` is UNIMPLEMENTED.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use lifeboat_proto::{
    copies::copies_server::CopiesServer,
    fence::fence_controller_server::FenceControllerServer,
    identity::{
        capability::{self, Type, network_fence, service, volume_replication},
        identity_server::IdentityServer,
    },
    replication::controller_server::ControllerServer,
};
use lifeboat_sim::csi_addons::{Busy, Identities, Who, replicates};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

mod copies;
mod fence;
mod handle;
mod refusal;
mod replication;
mod resync;
mod schedule;
mod volume;

pub use handle::{Handle, handle_of, image_of};

/// The name by which classes and volumes call this driver, as with Rook.
pub const NAME: &str = "rook-ceph.rbd.csi.ceph.com";
/// The cluster that handles name, as with Rook: the namespace that Ceph runs in, on both sides.
pub const CLUSTER: &str = "rook-ceph";
/// The keys of the Secret: who the driver is to Ceph.
pub const USER_ID: &str = "userID";
/// The key that belongs to [`USER_ID`].
pub const USER_KEY: &str = "userKey";

/// What a driver serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// The `ceph.conf` of its cluster.
    pub conf: PathBuf,
    /// The cluster that handles must name; the same on both sides, as with Rook.
    pub cluster: String,
    /// Pools by the numbers that handles name. The other side may number them differently: its numbers belong here too.
    pub pools: BTreeMap<u64, String>,
}

/// The driver of one cluster. Clones are the same driver.
#[derive(Clone, Debug)]
pub struct Driver {
    config: Arc<Config>,
    /// Volumes on which something is under way, over all connections.
    busy: Busy,
}

impl Driver {
    /// A driver; nothing is asked of Ceph before the first call.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            busy: Busy::default(),
        }
    }

    /// Serves on a unix socket, in place of one that an earlier driver left, until the listener fails.
    pub async fn serve(self, socket: &std::path::Path) -> Result<()> {
        match std::fs::remove_file(socket) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("could not listen on {}", socket.display()))?;
        Server::builder()
            .add_service(IdentityServer::new(Identities(self.clone())))
            .add_service(ControllerServer::new(self.clone()))
            .add_service(CopiesServer::new(self.clone()))
            .add_service(FenceControllerServer::new(self))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .context("the driver ended")
    }
}

impl Who for Driver {
    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn capabilities(&self) -> Vec<Type> {
        let controller = service::Type::ControllerService.into();
        let fence = network_fence::Type::NetworkFence.into();
        vec![
            Type::Service(capability::Service { r#type: controller }),
            Type::NetworkFence(capability::NetworkFence { r#type: fence }),
            replicates(volume_replication::Type::VolumeReplication),
        ]
    }

    fn ready(&self) -> Option<bool> {
        // As ceph-csi: the process is there. A cluster that is away shows in the calls.
        Some(true)
    }
}
