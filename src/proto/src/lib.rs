//! Messages and services of CSI-Addons and of our own contract for copies, generated from `proto/`.
//!
//! Invariant: nothing is written by hand here but the module names; what a field means is said in the `.proto` files.
//! `Debug` of a request prints its secrets: never log a request, log its handle.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

/// `replication.Controller`: the role of a volume.
pub mod replication {
    tonic::include_proto!("replication");
}
/// `identity.Identity`: who a CSI-Addons driver is.
pub mod identity {
    tonic::include_proto!("identity");
}
/// `volumegroup.Controller`: volumes that are replicated as one.
pub mod volumegroup {
    tonic::include_proto!("volumegroup");
}
/// `fence.FenceController`: who may reach the storage.
pub mod fence {
    tonic::include_proto!("fence");
}
/// `csi.v1.Identity`: who an older driver is.
pub mod csi {
    tonic::include_proto!("csi.v1");

    /// Where generated code of other packages looks for this one.
    pub mod v1 {
        pub use super::Volume;
    }
}
/// `lifeboat.copies.v1.Copies`: what a driver may say of its copies.
pub mod copies {
    tonic::include_proto!("lifeboat.copies.v1");
}
