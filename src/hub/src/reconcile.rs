//! The loop: observe, plan, journal, act, report; once per placement, with no hint of what changed.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Resource};
use lifeboat_api::{DRPlacement, DRPlacementStatus, names};
use lifeboat_core::intent::Life;
use lifeboat_core::report::Severity;
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, ClusterId, Journal, Observed, Outcome, Plan, Step, plan};
use lifeboat_kit::events::EventKind;
use lifeboat_kit::{CallError, Next, apply_status, deadline, patch_metadata};
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, instrument, warn};

use crate::context::{Context, Stuck, step_backoff};
use crate::observe::observe;
use crate::resolve::{Invalid, PlacementKey, Resolved, Scope, resolve};
use crate::status::{self, Told};

/// How often one call of the loop plans before others have their turn.
const ROUNDS: usize = 16;
/// When the same steps are planned again right after they were done: nothing of them can be seen yet.
const SAME_AGAIN: Duration = Duration::from_millis(500);

/// When a placement that found no turn on a cluster asks again.
const NEXT_TURN: Duration = Duration::from_millis(500);

/// When a placement whose identity is another's looks again.
const TAKEN_AGAIN: Duration = Duration::from_secs(5);

/// How long mere progress waits for more of it, so that twenty volumes are not twenty writes. News never wait.
const PROGRESS: Duration = Duration::from_millis(250);

/// What comes after a turn of the loop.
enum Turn {
    /// Something was written: look again.
    Again,
    /// Nothing more to do for now.
    Stop(Next),
}

/// What earlier turns of one call of the loop leave to later ones.
#[derive(Default)]
struct Memory {
    /// Steps that were all done in the turn before.
    done: Option<Vec<Step>>,
    /// resourceVersion at which this call itself has just seen the placement on the API server.
    confirmed: Option<String>,
}

/// Looks at one placement until nothing more can be done for it now.
#[instrument(name = "reconcile", parent = None, skip_all, fields(placement = %key))]
pub(crate) async fn placement(context: Arc<Context>, key: PlacementKey) -> Next {
    context.metrics.reconciled();
    let mut memory = Memory::default();
    for _ in 0..ROUNDS {
        match turn(&context, &key, &mut memory).await {
            Turn::Again => {}
            Turn::Stop(next) => return next,
        }
    }
    Next::Now
}

async fn turn(context: &Context, key: &PlacementKey, memory: &mut Memory) -> Turn {
    let Some(placement) = context.stores.placements.get(key) else {
        context.forget(key);
        return Turn::Stop(Next::Wait);
    };
    if !context.acts() {
        return Turn::Stop(Next::Wait);
    }
    let held = placement
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|f| f == names::FINALIZER);
    if placement.metadata.deletion_timestamp.is_some() && !held {
        return Turn::Stop(Next::Wait);
    }
    let journal = match status::journal(placement.status.as_ref()) {
        Ok(journal) => journal,
        Err(error) => return reject(context, &placement, &unreadable(&error)).await,
    };
    let policies = |name: &str| context.stores.policies.get(&name.to_owned());
    let resolved = match resolve(&placement, policies, &journal) {
        Ok(resolved) => resolved,
        Err(invalid) => return reject_or_let_go(context, &placement, &journal, &invalid).await,
    };
    if let Some(invalid) = taken(context, &placement, &resolved.scope, &journal) {
        return match reject_or_let_go(context, &placement, &journal, &invalid).await {
            // Nothing wakes it when the other one goes.
            Turn::Stop(Next::Wait) => Turn::Stop(Next::After(TAKEN_AGAIN)),
            turn => turn,
        };
    }
    context.index.set(&resolved.scope);
    if resolved.intent.life == Life::Wanted && !held {
        return hold(context, &placement).await;
    }
    let archive = context
        .captures
        .facts(&resolved.scope, journal.capture)
        .await;
    let now = context.now();
    let registered = |id: &ClusterId| context.is_registered(id);
    let observed = observe(&context.fleet, &resolved.scope, archive, now, registered);
    let observed = Arc::new(observed);
    let planned = plan(now, &resolved.policy, &resolved.intent, &observed, &journal);
    let look = Look {
        context,
        placement: &placement,
        resolved: &resolved,
        observed,
        journal: &journal,
    };
    look.follow(planned, memory).await
}

