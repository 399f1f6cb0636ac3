//! A Lease object: who acts, and that it is alive.
//!
//! Another holder's lease is taken over when *we* have seen it unchanged for its whole duration, on our own monotonic
//! clock: wall clocks of two machines are never compared. Our own is given up when it could not be renewed for as long,
//! less a margin, so that we stop before anyone else may start.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::SharedClock;
use crate::error::{CallError, deadline};

/// What lease to hold, and as whom.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Labels of the Lease.
    pub labels: BTreeMap<String, String>,
    /// Who we are: a pod name, or anything else that differs between two processes.
    pub identity: String,
    /// How long a lease lasts that is not renewed. It is renewed each third of it.
    pub ttl: Duration,
}

/// Whether we hold the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Someone else does, or we do not know.
    No {
        /// Who was seen to hold it.
        holder: Option<String>,
    },
    /// We do.
    Yes {
        /// When we got it.
        since: Timestamp,
        /// How often the lease has changed hands: a fencing number.
        transitions: i32,
    },
}

impl Held {
    /// It is not ours, and nothing is known of who has it.
    pub const UNKNOWN: Self = Self::No { holder: None };

    /// Whether it is ours.
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

/// Sets annotations on the Lease; a change is written at once, not at the next renewal.
pub type Annotations = watch::Sender<BTreeMap<String, String>>;

/// One contender for one Lease.
pub struct Lease {
    api: Api<LeaseObject>,
    config: LeaseConfig,
    clock: SharedClock,
    held: watch::Sender<Held>,
    annotations: watch::Receiver<BTreeMap<String, String>>,
    seen: Option<(String, Instant)>,
    renewed: Option<Instant>,
}

impl Lease {
    /// A contender, what tells whether it holds the lease, and what sets the Lease's annotations.
    pub fn new(
        client: Client,
        config: LeaseConfig,
        clock: SharedClock,
    ) -> (Self, watch::Receiver<Held>, Annotations) {
        let (held, is_held) = watch::channel(Held::UNKNOWN);
        let (annotate, annotations) = watch::channel(BTreeMap::new());
        let api = Api::namespaced(client, &config.namespace);
        (
            Self {
                api,
                config,
                clock,
                held,
                annotations,
                seen: None,
                renewed: None,
            },
            is_held,
            annotate,
        )
    }

    /// Contends for the lease and renews it until cancelled, then gives it up.
    pub async fn run(mut self, cancel: CancellationToken) {
        self.contend_until(&cancel).await;
    }

