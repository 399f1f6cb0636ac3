//! The binary as people run it, against API servers behind HTTPS and a kubeconfig file.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test may stop it"
)]

mod cluster;
mod moves;
mod show;
mod world;
