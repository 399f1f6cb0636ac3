//! What Lifeboat knows, and how it decides. Pure: no I/O, no clock, no randomness, no Kubernetes types.
//!
//! Invariants of this crate:
//! - [`plan()`] is total: it never fails and never panics; for every input it names the next steps or says what it waits for.
//! - A remote fact that is not fresh never permits a step that could let a second cluster write or destroy a copy.
//! - The owner changes only together with a higher epoch, in one journal write, and only from
//!   [`journal::Phase::Relocating`] or by an accepted failover. After that write there is no way back, only forward.
//! - Every plan that cannot act says why, and what a person can do about it.

pub mod ids;
pub mod intent;
pub mod journal;
pub mod observed;
pub mod plan;
pub mod report;
pub mod step;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wait;

pub use ids::{ClaimKey, ClusterId, Epoch, WorkloadKey};
pub use intent::{Intent, MoveKind, Policy, Request};
pub use journal::{Journal, Phase};
pub use observed::{ClusterFacts, Observed};
pub use plan::{Plan, plan};
pub use step::{Outcome, Step};
pub use wait::Blocker;
