//! The driver at the wire: codes as ceph-csi has them, over a unix socket and in process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use lifeboat_proto::{
    csi, identity,
    replication::{
        DemoteVolumeRequest, EnableVolumeReplicationRequest, GetReplicationDestinationInfoRequest,
        GetVolumeReplicationInfoRequest, PromoteVolumeRequest, ReplicationSource,
        ResyncVolumeRequest, controller_client::ControllerClient,
        get_volume_replication_info_response::Status as InfoStatus, replication_destination,
        replication_source,
    },
};
use lifeboat_sim::{
    clock::SimClock,
    csi_addons::{DEFAULT_NAME, Driver, Fault, Flavour, Force, Rpc},
    storage::{Fabric, FabricSpec, Handles, Record, Role},
};
use tokio::time::sleep;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use lifeboat_sim::until::until;

const MS: fn(u64) -> Duration = Duration::from_millis;

struct Pair {
    fabric: Arc<Fabric>,
    east: Arc<Driver>,
    west: Arc<Driver>,
}

fn pair(handles: Handles) -> Pair {
    let clock = SimClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let spec = FabricSpec {
        handles,
        ..FabricSpec::new(["east", "west"])
    };
    let fabric = Fabric::new(spec, Arc::new(move || clock.now()));
    let driver = |site| Driver::new(DEFAULT_NAME, fabric.array(site).unwrap());
    Pair {
        east: driver("east"),
        west: driver("west"),
        fabric,
    }
}

fn source(handle: &str) -> ReplicationSource {
    let volume = replication_source::VolumeSource {
        volume_id: handle.to_owned(),
    };
    ReplicationSource {
        r#type: Some(replication_source::Type::Volume(volume)),
    }
}

/// A client whose answers are the code, or what the call says.
struct Client(ControllerClient<Channel>);

impl Client {
    fn of(driver: &Arc<Driver>) -> Self {
        Self(ControllerClient::new(driver.channel()))
    }

    async fn enable(&mut self, handle: &str) -> Code {
        let request = EnableVolumeReplicationRequest {
            replication_source: Some(source(handle)),
            ..Default::default()
        };
        self.0
            .enable_volume_replication(request)
            .await
            .map_or_else(|s| s.code(), |_| Code::Ok)
    }

    async fn promote(&mut self, handle: &str, force: bool) -> Code {
        let request = PromoteVolumeRequest {
            replication_source: Some(source(handle)),
            force,
            ..Default::default()
        };
        self.0
            .promote_volume(request)
            .await
            .map_or_else(|s| s.code(), |_| Code::Ok)
    }

    /// As callers from before there was a source.
    async fn demote(&mut self, handle: &str) -> Code {
        let request = DemoteVolumeRequest {
            volume_id: handle.to_owned(),
            ..Default::default()
        };
        self.0
            .demote_volume(request)
            .await
            .map_or_else(|s| s.code(), |_| Code::Ok)
    }

    async fn resync(&mut self, handle: &str, force: bool) -> Result<bool, Code> {
        let request = ResyncVolumeRequest {
            replication_source: Some(source(handle)),
            force,
            ..Default::default()
        };
        self.0
            .resync_volume(request)
            .await
            .map(|r| r.into_inner().ready)
            .map_err(|s| s.code())
    }

    async fn info(&mut self, handle: &str) -> Result<(i64, InfoStatus), Code> {
        let request = GetVolumeReplicationInfoRequest {
            replication_source: Some(source(handle)),
            ..Default::default()
        };
        let answer = self
            .0
            .get_volume_replication_info(request)
            .await
            .map_err(|s| s.code())?
            .into_inner();
        Ok((
            answer.last_sync_time.unwrap_or_default().seconds,
            answer.status(),
        ))
    }

