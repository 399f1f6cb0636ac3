//! Clients of CSI-Addons storage drivers, and of what such a driver may offer beyond that for its copies.
//!
//! Invariants of this crate: one call in flight per handle of a volume or group; every call has a deadline and, when that passes, its
//! outcome is unknown rather than failed; secrets never appear in `Debug` output, errors or logs; a driver that is away
//! is an answer like any other, and the next call dials again.

mod capability;
mod copies;
mod driver;
mod endpoint;
mod error;
mod fence;
mod group;
mod identity;
mod volume;

pub use capability::Capability;
pub use copies::{Arrival, CopyState, Kept};
pub use driver::{Driver, DriverConfig, Observer, ReplicationDriver};
pub use endpoint::{Connect, ConnectError, Endpoint, connector};
pub use error::{Delivery, DriverError, Retry, Rpc};
pub use fence::Networks;
pub use group::{Group, GroupContext};
pub use identity::{Flavour, Identity, Liveness};
pub use volume::{Force, Health, Info, Readiness, Secrets, Source, Volume};

/// The gRPC code type of [`DriverError`].
pub use tonic::Code;
