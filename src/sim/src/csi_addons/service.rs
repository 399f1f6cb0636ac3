//! The replication calls: find the volume, meet the script, ask the array, answer with the code that ceph-csi has for it.

use std::sync::Arc;

use lifeboat_proto::replication::{
    DemoteVolumeRequest, DemoteVolumeResponse, DisableVolumeReplicationRequest,
    DisableVolumeReplicationResponse, EnableVolumeReplicationRequest,
    EnableVolumeReplicationResponse, GetReplicationDestinationInfoRequest,
    GetReplicationDestinationInfoResponse, GetVolumeReplicationInfoRequest,
    GetVolumeReplicationInfoResponse, PromoteVolumeRequest, PromoteVolumeResponse,
    ReplicationDestination, ReplicationSource, ResyncVolumeRequest, ResyncVolumeResponse,
    controller_server::Controller, get_volume_replication_info_response::Status as InfoStatus,
    replication_destination, replication_source,
};
use tonic::{Code, Request, Response, Status};

use super::{
    Driver,
    calls::{Force, Rpc},
    script::Fault,
};
use crate::storage::{
    Array, Handles, Health, Promotion, Readiness, Resync, StorageError, SyncInfo,
};

/// The gRPC services of one driver.
#[derive(Clone)]
pub(super) struct Service {
    driver: Arc<Driver>,
}

impl Service {
    pub(super) fn new(driver: Arc<Driver>) -> Self {
        Self { driver }
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Does what was asked in a task of its own: as in a real driver, work goes on when the caller leaves.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        rpc: Rpc,
        handle: String,
        force: Force,
        work: impl FnOnce(&Array, &str) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let ticket = self
            .driver
            .calls
            .start(self.driver.array.fabric().now(), rpc, &handle, force);
        let me = self.clone();
        let done = tokio::spawn(async move { me.carry_out(rpc, &handle, work).await }).await;
        let answer =
            done.unwrap_or_else(|e| Err(Status::internal(format!("the driver crashed: {e}"))));
        ticket.finish(answer.as_ref().map_or_else(Status::code, |_| Code::Ok));
        answer.map(Response::new)
    }

    async fn carry_out<T>(
        &self,
        rpc: Rpc,
        handle: &str,
        work: impl FnOnce(&Array, &str) -> Result<T, StorageError>,
    ) -> Result<T, Status> {
        if handle.is_empty() {
            return Err(Status::invalid_argument("empty volume id in request"));
        }
        let _hold = self.driver.busy.hold(handle)?;
        let array = &self.driver.array;
        match self.driver.script.take(rpc, handle) {
            None => {}
            Some(Fault::Refuse(code, text)) => return Err(Status::new(code, text)),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Hang) => self.driver.script.released().await,
            Some(Fault::LoseReply) => {
                drop(work(array, handle));
                return Err(Status::unavailable(
                    "connection reset while the answer was on its way",
                ));
            }
        }
        work(array, handle).map_err(|e| Status::new(code(&e), e.to_string()))
    }
}

/// The code for a refusal of the array.
fn code(error: &StorageError) -> Code {
    match error {
        StorageError::NoSuchSite { .. }
        | StorageError::Exists { .. }
        | StorageError::Incomplete { .. } => Code::Internal,
        StorageError::Down { .. }
        | StorageError::Rebuilding { .. }
        | StorageError::NoDestination { .. } => Code::Unavailable,
        StorageError::NotFound { .. } => Code::NotFound,
        StorageError::NotEnabled { .. }
        | StorageError::NotPrimary { .. }
        | StorageError::StillPrimary { .. }
        | StorageError::SecondaryNotReplaying { .. } => Code::InvalidArgument,
        StorageError::DivergenceUnknown { .. }
        | StorageError::PeerPrimary { .. }
        | StorageError::NotSyncedYet { .. } => Code::FailedPrecondition,
    }
}

/// The volume meant: newer callers say it in the source, older ones in the field that was there first.
fn handle(source: Option<ReplicationSource>, volume_id: String) -> String {
    match source.and_then(|s| s.r#type) {
        Some(replication_source::Type::Volume(v)) => v.volume_id,
        Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id,
        None => volume_id,
    }
}

