//! The driver's end of a connection, on a unix socket or in process.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use lifeboat_drivers::{ConnectError, Endpoint, connector};
use lifeboat_proto::replication::controller_server::ControllerServer;
use lifeboat_proto::{copies, csi, fence, identity, volumegroup};
use lifeboat_sim::csi_addons::Identities;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Server};

use super::{Driver, Identity, Service};

impl Driver {
    /// Listens on a unix socket.
    pub(crate) fn listen(self: &Arc<Self>, path: &std::path::Path) -> Endpoint {
        drop(self.listen_until(path));
        Endpoint::Unix(path.to_owned())
    }

    /// The same, until the answer is cancelled: then nobody accepts there, and open connections break.
    pub(crate) fn listen_until(self: &Arc<Self>, path: &std::path::Path) -> CancellationToken {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let (me, over) = (self.clone(), CancellationToken::new());
        let ended = over.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = ended.run_until_cancelled(listener.accept()).await {
                let (ours, mut far) = tokio::io::duplex(64 * 1024);
                me.serve(ours);
                let (mut near, ended) = (stream, ended.clone());
                tokio::spawn(async move {
                    let copy = tokio::io::copy_bidirectional(&mut near, &mut far);
                    drop(ended.run_until_cancelled(copy).await);
                });
            }
        });
        over
    }

    pub(crate) fn endpoint(self: &Arc<Self>) -> Endpoint {
        let me = self.clone();
        connector(move || {
            let me = me.clone();
            async move { me.dial().await }
        })
    }

    async fn dial(self: &Arc<Self>) -> Result<Channel, ConnectError> {
        let Some(open) = self.state.lock().open.clone() else {
            return Err(ConnectError::Injected("the socket is gone".to_owned()));
        };
        let (ours, mut near) = tokio::io::duplex(64 * 1024);
        let (mut far, theirs) = tokio::io::duplex(64 * 1024);
        self.serve(ours);
        // A cable between the two that breaks when the driver goes away.
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = open.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            }
        });
        let slot = Arc::new(parking_lot::Mutex::new(Some(theirs)));
        let connect = tower::service_fn(move |_: tonic::transport::Uri| {
            let end = slot.lock().take();
            async move {
                end.map(TokioIo::new)
                    .ok_or_else(|| std::io::Error::other("the connection is used up"))
            }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://driver");
        endpoint
            .connect_with_connector(connect)
            .await
            .map_err(|e| ConnectError::Injected(e.to_string()))
    }

    fn serve<S>(self: &Arc<Self>, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Send + Unpin + 'static,
    {
        let service = Service(self.clone());
        let mut server = Server::builder();
        let router = server
            .add_service(ControllerServer::new(service.clone()))
            .add_service(volumegroup::controller_server::ControllerServer::new(
                service.clone(),
            ))
            .add_service(fence::fence_controller_server::FenceControllerServer::new(
                service.clone(),
            ));
        let router = router.add_service(copies::copies_server::CopiesServer::new(service.clone()));
        let who = Identities(service);
        let router = match self.identity {
            Identity::Addons => {
                router.add_service(identity::identity_server::IdentityServer::new(who))
            }
            Identity::Csi => router.add_service(csi::identity_server::IdentityServer::new(who)),
        };
        tokio::spawn(async move {
            let incoming = futures::stream::iter([Ok::<_, std::io::Error>(stream)]);
            let incoming = futures::StreamExt::chain(incoming, futures::stream::pending());
            drop(router.serve_with_incoming(incoming).await);
        });
    }
}
