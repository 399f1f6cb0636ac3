//! From the bytes of a kubeconfig Secret to a client.
//!
//! A kubeconfig is input: whoever may edit the Secret must not be able to run a command in the hub, make it read a file
//! of its own or send a token to a server it cannot verify.

use std::time::Duration;

use futures::future::BoxFuture;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use lifeboat_kit::client::bounded;
use thiserror::Error;

use crate::fleet::FleetConfig;

/// Makes clients of managed clusters.
pub trait Connect: Send + Sync + 'static {
    /// A client for a kubeconfig that [`vet`] let pass.
    fn connect<'a>(
        &'a self,
        kubeconfig: &'a Kubeconfig,
    ) -> BoxFuture<'a, Result<Client, ConnectError>>;
}

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig's certificates, keys or address make no sense.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// The client could not be made.
    #[error("the client could not be made")]
    Client(#[source] Box<kube::Error>),
    /// No such cluster, where clusters are simulated.
    #[error("{0}")]
    Unknown(String),
}

/// Connects for real: TLS verified, no retries of the client's own, no connection that says nothing for ever.
#[derive(Debug, Clone, Copy)]
pub struct RealConnect {
    longest_watch: Duration,
}

impl Connect for RealConnect {
    fn connect<'a>(
        &'a self,
        kubeconfig: &'a Kubeconfig,
    ) -> BoxFuture<'a, Result<Client, ConnectError>> {
        Box::pin(async move {
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
                .await
                .map_err(|e| ConnectError::Kubeconfig(Box::new(e)))?;
            // A sick member is the normal case here: its 503s must reach us at once, not after the client's retries.
            config.default_retry = false;
            bounded(config, self.longest_watch).map_err(|e| ConnectError::Client(Box::new(e)))
        })
    }
}

impl RealConnect {
    /// For clusters that are watched with these times.
    pub fn new(fleet: &FleetConfig) -> Self {
        Self {
            longest_watch: Duration::from_secs(fleet.watch_timeout.into()),
        }
    }
}

/// Why a kubeconfig is refused. None of the texts shows what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VetError {
    /// Not text, not YAML, or YAML of something else.
    #[error("it is not a kubeconfig in YAML")]
    NotYaml,
    /// No usable current context.
    #[error("it has no usable current context: {0}")]
    NoContext(&'static str),
    /// Would run a command.
    #[error(
        "user {0} has an exec entry: commands are not run; use a token or a client certificate"
    )]
    Exec(String),
    /// Would need a plugin.
    #[error(
        "user {0} has an auth-provider entry: it is not supported; use a token or a client certificate"
    )]
    AuthProvider(String),
    /// Names a file.
    #[error("{field} of {owner} names a file: put the content itself into the kubeconfig")]
    File {
        /// User or cluster.
        owner: String,
        /// The field.
        field: &'static str,
    },
    /// Asks not to verify the server.
    #[error(
        "cluster {0} has insecure-skip-tls-verify: the server must be verified; add certificate-authority-data"
    )]
    Insecure(String),
    /// Names a proxy.
    #[error("cluster {0} has a proxy-url: proxies are not supported")]
    Proxy(String),
    /// Names no server.
    #[error("cluster {0} names no server")]
    NoServer(String),
    /// The server is not reached over TLS.
    #[error("the server of cluster {0} is not an https address")]
    NotHttps(String),
}

/// Reads a kubeconfig and refuses what must not be followed. Entries that the current context does not use are held to
/// the same rules: they serve nothing here.
pub fn vet(yaml: &[u8]) -> Result<Kubeconfig, VetError> {
    let text = std::str::from_utf8(yaml).map_err(|_| VetError::NotYaml)?;
    let config = Kubeconfig::from_yaml(text).map_err(|_| VetError::NotYaml)?;
    for user in &config.auth_infos {
        if let Some(info) = &user.auth_info {
            vet_user(&user.name, info)?;
        }
    }
    for cluster in &config.clusters {
        if let Some(entry) = &cluster.cluster {
            vet_cluster(&cluster.name, entry)?;
        }
    }
    vet_context(&config)?;
    Ok(config)
}

fn vet_user(name: &str, info: &AuthInfo) -> Result<(), VetError> {
    if info.exec.is_some() {
        return Err(VetError::Exec(name.to_owned()));
    }
    if info.auth_provider.is_some() {
        return Err(VetError::AuthProvider(name.to_owned()));
    }
    let files = [
        ("tokenFile", info.token_file.is_some()),
        ("client-certificate", info.client_certificate.is_some()),
        ("client-key", info.client_key.is_some()),
    ];
    match files.iter().find(|(_, there)| *there) {
        Some((field, _)) => Err(VetError::File {
            owner: format!("user {name}"),
            field,
        }),
        None => Ok(()),
    }
}