fn info_answer(info: &SyncInfo) -> GetVolumeReplicationInfoResponse {
    let taken = info.slowest.last_sync;
    let last_sync_time = prost_types::Timestamp {
        seconds: taken.as_second(),
        nanos: taken.subsec_nanosecond(),
    };
    let (status, status_message) = match info.health {
        Health::Healthy => (InfoStatus::Healthy, "replaying"),
        Health::Unknown => (InfoStatus::Unknown, "starting replay"),
        Health::Degraded => (InfoStatus::Degraded, "a peer is down"),
        Health::SplitBrain => (InfoStatus::Error, "split-brain"),
    };
    GetVolumeReplicationInfoResponse {
        last_sync_time: Some(last_sync_time),
        last_sync_duration: prost_types::Duration::try_from(info.slowest.took).ok(),
        last_sync_bytes: info.slowest.bytes,
        status: status.into(),
        status_message: status_message.to_owned(),
    }
}

#[tonic::async_trait]
impl Controller for Service {
    async fn enable_volume_replication(
        &self,
        request: Request<EnableVolumeReplicationRequest>,
    ) -> Result<Response<EnableVolumeReplicationResponse>, Status> {
        let r = request.into_inner();
        let handle = handle(r.replication_source, r.volume_id);
        let work = |a: &Array, h: &str| a.enable(h).map(|()| EnableVolumeReplicationResponse {});
        self.call(Rpc::Enable, handle, Force::No, work).await
    }

    async fn disable_volume_replication(
        &self,
        request: Request<DisableVolumeReplicationRequest>,
    ) -> Result<Response<DisableVolumeReplicationResponse>, Status> {
        let r = request.into_inner();
        let handle = handle(r.replication_source, r.volume_id);
        let work = |a: &Array, h: &str| a.disable(h).map(|()| DisableVolumeReplicationResponse {});
        self.call(Rpc::Disable, handle, Force::No, work).await
    }

    async fn promote_volume(
        &self,
        request: Request<PromoteVolumeRequest>,
    ) -> Result<Response<PromoteVolumeResponse>, Status> {
        let r = request.into_inner();
        let (handle, force) = (
            handle(r.replication_source, r.volume_id),
            Force::of(r.force),
        );
        let how = match force {
            Force::No => Promotion::Plain,
            Force::Yes => Promotion::Forced,
        };
        let work = move |a: &Array, h: &str| a.promote(h, how).map(|()| PromoteVolumeResponse {});
        self.call(Rpc::Promote, handle, force, work).await
    }

    async fn demote_volume(
        &self,
        request: Request<DemoteVolumeRequest>,
    ) -> Result<Response<DemoteVolumeResponse>, Status> {
        let r = request.into_inner();
        let (handle, force) = (
            handle(r.replication_source, r.volume_id),
            Force::of(r.force),
        );
        let work = |a: &Array, h: &str| a.demote(h).map(|()| DemoteVolumeResponse {});
        self.call(Rpc::Demote, handle, force, work).await
    }

    async fn resync_volume(
        &self,
        request: Request<ResyncVolumeRequest>,
    ) -> Result<Response<ResyncVolumeResponse>, Status> {
        let r = request.into_inner();
        let (handle, force) = (
            handle(r.replication_source, r.volume_id),
            Force::of(r.force),
        );
        let ask = match force {
            Force::No => Resync::Check,
            Force::Yes => Resync::Rebuild,
        };
        let work = move |a: &Array, h: &str| {
            a.resync(h, ask).map(|ready| ResyncVolumeResponse {
                ready: ready == Readiness::Ready,
            })
        };
        self.call(Rpc::Resync, handle, force, work).await
    }

    async fn get_volume_replication_info(
        &self,
        request: Request<GetVolumeReplicationInfoRequest>,
    ) -> Result<Response<GetVolumeReplicationInfoResponse>, Status> {
        let r = request.into_inner();
        let handle = handle(r.replication_source, r.volume_id);
        self.call(Rpc::Info, handle, Force::No, |a, h| {
            a.info(h).map(|info| info_answer(&info))
        })
        .await
    }

    async fn get_replication_destination_info(
        &self,
        request: Request<GetReplicationDestinationInfoRequest>,
    ) -> Result<Response<GetReplicationDestinationInfoResponse>, Status> {
        if self.driver.array.handles() == Handles::Shared {
            return Err(Status::unimplemented("handles are the same on each site"));
        }
        let handle = handle(request.into_inner().replication_source, String::new());
        let work = |a: &Array, h: &str| {
            let volume_id = a.destination(h)?;
            let volume = replication_destination::VolumeDestination { volume_id };
            let kind = replication_destination::Type::Volume(volume);
            let replication_destination = Some(ReplicationDestination { r#type: Some(kind) });
            Ok(GetReplicationDestinationInfoResponse {
                replication_destination,
            })
        };
        self.call(Rpc::Destination, handle, Force::No, work).await
    }
}
