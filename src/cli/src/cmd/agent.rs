//! `lifeboat agent`.

use std::path::PathBuf;
use std::time::Duration;

use lifeboat_agent::{Config, Endpoint, Replication};
use lifeboat_api::names;
use lifeboat_kit::{SystemClock, shutdown};

use super::program::{Admin, LogArgs, identity};
use crate::client;
use crate::failure::Failure;
use crate::input::duration;

/// A driver on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Driver {
    name: String,
    socket: PathBuf,
}

/// Flags of the agent.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AgentArgs {
    /// A storage driver: the name its classes use, and its CSI-Addons socket. Once for each driver.
    #[arg(long = "driver", required = true, value_name = "NAME=unix:///PATH", value_parser = driver, env = "LIFEBOAT_DRIVERS", value_delimiter = ',')]
    drivers: Vec<Driver>,
    /// Namespace of the agent's Leases, one for each driver. The hub looks for them in the default one.
    #[arg(long, default_value = names::SYSTEM_NAMESPACE, env = "LIFEBOAT_NAMESPACE")]
    namespace: String,
    /// Namespace of the drivers' pods, where CSI-Addons sidecars may run: the agent serves a driver only while it holds the
    /// Lease that those contend for [default: none run].
    #[arg(long, env = "LIFEBOAT_DRIVER_NAMESPACE", value_name = "NAMESPACE")]
    driver_namespace: Option<String>,
    /// Who this process is among the agents of its cluster [default: the host name].
    #[arg(long, env = "LIFEBOAT_IDENTITY")]
    identity: Option<String>,
    /// How long one call to a driver may take (ms, s, m, h).
    #[arg(long, default_value = "60s", value_parser = duration, env = "LIFEBOAT_RPC_TIMEOUT", value_name = "DURATION")]
    rpc_timeout: Duration,
    /// How long a Lease of the agent lasts when it is not renewed (ms, s, m, h).
    #[arg(long, default_value = "15s", value_parser = duration, env = "LIFEBOAT_LEASE_TTL", value_name = "DURATION")]
    lease_ttl: Duration,
    /// How many volumes of one driver are worked on at once.
    #[arg(
        long,
        default_value_t = 64,
        env = "LIFEBOAT_CONCURRENCY",
        value_name = "N"
    )]
    concurrency: usize,
    /// How many claims a VolumeGroupReplication may select (1-100).
    #[arg(
        long = "max-group-pvc",
        default_value_t = 100,
        value_parser = clap::value_parser!(u8).range(1..=100),
        env = "LIFEBOAT_MAX_GROUP_PVC",
        value_name = "N"
    )]
    max_group_claims: u8,
    /// Where /healthz, /readyz and /metrics are served, or `off`.
    #[arg(
        long,
        default_value = "off",
        env = "LIFEBOAT_ADMIN_ADDRESS",
        value_name = "IP:PORT"
    )]
    admin_address: Admin,
    /// Leave VolumeReplications, groups and fences to the controllers of the CSI-Addons project: the agent only tells how the drivers
    /// do. A hub goes by what those controllers say, and its placements are not Guarded: no epoch is checked.
    #[arg(long)]
    no_replication: bool,
    #[command(flatten)]
    log: LogArgs,
}

fn driver(text: &str) -> Result<Driver, String> {
    let bad = || format!("{text:?} is not of the form NAME=unix:///path/to/csi-addons.sock");
    let (name, address) = text.split_once('=').ok_or_else(bad)?;
    let path = address
        .strip_prefix("unix://")
        .filter(|p| p.starts_with('/'))
        .ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    Ok(Driver {
        name: name.to_owned(),
        socket: PathBuf::from(path),
    })
}

impl AgentArgs {
    fn config(&self) -> Config {
        let drivers = self
            .drivers
            .iter()
            .map(|d| (d.name.clone(), Endpoint::Unix(d.socket.clone())));
        let mut config = Config::new(
            &identity(self.identity.clone(), names::AGENT_MANAGER),
            drivers.collect(),
        );
        config.namespace.clone_from(&self.namespace);
        config.driver_namespace.clone_from(&self.driver_namespace);
        config.rpc_timeout = self.rpc_timeout;
        config.lease_ttl = self.lease_ttl;
        config.concurrency = self.concurrency;
        config.max_group_claims = usize::from(self.max_group_claims);
        config.admin = self.admin_address.address();
        config.replication = if self.no_replication {
            Replication::Off
        } else {
            Replication::On
        };
        config
    }
}

/// Runs the agent until it is asked to stop.
pub(crate) async fn run(args: AgentArgs) -> Result<(), Failure> {
    let _telemetry = args.log.start("lifeboat-agent")?;
    let session = client::infer().await?;
    let (cancel, _signals) = shutdown::on_signals().map_err(|source| Failure::Io {
        what: "listen for signals",
        source,
    })?;
    let ended =
        lifeboat_agent::run(args.config(), session.client, SystemClock::shared(), cancel).await;
    ended.map_err(|e| Failure::program("agent", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_start_the_programs_with_flags_they_know() {
        use clap::Parser;
        for (manifest, verb) in [
            (
                include_str!("../../../../hub-deploy/base/deployment.yaml"),
                "hub",
            ),
            (
                include_str!("../../../../spoke-deploy/standalone/deployment.yaml"),
                "agent",
            ),
            (
                include_str!("../../../../spoke-deploy/sidecar/container.yaml"),
                "agent",
            ),
        ] {
            let object: serde_json::Value = serde_saphyr::from_str(manifest).unwrap();
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            let args = container["args"].as_array().unwrap().iter();
            let args: Vec<&str> = args.filter_map(serde_json::Value::as_str).collect();
            assert_eq!(args.first(), Some(&verb));
            let parsed = crate::args::Cli::try_parse_from(["lifeboat"].iter().chain(&args));
            assert!(parsed.is_ok(), "{args:?}: {:?}", parsed.err());
        }
    }

    #[test]
    fn drivers_are_a_name_and_an_absolute_socket() {
        let ok = driver("rbd.csi.ceph.com=unix:///run/csi-addons.sock").unwrap();
        assert_eq!(
            (ok.name.as_str(), ok.socket),
            ("rbd.csi.ceph.com", PathBuf::from("/run/csi-addons.sock"))
        );
        for bad in [
            "rbd",
            "rbd=/run/x.sock",
            "=unix:///run/x.sock",
            "rbd=unix://run/x.sock",
            "rbd=tcp://h:1",
        ] {
            assert!(driver(bad).is_err(), "{bad}");
        }
    }
}
