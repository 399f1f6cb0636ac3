//! Doing what was decided about a group. Nothing here chooses.

use kube::Resource;
use lifeboat_drivers::{Capability, Code, Delivery, Driver, DriverError, GroupContext, Retry};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use super::decide::Decision;
use super::members::Volume;
use super::view::GroupView;
use super::{status, writes};
use crate::act::Step;
use crate::agent::Agent;
use crate::cache::Work;
use crate::outcome::Outcome;
use crate::view::{Class, ClassFacts, DriverView, SecretView};
use crate::writes::Wrote;

/// Does one step for one group.
pub(super) async fn act(agent: &Agent, v: &GroupView, decision: Decision) -> Step {
    match decision {
        Decision::Leave => Step::Rest(Next::Wait),
        Decision::Wait(delay) => Step::Rest(Next::After(delay)),
        Decision::Refuse(refusal) => {
            let outcome = Outcome::Refused(refusal.text);
            match say(agent, v, outcome, "NotGrouped").await {
                Ok(()) => Step::Rest(refusal.again.map_or(Next::Wait, Next::After)),
                Err(error) => lost(v, &error),
            }
        }
        Decision::Stuck { why } => {
            let outcome = Outcome::Stuck(format!("not deleted yet: {why}"));
            match say(agent, v, outcome, "DeletionBlocked").await {
                Ok(()) => Step::Rest(Next::Failed),
                Err(error) => lost(v, &error),
            }
        }
        Decision::Mark => again(v, writes::mark(agent, v).await),
        Decision::Record(volumes) => match &v.class {
            Class::Ours(class) => {
                match writes::record(agent, v, class, &volumes, None).await {
                    // A content that is new is told by its watch.
                    Ok(()) if v.content.facts.is_none() => Step::Rest(Next::Wait),
                    result => again(v, result),
                }
            }
            Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => {
                Step::Rest(Next::Failed)
            }
        },
        Decision::Create(_) | Decision::Modify { .. } | Decision::Dissolve { .. } => {
            call(agent, v, decision).await
        }
        Decision::Free(claims) => again(v, writes::free(agent, &v.key, &claims).await),
        Decision::Follow => match writes::follow(agent, v).await {
            Ok(()) if v.volume.facts.is_none() => Step::Rest(Next::Wait),
            result => again(v, result),
        },
        Decision::Report(status) => {
            again(v, writes::status(agent, &v.key, &status).await.map(|_| ()))
        }
        Decision::Stop => rest(v, writes::stop(agent, v).await),
        Decision::Discard => rest(v, writes::discard(agent, v).await),
        Decision::Release => rest(v, writes::release(agent, v).await),
    }
}

fn again(v: &GroupView, result: Result<(), CallError>) -> Step {
    match result {
        Ok(()) => Step::Again,
        Err(error) => lost(v, &error),
    }
}

/// What follows is told by a watch.
fn rest(v: &GroupView, result: Result<(), CallError>) -> Step {
    match result {
        Ok(()) => Step::Rest(Next::Wait),
        Err(error) => lost(v, &error),
    }
}

fn lost(v: &GroupView, error: &CallError) -> Step {
    warn!(group = %v.key, error = %error.full(), "write failed");
    Step::Rest(Next::Failed)
}

/// Says in status, and once in an event, what is wrong.
async fn say(
    agent: &Agent,
    v: &GroupView,
    outcome: Outcome,
    reason: &'static str,
) -> Result<(), CallError> {
    let status = status::failed(v, &outcome, agent.clock.now());
    if writes::status(agent, &v.key, &status).await? == Wrote::Nothing {
        return Ok(());
    }
    if let Some(group) = agent.caches.group(&v.key) {
        let news = News {
            kind: EventKind::Warning,
            reason,
            action: "Group",
            note: status.replication.message.unwrap_or_default(),
        };
        agent.recorder.tell(&group.object_ref(&()), news).await;
    }
    Ok(())
}

/// Why a call did not reach its end.
enum Broken {
    Driver(DriverError),
    Write(CallError),
}

