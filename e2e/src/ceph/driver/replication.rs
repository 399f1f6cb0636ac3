//! The replication calls on an image.
//!
//! # Where this driver is more careful than ceph-csi
//!
//! A copy that was promoted by force in the middle of being brought up to date is silently older than the last good one, and empty if
//! it was the first. Here such a promotion is refused with `FAILED_PRECONDITION`, and the words say what to do.

use std::collections::HashMap;

use lifeboat_proto::replication::{
    DemoteVolumeRequest, DemoteVolumeResponse, DisableVolumeReplicationRequest,
    DisableVolumeReplicationResponse, EnableVolumeReplicationRequest,
    EnableVolumeReplicationResponse, GetReplicationDestinationInfoRequest,
    GetReplicationDestinationInfoResponse, GetVolumeReplicationInfoRequest,
    GetVolumeReplicationInfoResponse, PromoteVolumeRequest, PromoteVolumeResponse,
    ResyncVolumeRequest, ResyncVolumeResponse, controller_server::Controller,
    get_volume_replication_info_response::Status as Health,
};
use tonic::{Request, Response, Status};

use super::{
    Driver,
    refusal::{BUSY, refuse},
    resync::{self, resync},
    schedule::{Flatten, Parameters},
    volume::{Asked, Volume},
};
use crate::ceph::{
    rbd::Force,
    status::{Daemon, MirrorStatus, PeerSite, Replay, Word, incomplete_copy},
};

async fn enable(volume: Volume, parameters: Parameters) -> Result<(), Status> {
    let info = volume.info().await?;
    if info.mirrored().is_some() {
        return Ok(());
    }
    if let Some(parent) = &info.parent {
        if parameters.flatten == Flatten::Force {
            let spec = volume.rbd.spec(&volume.image);
            let flat = volume.rbd.text(&["flatten", "--no-progress", &spec]).await;
            flat.map_err(|e| Status::aborted(format!("the image is still a clone: {e}")))?;
        } else if parent.trash {
            let words = format!("{} is in the trash, and cannot be mirrored", parent.image);
            return Err(Status::failed_precondition(words));
        } else {
            let above = volume.rbd.info(&parent.image).await;
            let above = above.map_err(|e| refuse("could not read the parent", &e))?;
            if above.mirrored().is_none() {
                let words = format!("mirroring is not enabled on the parent {}", parent.image);
                return Err(Status::failed_precondition(words));
            }
        }
    }
    let done = volume
        .rbd
        .enable(&volume.image, parameters.mode.word())
        .await;
    done.map_err(|e| refuse("could not enable mirroring", &e))
}

async fn disable(volume: Volume, force: Force) -> Result<(), Status> {
    let info = volume.info().await?;
    let Some(mirroring) = &info.mirroring else {
        return Ok(());
    };
    match mirroring.state.as_str() {
        "enabled" => {}
        "disabling" => return Err(Status::aborted("mirroring is being disabled")),
        _ => return Ok(()),
    }
    if mirroring.primary {
        let done = volume.rbd.disable(&volume.image, force).await;
        done.map_err(|e| refuse("could not disable mirroring", &e))?;
        return match volume.info().await?.mirroring {
            None => Ok(()),
            Some(_) => Err(Status::aborted("mirroring is being disabled")),
        };
    }
    let status = status(&volume).await?;
    if status.state.daemon == Daemon::Up && status.state.word == Word::Replaying {
        // The end of mirroring on the primary removes this copy.
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "mirroring cannot be disabled on a copy that does not follow a primary: {}",
        status.description
    )))
}

/// Idempotent: on a primary nothing but the schedule is set, as on every call.
async fn promote(volume: Volume, force: Force, parameters: Parameters) -> Result<(), Status> {
    let info = volume.mirrored().await?;
    if !info.is_primary() {
        if force == Force::Yes {
            refuse_incomplete(&volume).await?;
        }
        let done = volume.rbd.promote(&volume.image, force).await;
        done.map_err(|e| match (force, e.code()) {
            (Force::No, Some(BUSY)) => {
                Status::failed_precondition(format!("could not promote: {e}"))
            }
            (Force::No | Force::Yes, _) => Status::internal(format!("could not promote: {e}")),
        })?;
    }
    if let Some((interval, start)) = &parameters.schedule {
        let done = volume
            .rbd
            .schedule(&volume.image, interval, start.as_deref())
            .await;
        done.map_err(|e| Status::unknown(format!("could not set the schedule: {e}")))?;
    }
    Ok(())
}

async fn refuse_incomplete(volume: &Volume) -> Result<(), Status> {
    let snapshots = volume.rbd.snapshots(&volume.image).await;
    let snapshots = snapshots.map_err(|e| refuse("could not read the snapshots", &e))?;
    match incomplete_copy(&snapshots) {
        None => Ok(()),
        Some(half) => Err(Status::failed_precondition(format!(
            "the copy of {} is incomplete: snapshot {} was being copied when its source was lost, and a promotion by force would \
             go back to an older state than the last good copy, or to an empty image. Bring the source back so that the copy \
             is completed; or, if it is lost for good, save the content at snapshot {} first, which is the last good copy",
            volume.image, half.id, half.id
        ))),
    }
}

