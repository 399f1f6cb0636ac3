//! Doing what was decided. Nothing here chooses: each step does one thing and says what came of it.

use jiff::Timestamp;
use kube::Resource;
use lifeboat_api::names;
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::hash::fnv;
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use call::call;
use resync::{fail_resync, forget_failure, issue_resync};
use salvage::salvage;

use crate::agent::Agent;
use crate::cache::Work;
use crate::decide::{Decision, Refusal};
use crate::outcome::Outcome;
use crate::slots::Slot;
use crate::view::{Class, Key, VolumeView};
use crate::writes::Wrote;
use crate::{ownership, pace, status, writes};

mod call;
mod resync;
mod salvage;

/// What follows a step.
pub(crate) enum Step {
    /// Look again at once.
    Again,
    /// Look again then.
    Rest(Next),
}

/// Does one step for one volume.
pub(crate) async fn act(agent: &Agent, v: &VolumeView, decision: Decision) -> Step {
    let begun = agent.clock.now();
    match decision {
        Decision::Leave => Step::Rest(Next::Wait),
        Decision::Wait(delay) => Step::Rest(Next::After(delay)),
        Decision::Rewrite => rewrite(agent, v).await,
        Decision::Refuse(refusal) => refuse(agent, v, refusal, begun).await,
        Decision::Accept => again(accept(agent, v).await, v),
        Decision::Claim => again(writes::claim(agent, &v.key, &v.source).await, v),
        Decision::FailResync => {
            let why = "it is not known whether the resync that was noted reached the driver; the hub may ask again";
            fail_resync(agent, v, why.to_owned()).await
        }
        Decision::ForgetFailure => again(forget_failure(agent, v).await, v),
        Decision::Refresh => settle(agent, v, Outcome::Refreshed, begun).await,
        Decision::Stuck { why } => stuck(agent, v, why, begun).await,
        Decision::Release { why } => release(agent, v, why).await,
        Decision::IssueResync { request, enable } => {
            // The note says that the call may have been made: whatever is to be saved is saved before. That may take hours, and
            // has slots of its own.
            if let Err(step) = salvage(agent, v, request).await {
                return step;
            }
            let Some(_slot) = slot(agent, v) else {
                return Step::Rest(Next::Wait);
            };
            issue_resync(agent, v, request, enable).await
        }
        // Before anything is noted of a call: who stands in line has made none.
        Decision::Promote(_)
        | Decision::Demote { .. }
        | Decision::Check { .. }
        | Decision::Resync { .. }
        | Decision::Ask
        | Decision::Disable => {
            let Some(_slot) = slot(agent, v) else {
                return Step::Rest(Next::Wait);
            };
            call(agent, v, begun, decision).await
        }
    }
}

/// A slot of the volume's driver, or a place in its line.
fn slot<'a>(agent: &'a Agent, v: &VolumeView) -> Option<Slot<'a>> {
    let Class::Ours(class) = &v.class else {
        return None;
    };
    let work = Work::Volume(v.key.clone());
    agent.fleet.enter(&class.driver, &work)
}

fn again(result: Result<(), CallError>, v: &VolumeView) -> Step {
    match result {
        Ok(()) => Step::Again,
        Err(error) => {
            warn!(volume = %v.key, error = %error.full(), "write failed");
            Step::Rest(Next::Failed)
        }
    }
}

async fn rewrite(agent: &Agent, v: &VolumeView) -> Step {
    let owed = v.memory.unwritten.clone().unwrap_or_default();
    match writes::status(agent, &v.key, &owed).await {
        Ok(_) => {
            let mut memory = v.memory.clone();
            memory.unwritten = None;
            agent.remember(&v.key, memory);
            Step::Again
        }
        Err(error) => again(Err(error), v),
    }
}

