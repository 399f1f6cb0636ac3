//! The hub: clusters, observation, reconcile loop, executor, archive

pub mod act;
pub mod archive;
pub mod archive_view;
mod cluster;
pub mod config;
pub mod connect;
mod context;
pub mod fleet;
mod index;
mod metrics;
pub mod observe;
mod policy;
mod reconcile;
pub mod resolve;
pub mod run;
mod status;
mod store;

pub use config::{Config, Leadership};
pub use run::{RunError, run};