async fn demote(volume: Volume) -> Result<(), Status> {
    let info = volume.mirrored().await?;
    if !info.is_primary() {
        return Ok(());
    }
    resync::remember(&volume, &info).await?;
    let done = volume.rbd.demote(&volume.image).await;
    done.map_err(|e| refuse("could not demote", &e))
}

async fn info(volume: Volume) -> Result<GetVolumeReplicationInfoResponse, Status> {
    let info = volume.mirrored().await?;
    if !info.is_primary() {
        return Err(Status::invalid_argument("the image is not primary"));
    }
    let status = volume.rbd.status(&volume.image).await;
    let status = status.map_err(|e| Status::aborted(format!("could not read the status: {e}")))?;
    let peer = status.peer_sites.first();
    let peer = peer.ok_or_else(|| Status::not_found("nothing is known of the other side"))?;
    let replay = Replay::read(&peer.description).filter(|r| r.local_snapshot_timestamp > 0);
    let Some(replay) = replay else {
        return Err(Status::failed_precondition(format!(
            "the other side tells of no copy: {}",
            peer.description
        )));
    };
    let health = health(&status, peer);
    Ok(GetVolumeReplicationInfoResponse {
        last_sync_time: Some(prost_types::Timestamp {
            seconds: replay.local_snapshot_timestamp,
            nanos: 0,
        }),
        last_sync_duration: Some(prost_types::Duration {
            seconds: replay.last_snapshot_sync_seconds,
            nanos: 0,
        }),
        last_sync_bytes: replay.last_snapshot_bytes,
        status: health.into(),
        status_message: peer.description.clone(),
    })
}

fn health(status: &MirrorStatus, peer: &PeerSite) -> Health {
    if status.state.daemon == Daemon::Down || peer.state.daemon == Daemon::Down {
        return Health::Degraded;
    }
    match &peer.state.word {
        Word::Error => Health::Error,
        Word::Replaying | Word::Stopped => Health::Healthy,
        Word::Unknown | Word::Other(_) => Health::Unknown,
    }
}

/// What the rbd-mirrors say.
pub(super) async fn status(volume: &Volume) -> Result<MirrorStatus, Status> {
    let status = volume.rbd.status(&volume.image).await;
    status.map_err(|e| refuse("could not read the mirroring status", &e))
}

fn force(yes: bool) -> Force {
    if yes { Force::Yes } else { Force::No }
}

/// Of the parameters of a class, the driver's own word for a disabling by force.
fn disable_by_force(parameters: &HashMap<String, String>) -> Force {
    force(parameters.get("force").is_some_and(|word| word == "true"))
}

#[tonic::async_trait]
impl Controller for Driver {
    async fn enable_volume_replication(
        &self,
        request: Request<EnableVolumeReplicationRequest>,
    ) -> Result<Response<EnableVolumeReplicationResponse>, Status> {
        let r = request.into_inner();
        let parameters = Parameters::read(&r.parameters)?;
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        let work = async move |v| {
            enable(v, parameters)
                .await
                .map(|()| EnableVolumeReplicationResponse {})
        };
        self.call(asked, work).await
    }

    async fn disable_volume_replication(
        &self,
        request: Request<DisableVolumeReplicationRequest>,
    ) -> Result<Response<DisableVolumeReplicationResponse>, Status> {
        let r = request.into_inner();
        let force = disable_by_force(&r.parameters);
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        let work = async move |v| {
            disable(v, force)
                .await
                .map(|()| DisableVolumeReplicationResponse {})
        };
        self.call(asked, work).await
    }

    async fn promote_volume(
        &self,
        request: Request<PromoteVolumeRequest>,
    ) -> Result<Response<PromoteVolumeResponse>, Status> {
        let r = request.into_inner();
        let (parameters, force) = (Parameters::read(&r.parameters)?, force(r.force));
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        let work = async move |v| {
            promote(v, force, parameters)
                .await
                .map(|()| PromoteVolumeResponse {})
        };
        self.call(asked, work).await
    }

    async fn demote_volume(
        &self,
        request: Request<DemoteVolumeRequest>,
    ) -> Result<Response<DemoteVolumeResponse>, Status> {
        let r = request.into_inner();
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        let work = async move |v| demote(v).await.map(|()| DemoteVolumeResponse {});
        self.call(asked, work).await
    }

    async fn resync_volume(
        &self,
        request: Request<ResyncVolumeRequest>,
    ) -> Result<Response<ResyncVolumeResponse>, Status> {
        let r = request.into_inner();
        let force = force(r.force);
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        let work = async move |v| {
            resync(v, force)
                .await
                .map(|ready| ResyncVolumeResponse { ready })
        };
        self.call(asked, work).await
    }

    async fn get_volume_replication_info(
        &self,
        request: Request<GetVolumeReplicationInfoRequest>,
    ) -> Result<Response<GetVolumeReplicationInfoResponse>, Status> {
        let r = request.into_inner();
        let asked = Asked {
            source: r.replication_source,
            volume_id: r.volume_id,
            secrets: r.secrets,
        };
        self.call(asked, info).await
    }

    async fn get_replication_destination_info(
        &self,
        _: Request<GetReplicationDestinationInfoRequest>,
    ) -> Result<Response<GetReplicationDestinationInfoResponse>, Status> {
        Err(Status::unimplemented("handles are the same on each side"))
    }
}
