//! Doing what was decided about a fence. Nothing here chooses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource};
use lifeboat_api::common::{set_condition, to_time};
use lifeboat_api::fence::{FenceState, NetworkFenceStatus};
use lifeboat_api::{NetworkFence, names};
use lifeboat_drivers::{Delivery, Networks, Retry};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use super::decide::{COMPLETED, Decision, reason};
use super::view::{By, FenceView};
use crate::act::Step;
use crate::agent::Agent;
use crate::cache::Work;
use crate::persist::{edit_finalizers, nulled, write_status};
use crate::view::SecretView;
use crate::writes::{add, remove};

/// Does one step for one fence.
pub(super) async fn act(agent: &Agent, v: &FenceView, decision: Decision) -> Step {
    match decision {
        Decision::Leave => Step::Rest(Next::Wait),
        Decision::Wait(delay) => Step::Rest(Next::After(delay)),
        Decision::Refuse(refusal) => match write(agent, v, Err(refusal.text)).await {
            Ok(()) => Step::Rest(refusal.again.map_or(Next::Wait, Next::After)),
            Err(error) => lost(v, &error),
        },
        Decision::Mark => again(v, finalizer(agent, v, add).await),
        Decision::Release => match finalizer(agent, v, remove).await {
            Ok(()) => Step::Rest(Next::Wait),
            Err(error) => lost(v, &error),
        },
        Decision::Call => call(agent, v).await,
    }
}

fn again(v: &FenceView, result: Result<(), CallError>) -> Step {
    match result {
        Ok(()) => Step::Again,
        Err(error) => lost(v, &error),
    }
}

fn lost(v: &FenceView, error: &CallError) -> Step {
    warn!(fence = %v.name, error = %error.full(), "write failed");
    Step::Rest(Next::Failed)
}

fn api(agent: &Agent) -> Api<NetworkFence> {
    Api::all(agent.client.clone())
}

async fn finalizer(
    agent: &Agent,
    v: &FenceView,
    edit: fn(&[String], &str) -> Option<Vec<String>>,
) -> Result<(), CallError> {
    let Some(fence) = agent.caches.fence(&v.name) else {
        return Ok(());
    };
    let api = api(agent);
    let written = edit_finalizers(&api, &fence.metadata, |finalizers| {
        edit(finalizers, names::FENCE_FINALIZER)
    });
    if let Some(written) = written.await? {
        agent.wake(agent.caches.wrote_fence(written));
    }
    Ok(())
}

/// Idempotent because fencing what is fenced changes nothing. If interrupted: the generation is not noted as carried out,
/// and the call is made again. Undo: the user asks for the other state.
async fn call(agent: &Agent, v: &FenceView) -> Step {
    let (By::Ours(means), SecretView::Present(secrets)) = (&v.by, &v.secret) else {
        return Step::Rest(Next::Failed);
    };
    let Some(driver) = agent.fleet.driver(&means.driver) else {
        return Step::Rest(Next::Failed);
    };
    let work = Work::Fence(v.name.clone());
    let Some(_slot) = agent.fleet.enter(&means.driver, &work) else {
        return Step::Rest(Next::Wait);
    };
    let networks = Networks {
        name: v.name.clone(),
        cidrs: v.cidrs.clone(),
        parameters: means.parameters.clone(),
        secrets: secrets.clone(),
    };
    let answer = match v.wanted {
        FenceState::Fenced => driver.fence(&networks).await,
        FenceState::Unfenced => driver.unfence(&networks).await,
    };
    let Err(error) = answer else {
        info!(fence = %v.name, state = reason(v.wanted), "driver answered");
        agent.settled(&work);
        return again(v, write(agent, v, Ok(())).await);
    };
    if error.delivery == Delivery::NotSent {
        agent.fleet.doubt(&means.driver);
    }
    if error.retry() == Retry::AfterCredentials
        && let Some(secret) = &means.secret
    {
        agent.secrets.distrust(secret).await;
    }
    warn!(fence = %v.name, error = %error, "driver call failed");
    let wait = agent.failed(&work, &v.tries);
    match write(agent, v, Err(error.message.clone())).await {
        Ok(()) => Step::Rest(Next::After(wait)),
        Err(error) => lost(v, &error),
    }
}

async fn write(agent: &Agent, v: &FenceView, outcome: Result<(), String>) -> Result<(), CallError> {
    let Some(fence) = agent.caches.fence(&v.name) else {
        return Ok(());
    };
    let failed = outcome.clone().err();
    let status = after(v, outcome, agent.clock.now());
    if fence.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let body = nulled(&status, &["result", "message", "conditions"]);
    if let Some(written) = write_status(&api(agent), &fence.metadata, &body).await? {
        agent.wake(agent.caches.wrote_fence(written));
    }
    if let Some(note) = failed {
        let news = News {
            kind: EventKind::Warning,
            reason: failure(v.wanted),
            action: "Fence",
            note,
        };
        agent.recorder.tell(&fence.object_ref(&()), news).await;
    }
    Ok(())
}

fn failure(wanted: FenceState) -> &'static str {
    match wanted {
        FenceState::Fenced => "FailedToFence",
        FenceState::Unfenced => "FailedToUnfence",
    }
}

/// The status after a call, or after a refusal to make one. Pure.
fn after(v: &FenceView, outcome: Result<(), String>, now: jiff::Timestamp) -> NetworkFenceStatus {
    let operation = match v.wanted {
        FenceState::Fenced => "fencing operation successful",
        FenceState::Unfenced => "unfencing operation successful",
    };
    let (result, status, reason, message) = match outcome {
        Ok(()) => ("Succeeded", "True", reason(v.wanted), operation.to_owned()),
        Err(why) => ("Failed", "False", failure(v.wanted), why),
    };
    let mut conditions = v.status.conditions.clone();
    let condition = Condition {
        type_: COMPLETED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.clone(),
        observed_generation: Some(v.generation),
        last_transition_time: to_time(now),
    };
    set_condition(&mut conditions, condition);
    NetworkFenceStatus {
        result: Some(result.to_owned()),
        message: Some(message),
        conditions,
    }
}
