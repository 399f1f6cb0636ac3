//! What a driver offers for its copies, over a real unix socket.
#![allow(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lifeboat_drivers::{
    Arrival, Capability, Code, Driver, DriverConfig, Endpoint, Kept, Secrets, Source, Volume,
};
use lifeboat_proto::copies::{self as wire, copies_server::Copies};
use lifeboat_proto::csi;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const KEY: &str = "a-key-of-some-length";

#[derive(Clone)]
struct Plain;

#[tonic::async_trait]
impl csi::identity_server::Identity for Plain {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse::default()))
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse { ready: None }))
    }
}

/// Says of each volume what its handle says.
#[derive(Clone)]
struct Keeper(Vec<i32>);

#[tonic::async_trait]
impl Copies for Keeper {
    async fn get_capabilities(
        &self,
        _: Request<wire::GetCapabilitiesRequest>,
    ) -> Result<Response<wire::GetCapabilitiesResponse>, Status> {
        let capabilities = self.0.clone();
        Ok(Response::new(wire::GetCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn get_copy_state(
        &self,
        request: Request<wire::GetCopyStateRequest>,
    ) -> Result<Response<wire::GetCopyStateResponse>, Status> {
        let r = request.into_inner();
        Ok(Response::new(wire::GetCopyStateResponse {
            complete: r.volume_id == "whole",
            message: format!("as {}", r.secrets["userKey"]),
        }))
    }

    async fn get_divergence(
        &self,
        request: Request<wire::GetDivergenceRequest>,
    ) -> Result<Response<wire::GetDivergenceResponse>, Status> {
        match request.into_inner().volume_id.parse() {
            Ok(bytes) => Ok(Response::new(wire::GetDivergenceResponse { bytes })),
            Err(_) => Err(Status::failed_precondition("the peer is away")),
        }
    }

    async fn keep_copy(
        &self,
        request: Request<wire::KeepCopyRequest>,
    ) -> Result<Response<wire::KeepCopyResponse>, Status> {
        let r = request.into_inner();
        Ok(Response::new(wire::KeepCopyResponse {
            volume_id: format!("{} of {}", r.name, r.volume_id),
            bytes: 7,
        }))
    }

    async fn drop_copy(
        &self,
        request: Request<wire::DropCopyRequest>,
    ) -> Result<Response<wire::DropCopyResponse>, Status> {
        match request.into_inner().volume_id.as_str() {
            "kept" => Ok(Response::new(wire::DropCopyResponse {})),
            _ => Err(Status::internal("not that one")),
        }
    }
}

fn serve(path: &Path, keeper: Option<Keeper>) -> Driver {
    let incoming = UnixListenerStream::new(UnixListener::bind(path).unwrap());
    let router = Server::builder()
        .add_service(csi::identity_server::IdentityServer::new(Plain))
        .add_optional_service(keeper.map(wire::copies_server::CopiesServer::new));
    tokio::spawn(async move { drop(router.serve_with_incoming(incoming).await) });
    Driver::new(DriverConfig {
        name: "d".into(),
        endpoint: Endpoint::Unix(path.to_owned()),
        rpc_timeout: Duration::from_secs(5),
    })
}

fn secrets() -> Secrets {
    Secrets::new(BTreeMap::from([("userKey".into(), KEY.into())]))
}

fn volume(handle: &str) -> Volume {
    Volume {
        source: Source::Volume(handle.into()),
        parameters: BTreeMap::new(),
        secrets: secrets(),
        replication_id: String::new(),
    }
}

#[tokio::test]
async fn what_a_driver_offers_for_its_copies_is_told_with_its_identity() {
    let dir = tempfile::tempdir().unwrap();
    let copies = [
        Capability::CopyState,
        Capability::Divergence,
        Capability::Salvage,
    ];
    let offered = async |name: &str, keeper: Option<Vec<i32>>| -> Vec<Capability> {
        let driver = serve(&dir.path().join(name), keeper.map(Keeper));
        let all = driver.identify().await.unwrap().capabilities;
        all.into_iter().filter(|c| copies.contains(c)).collect()
    };
    assert_eq!(offered("all", Some(vec![3, 1, 2])).await, copies);
    // What is not known is left out: a newer driver offers more.
    let some = offered("some", Some(vec![0, 2, 99])).await;
    assert_eq!(some, [Capability::Divergence]);
    assert_eq!(offered("none", None).await, []);
}

#[tokio::test]
async fn what_a_driver_says_of_a_copy_and_does_with_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let driver = serve(&dir.path().join("socket"), Some(Keeper(vec![1, 2, 3])));
    let whole = driver.copy_state(&volume("whole")).await.unwrap();
    assert_eq!(whole.arrival, Arrival::Complete);
    assert_eq!(whole.message, "as (hidden)");
    let half = driver.copy_state(&volume("half")).await.unwrap();
    assert_eq!(half.arrival, Arrival::Partial);
    assert_eq!(driver.divergence(&volume("4096")).await, Ok(4096));
    let unknown = driver.divergence(&volume("h")).await.unwrap_err();
    assert_eq!(unknown.code, Code::FailedPrecondition);
    let kept = Kept {
        handle: "last of h".into(),
        bytes: 7,
    };
    assert_eq!(driver.keep_copy(&volume("h"), "last").await, Ok(kept));
    assert_eq!(driver.drop_copy("kept", &secrets()).await, Ok(()));
    let other = driver.drop_copy("h", &secrets()).await.unwrap_err();
    assert_eq!(other.code, Code::Internal);
}
