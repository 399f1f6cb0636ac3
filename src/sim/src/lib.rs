//! The outside world at the wire: API servers, storage arrays, links that break.
//!
//! Invariants of this crate: it knows nothing of Lifeboat; an API server answers as the real one does, for what it
//! implements (one script is run on both), and refuses what it does not; RBAC is enforced; nothing is random and no order
//! comes from a hash map, so that one seed gives one run; data is never written but by the rules of the array, which
//! remembers what was destroyed.

pub mod apiserver;
pub mod clock;
pub mod controllers;
pub mod csi_addons;
pub mod pki;
pub mod storage;
pub mod told;
pub mod until;
pub mod upstream;
pub mod workload;
pub mod world;
