//! The hub: clusters, observation, reconcile loop, executor, archive

pub mod archive;
