//! A storage driver at the wire: CSI-Addons over a unix socket, or in process for a paused clock.
//!
//! The answers are those of ceph-csi for RBD: same codes, like texts. Faults are scripted, calls are recorded.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use lifeboat_proto::{copies as proto, csi, identity, replication};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::UnixListener,
    sync::watch,
    task::AbortHandle,
};
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint},
};

use crate::storage::Array;

mod busy;
mod calls;
mod copies;
mod identities;
mod script;
mod service;

/// What a driver may offer for its copies.
pub use lifeboat_proto::copies::Capability as CopyCapability;

pub use busy::{Busy, Hold};
pub use calls::{Call, Force, Rpc};
pub use identities::{Identities, Who, replicates};
pub use script::{Fault, Script};
/// The codes of gRPC, for faults.
pub use tonic::Code;

use calls::CallLog;
use service::Service;

/// All codes of gRPC with which a call fails.
pub const CODES: [Code; 16] = [
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// The driver name unless another is asked for.
pub const DEFAULT_NAME: &str = "sim.csi.lifeboat.dev";

/// Bytes in flight on an in-process connection.
const PIPE: usize = 64 * 1024;

/// Which identity service a driver has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `identity.Identity`, as newer drivers.
    Addons,
    /// `csi.v1.Identity`, as drivers from before CSI-Addons had its own.
    Csi,
}

/// Whether the driver can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    There,
    Gone,
}

/// One site's storage driver.
pub struct Driver {
    name: String,
    flavour: Flavour,
    array: Array,
    script: Script,
    calls: CallLog,
    socket: watch::Sender<Socket>,
    /// Volumes on which something is under way, over all connections.
    busy: Busy,
    /// What it offers for its copies; nothing: it has never heard of that service.
    copies: Mutex<Vec<copies::Capability>>,
}

impl Driver {
    /// A driver with today's identity service.
    pub fn new(name: &str, array: Array) -> Arc<Self> {
        Self::with_flavour(name, array, Flavour::Addons)
    }

    /// A driver with the identity service of your choice.
    pub fn with_flavour(name: &str, array: Array, flavour: Flavour) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            flavour,
            array,
            script: Script::default(),
            calls: CallLog::default(),
            socket: watch::Sender::new(Socket::There),
            busy: Busy::default(),
            copies: Mutex::new(copies::ALL.to_vec()),
        })
    }

    /// Its name, as in `provisioner`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The array behind it.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// From now on it offers this for its copies. Nothing: it does not have the service, as other drivers.
    pub fn offer_copies(&self, offered: &[CopyCapability]) {
        *self.copies.lock() = offered.to_vec();
    }

    /// What goes wrong next.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// All replication calls so far, in the order they came.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// Handles for which a call came while the caller still waited for another.
    pub fn overlaps(&self) -> Vec<String> {
        self.calls.overlaps()
    }

    /// The driver goes away: its socket is gone and open connections break.
    pub fn go_away(&self) {
        self.socket.send_replace(Socket::Gone);
    }

    /// The driver is back.
    pub fn come_back(&self) {
        self.socket.send_replace(Socket::There);
    }

    /// A gRPC channel to it without a socket. Needs a tokio runtime.
    pub fn channel(self: &Arc<Self>) -> Channel {
        let me = Arc::clone(self);
        let connect = tower::service_fn(move |_: http::Uri| {
            let end = me.dial();
            async move { end }
        });
        Endpoint::from_static("http://driver").connect_with_connector_lazy(connect)
    }

    /// One in-process connection to it. Needs a tokio runtime.
    pub fn dial(self: &Arc<Self>) -> io::Result<TokioIo<DuplexStream>> {
        if *self.socket.borrow() == Socket::Gone {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the driver's socket is gone",
            ));
        }
        let (ours, theirs) = tokio::io::duplex(PIPE);
        tokio::spawn(serve(ours, self.routes(), self.socket.subscribe()));
        Ok(TokioIo::new(theirs))
    }

    /// Listens on a unix socket until the answer is dropped.
    pub fn serve_unix(self: &Arc<Self>, path: &Path) -> io::Result<Served> {
        let listener = bind(path)?;
        let task = tokio::spawn(listen(Arc::clone(self), path.to_owned(), listener));
        Ok(Served {
            path: path.to_owned(),
            task: task.abort_handle(),
        })
    }

    fn routes(self: &Arc<Self>) -> Routes {
        let service = Service::new(Arc::clone(self));
        let routes = Routes::new(replication::controller_server::ControllerServer::new(
            service.clone(),
        ));
        let routes = routes.add_service(proto::copies_server::CopiesServer::new(service.clone()));
        let who = Identities(service);
        let routes = match self.flavour {
            Flavour::Addons => {
                routes.add_service(identity::identity_server::IdentityServer::new(who))
            }
            Flavour::Csi => routes.add_service(csi::identity_server::IdentityServer::new(who)),
        };
        routes.prepare()
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("name", &self.name)
            .field("site", &self.array.site())
            .finish_non_exhaustive()
    }
}

/// A driver that listens; dropped, it does not.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    task: AbortHandle,
}

impl Served {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path)
}

/// Accepts while the driver is there; without it there is no socket in the file system either.
async fn listen(driver: Arc<Driver>, path: PathBuf, first: UnixListener) {
    let mut socket = driver.socket.subscribe();
    let mut listener = Some(first);
    loop {
        if socket.wait_for(|s| *s == Socket::There).await.is_err() {
            return;
        }
        let open = match listener.take().map_or_else(|| bind(&path), Ok) {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "driver cannot listen");
                return;
            }
        };
        tokio::select! {
            biased;
            gone = socket.wait_for(|s| *s == Socket::Gone) => if gone.is_err() { return },
            () = accept(&driver, &open) => return,
        }
        drop(open);
        drop(std::fs::remove_file(&path));
    }
}

async fn accept(driver: &Arc<Driver>, listener: &UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, driver.routes(), driver.socket.subscribe()));
    }
}

/// Serves one connection until either end leaves or the driver goes away.
async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Routes,
    mut socket: watch::Receiver<Socket>,
) {
    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let connection = http.serve_connection(TokioIo::new(io), TowerToHyperService::new(routes));
    tokio::select! {
        biased;
        _ = socket.wait_for(|s| *s == Socket::Gone) => {}
        end = connection => if let Err(error) = end { tracing::debug!(%error, "connection to the driver ended") },
    }
}
