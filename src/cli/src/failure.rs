//! How a verb can end otherwise than well, and the exit code of each way.

use lifeboat_kit::CallError;

use crate::client::ClientError;

/// A verb did not reach its end. The code tells scripts why: 1 refused or failed, 2 wrong usage, 3 not in time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for makes no sense as it was typed.
    #[error("{0}")]
    Usage(String),
    /// It was understood, and is refused or stands still.
    #[error("{0}")]
    Refused(String),
    /// It was not over in time; it goes on without us.
    #[error("{0}")]
    TimedOut(String),
    /// A cluster could not be talked to at all.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A call to a cluster gave no answer we can use.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The terminal, or a file, gave an error.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A program (hub, agent or demonstration) ended with an error.
    #[error("the {what} stopped")]
    Program {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Failure {
    /// A program that ended, and why.
    pub(crate) fn program(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Program {
            what,
            source: source.into(),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_)
            | Self::Client(_)
            | Self::Call(_)
            | Self::Io { .. }
            | Self::Program { .. } => 1,
            Self::Usage(_) => 2,
            Self::TimedOut(_) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        assert_eq!(Failure::Refused(String::new()).code(), 1);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::TimedOut(String::new()).code(), 3);
    }
}
