//! Volumes that a driver is at work on: a second call for one of them is answered with ABORTED.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tonic::Status;

/// Volumes on which something is under way, whether or not anybody waits for it. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<Mutex<BTreeSet<String>>>);

/// One volume that is taken, until this is dropped.
#[derive(Debug)]
pub struct Hold {
    busy: Busy,
    handle: String,
}

impl Busy {
    /// Takes a volume.
    ///
    /// # Errors
    /// ABORTED, in the words of ceph-csi, if it is taken.
    pub fn hold(&self, handle: &str) -> Result<Hold, Status> {
        if self.0.lock().insert(handle.to_owned()) {
            return Ok(Hold {
                busy: self.clone(),
                handle: handle.to_owned(),
            });
        }
        Err(Status::aborted(format!(
            "an operation with the given volume id {handle} already exists"
        )))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.busy.0.lock().remove(&self.handle);
    }
}