/// Two DRPlacements that are known by one uid would both act on everything that carries it. Its own uid is nobody else's;
/// one that was taken over stays with whoever took it over first.
fn taken(
    context: &Context,
    placement: &DRPlacement,
    scope: &Scope,
    journal: &Journal,
) -> Option<Invalid> {
    if scope.uid == scope.own_uid {
        return None;
    }
    let rival = context
        .stores
        .placements
        .all()
        .into_values()
        .find(|other| {
            let annotations = other.metadata.annotations.as_ref();
            let named = annotations.and_then(|all| all.get(names::IDENTITY)) == Some(&scope.uid);
            let its = status::journal(other.status.as_ref()).unwrap_or_default();
            let decided = its.owner.is_some() && its.identity.as_ref() == Some(&scope.uid);
            let mine_first = journal.owner.is_some() && !decided;
            other.metadata.uid != placement.metadata.uid
                && (other.metadata.uid.as_ref() == Some(&scope.uid)
                    || decided
                    || named && !mine_first)
        })?;
    let name = |p: &DRPlacement| {
        let namespace = p.metadata.namespace.as_deref().unwrap_or_default();
        format!(
            "{namespace}/{}",
            p.metadata.name.as_deref().unwrap_or_default()
        )
    };
    Some(Invalid {
        reason: "IdentityTaken",
        message: format!(
            "the identity {} is that of the DRPlacement {} too",
            scope.uid,
            name(&rival)
        ),
        remedy: format!(
            "Remove the annotation {} from one of the two: nothing is done for this one until then.",
            names::IDENTITY
        ),
    })
}

/// One turn's facts.
struct Look<'a> {
    context: &'a Context,
    placement: &'a DRPlacement,
    resolved: &'a Resolved,
    observed: Arc<Observed>,
    journal: &'a Journal,
}

