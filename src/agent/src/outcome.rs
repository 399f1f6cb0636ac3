//! What came of a step.

use lifeboat_api::replication::ReplicationState;
use lifeboat_drivers::{DriverError, Info, Retry};

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The volume is primary.
    Promoted,
    /// The volume is secondary; whether it is in step is not known yet.
    Demoted,
    /// It is in step with its peer.
    InStep,
    /// It is not, or not known to be.
    NotInStep,
    /// A call failed.
    Failed(Failed),
    /// Nothing was tried, for this reason.
    Refused(String),
    /// The role is right and the conditions are brought up to date.
    Refreshed,
    /// How replication goes.
    Told(Info),
    /// The driver has no answer to how replication goes.
    NotTold(NotTold),
    /// What the volume is called at the peer.
    Destination(Result<Option<String>, String>),
    /// Deletion cannot go on.
    Stuck(String),
}

/// Why a driver does not say how replication goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotTold {
    /// It does not offer the question.
    NotOffered,
    /// It knows nothing yet: no news.
    Nothing,
    /// It failed, with this text.
    Failed(String),
}

/// What a failed call was to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    Promote,
    Demote,
    Resync,
}

impl Aim {
    pub(crate) fn of(wanted: ReplicationState) -> Self {
        match wanted {
            ReplicationState::Primary => Self::Promote,
            ReplicationState::Secondary => Self::Demote,
            ReplicationState::Resync => Self::Resync,
        }
    }

    /// The reason in conditions and events.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Promote => "FailedToPromote",
            Self::Demote => "FailedToDemote",
            Self::Resync => "FailedToResync",
        }
    }

    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Resync => "resync",
        }
    }
}

/// Whether the driver found its conditions for replication met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prerequisite {
    Met,
    NotMet,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) aim: Aim,
    pub(crate) prerequisite: Prerequisite,
    /// For conditions.
    pub(crate) text: String,
    /// For `status.message`.
    pub(crate) message: String,
    pub(crate) retry: Retry,
    /// Reason of the event.
    pub(crate) event: &'static str,
}

impl Failed {
    pub(crate) fn new(aim: Aim, error: &DriverError) -> Self {
        Self {
            aim,
            prerequisite: Prerequisite::Met,
            text: error.upstream_text(),
            message: error.message.clone(),
            retry: error.retry(),
            event: aim.reason(),
        }
    }

    /// The same of what was not called for, with a reason of its own; it is looked at again at the usual pace.
    pub(crate) fn held(aim: Aim, event: &'static str, why: String) -> Self {
        Self {
            aim,
            prerequisite: Prerequisite::Met,
            text: why.clone(),
            message: why,
            retry: Retry::Soon,
            event,
        }
    }

    /// Says first what was not done because of it.
    pub(crate) fn because(self, event: &'static str, why: &str) -> Self {
        Self {
            text: format!("{why}: {}", self.text),
            message: format!("{why}: {}", self.message),
            event,
            ..self
        }
    }
}
