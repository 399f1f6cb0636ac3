//! How well a cluster is known, and when it counts as silent: all the times that a failover waits are here.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How well a cluster is known at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contact {
    /// It answers, and every watch on it is in step.
    Fresh,
    /// Its API server answers, but not everything there is seen as it is now: a watch is lost or still being read, or
    /// our credentials are not accepted. What was seen last is kept, and is not an answer.
    Behind {
        /// Since when.
        since: Timestamp,
        /// What is not seen.
        why: String,
    },
    /// It has not answered since then. What was seen last is kept, and is not an answer.
    Stale {
        /// Last proof of life.
        since: Timestamp,
        /// What happened on the last try.
        why: String,
    },
    /// It was never seen since this hub started.
    Never {
        /// Since when it is tried.
        since: Timestamp,
        /// What happened on the last try.
        why: String,
    },
    /// It is not even tried: its credentials are refused.
    Refused {
        /// Since when.
        since: Timestamp,
        /// What is wrong with them.
        why: String,
    },
    /// The DRCluster leads to another cluster than the one that was registered: of that one nothing is known any more.
    Replaced {
        /// Since when, as far as this hub knows.
        since: Timestamp,
        /// Which one it leads to.
        why: String,
    },
    /// No DRCluster of that name exists.
    Unregistered {
        /// Since when, as far as this hub knows.
        since: Timestamp,
        /// The same in words.
        why: String,
    },
}

/// How long a cluster must not have been heard to count as silent: longer than a load balancer reloads, or somebody
/// takes to replace credentials. One refused connection is no loss.
const QUIET: SignedDuration = SignedDuration::from_secs(10);
/// How long a cluster that was never heard may be about to answer: longer than its first connection and probe take.
const UNHEARD: SignedDuration = SignedDuration::from_secs(15);
/// How long one that answers may be out of step before it counts as silent: longer than an API server restarts, or a
/// large cluster is read. Its applications run all the while.
const OUT_OF_STEP: SignedDuration = SignedDuration::from_secs(60);

impl Contact {
    /// Whether what is seen of the cluster is an answer.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh)
    }
    /// Whether it can be taken for silent, and not for one that is seen again in a moment. Not the opposite of fresh:
    /// between the two nothing is done that needs the cluster stopped, or gone.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        self.silent_in(now).is_some_and(|left| left.is_zero())
    }
    /// How long until it can be taken for silent if nothing changes; nothing left: it can. None for one that answers.
    pub fn silent_in(&self, now: Timestamp) -> Option<SignedDuration> {
        let (since, patience) = match self {
            Self::Fresh => return None,
            Self::Behind { since, .. } => (since, OUT_OF_STEP),
            Self::Never { since, .. } => (since, UNHEARD),
            Self::Stale { since, .. }
            | Self::Refused { since, .. }
            | Self::Replaced { since, .. }
            | Self::Unregistered { since, .. } => (since, QUIET),
        };
        let passed = now.duration_since(*since);
        Some(patience.saturating_sub(passed).max(SignedDuration::ZERO))
    }
    /// In words, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Fresh => "answers".into(),
            Self::Behind { since, why } => format!("has been out of step since {since} ({why})"),
            Self::Stale { since, why } => format!("has not answered since {since} ({why})"),
            Self::Never { since: _, why } => format!("was not reached yet ({why})"),
            Self::Refused { since: _, why }
            | Self::Replaced { since: _, why }
            | Self::Unregistered { since: _, why } => why.clone(),
        }
    }
}
