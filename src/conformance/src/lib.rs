//! The conformance rows of the agent: the real agent against a scripted driver and an API server that enforces the agent's
//! own RBAC files. Written once, run on the simulated API server (`tests/simulated.rs`) and on a real kube-apiserver
//! (`e2e/tests/it/rows.rs`); `src/agent/ROWS.md` is the list of them.
//!
//! After every row, whatever it is about: no secret has been seen anywhere, and what a consumer reads from a status is what
//! the driver was told.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a crate for tests alone, whose helpers may fail them"
)]

mod consumer;
mod driver;
mod gate;
mod ground;
mod leaks;
mod numbers;
mod on;
mod rows;
mod run;
mod wire;
mod world;

pub use ground::Kube;
pub use numbers::{HIGHEST, of};
pub use on::{On, Row};
pub use rows::ROWS;
pub use run::{on_kube, simulated};
