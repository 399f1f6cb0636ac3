//! A Kubernetes API server in memory, good enough for kube clients, kubectl and our own programs.
//!
//! What it does: create, read, update, delete, watch; status, scale and the other subresources; merge, JSON,
//! strategic and server-side apply patches with managedFields; `CustomResourceDefinitions` with pruning, defaults,
//! validation and CEL; finalizers, owners, namespaces; selectors, pages, tables; RBAC; service account tokens.
//!
//! Every request is answered in one go under one lock, so that a world of servers is deterministic: identifiers and
//! versions come from counters, time from a [`SimClock`], and nothing is polled. It runs under tokio's paused clock.
//!
//! What it is not:
//! - One version of a custom resource is served, the stored one; there is no conversion.
//! - Garbage collection and the emptying of a namespace happen at once, within the request that causes them.
//! - Built-in kinds are pruned and type-checked, but have only those defaults and rules that tests notice (`builtin`).
//! - Lists do not hold a snapshot over several pages; a continued page shows the present.
//! - No admission webhooks or policies, no quotas, no priority and fairness, no aggregation, no protobuf.
//! - RBAC does not check escalation, nor aggregate `ClusterRoles`.
//! - Versions are per server and in memory; [`ApiServer::stop`] and [`ApiServer::start`] keep everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use crate::clock::SimClock;

mod auth;
mod builtin;
mod checks;
mod crd;
mod delete;
mod discovery;
mod error;
mod events;
mod fields;
mod https;
mod kinds;

mod link;
mod log;
mod managed;
mod names;
mod openapi;
mod options;
mod patch;
mod present;
mod rbac;
mod read;
mod request;
mod resource;
mod route;
mod schema;
mod select;
mod service;
mod store;
mod subresource;
mod table;
mod tree;
mod watch;
mod write;

pub use auth::Identity;
pub use https::{ServeError, ServeHandle, serve};
pub use link::{ConnectionError, Link};
pub use rbac::{Right, Verdict};

use error::ApiError;
use link::Passage;
use managed::Applier;
use request::Request;
use route::{Authorization, Counting, Outcome};
use service::{Caller, Connection};
use store::State;
use write::{Conflicts, WriteOptions};

/// Why a document could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The text is not YAML.
    #[error("could not parse the YAML")]
    Yaml(#[source] serde_saphyr::Error),
    /// A document has no kind this server knows.
    #[error("the server has no resource for {kind} in {api_version}")]
    UnknownKind {
        /// As the document says.
        api_version: String,
        /// As the document says.
        kind: String,
    },
    /// The server refused a document.
    #[error("{kind} {name}: {message}")]
    Refused {
        /// The kind of the document.
        kind: String,
        /// Its name.
        name: String,
        /// What the server said.
        message: String,
    },
}

/// One simulated cluster's API server.
#[derive(Debug)]
pub struct ApiServer {
    name: String,
    clock: Arc<SimClock>,
    power: channel::Sender<Passage>,
    enforce_rbac: AtomicBool,
    state: Mutex<State>,
}

impl ApiServer {
    /// A server with the built-in resources and the namespaces every cluster has.
    pub fn new(name: &str, clock: Arc<SimClock>) -> Arc<Self> {
        let mut state = State::new(name, clock.clone());
        for res in resource::builtins() {
            state.register(res);
        }
        for ns in ["kube-system", "default", "kube-node-lease", "kube-public"] {
            // Nothing can refuse these in an empty server.
            drop(state.resource("", "namespaces").and_then(|res| {
                let obj = json!({"metadata": {"name": ns}});
                state.create(&res, "", obj, &WriteOptions::by("kube-apiserver"))
            }));
        }
        Arc::new(Self {
            name: name.to_owned(),
            clock,
            power: channel::Sender::new(Passage::Open),
            enforce_rbac: AtomicBool::new(true),
            state: Mutex::new(state),
        })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its time.
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    /// A client of `who`, in process, over `link`. Needs a tokio runtime.
    pub fn client(self: &Arc<Self>, who: Identity, link: &Link) -> kube::Client {
        self.connect(Caller {
            identity: who,
            link: link.clone(),
            counting: Counting::Counted,
        })
    }

    /// A client that may do everything, over a link of its own, whose requests are not counted. Needs a tokio runtime.
    pub fn admin(self: &Arc<Self>) -> kube::Client {
        self.connect(Caller {
            identity: Identity::admin(),
            link: Link::perfect(),
            counting: Counting::Quiet,
        })
    }

    fn connect(self: &Arc<Self>, caller: Caller) -> kube::Client {
        kube::Client::new(
            Connection {
                server: self.clone(),
                caller,
            },
            "default",
        )
    }

    /// Applies every document of a YAML text as the administrator: what is missing is created, what is there changed.
    pub fn apply_yaml(&self, yaml: &str) -> Result<(), ApplyError> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(ApplyError::Yaml)?;
        for document in documents {
            match document.get("items").and_then(Value::as_array) {
                Some(items) if tree::text(&document, "kind").ends_with("List") => {
                    items.iter().try_for_each(|item| self.apply_one(item))?;
                }
                _ if document.is_null() => {}
                _ => self.apply_one(&document)?,
            }
        }
        Ok(())
    }

