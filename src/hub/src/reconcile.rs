//! The loop: observe, plan, journal, act, report; once per placement, with no hint of what changed.

mod identity;
mod object;
mod take;

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use lifeboat_api::{DRPlacement, DRPlacementStatus, names};
use lifeboat_core::intent::Life;
use lifeboat_core::journal::Phase;
use lifeboat_core::report::Severity;
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, ClusterId, Journal, Observed, Plan, Step, plan};
use lifeboat_kit::Next;
use lifeboat_kit::events::EventKind;
use tokio::time::Instant;
use tracing::{info, instrument, warn};

use crate::act::Crowded;
use crate::context::{Context, Repeat, Stuck, repeat_backoff, step_backoff};
use crate::observe::observe;
use crate::resolve::{PlacementKey, Resolved, resolve};
use crate::status::{self, Told};
use identity::taken;
use object::{hold, lost, reject, reject_or_let_go, unreadable, write};
use take::NotDone;

/// How often one call of the loop plans before others have their turn.
const ROUNDS: usize = 16;
/// When a placement that was let go is looked at once more.
const SAME_AGAIN: Duration = Duration::from_millis(500);
/// After so many times the same trouble is told in other words.
const OFTEN: u32 = 5;
/// After this time the same steps are no repetition any more.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// After this time a placement tells that it waits for its turn on a cluster.
const LONG_WAIT: Duration = Duration::from_secs(2);

/// When a placement whose identity is another's looks again.
const TAKEN_AGAIN: Duration = Duration::from_secs(5);

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
    /// resourceVersion at which this call itself has just seen the placement on the API server; none after a step.
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
        .facts(&resolved.scope, captured(&journal))
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

/// The version of the captures that the archive should have. As long as nothing is decided it may hold those of an earlier
/// hub, or of the identity that a person has named: they are looked for until then.
fn captured(journal: &Journal) -> u64 {
    let undecided = journal.phase == Phase::Undecided;
    journal.capture.max(u64::from(undecided))
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
            if let Some((unclear, again)) = self.earlier(journal).await {
                return self.ask(plan, &unclear, again).await;
            }
            return self.remember(&plan, journal, memory).await;
        }
        if plan.all_steps().next().is_none() {
            self.context.stuck.lock().remove(self.key());
            return self.rest(&plan, None, None).await;
        }
        if let Some(stuck) = self.still_stuck(&plan) {
            let wait = stuck.until.saturating_duration_since(Instant::now());
            return self.rest(&plan, Some(&stuck.blocker), Some(wait)).await;
        }
        if let Some((wait, told)) = self.just_done(&plan) {
            return self.rest(&plan, told.as_ref(), Some(wait)).await;
        }
        // Before anything is asked: whoever has to wait in line costs the API server nothing.
        let mut first = match plan.steps.first().map(|s| self.turn_for(s)).transpose() {
            Err(crowded) if plan.aside.is_empty() => {
                return self.wait_for_turn(plan, crowded).await;
            }
            first => first.ok().flatten().flatten(),
        };
        match self.take_all(&plan, &mut first, memory).await {
            Ok(()) => {}
            Err(NotDone::Outdated(turn)) => return turn,
            Err(NotDone::Crowded(crowded)) => return self.wait_for_turn(plan, crowded).await,
            Err(NotDone::Failed(blocker)) => return self.hold_up(&plan, blocker).await,
        }
        self.context.stuck.lock().remove(self.key());
        if plan.all_steps().any(|s| matches!(s, Step::Finish)) {
            return Turn::Stop(Next::After(SAME_AGAIN));
        }
        self.note_done(&plan);
        Turn::Again
    }

    /// The same steps again, right after they were done: how long to wait, and what to say if it goes on like that.
    /// Nothing of them may be seen yet, nothing may come of them, or somebody may undo them.
    fn just_done(&self, plan: &Plan) -> Option<(Duration, Option<Blocker>)> {
        let repeats = self.context.repeats.lock();
        let last = repeats
            .get(self.key())
            .filter(|r| plan.all_steps().eq(&r.steps))?;
        let wait = repeat_backoff(last.times).checked_sub(last.at.elapsed())?;
        let told = plan.all_steps().next().filter(|_| last.times >= OFTEN).map(|step| {
            let message = format!("{} was done {} times, and nothing came of it", step.name(), last.times);
            let remedy = "Look who undoes it, an autoscaler or a GitOps controller for example, or why the cluster does not take it up; it is done again every few seconds.";
            Blocker::new(Reason::StepFailed, message, remedy)
        });
        (!wait.is_zero()).then_some((wait, told))
    }

    fn note_done(&self, plan: &Plan) {
        let steps: Vec<Step> = plan.all_steps().cloned().collect();
        let at = Instant::now();
        let mut repeats = self.context.repeats.lock();
        let last = repeats.get(self.key());
        let same = last.filter(|r| r.steps == steps && at.duration_since(r.at) < FORGOTTEN);
        let times = same.map_or(1, |r| r.times.saturating_add(1));
        repeats.insert(self.key().clone(), Repeat { steps, times, at });
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
                self.context.stores.placements.put(written);
                self.context.pace.wrote(self.key());
                self.told(plan, journal);
                Turn::Again
            }
            Err(error) => lost(self.context, self.placement, &error).await,
        }
    }

    /// Comes back for a turn on a cluster when it is woken for it. A wait that is long enough to be noticed is told.
    async fn wait_for_turn(&self, mut plan: Plan, crowded: Crowded) -> Turn {
        if crowded.waited < LONG_WAIT {
            return Turn::Stop(Next::After(LONG_WAIT));
        }
        plan.report.step = crowded.why;
        self.rest(&plan, None, Some(LONG_WAIT)).await
    }

    /// The trouble of the last try, as long as nothing has changed since and its time has not come.
    fn still_stuck(&self, plan: &Plan) -> Option<Stuck> {
        let stuck = self.context.stuck.lock().get(self.key()).cloned()?;
        let same = plan.all_steps().eq(&stuck.steps) && stuck.observed == self.observed;
        (same && Instant::now() < stuck.until).then_some(stuck)
    }

    /// Notes that a step was not done, and tries again later, or as soon as something is seen to have changed.
    async fn hold_up(&self, plan: &Plan, blocker: Blocker) -> Turn {
        let before = self.context.stuck.lock().get(self.key()).cloned();
        let same = before.filter(|b| plan.all_steps().eq(&b.steps) && b.observed == self.observed);
        let failures = same.map_or(1, |b| b.failures.saturating_add(1));
        let wait = step_backoff(failures);
        warn!(placement = %self.key(), reason = ?blocker.reason, why = %blocker.message, "step not done");
        let stuck = Stuck {
            steps: plan.all_steps().cloned().collect(),
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
                    self.context.pace.wrote(self.key());
                    self.told(plan, self.journal);
                }
                Err(error) => return lost(self.context, self.placement, &error).await,
            }
        }
        let (uid, least) = (&self.resolved.scope.uid, captured(self.journal));
        let archive = self.context.captures.again_after(uid, least);
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

    /// How long a report is to wait, after the one before it.
    fn held_back(&self, status: &DRPlacementStatus) -> Option<Duration> {
        let before = self.placement.status.as_ref()?;
        if before == status {
            return None;
        }
        self.context
            .pace
            .wait(self.key(), status::weight(before, status))
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

#[cfg(test)]
mod tests;
