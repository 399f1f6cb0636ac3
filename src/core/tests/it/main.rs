//! The planner against a small model of the world: every flow reaches its end, with every fault at every moment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod aside;
mod blips;
mod by_hand;
mod converge;
mod copies;
mod drive;
mod exhaustive;
mod faults;
mod golden;
mod guarded;
mod identity;
mod invariants;
mod left_policy;
mod older_capture;
mod repeat;
mod risks;
mod silence;
mod standing;
mod unproven;
mod writers;