impl Look<'_> {
    fn key(&self) -> &PlacementKey {
        &self.resolved.scope.key
    }

    async fn follow(&self, plan: Plan, memory: &mut Memory) -> Turn {
        if let Some(journal) = plan.journal.as_ref().filter(|j| *j != self.journal) {
            return self.remember(&plan, journal, memory).await;
        }
        if plan.steps.is_empty() {
            self.context.stuck.lock().remove(self.key());
            return self.rest(&plan, None, None).await;
        }
        if let Some(stuck) = self.still_stuck(&plan) {
            let wait = stuck.until.saturating_duration_since(Instant::now());
            return self.rest(&plan, Some(&stuck.blocker), Some(wait)).await;
        }
        if memory.done.as_ref() == Some(&plan.steps) {
            return self.rest(&plan, None, Some(SAME_AGAIN)).await;
        }
        let crowded = plan.steps.first().map(|s| self.context.executor.turn(s));
        if let Some(Err(why)) = crowded {
            return self.wait_for_turn(plan, why).await;
        }
        if let Some(turn) = self.confirm(memory).await {
            return turn;
        }
        for step in &plan.steps {
            let _turn = match self.context.executor.turn(step) {
                Ok(turn) => turn,
                Err(why) => return self.wait_for_turn(plan.clone(), why).await,
            };
            match self.run(step).await {
                Outcome::Done => {}
                Outcome::Unknown { why } => {
                    let remedy = "Nothing needs to be done: what became of it is read back, and it is tried again.";
                    return self
                        .hold_up(
                            &plan,
                            Blocker::new(
                                Reason::StepFailed,
                                format!("{}: {why}", step.name()),
                                remedy,
                            ),
                        )
                        .await;
                }
                Outcome::Failed(blocker) => return self.hold_up(&plan, blocker).await,
            }
        }
        self.context.stuck.lock().remove(self.key());
        if plan.steps.iter().any(|s| matches!(s, Step::Finish)) {
            return Turn::Stop(Next::After(SAME_AGAIN));
        }
        memory.done = Some(plan.steps);
        Turn::Again
    }

    /// Writes the journal, by compare and swap. Nothing else is done before it is written.
    async fn remember(&self, plan: &Plan, journal: &Journal, memory: &mut Memory) -> Turn {
        let status = self.status(plan, None, journal);
        info!(placement = %self.key(), phase = journal.phase.as_str(), epoch = %journal.epoch, "journal");
        match write(self.context, self.placement, &status).await {
            Ok(written) => {
                memory
                    .confirmed
                    .clone_from(&written.metadata.resource_version);
                memory.done = None;
                self.context.stores.placements.put(written);
                self.told(plan, journal);
                Turn::Again
            }
            Err(error) => lost(self.context, self.placement, &error).await,
        }
    }

    /// Steps are taken only on the journal that is on the API server now: what the watch showed a while ago may be that
    /// of an earlier owner. One read, however many volumes.
    async fn confirm(&self, memory: &mut Memory) -> Option<Turn> {
        let version = &self.placement.metadata.resource_version;
        if memory.confirmed.is_some() && memory.confirmed == *version {
            return None;
        }
        match fresh(self.context, self.key()).await {
            Ok(Some(now)) => {
                memory.confirmed.clone_from(&now.metadata.resource_version);
                let same = now.metadata.resource_version == *version;
                self.context.stores.placements.put(now);
                (!same).then_some(Turn::Again)
            }
            Ok(None) => Some(Turn::Stop(Next::Failed)),
            Err(error) => {
                warn!(placement = %self.key(), error = %error.full(), "journal not confirmed");
                Some(Turn::Stop(Next::Failed))
            }
        }
    }

    #[instrument(name = "step", skip_all, fields(step = step.name()))]
    async fn run(&self, step: &Step) -> Outcome {
        let started = Instant::now();
        debug!(placement = %self.key(), step = step.name(), "step");
        let outcome = self
            .context
            .executor
            .run_step(step, &self.resolved.scope)
            .await;
        self.context
            .metrics
            .stepped(step, &outcome, started.elapsed());
        outcome
    }

    /// Comes back for a turn on a cluster, and takes up nobody's time meanwhile.
    async fn wait_for_turn(&self, mut plan: Plan, why: String) -> Turn {
        plan.report.step = why;
        self.rest(&plan, None, Some(NEXT_TURN)).await
    }

    /// The trouble of the last try, as long as nothing has changed since and its time has not come.
    fn still_stuck(&self, plan: &Plan) -> Option<Stuck> {
        let stuck = self.context.stuck.lock().get(self.key()).cloned()?;
        let same = stuck.steps == plan.steps && stuck.observed == self.observed;
        (same && Instant::now() < stuck.until).then_some(stuck)
    }

    /// Notes that a step was not done, and tries again later, or as soon as something is seen to have changed.
    async fn hold_up(&self, plan: &Plan, blocker: Blocker) -> Turn {
        let before = self.context.stuck.lock().get(self.key()).cloned();
        let same = before.filter(|b| b.steps == plan.steps && b.observed == self.observed);
        let failures = same.map_or(1, |b| b.failures.saturating_add(1));
        let wait = step_backoff(failures);
        warn!(placement = %self.key(), reason = ?blocker.reason, why = %blocker.message, "step not done");
        let stuck = Stuck {
            steps: plan.steps.clone(),
            observed: self.observed.clone(),
            failures,
            until: Instant::now() + wait,
            blocker: blocker.clone(),
        };
        self.context.stuck.lock().insert(self.key().clone(), stuck);
        let about = self.placement.object_ref(&());
        let note = format!("{} {}", blocker.message, blocker.remedy);
        self.context.tell(
            about,
            EventKind::Warning,
            &format!("{:?}", blocker.reason),
            &note,
        );
        self.rest(plan, Some(&blocker), Some(wait)).await
    }

    /// Reports, if there is anything new to report, and says when to look again.
    async fn rest(&self, plan: &Plan, trouble: Option<&Blocker>, wait: Option<Duration>) -> Turn {
        let status = self.status(plan, trouble, self.journal);
        self.context
            .metrics
            .placed(self.key(), &self.journal.phase, plan.report.last_sync);
        let held_back = self.held_back(&status);
        if held_back.is_none() && self.placement.status.as_ref() != Some(&status) {
            match write(self.context, self.placement, &status).await {
                Ok(written) => {
                    self.context.stores.placements.put(written);
                    let mut reported = self.context.reported.lock();
                    reported.insert(self.key().clone(), Instant::now());
                    drop(reported);
                    self.told(plan, self.journal);
                }
                Err(error) => return lost(self.context, self.placement, &error).await,
            }
        }
        let archive = self.context.captures.again_after(&self.resolved.scope.uid);
        let planned = plan.again_after_ms.map(Duration::from_millis);
        let soonest = [wait, archive, planned, held_back]
            .into_iter()
            .flatten()
            .min();
        // Never in no time at all: a plan that asks for it would keep the loop busy.
        Turn::Stop(soonest.map_or(Next::Wait, |d| {
            Next::After(d.max(Duration::from_millis(10)))
        }))
    }

    /// How long a report that holds nothing but progress is to wait, after the one before it.
    fn held_back(&self, status: &DRPlacementStatus) -> Option<Duration> {
        let before = self.placement.status.as_ref()?;
        if before == status || status::is_news(before, status) {
            return None;
        }
        let last = self.context.reported.lock().get(self.key()).copied()?;
        let left = PROGRESS.checked_sub(last.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    fn status(
        &self,
        plan: &Plan,
        trouble: Option<&Blocker>,
        journal: &Journal,
    ) -> DRPlacementStatus {
        let told = Told {
            report: &plan.report,
            trouble,
            journal,
            generation: self.placement.metadata.generation,
            now: self.context.now(),
        };
        status::status(&told, self.placement.status.as_ref())
    }

    fn told(&self, plan: &Plan, journal: &Journal) {
        self.context
            .metrics
            .placed(self.key(), &journal.phase, plan.report.last_sync);
        for event in &plan.report.events {
            let kind = match event.severity {
                Severity::Normal => EventKind::Normal,
                Severity::Warning => EventKind::Warning,
            };
            self.context.tell(
                self.placement.object_ref(&()),
                kind,
                &event.reason,
                &event.message,
            );
        }
    }
}

fn unreadable(error: &status::JournalUnreadable) -> Invalid {
    Invalid {
        reason: "JournalUnreadable",
        message: lifeboat_kit::error::full(error),
        remedy: "Restore status.journal from a backup, or run the version of the hub that wrote it. Nothing is done until then.".to_owned(),
    }
}

/// A placement that was never decided on and is being deleted holds nothing: it may go whatever its policy says.
async fn reject_or_let_go(
    context: &Context,
    placement: &DRPlacement,
    journal: &Journal,
    invalid: &Invalid,
) -> Turn {
    if placement.metadata.deletion_timestamp.is_some() && *journal == Journal::default() {
        let held = placement.metadata.finalizers.iter().flatten();
        let left: Vec<&String> = held.filter(|f| *f != names::FINALIZER).collect();
        return set_finalizers(context, placement, &left).await;
    }
    reject(context, placement, invalid).await
}

async fn reject(context: &Context, placement: &DRPlacement, invalid: &Invalid) -> Turn {
    let before = placement.status.as_ref();
    let status = status::rejected(
        invalid,
        before,
        placement.metadata.generation,
        context.now(),
    );
    if before == Some(&status) {
        return Turn::Stop(Next::Wait);
    }
    match write(context, placement, &status).await {
        Ok(written) => {
            context.stores.placements.put(written);
            let note = format!("{}. {}", invalid.message, invalid.remedy);
            context.tell(
                placement.object_ref(&()),
                EventKind::Warning,
                invalid.reason,
                &note,
            );
            Turn::Stop(Next::Wait)
        }
        Err(error) => lost(context, placement, &error).await,
    }
}

/// Holds the placement before anything is done for it, so that a deletion is always seen.
async fn hold(context: &Context, placement: &DRPlacement) -> Turn {
    let held: Vec<String> = placement
        .metadata
        .finalizers
        .iter()
        .flatten()
        .cloned()
        .chain([names::FINALIZER.to_owned()])
        .collect();
    set_finalizers(context, placement, &held.iter().collect::<Vec<_>>()).await
}

async fn set_finalizers(
    context: &Context,
    placement: &DRPlacement,
    finalizers: &[&String],
) -> Turn {
    let (api, name) = api(context, placement);
    let metadata =
        json!({ "finalizers": finalizers, "resourceVersion": placement.metadata.resource_version });
    match patch_metadata(&api, &name, names::HUB_MANAGER, metadata).await {
        Ok(written) if written.metadata.deletion_timestamp.is_some() => Turn::Stop(Next::Wait),
        Ok(written) => {
            context.stores.placements.put(written);
            Turn::Again
        }
        Err(error) => lost(context, placement, &error).await,
    }
}

fn api(context: &Context, placement: &DRPlacement) -> (Api<DRPlacement>, String) {
    let namespace = placement.metadata.namespace.as_deref().unwrap_or_default();
    (
        Api::namespaced(context.hub.clone(), namespace),
        placement.metadata.name.clone().unwrap_or_default(),
    )
}

/// Writes a status, only over the version that was planned on.
async fn write(
    context: &Context,
    placement: &DRPlacement,
    status: &DRPlacementStatus,
) -> Result<DRPlacement, CallError> {
    let (api, name) = api(context, placement);
    let body =
        json!({ "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement", "status": status });
    context.metrics.wrote();
    // Without a version nothing is compared; an object from the API server always has one.
    let version = placement
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or("0");
    apply_status(&api, &name, names::HUB_MANAGER, body, Some(version)).await
}

async fn fresh(context: &Context, key: &PlacementKey) -> Result<Option<DRPlacement>, CallError> {
    let api: Api<DRPlacement> = Api::namespaced(context.hub.clone(), &key.namespace);
    let found = deadline(
        format!("get DRPlacement {key}"),
        context.config.call_deadline,
        api.get_opt(&key.name),
    )
    .await?;
    Ok(found.map(|mut placement| {
        placement.metadata.managed_fields = None;
        placement
    }))
}

/// A write to the placement failed: what is there now decides what is next.
async fn lost(context: &Context, placement: &DRPlacement, error: &CallError) -> Turn {
    let key = PlacementKey {
        namespace: placement.metadata.namespace.clone().unwrap_or_default(),
        name: placement.metadata.name.clone().unwrap_or_default(),
    };
    if !error.is_conflict() {
        warn!(placement = %key, error = %error.full(), "status not written");
        return Turn::Stop(Next::Failed);
    }
    context.metrics.conflicted();
    match fresh(context, &key).await {
        Ok(Some(now)) if now.metadata.uid == placement.metadata.uid => {
            context.stores.placements.put(now);
            Turn::Stop(Next::Now)
        }
        Ok(_) | Err(_) => Turn::Stop(Next::Failed),
    }
}
