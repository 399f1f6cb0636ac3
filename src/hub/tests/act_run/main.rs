//! The whole hub against simulated API servers that enforce its roles.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is how a failure is told"
)]

mod claims;
mod overtaken;
mod put_back;
mod reports;
mod world;
