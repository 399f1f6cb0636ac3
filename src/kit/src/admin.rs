//! The admin server: `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Whether one part of the program can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It can.
    Yes,
    /// It cannot, for this reason.
    No(String),
}

/// What must be ready before the program is. A part counts from the moment it is first named. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    parts: Arc<RwLock<BTreeMap<String, Ready>>>,
}

impl Readiness {
    /// Nothing named yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how one part is.
    pub fn set(&self, part: &str, ready: Ready) {
        self.parts.write().insert(part.to_owned(), ready);
    }

    /// A part that no longer counts.
    pub fn forget(&self, part: &str) {
        self.parts.write().remove(part);
    }

    /// What is missing, by part.
    pub fn missing(&self) -> BTreeMap<String, String> {
        let no = |(part, ready): (&String, &Ready)| match ready {
            Ready::Yes => None,
            Ready::No(why) => Some((part.clone(), why.clone())),
        };
        self.parts.read().iter().filter_map(no).collect()
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    registry: Arc<Registry>,
}

/// The routes, to be served alone or beside others.
pub fn router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared {
            readiness,
            registry,
        })
}

/// Serves `routes` on `addr` until cancelled.
pub async fn serve(
    addr: SocketAddr,
    routes: Router,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    info!(addr = %listener.local_addr()?, "admin server listens");
    axum::serve(listener, routes)
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let missing = shared.readiness.missing();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|(part, why)| {
            format!(
                "{part}: {why}
"
            )
        })
        .collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut body = String::new();
    match encode(&mut body, &shared.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_names_what_is_missing() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        readiness.set("driver a", Ready::No("no socket".into()));
        readiness.set("cache", Ready::Yes);
        assert_eq!(
            readiness.missing(),
            BTreeMap::from([("driver a".into(), "no socket".into())])
        );
        readiness.set("driver a", Ready::Yes);
        assert!(readiness.is_ready());
    }
}
