//! What the driver says of its copies and does for them, by `lifeboat.copies.v1`.

use std::{ffi::OsString, time::Duration};

use lifeboat_proto::copies::{
    Capability, DropCopyRequest, DropCopyResponse, GetCapabilitiesRequest, GetCapabilitiesResponse,
    GetCopyStateRequest, GetCopyStateResponse, GetDivergenceRequest, GetDivergenceResponse,
    KeepCopyRequest, KeepCopyResponse, copies_server::Copies,
};
use tonic::{Request, Response, Status};

use super::{
    Driver, handle_of,
    refusal::refuse,
    volume::{Asked, Volume},
};
use crate::ceph::{
    rbd::{RbdError, run},
    status::{incomplete_copy, kept_for_peer},
};

/// How long it may take to read or copy a whole image.
const WHOLE: Duration = Duration::from_secs(600);
/// The note on an image that is a kept copy: by which name it was asked for. Nothing else is dropped.
const KEPT: &str = "lifeboat.kept";
/// What `rbd` says when an image is not there.
const NOT_THERE: i32 = 2;

async fn state(volume: Volume) -> Result<GetCopyStateResponse, Status> {
    if volume.mirrored().await?.is_primary() {
        return Err(Status::invalid_argument("the image is primary"));
    }
    let snapshots = volume.rbd.snapshots(&volume.image).await;
    let snapshots = snapshots.map_err(|e| refuse("could not read the snapshots", &e))?;
    let half = incomplete_copy(&snapshots);
    let mirrored = snapshots.iter().filter(|s| s.namespace.kind == "mirror");
    let newest = mirrored.max_by_key(|s| s.id);
    let (complete, message) = match (half, newest) {
        (Some(half), _) => (false, format!("snapshot {} is half here", half.id)),
        (None, Some(newest)) => (true, format!("snapshot {} is here", newest.id)),
        (None, None) => (false, "no snapshot is here yet".to_owned()),
    };
    Ok(GetCopyStateResponse { complete, message })
}

/// How much differs from the last snapshot that the other side is known to have: the oldest that is still kept for it, for older
/// ones are let go as soon as a newer one has arrived. So never too little, but for a side that never had any.
async fn divergence(volume: Volume) -> Result<GetDivergenceResponse, Status> {
    if volume.mirrored().await?.is_primary() {
        let words = "the image is primary: what the other side lacks is on its way";
        return Err(Status::failed_precondition(words));
    }
    let snapshots = volume.rbd.snapshots(&volume.image).await;
    let snapshots = snapshots.map_err(|e| refuse("could not read the snapshots", &e))?;
    let base = kept_for_peer(&snapshots).ok_or_else(|| {
        Status::failed_precondition("no snapshot is left that the other side is known to have")
    })?;
    let script = crate::tools::folder().join("ceph/diverged.py");
    let mut args: Vec<OsString> = vec![
        script.into(),
        volume.rbd.conf().into(),
        volume.rbd.pool().into(),
        volume.image.clone().into(),
        base.id.to_string().into(),
    ];
    args.extend(volume.rbd.credentials().map(OsString::from));
    let args = args.iter().map(AsRef::as_ref);
    let out = run("/usr/bin/python3", args, "diverged.py", WHOLE, None).await;
    let out = out.map_err(|e| refuse("could not compare with the snapshot", &e))?;
    let text = String::from_utf8_lossy(&out).trim().to_owned();
    let bytes = text.parse();
    let bytes = bytes.map_err(|_| Status::internal(format!("not a number: {text}")))?;
    Ok(GetDivergenceResponse { bytes })
}

