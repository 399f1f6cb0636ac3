//! A tap on all that the hubs write: it counts, and at a chosen write it makes something go wrong.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use tokio::sync::watch;
use tower::{BoxError, Service};

/// What goes wrong at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is carried out, and its answer is lost.
    LoseReply,
    /// It is carried out, and from then on nothing the hub does happens: the process is dead.
    DieAfter,
    /// It is not carried out, and nothing the hub does afterwards is either.
    DieBefore,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    journal: Vec<String>,
    writers: BTreeSet<usize>,
    plan: Option<(u64, Fault)>,
    dead: bool,
}

/// Counts the writes of all hubs, renewals of leases and events aside.
#[derive(Debug, Default)]
pub struct Tap {
    state: Mutex<State>,
    struck: watch::Sender<u64>,
}

impl Tap {
    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// Method and path of each write so far.
    pub fn written(&self) -> Vec<String> {
        self.state.lock().journal.clone()
    }

    /// Which hubs wrote anything, by number.
    pub fn writers(&self) -> BTreeSet<usize> {
        self.state.lock().writers.clone()
    }

    /// At the `nth` write from now (from 1) something goes wrong, once.
    pub fn plan(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.plan = Some((state.writes + nth, fault));
    }

    /// Whether what was planned has not happened.
    pub fn is_pending(&self) -> bool {
        self.state.lock().plan.is_some()
    }

    /// Waits for what was planned.
    pub async fn struck(&self) {
        let mut struck = self.struck.subscribe();
        let before = *struck.borrow_and_update();
        if self.is_pending() {
            drop(struck.wait_for(|n| *n > before).await);
        }
    }

    /// Writes go through again: a new process was started.
    pub(super) fn revive(&self) {
        self.state.lock().dead = false;
    }

    /// A client of a hub, whose writes are counted.
    pub(super) fn on(self: &Arc<Self>, client: Client, hub: usize) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(
            Tapped {
                inner: client,
                tap: Arc::clone(self),
                hub,
            },
            namespace,
        )
    }

    fn enter(&self, request: &Request<Body>, hub: usize) -> Entry {
        let path = request.uri().path();
        let aside =
            path.contains("/leases") || path.contains("/events") || request.method() == Method::GET;
        let mut state = self.state.lock();
        if state.dead {
            return Entry::Dead;
        }
        if aside {
            return Entry::Pass;
        }
        state.writes += 1;
        state.writers.insert(hub);
        let line = format!("{} {path}", request.method());
        state.journal.push(line);
        match state.plan {
            Some((at, fault)) if at == state.writes => {
                state.plan = None;
                state.dead = fault != Fault::LoseReply;
                drop(state);
                Entry::Struck(fault)
            }
            Some(_) | None => Entry::Pass,
        }
    }
}

enum Entry {
    Pass,
    Dead,
    Struck(Fault),
}

#[derive(Clone)]
struct Tapped {
    inner: Client,
    tap: Arc<Tap>,
    hub: usize,
}

impl Service<Request<Body>> for Tapped {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, tap, hub) = (self.inner.clone(), Arc::clone(&self.tap), self.hub);
        Box::pin(async move {
            let entry = tap.enter(&request, hub);
            match entry {
                Entry::Pass => inner.send(request).await.map_err(BoxError::from),
                Entry::Dead => std::future::pending().await,
                Entry::Struck(fault) => {
                    if fault != Fault::DieBefore {
                        drop(inner.send(request).await);
                    }
                    tap.struck.send_modify(|n| *n += 1);
                    match fault {
                        Fault::LoseReply => Err(BoxError::from(std::io::Error::from(
                            std::io::ErrorKind::ConnectionReset,
                        ))),
                        Fault::DieAfter | Fault::DieBefore => std::future::pending().await,
                    }
                }
            }
        })
    }
}
