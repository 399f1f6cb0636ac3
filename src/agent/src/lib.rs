//! The agent of a managed cluster: it turns `VolumeReplication`, `VolumeGroupReplication` and `NetworkFence` objects into
//! calls to storage drivers.
//!
//! Invariants of this crate: what to do is decided by `decide`, which is pure; the marks on an object are
//! stored before the first call for it; an epoch is stored before anything is done at it; a hub-managed volume is
//! promoted only at the epoch that the ownership record grants, and by force only with a grant for that epoch; one call
//! in flight per volume or group; a fence that is deleted is never lifted for it; no call is repeated because a status could not be written; nothing a driver or the API server
//! does ends the process; what a resync is to throw away is kept first where that is asked for, and recorded.

mod act;
mod agent;
mod cache;
mod config;
mod decide;
mod fence;
mod fleet;
mod gather;
mod group;
mod identity;
mod kept;
mod metrics;
mod outcome;
mod ownership;
mod pace;
mod parameters;
mod persist;
mod run;
mod schedule;
mod secrets;
mod slots;
mod status;
mod tries;
mod turn;
mod view;
mod writes;

pub use config::{Config, Polls, Replication};
pub use lifeboat_drivers::Endpoint;
pub use run::{AgentError, run};
