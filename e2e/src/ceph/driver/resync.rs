//! Whether a copy is in step, and having it made anew.
//!
//! A resync deletes the image and copies it again, so one request must not become two: when an image steps down, the time it was made
//! is noted on it. A forced resync is carried out only while it still has that time; the image that takes its place has another, and no
//! note.

use tonic::Status;

use super::{refusal::refuse, replication::status, volume::Volume};
use crate::ceph::{
    rbd::{Force, RbdError},
    status::{Info, Replay},
};

/// The note, by the name that ceph-csi gives it.
const MADE: &str = ".rbd.image.creation_time";
/// What `rbd` says when the image is not there: while it is being made anew.
const NOT_THERE: i32 = 2;

/// Notes on a primary when it was made, before it steps down.
pub(super) async fn remember(volume: &Volume, info: &Info) -> Result<(), Status> {
    let kept = volume
        .rbd
        .keep_note(&volume.image, MADE, &info.create_timestamp)
        .await;
    kept.map_err(|e| refuse("could not note when the image was made", &e))
}

/// Whether both sides have stepped down and hold the same. With force: has the local copy deleted and made anew first, once.
pub(super) async fn resync(volume: Volume, force: Force) -> Result<bool, Status> {
    let again = |e: &RbdError| Status::aborted(format!("could not read the image: {e}"));
    let info = volume.rbd.info(&volume.image).await;
    let info = info.map_err(|e| match e.code() {
        Some(NOT_THERE) => again(&e),
        Some(_) | None => refuse("could not read the image", &e),
    })?;
    if info.mirrored().is_none() {
        return Err(Status::invalid_argument(format!(
            "mirroring is not enabled on {}",
            volume.image
        )));
    }
    if info.is_primary() {
        return Err(Status::invalid_argument("the image is primary"));
    }
    let status = status(&volume).await?;
    if status.drained() {
        return Ok(true);
    }
    if force == Force::Yes && due(&volume, &info, status.replay().as_ref()).await? {
        let done = volume.rbd.resync(&volume.image).await;
        done.map_err(|e| refuse("could not ask for a resync", &e))?;
        return Err(Status::unavailable(
            "the copy is being made anew: not in step yet",
        ));
    }
    let copied = status
        .replay()
        .is_some_and(|r| r.local_snapshot_timestamp > 0);
    if copied {
        return Ok(false);
    }
    Err(Status::internal(format!(
        "nothing tells of a copy on this side: {}",
        status.description
    )))
}

/// Whether this image is the one that stepped down, and not already the one in its place, or on its way.
async fn due(volume: &Volume, info: &Info, replay: Option<&Replay>) -> Result<bool, Status> {
    let noted = volume.rbd.note(&volume.image, MADE).await;
    let noted = noted.map_err(|e| refuse("could not read when the image was made", &e))?;
    let syncing = replay.is_some_and(|r| r.replay_state == "syncing");
    Ok(noted.as_deref() == Some(info.create_timestamp.as_str()) && !syncing)
}