    /// The same, and may be done again.
    pub async fn contend_until(&mut self, cancel: &CancellationToken) {
        let mut annotations = self.annotations.clone();
        // An annotation set before the start is written with the first renewal anyway.
        annotations.mark_unchanged();
        loop {
            let wait = self.turn().await;
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Ok(()) = annotations.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if self.held.borrow().is_yes() {
            self.release().await;
        }
        self.became(Held::UNKNOWN);
    }

    /// One try. Answers how long to wait before the next.
    async fn turn(&mut self) -> Duration {
        let third = self.config.ttl / 3;
        let retry = third.min(Duration::from_secs(2));
        let Some(expiry) = self.expiry() else {
            let answer = self.contend().await;
            return if self.took(answer) { third } else { retry };
        };
        // While we hold it, no call may outlast the lease: another may start the moment it runs out.
        let Ok(answer) = tokio::time::timeout_at(expiry, self.contend()).await else {
            warn!(lease = %self.config.name, "lease lost: it could not be renewed in time");
            self.became(Held::UNKNOWN);
            return retry;
        };
        if self.took(answer) {
            third
        } else {
            retry.min(expiry.saturating_duration_since(Instant::now()))
        }
    }

    /// When we stop to hold it if it is not renewed; none if we do not hold it.
    fn expiry(&self) -> Option<Instant> {
        let margin = self.config.ttl / 5;
        self.renewed
            .filter(|_| self.held.borrow().is_yes())
            .map(|at| at + self.config.ttl - margin)
    }

    /// Takes the result of a try; answers whether we hold the lease now, freshly renewed.
    fn took(&self, answer: Result<Held, CallError>) -> bool {
        match answer {
            Ok(held) => {
                let ours = held.is_yes();
                self.became(held);
                ours
            }
            Err(error) => {
                warn!(lease = %self.config.name, error = %error.full(), "lease not renewed");
                // Someone else wrote it: whether it is still ours is seen at the next try.
                if error.is_conflict() {
                    self.became(Held::UNKNOWN);
                }
                false
            }
        }
    }

    fn became(&self, held: Held) {
        self.held.send_if_modified(|now| {
            if *now == held {
                return false;
            }
            info!(lease = %self.config.name, ?held, "lease");
            *now = held;
            true
        });
    }

    async fn contend(&mut self) -> Result<Held, CallError> {
        let (started, params) = (Instant::now(), PostParams::default());
        let (name, limit) = (self.config.name.clone(), self.config.ttl / 3);
        let Some(object) =
            deadline(format!("get lease {name}"), limit, self.api.get_opt(&name)).await?
        else {
            let fresh = self.desired(None);
            let call = self.api.create(&params, &fresh);
            let made = deadline(format!("create lease {name}"), limit, call).await?;
            self.renewed = Some(started);
            return Ok(held(&made));
        };
        if !self.is_free(&object) {
            let holder = object.spec.and_then(|spec| spec.holder_identity);
            return Ok(Held::No { holder });
        }
        // replace carries the resourceVersion we read: of two contenders one gets a conflict.
        let next = self.desired(Some(object));
        let call = self.api.replace(&name, &params, &next);
        let made = deadline(format!("renew lease {name}"), limit, call).await?;
        self.renewed = Some(started);
        Ok(held(&made))
    }

    /// Whether we may write the lease: it is ours, given up, or was not renewed while we watched.
    fn is_free(&mut self, object: &LeaseObject) -> bool {
        let spec = object.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.config.identity {
            return true;
        }
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, at)) if *seen == version => *at,
            _ => {
                let now = Instant::now();
                self.seen = Some((version, now));
                now
            }
        };
        let ttl = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok())
            .map_or(self.config.ttl, Duration::from_secs);
        since.elapsed() >= ttl
    }

    fn desired(&self, old: Option<LeaseObject>) -> LeaseObject {
        let now = MicroTime(self.clock.now());
        let mut object = old.unwrap_or_else(|| LeaseObject {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        object.metadata.managed_fields = None;
        if !self.config.labels.is_empty() {
            let labels = object.metadata.labels.get_or_insert_default();
            labels.extend(self.config.labels.clone());
        }
        let wanted = self.annotations.borrow().clone();
        if !wanted.is_empty() {
            object
                .metadata
                .annotations
                .get_or_insert_default()
                .extend(wanted);
        }
        let spec = object.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_deref() != Some(self.config.identity.as_str()) {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(-1) + 1);
            spec.acquire_time = Some(now.clone());
            spec.holder_identity = Some(self.config.identity.clone());
        }
        spec.lease_duration_seconds = i32::try_from(self.config.ttl.as_secs().max(1)).ok();
        spec.renew_time = Some(now);
        object
    }

    async fn release(&self) {
        let name = &self.config.name;
        let given_up = async {
            let Some(mut object) =
                deadline("get lease", self.config.ttl / 3, self.api.get_opt(name)).await?
            else {
                return Ok(());
            };
            let spec = object.spec.get_or_insert_with(LeaseSpec::default);
            if spec.holder_identity.as_deref() != Some(self.config.identity.as_str()) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let params = PostParams::default();
            let call = self.api.replace(name, &params, &object);
            deadline("release lease", self.config.ttl / 3, call)
                .await
                .map(|_| ())
        };
        let result: Result<(), CallError> = given_up.await;
        match result {
            Ok(()) => info!(lease = %name, "lease given up"),
            Err(error) => {
                warn!(lease = %name, error = %error.full(), "lease not given up; it will run out");
            }
        }
    }
}

fn held(object: &LeaseObject) -> Held {
    let spec = object.spec.clone().unwrap_or_default();
    Held::Yes {
        since: spec.acquire_time.map_or(Timestamp::UNIX_EPOCH, |t| t.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}
