//! The outside world at the wire: API servers, storage arrays, links that break

pub mod apiserver;
pub mod clock;
pub mod pki;
pub mod csi_addons;
pub mod storage;