fn vet_cluster(name: &str, cluster: &Cluster) -> Result<(), VetError> {
    if cluster.certificate_authority.is_some() {
        return Err(VetError::File {
            owner: format!("cluster {name}"),
            field: "certificate-authority",
        });
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(VetError::Insecure(name.to_owned()));
    }
    if cluster.proxy_url.is_some() {
        return Err(VetError::Proxy(name.to_owned()));
    }
    match cluster.server.as_deref().map(str::trim) {
        None | Some("") => Err(VetError::NoServer(name.to_owned())),
        Some(url) if !url.to_ascii_lowercase().starts_with("https://") => {
            Err(VetError::NotHttps(name.to_owned()))
        }
        Some(_) => Ok(()),
    }
}

fn vet_context(config: &Kubeconfig) -> Result<(), VetError> {
    let name = config
        .current_context
        .as_deref()
        .filter(|name| !name.is_empty())
        .ok_or(VetError::NoContext("current-context is not set"))?;
    let context = config
        .contexts
        .iter()
        .find(|c| c.name == name)
        .and_then(|c| c.context.as_ref())
        .ok_or(VetError::NoContext("no context of that name exists"))?;
    if !config
        .clusters
        .iter()
        .any(|c| c.name == context.cluster && c.cluster.is_some())
    {
        return Err(VetError::NoContext("the cluster it names does not exist"));
    }
    let user = context.user.as_deref().filter(|u| !u.is_empty());
    if user.is_some_and(|u| !config.auth_infos.iter().any(|i| i.name == u)) {
        return Err(VetError::NoContext("the user it names does not exist"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
             clusters:\n- name: k\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
        )
    }

    const SERVER: &str = "server: 'https://dr1:6443'";

    fn refused(cluster: &str, user: &str) -> VetError {
        vet(yaml(cluster, user).as_bytes()).unwrap_err()
    }

    #[test]
    fn a_token_passes() {
        let config = vet(yaml(SERVER, "token: secret").as_bytes()).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("c"));
    }

    #[test]
    fn each_danger_is_refused_by_name() {
        let with = |extra: &str| format!("{SERVER}, {extra}");
        let file = |owner: &str, field| VetError::File {
            owner: owner.to_owned(),
            field,
        };
        let (k, u) = ("k".to_owned(), "u".to_owned());
        let table = [
            (
                refused(
                    SERVER,
                    "exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}",
                ),
                VetError::Exec(u.clone()),
            ),
            (
                refused(SERVER, "auth-provider: {name: gcp, config: {}}"),
                VetError::AuthProvider(u),
            ),
            (
                refused(SERVER, "tokenFile: /etc/passwd"),
                file("user u", "tokenFile"),
            ),
            (
                refused(SERVER, "client-certificate: /a"),
                file("user u", "client-certificate"),
            ),
            (
                refused(SERVER, "client-key: /a"),
                file("user u", "client-key"),
            ),
            (
                refused(&with("certificate-authority: /a"), "token: t"),
                file("cluster k", "certificate-authority"),
            ),
            (
                refused(&with("insecure-skip-tls-verify: true"), "token: t"),
                VetError::Insecure(k.clone()),
            ),
            (
                refused(&with("proxy-url: 'http://p'"), "token: t"),
                VetError::Proxy(k.clone()),
            ),
            (
                refused("tls-server-name: x", "token: t"),
                VetError::NoServer(k.clone()),
            ),
            (
                refused("server: 'http://dr1'", "token: t"),
                VetError::NotHttps(k),
            ),
        ];
        for (got, want) in table {
            assert_eq!(got, want);
        }
        assert!(matches!(vet(b"\xff\xfe"), Err(VetError::NotYaml)));
        assert!(matches!(vet(b"- just\n- a list\n"), Err(VetError::NotYaml)));
        let no_context =
            yaml(SERVER, "token: t").replace("current-context: c", "current-context: d");
        assert!(matches!(
            vet(no_context.as_bytes()),
            Err(VetError::NoContext(_))
        ));
        let no_user = yaml(SERVER, "token: t").replace("user: u}", "user: v}");
        assert!(matches!(
            vet(no_user.as_bytes()),
            Err(VetError::NoContext(_))
        ));
    }
}
