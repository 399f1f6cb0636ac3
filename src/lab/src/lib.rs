//! The real hub and the real agents on a simulated world: for scenario tests, for the demo and for the bench.
//!
//! Invariants of this crate: the programs run with the identities and the roles of the deploy files and with nothing
//! else; nothing here reads a clock but the world's; one seed gives one log; an invariant of disaster recovery that is
//! broken, however shortly, fails the run that broke it.
#![allow(
    clippy::format_push_string,
    clippy::unnecessary_wraps,
    reason = "dumps for people, and constructors that may come to fail"
)]

pub mod lab;
pub mod script;
pub mod story;

pub use lab::{Lab, LabError, LabSpec, Transport};