    fn apply_one(&self, document: &Value) -> Result<(), ApplyError> {
        let (api_version, kind) = (
            tree::text(document, "apiVersion"),
            tree::text(document, "kind"),
        );
        let name = tree::meta_text(document, "name");
        let mut state = self.state.lock();
        let found = state
            .resources
            .values()
            .find(|r| r.kind == kind && r.api_version() == api_version)
            .cloned();
        let Some(res) = found else {
            return Err(ApplyError::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            });
        };
        let refused = |e: ApiError| ApplyError::Refused {
            kind: kind.to_owned(),
            name: name.to_owned(),
            message: e.message,
        };
        let ns = match (res.is_namespaced(), tree::meta_text(document, "namespace")) {
            (false, _) => "",
            (true, "") => "default",
            (true, ns) => ns,
        };
        let opts = WriteOptions {
            conflicts: Conflicts::TakeOver,
            ..WriteOptions::by("apply-yaml")
        };
        let now = state.clock.stamp();
        let by = Applier {
            manager: &opts.manager,
            subresource: "",
            conflicts: opts.conflicts,
            now: &now,
        };
        let key = (ns.to_owned(), name.to_owned());
        let written = if state.get(&res, &key).is_ok() {
            state.update_applied(&res, &key, &opts, |live| {
                managed::apply(&res, live, document, by)
            })
        } else {
            let mut empty = json!({"metadata": {"name": name}});
            if res.is_namespaced() {
                tree::meta_mut(&mut empty).insert("namespace".into(), ns.into());
            }
            managed::apply(&res, &empty, document, by)
                .and_then(|want| state.create(&res, ns, want, &opts))
        };
        written.map(drop).map_err(refused)
    }

    /// Switches the server off: requests fail with a connection error, open watches break. Its data stays.
    pub fn stop(&self) {
        self.power.send_replace(Passage::Refused);
    }

    /// Switches the server on again, after [`stop`](Self::stop).
    pub fn start(&self) {
        self.power.send_replace(Passage::Open);
    }

    /// Halts the server as a stopped process would be: requests hang, watches are silent.
    pub fn freeze(&self) {
        self.power.send_replace(Passage::Silent);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.start();
    }

    /// Whether roles decide what callers outside `system:masters` may do (they do, unless switched off here).
    pub fn enforce_rbac(&self, on: bool) {
        self.enforce_rbac.store(on, Ordering::Relaxed);
    }

    /// How many changes of each resource a watch can look back on before it gets 410, and two for each object if that is
    /// more; 1024 unless said.
    pub fn set_log_cap(&self, entries: usize) {
        self.state.lock().log_cap = entries;
    }

    /// Makes a bearer token known that stands for `who` until the server is gone.
    pub fn add_token(&self, token: &str, who: Identity) {
        self.state.lock().tokens.add_static(token, who);
    }

    /// Who a bearer token stands for, now.
    pub fn authenticate(&self, token: &str) -> Option<Identity> {
        self.state.lock().authenticate(token)
    }

    /// How many requests each user has sent, by verb and resource (`pods`, `pods/status`).
    pub fn request_counts(&self) -> BTreeMap<(String, String, String), u64> {
        self.state.lock().counts.clone()
    }

    /// Forgets the counts so far.
    pub fn reset_request_counts(&self) {
        self.state.lock().counts.clear();
    }

    /// What callers outside `system:masters` asked for, and whether their roles let them.
    pub fn rights_asked(&self) -> BTreeMap<Right, Verdict> {
        self.state.lock().asked.clone()
    }

    /// The next request of this kind that is allowed is answered with a conflict, as if another writer had been faster.
    pub fn outrun_next(&self, right: Right) {
        self.state.lock().races.insert(right);
    }

    /// What roles refused somebody, in each case at least once.
    pub fn rights_refused(&self) -> Vec<Right> {
        let state = self.state.lock();
        let refused = state.asked.iter().filter(|(_, v)| **v == Verdict::Refused);
        refused.map(|(right, _)| right.clone()).collect()
    }

    pub(crate) fn power(&self) -> channel::Receiver<Passage> {
        self.power.subscribe()
    }

    pub(crate) fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.state.lock())
    }

    pub(crate) fn handle(&self, caller: &Caller, request: &Request) -> Outcome {
        let rbac = self.enforce_rbac.load(Ordering::Relaxed);
        let authorization = if rbac {
            Authorization::Rbac
        } else {
            Authorization::AllowAll
        };
        self.state
            .lock()
            .handle(&caller.identity, request, authorization, caller.counting)
    }
}
