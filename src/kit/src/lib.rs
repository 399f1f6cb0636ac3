//! What hub and agent need to do I/O, once: writing to a cluster, watching one, leases, events, the work queue, time,
//! telemetry, the admin server and shutdown.
//!
//! Invariants of this crate: it decides nothing about disaster recovery; every call to a cluster has a deadline; all of
//! it runs under tokio's paused clock and gives the same order of events twice in a row, so nothing here draws a random
//! number without a given seed, or walks a hash map.

pub mod admin;
pub mod apply;
pub mod client;
pub mod clock;
pub mod error;
pub mod events;
pub mod hash;
pub mod lease;
pub mod queue;
pub mod retry;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod watch;

pub use admin::{Readiness, Ready};
pub use apply::{Conflicts, apply, apply_status, patch_metadata, patch_status};
pub use clock::{Clock, SharedClock, SystemClock, TokioClock};
pub use error::{CallError, classify, deadline};
pub use queue::{Next, WorkQueue, run_queue};
pub use watch::{WatchEvent, watch_into};
