//! The outside world at the wire: API servers, storage arrays, links that break

pub mod apiserver;
pub mod clock;
pub mod controllers;
pub mod csi_addons;
pub mod pki;
pub mod storage;
pub mod workload;
pub mod world;
