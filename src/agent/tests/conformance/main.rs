//! The numbered conformance rows: the real agent against a scripted driver and a simulated API server that enforces the
//! agent's own RBAC files. A row's number stands in the test's name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may fail it"
)]

mod demote;
mod driver;
mod fence;
mod group;
mod hub;
mod kinds;
mod promote;
mod refuse;
mod release;
mod weather;
mod world;
