//! The real hub and agents against everything that can happen to them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do"
)]

mod bad_input;
mod by_hand;
mod copies;
mod crash_every_step;
mod deterministic;
mod many;
mod rebuilt;
mod repeat_every_step;
mod restored;
mod rights;
mod scenarios;
mod story;
mod support;
mod unproven;
mod upstream;
