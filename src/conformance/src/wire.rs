//! Between a client and a real API server: what one row's agent sees of it, faults of the connection, and the gate of time.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use kube::client::Body;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::gate::{DELETED, Gate, Watching};

/// Kinds in namespaces that the agent watches in all of them; here it sees those of its own row.
const NAMESPACED: [&str; 4] = [
    "volumereplications",
    "volumegroupreplications",
    "drownerships",
    "persistentvolumeclaims",
];
/// Kinds without one; here it sees those with the label of its row.
const LABELLED: [&str; 5] = [
    "persistentvolumes",
    "volumereplicationclasses",
    "volumegroupreplicationclasses",
    "networkfences",
    "networkfenceclasses",
];
/// The label that tells whose row an object is of.
pub(crate) const ROW: &str = "rows.lifeboat.dev/row";

/// What all clients of one world share.
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) open: watch::Sender<bool>,
    pub(crate) failures: Mutex<VecDeque<u16>>,
    /// What the agent wrote, but for its Lease and its events.
    pub(crate) writes: Mutex<Vec<String>>,
    /// Watches whose time was up by the clock of the row, by path: they go on where they were.
    pub(crate) parked: Mutex<BTreeMap<String, Parked>>,
    /// Of the world: its namespace and the value of its label.
    pub(crate) ns: String,
}

/// A watch between two requests for it.
pub(crate) struct Parked {
    version: u64,
    feed: Feed,
}

/// What a server sends to a watch.
struct Feed {
    body: BodyDataStream<Body>,
    watching: Watching,
    /// The beginning of a line.
    rest: Vec<u8>,
}

/// Whose requests these are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The test's.
    Admin,
    /// The agent's: narrowed to its row, and over a connection that may break.
    Agent,
}

#[derive(Clone)]
struct Wire {
    inner: Client,
    shared: Arc<Shared>,
    who: Who,
}

type Lines = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;
type Answer = Result<Response<Lines>, kube::Error>;

/// A client of a world.
pub(crate) fn client(mut config: Config, shared: Arc<Shared>, who: Who) -> Client {
    // By a clock that jumps every watch is idle for very long.
    config.read_timeout = None;
    let inner = Client::try_from(config).unwrap();
    Client::new(Wire { inner, shared, who }, "default")
}

impl tower::Service<Request<Body>> for Wire {
    type Response = Response<Lines>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move { wire.exchange(request).await })
    }
}

