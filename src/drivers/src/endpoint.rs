//! Where a driver listens.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

/// A dial that takes longer has failed.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);

/// Dialling failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The path is not one that a socket can have.
    #[error("{path} cannot be a socket path")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody listens there.
    #[error("nobody listens on {path}")]
    Refused {
        /// The path.
        path: String,
        /// What the transport says.
        #[source]
        source: tonic::transport::Error,
    },
    /// An injected connector refused.
    #[error("{0}")]
    Injected(String),
}

type Dialled = Pin<Box<dyn Future<Output = Result<Channel, ConnectError>> + Send>>;

/// Makes a connection whenever one is needed.
pub type Connect = Arc<dyn Fn() -> Dialled + Send + Sync>;

/// Where a driver listens.
#[derive(Clone)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// Something else that yields channels, such as a driver in this process.
    Connector(Connect),
}

/// An [`Endpoint::Connector`] from an async function.
pub fn connector<F, Fut>(dial: F) -> Endpoint
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Channel, ConnectError>> + Send + 'static,
{
    Endpoint::Connector(Arc::new(move || Box::pin(dial())))
}

impl Endpoint {
    /// Dials. Answers only when somebody accepts.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        match self {
            Self::Unix(path) => {
                let path = path.display().to_string();
                let bad = |source| ConnectError::Path {
                    path: path.clone(),
                    source,
                };
                let endpoint =
                    tonic::transport::Endpoint::try_from(format!("unix://{path}")).map_err(bad)?;
                let channel = endpoint.connect_timeout(DIAL_DEADLINE).connect().await;
                channel.map_err(|source| ConnectError::Refused { path, source })
            }
            Self::Connector(connect) => connect().await,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => f.debug_tuple("Unix").field(path).finish(),
            Self::Connector(_) => f.write_str("Connector"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Connector(_) => f.write_str("in-process"),
        }
    }
}
