//! The hub: clusters, observation, reconcile loop, executor, archive

pub mod act;
pub mod archive;
pub mod archive_view;
pub mod resolve;