/// Copies the image under a name of its own; a copy that was cut short has another name, and is made anew.
async fn keep(volume: Volume, pool: u64, name: &str) -> Result<KeepCopyResponse, Status> {
    let Volume { rbd, image } = &volume;
    let copy = super::image_of(&identity(image, name));
    let bytes = volume.info().await?.size;
    let handle = handle_of(super::CLUSTER, pool, &copy);
    let volume_id = handle.ok_or_else(|| Status::internal("no handle"))?;
    let answer = KeepCopyResponse {
        volume_id: volume_id.to_string(),
        bytes,
    };
    match rbd.info(&copy).await {
        Ok(_) => return Ok(answer),
        Err(e) if e.code() == Some(NOT_THERE) => {}
        Err(e) => return Err(refuse("could not look for the copy", &e)),
    }
    let half = format!("{copy}.half");
    let done = async {
        remove(&volume, &half).await?;
        let (from, to, end) = (rbd.spec(image), rbd.spec(&half), rbd.spec(&copy));
        rbd.run(&["cp", "--no-progress", &from, &to], WHOLE, None)
            .await?;
        rbd.keep_note(&half, KEPT, name).await?;
        rbd.text(&["rename", &to, &end]).await
    };
    done.await
        .map_err(|e: RbdError| refuse("could not copy the image", &e))?;
    Ok(answer)
}

async fn remove(volume: &Volume, image: &str) -> Result<(), RbdError> {
    let spec = volume.rbd.spec(image);
    let args = ["rm", "--no-progress", &spec];
    match volume.rbd.run(&args, WHOLE, None).await {
        Err(e) if e.code() != Some(NOT_THERE) => Err(e),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn drop_copy(volume: Volume) -> Result<DropCopyResponse, Status> {
    match volume.rbd.note(&volume.image, KEPT).await {
        Ok(Some(_)) => {}
        Ok(None) => match volume.rbd.info(&volume.image).await {
            Err(e) if e.code() == Some(NOT_THERE) => return Ok(DropCopyResponse {}),
            Ok(_) | Err(_) => {
                return Err(Status::invalid_argument("not a copy that was kept"));
            }
        },
        Err(e) => return Err(refuse("could not look at the copy", &e)),
    }
    let done = remove(&volume, &volume.image).await;
    done.map_err(|e| refuse("could not delete the copy", &e))?;
    Ok(DropCopyResponse {})
}

/// In the form of a UUID, the same for the same image and name.
fn identity(image: &str, name: &str) -> String {
    let one = crate::ceph::records::checksum(&format!("{image} {name}"));
    let two = crate::ceph::records::checksum(&format!("{name} {image}"));
    let parts = [&one[..8], &one[8..12], &one[12..], &two[..4], &two[4..]];
    parts.join("-")
}

#[tonic::async_trait]
impl Copies for Driver {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<GetCapabilitiesResponse>, Status> {
        let all = [
            Capability::CopyState,
            Capability::Divergence,
            Capability::Keep,
        ];
        let capabilities = all.map(Into::into).into();
        Ok(Response::new(GetCapabilitiesResponse { capabilities }))
    }

    async fn get_copy_state(
        &self,
        request: Request<GetCopyStateRequest>,
    ) -> Result<Response<GetCopyStateResponse>, Status> {
        let r = request.into_inner();
        self.call(Asked::volume(r.volume_id, r.secrets), state)
            .await
    }

    async fn get_divergence(
        &self,
        request: Request<GetDivergenceRequest>,
    ) -> Result<Response<GetDivergenceResponse>, Status> {
        let r = request.into_inner();
        self.call(Asked::volume(r.volume_id, r.secrets), divergence)
            .await
    }

    async fn keep_copy(
        &self,
        request: Request<KeepCopyRequest>,
    ) -> Result<Response<KeepCopyResponse>, Status> {
        let r = request.into_inner();
        if r.name.is_empty() {
            return Err(Status::invalid_argument("empty name in request"));
        }
        let pool = super::Handle::parse(&r.volume_id).map_or(0, |h| h.pool);
        let work = async move |v| keep(v, pool, &r.name).await;
        self.call(Asked::volume(r.volume_id, r.secrets), work).await
    }

    async fn drop_copy(
        &self,
        request: Request<DropCopyRequest>,
    ) -> Result<Response<DropCopyResponse>, Status> {
        let r = request.into_inner();
        self.call(Asked::volume(r.volume_id, r.secrets), drop_copy)
            .await
    }
}
