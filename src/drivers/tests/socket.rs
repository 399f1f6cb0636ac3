//! Drivers behind real unix sockets.
#![allow(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lifeboat_drivers::{
    Capability, Code, Delivery, Driver, DriverConfig, Endpoint, Flavour, Force, Liveness,
    ReplicationDriver, Retry, Secrets, Source, Volume,
};
use lifeboat_proto::{csi, identity};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[derive(Clone)]
struct Addons;

#[tonic::async_trait]
impl identity::identity_server::Identity for Addons {
    async fn get_identity(
        &self,
        _: Request<identity::GetIdentityRequest>,
    ) -> Result<Response<identity::GetIdentityResponse>, Status> {
        Ok(Response::new(identity::GetIdentityResponse {
            name: "new".into(),
            ..Default::default()
        }))
    }

    async fn get_capabilities(
        &self,
        _: Request<identity::GetCapabilitiesRequest>,
    ) -> Result<Response<identity::GetCapabilitiesResponse>, Status> {
        use identity::capability::{Type, VolumeReplication, volume_replication};
        let kind = |t: volume_replication::Type| identity::Capability {
            r#type: Some(Type::VolumeReplication(VolumeReplication {
                r#type: t.into(),
            })),
        };
        let capabilities = vec![
            kind(volume_replication::Type::VolumeReplication),
            kind(volume_replication::Type::Unknown),
            identity::Capability { r#type: None },
        ];
        Ok(Response::new(identity::GetCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(
        &self,
        _: Request<identity::ProbeRequest>,
    ) -> Result<Response<identity::ProbeResponse>, Status> {
        Ok(Response::new(identity::ProbeResponse {
            ready: Some(false),
        }))
    }
}

#[derive(Clone)]
struct Plain;

#[tonic::async_trait]
impl csi::identity_server::Identity for Plain {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: "old".into(),
            ..Default::default()
        }))
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse { ready: None }))
    }
}

fn serve(path: &Path, flavour: Flavour) -> JoinHandle<()> {
    drop(std::fs::remove_file(path));
    let incoming = UnixListenerStream::new(UnixListener::bind(path).unwrap());
    let router = match flavour {
        Flavour::CsiAddons => {
            Server::builder().add_service(identity::identity_server::IdentityServer::new(Addons))
        }
        Flavour::Csi => {
            Server::builder().add_service(csi::identity_server::IdentityServer::new(Plain))
        }
    };
    tokio::spawn(async move { drop(router.serve_with_incoming(incoming).await) })
}

fn driver(path: PathBuf, rpc_timeout: Duration) -> Driver {
    Driver::new(DriverConfig {
        name: "d".into(),
        endpoint: Endpoint::Unix(path),
        rpc_timeout,
    })
}

fn volume(handle: &str) -> Volume {
    Volume {
        source: Source::Volume(handle.into()),
        parameters: BTreeMap::new(),
        secrets: Secrets::new(BTreeMap::from([("userKey".into(), "hunter2".into())])),
        replication_id: String::new(),
    }
}

#[tokio::test]
async fn row_60_the_identity_service_that_is_there_is_used() {
    let dir = tempfile::tempdir().unwrap();
    for (flavour, name, liveness) in [
        (Flavour::CsiAddons, "new", Liveness::Starting),
        (Flavour::Csi, "old", Liveness::Ready),
    ] {
        let path = dir.path().join(name);
        let server = serve(&path, flavour);
        let driver = driver(path, Duration::from_secs(5));
        let identity = driver.identify().await.unwrap();
        assert_eq!((identity.name.as_str(), identity.flavour), (name, flavour));
        assert!(identity.offers(Capability::VolumeReplication));
        assert_eq!(driver.probe().await.unwrap(), liveness);
        server.abort();
    }
}

#[tokio::test]
async fn a_missing_socket_is_an_answer_and_the_next_call_dials_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let driver = driver(path.clone(), Duration::from_secs(5));
    let error = driver.promote(&volume("h"), Force::No).await.unwrap_err();
    assert_eq!(
        (error.code, error.delivery, error.retry()),
        (Code::Unavailable, Delivery::NotSent, Retry::Soon)
    );
    assert!(error.message.contains("nobody listens"), "{error}");
    for round in 0..3 {
        // Each round the socket is a new one at the old place.
        let server = serve(&path, Flavour::Csi);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while let Err(error) = driver.identify().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "round {round}: {error}"
            );
            tokio::task::yield_now().await;
        }
        server.abort();
        drop(server.await);
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_never_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _server = serve(&path, Flavour::Csi);
    let error = driver(path, Duration::from_secs(5))
        .info(&volume("h"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.retry()),
        (Code::Unimplemented, Retry::Never)
    );
}

#[tokio::test]
async fn row_61_a_driver_that_does_not_answer_is_in_doubt_after_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // It accepts and says nothing.
    let _listener = Arc::new(UnixListener::bind(&path).unwrap());
    let driver = driver(path, Duration::from_millis(200));
    let error = driver.demote(&volume("h")).await.unwrap_err();
    assert_eq!(
        (error.code, error.retry()),
        (Code::DeadlineExceeded, Retry::InDoubt)
    );
    assert!(
        !format!("{error:?} {:?} {driver:?}", volume("h")).contains("hunter2"),
        "row 66"
    );
}