async fn call(agent: &Agent, v: &GroupView, decision: Decision) -> Step {
    let (Class::Ours(class), SecretView::Present(secrets)) = (&v.class, &v.secret) else {
        return Step::Rest(Next::Failed);
    };
    let Some(driver) = agent.fleet.driver(&class.driver) else {
        return Step::Rest(Next::Failed);
    };
    let work = Work::Group(v.key.clone());
    let Some(_slot) = agent.fleet.enter(&class.driver, &work) else {
        return Step::Rest(Next::Wait);
    };
    let context = GroupContext {
        parameters: class.parameters.clone(),
        secrets: secrets.clone(),
    };
    let ending = matches!(decision, Decision::Dissolve { .. });
    let result = match decision {
        Decision::Create(volumes) => create(agent, v, class, driver, &context, &volumes).await,
        Decision::Modify { handle, volumes } => {
            modify(agent, v, driver, &context, &handle, &volumes).await
        }
        Decision::Dissolve { handle } => dissolve(agent, v, driver, &context, &handle).await,
        _ => return Step::Rest(Next::Failed),
    };
    let error = match result {
        Ok(()) => {
            agent.settled(&work);
            return if ending {
                Step::Rest(Next::Wait)
            } else {
                Step::Again
            };
        }
        Err(Broken::Write(error)) => return lost(v, &error),
        Err(Broken::Driver(error)) => error,
    };
    warn!(group = %v.key, error = %error, "driver call failed");
    if error.delivery == Delivery::NotSent {
        agent.fleet.doubt(&class.driver);
    }
    if error.retry() == Retry::AfterCredentials
        && let Some(secret) = &class.secret
    {
        agent.secrets.distrust(secret).await;
    }
    let wait = agent.failed(&work, &v.tries);
    let said = if ending {
        let text = format!(
            "not deleted yet: the driver does not let go of the group: {}",
            error.message
        );
        say(agent, v, Outcome::Stuck(text), "DeletionBlocked").await
    } else {
        say(agent, v, Outcome::Refused(error.message), "FailedToGroup").await
    };
    match said {
        Ok(()) => Step::Rest(Next::After(wait)),
        Err(error) => lost(v, &error),
    }
}

/// Idempotent because the name of the content names the group. If interrupted before its handle is stored: it is made
/// again under the same name. Undo: [`dissolve`].
async fn create(
    agent: &Agent,
    v: &GroupView,
    class: &ClassFacts,
    driver: &Driver,
    context: &GroupContext,
    volumes: &[Volume],
) -> Result<(), Broken> {
    let made = driver
        .create_group(&v.content.name, &handles(volumes), context)
        .await
        .map_err(Broken::Driver)?;
    info!(group = %v.key, handle = %made.handle, volumes = volumes.len(), "group made");
    writes::record(agent, v, class, volumes, Some(&made))
        .await
        .map_err(Broken::Write)?;
    writes::note_told(agent, v, volumes)
        .await
        .map_err(Broken::Write)
}

/// Idempotent because it names all members. If interrupted: who was told is not noted, and it is told again.
async fn modify(
    agent: &Agent,
    v: &GroupView,
    driver: &Driver,
    context: &GroupContext,
    handle: &str,
    volumes: &[Volume],
) -> Result<(), Broken> {
    driver
        .modify_group(handle, &handles(volumes), context)
        .await
        .map_err(Broken::Driver)?;
    info!(group = %v.key, handle, volumes = volumes.len(), "group changed");
    writes::note_told(agent, v, volumes)
        .await
        .map_err(Broken::Write)
}

/// Takes every member out and removes the group, then its content. Idempotent because a group that is gone is no error.
/// If interrupted: the content is still there, and it starts over.
async fn dissolve(
    agent: &Agent,
    v: &GroupView,
    driver: &Driver,
    context: &GroupContext,
    handle: &str,
) -> Result<(), Broken> {
    let offered =
        matches!(&v.driver, DriverView::Ready(all) if all.contains(&Capability::ModifyVolumeGroup));
    if offered {
        gone_is_fine(driver.modify_group(handle, &[], context).await)?;
    }
    gone_is_fine(driver.delete_group(handle, context).await)?;
    info!(group = %v.key, handle, "group removed");
    writes::discard(agent, v).await.map_err(Broken::Write)
}

fn gone_is_fine(answer: Result<(), DriverError>) -> Result<(), Broken> {
    match answer {
        Err(error) if error.code != Code::NotFound => Err(Broken::Driver(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn handles(volumes: &[Volume]) -> Vec<String> {
    volumes.iter().map(|m| m.handle.clone()).collect()
}
