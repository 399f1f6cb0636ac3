//! `lifeboat hub`.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_api::names;
use lifeboat_hub::connect::RealConnect;
use lifeboat_hub::{Config, Leadership};
use lifeboat_kit::{SystemClock, shutdown};

use super::program::{Admin, LogArgs, identity};
use crate::client;
use crate::failure::Failure;
use crate::input::duration;

/// Flags of the hub.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HubArgs {
    /// Namespace that the hub runs in; credentials of clusters, captures and its Lease are there.
    #[arg(long, default_value = names::SYSTEM_NAMESPACE, env = "LIFEBOAT_NAMESPACE")]
    namespace: String,
    /// Who this process is among the replicas of the hub [default: the host name].
    #[arg(long, env = "LIFEBOAT_IDENTITY")]
    identity: Option<String>,
    /// Act only while holding the Lease, so that of several replicas one does the work (the default).
    #[arg(long, overrides_with = "no_lease")]
    lease: bool,
    /// Act without a Lease: for a hub of one process.
    #[arg(long, overrides_with = "lease", env = "LIFEBOAT_NO_LEASE")]
    no_lease: bool,
    /// Where /healthz, /readyz and /metrics are served, or `off`.
    #[arg(
        long,
        default_value = "0.0.0.0:8080",
        env = "LIFEBOAT_ADMIN_ADDRESS",
        value_name = "IP:PORT"
    )]
    admin_address: Admin,
    /// How many placements are worked on at once.
    #[arg(
        long,
        default_value_t = 64,
        env = "LIFEBOAT_CONCURRENCY",
        value_name = "N"
    )]
    concurrency: usize,
    /// How long one call to a managed cluster may take (ms, s, m, h).
    #[arg(long, default_value = "5s", value_parser = duration, env = "LIFEBOAT_CALL_TIMEOUT", value_name = "DURATION")]
    call_timeout: Duration,
    /// How long a silent cluster is only suspected before it is shown as lost (ms, s, m, h).
    #[arg(long, default_value = "60s", value_parser = duration, env = "LIFEBOAT_LOST_AFTER", value_name = "DURATION")]
    lost_after: Duration,
    #[command(flatten)]
    log: LogArgs,
}

impl HubArgs {
    fn config(&self) -> Config {
        let mut config = Config::new(identity(self.identity.clone(), names::HUB_LEASE));
        config.namespace.clone_from(&self.namespace);
        config.leadership = if self.no_lease {
            Leadership::Alone
        } else {
            Leadership::Lease
        };
        config.admin = self.admin_address.address();
        config.concurrency = self.concurrency;
        config.call_deadline = self.call_timeout;
        config.lost_after = self.lost_after;
        config
    }
}

/// Runs the hub until it is asked to stop.
pub(crate) async fn run(args: HubArgs) -> Result<(), Failure> {
    let _telemetry = args.log.start("lifeboat-hub")?;
    let session = client::infer().await?;
    let (cancel, _signals) = shutdown::on_signals().map_err(|source| Failure::Io {
        what: "listen for signals",
        source,
    })?;
    let config = args.config();
    let connect = Arc::new(RealConnect::new(&config.fleet));
    let ended = lifeboat_hub::run(
        config,
        session.client,
        connect,
        SystemClock::shared(),
        cancel,
    )
    .await;
    ended.map_err(|e| Failure::program("hub", e))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        hub: HubArgs,
    }

    #[test]
    fn the_last_word_about_the_lease_counts() {
        let of = |flags: &[&str]| {
            let line = Line::parse_from([&["hub"], flags].concat());
            line.hub.config().leadership
        };
        assert_eq!(of(&[]), Leadership::Lease);
        assert_eq!(of(&["--no-lease"]), Leadership::Alone);
        assert_eq!(of(&["--no-lease", "--lease"]), Leadership::Lease);
    }

    #[test]
    fn flags_reach_the_configuration() {
        let line = Line::parse_from([
            "hub",
            "--admin-address",
            "off",
            "--lost-after",
            "2m",
            "--identity",
            "a",
        ]);
        let config = line.hub.config();
        assert_eq!(
            (config.admin, config.lost_after, config.identity.as_str()),
            (None, Duration::from_mins(2), "a")
        );
    }
}
