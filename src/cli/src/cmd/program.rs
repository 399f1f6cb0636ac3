//! What hub and agent have in common on the command line.

use std::net::SocketAddr;
use std::str::FromStr;

use lifeboat_kit::telemetry::{self, LogFormat, Telemetry};

use crate::failure::Failure;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lines {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Logs of a program that runs for ever.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogArgs {
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text", env = "LIFEBOAT_LOG_FORMAT")]
    log_format: Lines,
    /// Which log lines appear, such as `info` or `lifeboat_hub=debug,info`; `RUST_LOG` goes before it.
    #[arg(
        long,
        default_value = "info",
        env = "LIFEBOAT_LOG",
        value_name = "FILTER"
    )]
    log: String,
}

impl LogArgs {
    /// Starts logging; keep what it returns for as long as the process runs.
    pub(crate) fn start(&self, service: &'static str) -> Result<Telemetry, Failure> {
        let format = match self.log_format {
            Lines::Text => LogFormat::Text,
            Lines::Json => LogFormat::Json,
        };
        telemetry::init(service, format, &self.log)
            .map_err(|e| Failure::Usage(lifeboat_kit::error::full(&e)))
    }
}

/// Who this process is among its replicas: what was said, or the host's name, which in a pod is the pod's, or `name`
/// and the process id.
pub(crate) fn identity(said: Option<String>, name: &str) -> String {
    said.or_else(|| std::env::var("HOSTNAME").ok())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| format!("{name}-{}", std::process::id()))
}

/// Where the admin server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admin {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Admin {
    /// The address, if there is one.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| format!("{text:?} is neither IP:PORT nor off"))
    }
}
