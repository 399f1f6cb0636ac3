//! The real hub and agents against everything that can happen to them.

mod crash_every_step;
mod deterministic;
mod repeat_every_step;
mod scenarios;
mod story;
mod support;