impl Wire {
    async fn exchange(self, mut request: Request<Body>) -> Answer {
        let kind = resource(request.uri().path());
        if self.who == Who::Agent {
            self.passage().await;
            let code = self.shared.failures.lock().pop_front();
            if let Some(code) = code {
                return Ok(injected(code));
            }
            let write = format!("{} {kind}", request.method());
            if request.method() != Method::GET && !["leases", "events"].contains(&kind.as_str()) {
                self.shared.writes.lock().push(write);
            }
            *request.uri_mut() = narrowed(request.uri(), &kind, &self.shared.ns);
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_watch = query.contains("watch=true");
        let from = number(&query, "resourceVersion=").unwrap_or_default();
        // By a clock that jumps a watch is old at once. To open each anew would be thousands of connections.
        let path = request
            .uri()
            .to_string()
            .replace(&format!("resourceVersion={from}"), "");
        let life = Duration::from_secs(number(&query, "timeoutSeconds=").unwrap_or(300));
        if is_watch {
            let parked = self.shared.parked.lock().remove(&path);
            if let Some(parked) = parked.filter(|parked| parked.version == from) {
                return Ok(Response::new(self.events(parked, path, life)));
            }
        }
        let (deletes, reads) = (
            request.method() == Method::DELETE,
            request.method() == Method::GET,
        );
        let flight = self.shared.gate.begin(self.who);
        let (parts, body) = self.inner.send(request).await?.into_parts();
        if is_watch && parts.status.is_success() {
            let feed = Feed {
                body: body.into_data_stream(),
                watching: self.shared.gate.watching(&kind, from),
                rest: Vec::new(),
            };
            drop(flight);
            let parked = Parked {
                version: from,
                feed,
            };
            return Ok(Response::from_parts(parts, self.events(parked, path, life)));
        }
        let bytes = body.collect().await?.to_bytes();
        if !reads && parts.status.is_success() {
            match version(&bytes) {
                Some(version) if !deletes => self.shared.gate.wrote(&kind, version),
                _ => self.shared.gate.stand(DELETED),
            }
        }
        drop(flight);
        self.passage().await;
        let once = futures::stream::iter([Ok(Frame::data(bytes))]);
        Ok(Response::from_parts(parts, StreamBody::new(once.boxed())))
    }

    /// Waits until the connection carries again.
    async fn passage(&self) {
        if self.who == Who::Agent {
            drop(self.shared.open.subscribe().wait_for(|open| *open).await);
        }
    }

    /// The lines of a watch until its time is up; then it is kept for who asks for it again.
    fn events(self, parked: Parked, path: String, life: Duration) -> Lines {
        let end = tokio::time::Instant::now() + life;
        let state = Some((self, parked, path));
        let stream = futures::stream::unfold(state, move |state| async move {
            let (wire, mut parked, path) = state?;
            let next = tokio::time::timeout_at(end, parked.feed.body.next()).await;
            let Ok(next) = next else {
                wire.shared.parked.lock().insert(path, parked);
                return None;
            };
            let next = next?;
            wire.passage().await;
            let item = next.map_err(io::Error::other).map(|bytes| {
                parked.take(&bytes);
                Frame::data(bytes)
            });
            Some((item, Some((wire, parked, path))))
        });
        StreamBody::new(stream.boxed())
    }
}

impl Parked {
    /// Notes the versions in what was sent.
    fn take(&mut self, bytes: &Bytes) {
        let rest = &mut self.feed.rest;
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            let version = event["object"]["metadata"]["resourceVersion"].as_str();
            if let Some(version) = version.and_then(|v| v.parse().ok()) {
                self.version = version;
                self.feed.watching.delivered(version);
            }
        }
    }
}

/// A number in the query of a request.
fn number(query: &str, name: &str) -> Option<u64> {
    query
        .split('&')
        .find_map(|q| q.strip_prefix(name))?
        .parse()
        .ok()
}

fn version(bytes: &Bytes) -> Option<u64> {
    let object: Value = serde_json::from_slice(bytes).ok()?;
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// The plural of a path's kind.
fn resource(path: &str) -> String {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // api/v1/..., apis/GROUP/VERSION/...
    let skip = if parts.first() == Some(&"api") { 2 } else { 3 };
    parts.drain(..skip.min(parts.len()));
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts.drain(..2);
    }
    parts.first().map_or_else(String::new, |p| (*p).to_owned())
}

/// A list or watch of all clusters' objects becomes one of the row's.
fn narrowed(uri: &http::Uri, kind: &str, ns: &str) -> http::Uri {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let Some(prefix) = path.strip_suffix(&format!("/{kind}")) else {
        return uri.clone();
    };
    if prefix.contains("/namespaces/") {
        return uri.clone();
    }
    let changed = if NAMESPACED.contains(&kind) {
        format!("{prefix}/namespaces/{ns}/{kind}?{query}")
    } else if LABELLED.contains(&kind) {
        format!("{path}?{query}&labelSelector={ROW}%3D{ns}")
    } else {
        return uri.clone();
    };
    changed.parse().unwrap()
}

fn injected(code: u16) -> Response<Lines> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "injected",
        "reason": "InternalError", "code": code,
    });
    let once = futures::stream::iter([Ok(Frame::data(Bytes::from(status.to_string())))]);
    let mut response = Response::new(StreamBody::new(once.boxed()));
    *response.status_mut() = code.try_into().unwrap();
    response
}
