//! Clients from the user's kubeconfig, and from the pod's own account for hub and agent.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use lifeboat_kit::client::bounded;

/// How long one read may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(15);
/// How long hub, agent and CLI let a watch of these clients last, in seconds.
pub(crate) const WATCH_SECONDS: u32 = 60;

/// A cluster cannot be talked to, for a reason on this side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// There is no kubeconfig, or it cannot be read.
    #[error("could not read the kubeconfig (see KUBECONFIG and --kubeconfig)")]
    Read(#[source] KubeconfigError),
    /// The kubeconfig has no such context, or the context is incomplete.
    #[error("could not use context {context} of the kubeconfig")]
    Context {
        /// The context.
        context: String,
        /// What is wrong.
        #[source]
        source: KubeconfigError,
    },
    /// Neither the pod's account nor a kubeconfig is there.
    #[error("could not find credentials for a cluster")]
    Infer(#[source] InferConfigError),
    /// The credentials cannot be used.
    #[error("could not set up a client")]
    Build(#[source] kube::Error),
}

/// A client and the namespace that its context names.
pub(crate) struct Session {
    /// The client.
    pub(crate) client: Client,
    /// The namespace to use when none is said.
    pub(crate) namespace: String,
}

/// Reads the user's kubeconfig: `file`, or what KUBECONFIG names, or the usual place.
pub(crate) fn kubeconfig(file: Option<&PathBuf>) -> Result<Kubeconfig, ClientError> {
    match file {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    }
    .map_err(ClientError::Read)
}

/// A client for a context, or for the current one.
pub(crate) async fn connect(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> Result<Session, ClientError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let context = context
        .or(kubeconfig.current_context.as_deref())
        .unwrap_or("(current)")
        .to_owned();
    let made = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    session(made.map_err(|source| ClientError::Context { context, source })?)
}

/// A client for the cluster this process runs in, or else for the current context: how hub and agent find their API server.
pub(crate) async fn infer() -> Result<Session, ClientError> {
    session(Config::infer().await.map_err(ClientError::Infer)?)
}

fn session(config: Config) -> Result<Session, ClientError> {
    let namespace = config.default_namespace.clone();
    let client =
        bounded(config, Duration::from_secs(WATCH_SECONDS.into())).map_err(ClientError::Build)?;
    Ok(Session { client, namespace })
}