async fn accept(agent: &Agent, v: &VolumeView) -> Result<(), CallError> {
    let volume = agent.caches.volume(&v.key);
    let annotations = volume
        .as_ref()
        .and_then(|volume| volume.metadata.annotations.as_ref());
    match annotations.and_then(|all| all.get(names::OWNERSHIP)) {
        Some(name) => ownership::store(agent, &Key::new(&v.key.namespace, name)).await,
        None => Ok(()),
    }
}

async fn refuse(agent: &Agent, v: &VolumeView, refusal: Refusal, begun: Timestamp) -> Step {
    let outcome = Outcome::Refused(refusal.text.clone());
    let status = status::after(&v.status, &outcome, about(agent, v, begun));
    match writes::status(agent, &v.key, &status).await {
        Ok(Wrote::Something) => {
            if let Some(reason) = refusal.event {
                agent.metrics.refused(reason);
                warn_about(agent, v, reason, "Refuse", refusal.text).await;
            }
        }
        Ok(Wrote::Nothing) => {}
        Err(error) => return again(Err(error), v),
    }
    Step::Rest(refusal.again.map_or(Next::Wait, Next::After))
}

async fn stuck(agent: &Agent, v: &VolumeView, why: String, begun: Timestamp) -> Step {
    let text = format!("not deleted yet: {why}");
    warn_about(agent, v, "DeletionBlocked", "Delete", text.clone()).await;
    let status = status::after(&v.status, &Outcome::Stuck(text), about(agent, v, begun));
    match writes::status(agent, &v.key, &status).await {
        Ok(_) => Step::Rest(Next::Failed),
        Err(error) => again(Err(error), v),
    }
}

async fn release(agent: &Agent, v: &VolumeView, why: Option<String>) -> Step {
    if let Some(why) = why {
        warn_about(agent, v, "ReleasedWithoutDisable", "Delete", why).await;
    }
    match writes::release(agent, &v.key, &v.source).await {
        Ok(()) => Step::Rest(Next::Wait),
        Err(error) => again(Err(error), v),
    }
}

fn about(agent: &Agent, v: &VolumeView, begun: Timestamp) -> status::About {
    status::About {
        subject: status::Subject::of(&v.source),
        generation: v.generation,
        wanted: v.wanted,
        begun,
        now: agent.clock.now(),
    }
}

fn seed(v: &VolumeView) -> u64 {
    fnv(&v.key.to_string())
}

/// Remembers and writes what came of a step.
async fn settle(agent: &Agent, v: &VolumeView, outcome: Outcome, begun: Timestamp) -> Step {
    let about = about(agent, v, begun);
    let mut memory = pace::after(v, &outcome, about.now, &agent.config.polls, seed(v));
    let status = status::after(&v.status, &outcome, about);
    // Kept until it is stored: if the API server is away now, no call is repeated for the sake of the status.
    memory.unwritten = Some(status.clone());
    agent.remember(&v.key, memory.clone());
    if let Outcome::Failed(failed) = &outcome {
        warn!(volume = %v.key, aim = failed.aim.verb(), error = %failed.text, "driver call failed");
    } else if matches!(outcome, Outcome::Promoted | Outcome::Demoted) {
        info!(volume = %v.key, ?outcome, "role reached");
    }
    if let Err(error) = writes::status(agent, &v.key, &status).await {
        return again(Err(error), v);
    }
    memory.unwritten = None;
    agent.remember(&v.key, memory);
    if let Outcome::Failed(failed) = outcome {
        warn_about(agent, v, failed.event, "Replicate", failed.message).await;
    }
    Step::Again
}

async fn warn_about(
    agent: &Agent,
    v: &VolumeView,
    reason: &'static str,
    action: &'static str,
    note: String,
) {
    let Some(volume) = agent.caches.volume(&v.key) else {
        return;
    };
    let news = News {
        kind: EventKind::Warning,
        reason,
        action,
        note,
    };
    agent.recorder.tell(&volume.object_ref(&()), news).await;
}
