//! What can go wrong in a laboratory.

use std::time::Duration;

use lifeboat_sim::{apiserver::ServeError, pki::PkiError, world::WorldError};

/// Why a laboratory could not do as it was told, or did not see what it waited for.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The world refused.
    #[error("the world refused")]
    World(#[from] WorldError),
    /// A call to an API server failed.
    #[error("could not {what}")]
    Call {
        /// What was tried.
        what: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// The HTTPS front could not be opened.
    #[error("could not serve the simulated API servers")]
    Serve(#[from] ServeError),
    /// Certificates could not be made.
    #[error("could not make certificates")]
    Pki(#[from] PkiError),
    /// A file could not be written, or a driver could not listen.
    #[error("could not use {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A client could not be made from a kubeconfig.
    #[error("could not connect to {place}: {why}")]
    Connect {
        /// Where to.
        place: String,
        /// Why not.
        why: String,
    },
    /// Something was waited for in vain.
    #[error("waited {within:?} in vain for {what}\n{dump}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// What was there instead.
        dump: String,
    },
    /// An expectation was not met.
    #[error("{what}\n{dump}")]
    Unmet {
        /// What was expected and found.
        what: String,
        /// What was there.
        dump: String,
    },
    /// An invariant was broken.
    #[error("broken: {}\n{dump}", broken.join("; "))]
    Broken {
        /// What.
        broken: Vec<String>,
        /// What was there.
        dump: String,
    },
}

impl LabError {
    /// Wraps a failed call.
    pub fn call(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Call {
            what,
            source: Box::new(source),
        }
    }

    /// With all its causes, in one text.
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            text += &format!(": {next}");
            cause = next.source();
        }
        text
    }
}
