//! Carrying out steps: one exhaustive match, no choices.
//!
//! What holds for every step: each call has a deadline; the volumes or workloads of a step are worked on in parallel,
//! with a constant number of calls each; what the API server answers to a write enters the cache at once; an object
//! that carries another placement's mark is never touched; nothing is taken away where a newer owner is recorded; a step
//! repeated changes nothing more.

mod capture;
mod kinds;
mod mark;
mod namespace;
mod newer;
mod object;
mod parts;
mod record;
mod remote;
mod remove;
mod replicate;
mod restore;
mod start;
mod turns;
mod volumes;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::core::DynamicObject;
use lifeboat_capture::Marks;
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, ClusterId, Epoch, Outcome, Step};
use lifeboat_kit::SharedClock;

use crate::archive_view::ArchiveView;
use crate::resolve::{PlacementKey, Scope};
use remote::Remote;
use replicate::Asked;
use turns::Turns;
pub use turns::{Crowded, Turn, WakePlacement};

/// What the API server answered to a write.
#[derive(Debug, Clone)]
pub enum Written {
    /// The object as it is now.
    Applied(Box<DynamicObject>),
    /// The object is gone; this is what was known of it.
    Deleted(Box<DynamicObject>),
}

/// The managed clusters, as the executor needs them.
pub trait Members: Send + Sync {
    /// A client; none: the cluster is not registered, or its credentials are refused.
    fn client(&self, cluster: &ClusterId) -> Option<kube::Client>;
    /// The uid of the cluster, if it was seen.
    fn uid(&self, cluster: &ClusterId) -> Option<String>;
    /// Puts what a write was answered with into the cache.
    fn written(&self, cluster: &ClusterId, what: Written);
}

/// Carries out steps.
#[derive(Clone)]
pub struct Executor {
    members: Arc<dyn Members>,
    captures: Arc<ArchiveView>,
    clock: SharedClock,
    hub: kube::Client,
    deadline: Duration,
    turns: Turns,
}

impl Executor {
    /// An executor that writes to `members`, keeps captures in the archive behind `captures`, and gives each call `deadline`.
    /// Whoever has waited for a turn is woken by `wake`.
    pub fn new(
        members: Arc<dyn Members>,
        captures: Arc<ArchiveView>,
        clock: SharedClock,
        hub: kube::Client,
        deadline: Duration,
        wake: WakePlacement,
    ) -> Self {
        Self {
            members,
            captures,
            clock,
            hub,
            deadline,
            turns: Turns::new(wake),
        }
    }

    /// A turn on the cluster of a step, until it is dropped; none is needed for a step on the hub alone.
    pub fn turn(&self, step: &Step, key: &PlacementKey) -> Result<Option<Turn>, Crowded> {
        let cluster = step.cluster();
        cluster.map(|c| self.turns.take(c, key)).transpose()
    }

    /// Carries out one step. Whatever is not acknowledged is `Unknown`.
    pub fn run_step<'a>(&'a self, step: &'a Step, scope: &'a Scope) -> BoxFuture<'a, Outcome> {
        // Boxed: the futures of all steps together would be a large part of each placement's.
        self.step(step, scope).boxed()
    }

    async fn step(&self, step: &Step, scope: &Scope) -> Outcome {
        let Some(cluster) = step.cluster() else {
            return record::finish(self, scope).await;
        };
        let Some(client) = self.members.client(cluster) else {
            return Outcome::Unknown {
                why: format!("there is no connection to {cluster}"),
            };
        };
        let remote = Remote::new(cluster.clone(), client, self.members.clone(), self.deadline);
        let at = At {
            executor: self,
            remote: &remote,
            scope,
        };
        if let Err(trouble) = newer::none_recorded(&at, step).await {
            return parts::outcome(Err(trouble));
        }
        match step {
            Step::Record {
                cluster: _,
                owner,
                epoch,
                force,
                served,
            } => record::record(&at, owner, *epoch, *force, served.as_deref()).await,
            Step::Retain { cluster: _, claims } => volumes::retain(&at, claims).await,
            Step::Replicate {
                cluster: _,
                claims,
                role,
                epoch,
            } => {
                let asked = Asked {
                    role: *role,
                    epoch: *epoch,
                    order: None,
                };
                replicate::replicate(&at, claims, &asked).await
            }
            Step::Resync {
                cluster: _,
                claims,
                epoch,
                until,
                salvage,
            } => replicate::resync(&at, claims, *epoch, (*until, *salvage)).await,
            Step::Capture {
                cluster: _,
                epoch,
                claims,
            } => capture::capture(&at, *epoch, claims).await,
            Step::Restore {
                cluster: _,
                capture,
                epoch,
            } => restore::restore(&at, *capture, *epoch).await,
            Step::Nudge { cluster: _, claims } => volumes::nudge(&at, claims).await,
            Step::Quiesce {
                cluster: _,
                workloads,
            } => workloads::quiesce(&at, workloads).await,
            Step::Resume {
                cluster: _,
                workloads,
            } => workloads::resume(&at, workloads).await,
            Step::Start {
                cluster: _,
                capture,
                epoch,
            } => start::start(&at, *capture, *epoch).await,
            Step::RemoveWorkloads {
                cluster: _,
                workloads,
            } => workloads::remove(&at, workloads).await,
            Step::Release { cluster: _, claims } => replicate::release(&at, claims).await,
            Step::RemoveClaims { cluster: _, claims } => remove::remove_claims(&at, claims).await,
            Step::Unprotect { cluster: _, claims } => volumes::unprotect(&at, claims).await,
            Step::LetGo {
                cluster: _,
                volumes,
            } => volumes::let_go(&at, volumes).await,
            Step::Forget { cluster: _ } => record::forget(&at).await,
            Step::Finish => record::finish(self, scope).await,
        }
    }
}

/// Where a step is carried out, and for whom.
pub(crate) struct At<'a> {
    pub(crate) executor: &'a Executor,
    pub(crate) remote: &'a Remote,
    pub(crate) scope: &'a Scope,
}

impl At<'_> {
    /// The namespace here for a home namespace.
    pub(crate) fn namespace(&self, home: &str) -> String {
        self.scope.namespace_on(self.remote.cluster(), home)
    }

    /// The marks of objects made at `epoch`.
    pub(crate) fn marks(&self, epoch: Epoch) -> Marks {
        let (placement, placement_uid) = (self.scope.key.to_string(), self.scope.uid.clone());
        Marks {
            placement,
            placement_uid,
            epoch: u64::try_from(epoch.0).unwrap_or(0),
        }
    }
}

/// A refusal because the cluster has seen a newer owner than this hub.
pub(crate) fn stale(cluster: &ClusterId, placement: &str, seen: &str) -> Blocker {
    Blocker::new(
        Reason::StaleHub,
        format!("{cluster} has recorded a newer owner of {placement} than this hub knows: {seen}"),
        "Another hub took over, or this hub lost its memory: it reads the recorded owner and goes on from there. If it does not, compare the DROwnership objects of all clusters.",
    )
}
