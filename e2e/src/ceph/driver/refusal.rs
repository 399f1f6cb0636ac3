//! What a failure of `rbd` means to a caller.

use tonic::{Code, Status};

use crate::ceph::rbd::RbdError;

/// "No such file": the pool or the image is not there.
const NOT_THERE: i32 = 2;
/// "Device or resource busy": the other side is primary, or cannot be asked.
pub(super) const BUSY: i32 = 16;

/// The answer for a failure: `NOT_FOUND` where something is missing, `INTERNAL` for all else. `what` is what was tried.
pub(super) fn refuse(what: &str, error: &RbdError) -> Status {
    let code = match error.code() {
        Some(NOT_THERE) => Code::NotFound,
        Some(_) | None => Code::Internal,
    };
    Status::new(code, format!("{what}: {error}"))
}
