//! The hub: clusters, observation, reconcile loop, executor, archive.
//!
//! Invariants of this crate: what is done follows from a plan of the core and from nothing else; the journal is written
//! before what cannot be undone, with the resourceVersion it was read at; every step may be repeated; every call to a
//! cluster has a deadline, and no answer is never taken for a refusal; a cached fact carries its age; an object without
//! our mark is not changed or deleted, but for the selected claims and their volumes.

pub mod act;
pub mod archive;
pub mod archive_view;
mod cluster;
pub mod config;
pub mod connect;
mod context;
mod diverged;
pub mod fleet;
mod index;
mod metrics;
mod news;
pub mod observe;
mod pace;
mod policy;
mod reconcile;
pub mod resolve;
pub mod run;
mod status;
mod store;

pub use config::{Config, Leadership};
pub use run::{RunError, run};