    async fn destination(
        &mut self,
        handle: &str,
    ) -> Result<Option<replication_destination::Type>, Code> {
        let request = GetReplicationDestinationInfoRequest {
            replication_source: Some(source(handle)),
            ..Default::default()
        };
        let answer = self
            .0
            .get_replication_destination_info(request)
            .await
            .map_err(|s| s.code())?;
        Ok(answer
            .into_inner()
            .replication_destination
            .and_then(|d| d.r#type))
    }
}

async fn over_unix(path: &std::path::Path) -> Channel {
    let path = path.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move {
            tokio::net::UnixStream::connect(path)
                .await
                .map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://driver")
        .connect_with_connector(connect)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_with_the_codes_of_ceph_csi() {
    let Pair { east, west, .. } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    let (mut e, mut w) = (Client::of(&east), Client::of(&west));
    assert_eq!(e.enable("").await, Code::InvalidArgument);
    assert_eq!(e.enable("other").await, Code::NotFound);
    assert_eq!(
        e.promote("v", false).await,
        Code::InvalidArgument,
        "not enabled"
    );
    assert_eq!(e.demote("v").await, Code::InvalidArgument, "not enabled");
    assert_eq!(e.enable("v").await, Code::Ok);
    assert_eq!(e.enable("v").await, Code::Ok);
    assert_eq!(e.promote("v", false).await, Code::Ok);
    assert_eq!(
        e.info("v").await,
        Err(Code::FailedPrecondition),
        "no sync yet"
    );
    assert_eq!(w.info("v").await, Err(Code::InvalidArgument), "not primary");
    assert_eq!(w.promote("v", false).await, Code::FailedPrecondition);
    assert_eq!(
        w.promote("v", true).await,
        Code::Internal,
        "nothing to promote"
    );
    assert_eq!(
        e.resync("v", true).await,
        Err(Code::InvalidArgument),
        "still primary"
    );
    sleep(MS(3500)).await;
    let start = east.array().fabric().events()[0].at.as_second();
    assert_eq!(e.info("v").await, Ok((start + 3, InfoStatus::Healthy)));
    assert_eq!(e.demote("v").await, Code::Ok);
    assert_eq!(e.resync("v", false).await, Ok(false));
    sleep(MS(200)).await;
    assert_eq!(e.resync("v", false).await, Ok(true));
    assert_eq!(w.promote("v", false).await, Code::Ok);
    assert_eq!(
        e.resync("v", true).await,
        Err(Code::Unavailable),
        "accepted"
    );
    assert_eq!(e.resync("v", true).await, Ok(false));
    assert_eq!(e.destination("v").await, Err(Code::Unimplemented));
    west.array().power_off();
    assert_eq!(w.info("v").await, Err(Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn split_brain_is_an_error_in_info() {
    let Pair { fabric, east, west } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    let (mut e, mut w) = (Client::of(&east), Client::of(&west));
    e.enable("v").await;
    sleep(MS(4500)).await;
    fabric.cut("east", "west").unwrap();
    assert_eq!(e.info("v").await.map(|i| i.1), Ok(InfoStatus::Degraded));
    assert_eq!(w.promote("v", true).await, Code::Ok);
    fabric.heal("east", "west").unwrap();
    assert_eq!(e.info("v").await.map(|i| i.1), Ok(InfoStatus::Error));
}

#[tokio::test]
async fn serves_a_unix_socket_that_can_go_and_come_back() {
    let Pair { east, .. } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("csi-addons.sock");
    let served = east.serve_unix(&path).unwrap();
    let channel = over_unix(served.path()).await;
    let mut who = identity::identity_client::IdentityClient::new(channel.clone());
    assert_eq!(
        who.get_identity(identity::GetIdentityRequest {})
            .await
            .unwrap()
            .into_inner()
            .name,
        DEFAULT_NAME
    );
    assert_eq!(
        who.probe(identity::ProbeRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready,
        Some(true)
    );
    let mut client = Client(ControllerClient::new(channel));
    assert_eq!(client.enable("v").await, Code::Ok);

    east.go_away();
    until("the socket is gone", async || {
        (!path.exists()).then_some(())
    })
    .await;
    assert_ne!(client.promote("v", false).await, Code::Ok);
    east.come_back();
    until("the socket is back", async || path.exists().then_some(())).await;
    let mut client = Client(ControllerClient::new(over_unix(&path).await));
    assert_eq!(client.promote("v", false).await, Code::Ok);
    drop(served);
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn the_script_refuses_delays_hangs_and_loses() {
    let Pair { east, .. } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    let (mut one, mut two) = (Client::of(&east), Client::of(&east));
    one.enable("v").await;
    let script = east.script();

    script.next(Rpc::Demote, Fault::code(Code::Internal));
    script.next_for(Rpc::Demote, "another", Fault::code(Code::Unknown));
    assert_eq!(one.demote("v").await, Code::Internal);
    assert_eq!(
        east.array().role("v"),
        Some(Role::Primary),
        "a refused call does nothing"
    );

    script.next(Rpc::Demote, Fault::LoseReply);
    assert_eq!(one.demote("v").await, Code::Unavailable);
    assert_eq!(
        east.array().role("v"),
        Some(Role::Secondary),
        "a lost reply is done all the same"
    );

    script.next(Rpc::Promote, Fault::Delay(MS(5000)));
    let left = tokio::time::timeout(MS(1000), one.promote("v", true)).await;
    assert!(left.is_err());
    assert_eq!(
        two.promote("v", true).await,
        Code::Aborted,
        "the driver is still at it"
    );
    sleep(MS(4500)).await;
    assert_eq!(
        east.array().role("v"),
        Some(Role::Primary),
        "work goes on without its caller"
    );

    script.always(Rpc::Info, Fault::Hang);
    assert!(
        tokio::time::timeout(Duration::from_secs(600), one.info("v"))
            .await
            .is_err()
    );
    script.clear();
    assert!(one.info("v").await.is_ok());
    assert_eq!(east.overlaps(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn calls_are_recorded_and_overlaps_seen() {
    let Pair { east, .. } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    let (mut one, mut two) = (Client::of(&east), Client::of(&east));
    one.enable("v").await;
    east.script().next(Rpc::Promote, Fault::Delay(MS(500)));
    let (first, second) = tokio::join!(one.promote("v", false), async {
        sleep(MS(100)).await;
        two.promote("v", true).await
    });
    assert_eq!((first, second), (Code::Ok, Code::Aborted));
    assert_eq!(east.overlaps(), ["v"]);
    let calls: Vec<_> = east
        .calls()
        .into_iter()
        .map(|c| (c.rpc, c.force, c.code))
        .collect();
    assert_eq!(
        calls,
        [
            (Rpc::Enable, Force::No, Some(Code::Ok)),
            (Rpc::Promote, Force::No, Some(Code::Ok)),
            (Rpc::Promote, Force::Yes, Some(Code::Aborted)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn destinations_are_offered_where_handles_differ() {
    let Pair { east, .. } = pair(Handles::PerSite);
    let handle = east.array().create("vol1").unwrap();
    let mut e = Client::of(&east);
    assert_eq!(e.enable(&handle).await, Code::Ok);
    let volume = replication_destination::VolumeDestination {
        volume_id: "west-vol1".into(),
    };
    assert_eq!(
        e.destination(&handle).await,
        Ok(Some(replication_destination::Type::Volume(volume)))
    );
    let mut who = identity::identity_client::IdentityClient::new(east.channel());
    let offered = who
        .get_capabilities(identity::GetCapabilitiesRequest {})
        .await
        .unwrap()
        .into_inner()
        .capabilities;
    assert_eq!(offered.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_older_driver_has_the_csi_identity_only() {
    let Pair { fabric, .. } = pair(Handles::Shared);
    let old = Driver::with_flavour("old.csi", fabric.array("east").unwrap(), Flavour::Csi);
    let mut csi_identity = csi::identity_client::IdentityClient::new(old.channel());
    assert_eq!(
        csi_identity
            .probe(csi::ProbeRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready,
        Some(true)
    );
    let mut addons = identity::identity_client::IdentityClient::new(old.channel());
    assert_eq!(
        addons
            .probe(identity::ProbeRequest {})
            .await
            .unwrap_err()
            .code(),
        Code::Unimplemented
    );
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_gone_refuses_and_is_back_for_the_same_channel() {
    let Pair { east, .. } = pair(Handles::Shared);
    east.array().create("v").unwrap();
    east.array()
        .append("v", Record::new(&"w".into(), 1))
        .unwrap();
    let mut e = Client::of(&east);
    assert_eq!(e.enable("v").await, Code::Ok);
    east.go_away();
    assert_eq!(
        e.promote("v", false).await,
        Code::Cancelled,
        "the open connection breaks"
    );
    assert_eq!(
        e.promote("v", false).await,
        Code::Unavailable,
        "there is no other"
    );
    east.come_back();
    assert_eq!(e.promote("v", false).await, Code::Ok);
}
