//! Doing what was decided. Nothing here chooses: each step does one thing and says what came of it.

use jiff::Timestamp;
use kube::Resource;
use lifeboat_api::names;
use lifeboat_api::replication::ReplicationState;
use lifeboat_drivers::{
    Capability, Code, Delivery, Driver, DriverError, Force, Readiness, ReplicationDriver, Retry,
    Source, Volume,
};
use lifeboat_kit::events::{EventKind, News};
use lifeboat_kit::hash::fnv;
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::decide::{Decision, ForceRule, Refusal, still_ordered};
use crate::gather::fingerprint;
use crate::outcome::{Aim, Failed, NotTold, Outcome, Prerequisite};
use crate::view::{
    Backing, ClaimView, Class, DriverView, GroupHandle, GroupSource, Key, Mark, Rule, SecretView,
    SourceView, VolumeView,
};
use crate::writes::Wrote;
use crate::{ownership, pace, status, writes};

/// So many failed checks of a copy in a row, the last of them a refusal, and the resync has failed.
const REFUSALS: u32 = 5;

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
        Decision::IssueResync { request, enable } => issue_resync(agent, v, request, enable).await,
        Decision::FailResync => {
            let why = "it is not known whether the resync that was noted reached the driver; the hub may ask again";
            fail_resync(agent, v, why.to_owned()).await
        }
        Decision::Refresh => settle(agent, v, Outcome::Refreshed, begun).await,
        Decision::Stuck { why } => stuck(agent, v, why, begun).await,
        Decision::Release { why } => release(agent, v, why).await,
        Decision::Promote(_)
        | Decision::Demote { .. }
        | Decision::Check { .. }
        | Decision::Resync { .. }
        | Decision::Ask
        | Decision::Disable => call(agent, v, begun, decision).await,
    }
}

/// Sends the one forced resync of a request.
/// *If interrupted* after the note: whether it was sent is not known, and it is not sent again unless the hub asks again.
async fn issue_resync(
    agent: &Agent,
    v: &VolumeView,
    (epoch, number): (i64, u32),
    enable: Mark,
) -> Step {
    let note = names::resync_request(epoch, number);
    if let Err(error) = writes::annotate(agent, &v.key, names::RESYNC_ISSUED, Some(&note)).await {
        return again(Err(error), v);
    }
    let begun = agent.clock.now();
    // The note may have taken its time.
    if let Rule::Hub(hub) = &v.rule
        && let Err(refusal) = still_ordered(hub, begun)
    {
        take_back_resync(agent, v).await;
        return refuse(agent, v, refusal, begun).await;
    }
    // The note is stored: this pass, and no other, may send it.
    let force = Force::Yes;
    let step = call(agent, v, begun, Decision::Resync { enable, force }).await;
    // It was answered, and what was said of the request before it is over.
    let now = agent.caches.volume(&v.key);
    let noted = now
        .as_ref()
        .and_then(|now| now.metadata.annotations.as_ref());
    let sent = noted.and_then(|all| all.get(names::RESYNC_ISSUED)) == Some(&note);
    if sent
        && number > 1
        && let Err(error) = writes::annotate(agent, &v.key, names::RESYNC_FAILED, None).await
    {
        warn!(volume = %v.key, error = %error.full(), "could not forget that an earlier resync failed");
    }
    step
}

/// Says that the request which was noted did not bring the copy about: the hub may ask again.
async fn fail_resync(agent: &Agent, v: &VolumeView, why: String) -> Step {
    let Rule::Hub(hub) = &v.rule else {
        return Step::Again;
    };
    let Some((epoch, number)) = hub.resync_issued else {
        return Step::Again;
    };
    let note = names::resync_request(epoch, number);
    let done = writes::annotate(agent, &v.key, names::RESYNC_FAILED, Some(&note)).await;
    if done.is_ok() {
        warn_about(agent, v, "ResyncFailed", "Resync", why).await;
    }
    again(done, v)
}

/// A forced resync that was not sent, or that the driver refused, was not one: it may be sent again.
async fn take_back_resync(agent: &Agent, v: &VolumeView) {
    if let Rule::Hub(_) = v.rule
        && let Err(error) = writes::annotate(agent, &v.key, names::RESYNC_ISSUED, None).await
    {
        warn!(volume = %v.key, error = %error.full(), "could not take back the note of a resync");
    }
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

/// The driver and what to tell it; `None` cannot happen after a decision to call it, and means to look again.
fn target<'a>(agent: &'a Agent, v: &VolumeView) -> Option<(&'a Driver, Volume)> {
    let (Class::Ours(class), SecretView::Present(secrets)) = (&v.class, &v.secret) else {
        return None;
    };
    let source = match &v.source {
        SourceView::Claim(ClaimView {
            volume: Backing::Handle(handle),
            ..
        }) => Source::Volume(handle.clone()),
        SourceView::Group(GroupSource {
            handle: GroupHandle::Known(handle),
            ..
        }) => Source::Group(handle.clone()),
        _ => return None,
    };
    let volume = Volume {
        source,
        parameters: class.parameters.clone(),
        secrets: secrets.clone(),
        replication_id: v.replication_id.clone(),
    };
    Some((agent.fleet.driver(&class.driver)?, volume))
}

/// What is called, and on whose behalf.
struct Caller<'a> {
    agent: &'a Agent,
    v: &'a VolumeView,
    driver: &'a Driver,
    volume: Volume,
}

/// A call was not made because what it was for has changed.
struct Superseded;

impl Caller<'_> {
    /// Before each call: whether the spec, the grant and the volume are still those that were decided on.
    fn still(&self) -> Result<(), Superseded> {
        let now = fingerprint(&self.agent.caches, &self.v.key);
        if now == Some(self.v.memory.fingerprint) && self.agent.fleet.serves(self.driver.name()) {
            Ok(())
        } else {
            Err(Superseded)
        }
    }

    async fn promote(&self, rule: &ForceRule) -> Result<Outcome, Superseded> {
        self.still()?;
        if let Err(error) = self.driver.enable(&self.volume).await {
            let mut failed = self.failed(Aim::Promote, &error).await;
            if error.code == Code::FailedPrecondition {
                failed.prerequisite = Prerequisite::NotMet;
            }
            return Ok(Outcome::Failed(failed));
        }
        self.still()?;
        let refused = match self.driver.promote(&self.volume, Force::No).await {
            Ok(()) => return Ok(Outcome::Promoted),
            Err(error) if error.code == Code::FailedPrecondition => error,
            Err(error) => return Ok(Outcome::Failed(self.failed(Aim::Promote, &error).await)),
        };
        if let ForceRule::Denied { epoch } = rule {
            let mut failed = self.failed(Aim::Promote, &refused).await;
            let why = format!(
                "the peer still looks primary, and there is no force grant for epoch {epoch}"
            );
            failed.text = format!("{why}: {}", failed.text);
            failed.message = format!("{why}: {}", failed.message);
            return Ok(Outcome::Failed(failed));
        }
        self.still()?;
        info!(volume = %self.v.key, "promoting by force");
        match self.driver.promote(&self.volume, Force::Yes).await {
            Ok(()) => Ok(Outcome::Promoted),
            Err(error) => Ok(Outcome::Failed(self.failed(Aim::Promote, &error).await)),
        }
    }

    async fn demote(&self, enable: Mark) -> Result<Outcome, Superseded> {
        if enable == Mark::There {
            self.still()?;
            if let Err(error) = self.driver.enable(&self.volume).await {
                return Ok(Outcome::Failed(self.failed(Aim::Demote, &error).await));
            }
        }
        self.still()?;
        match self.driver.demote(&self.volume).await {
            Ok(()) => Ok(Outcome::Demoted),
            Err(error) => Ok(Outcome::Failed(self.failed(Aim::Demote, &error).await)),
        }
    }

    async fn check(&self, demote: Mark, force: Force) -> Result<Outcome, Superseded> {
        if demote == Mark::There {
            self.still()?;
            if let Err(error) = self.driver.demote(&self.volume).await {
                return Ok(Outcome::Failed(self.failed(Aim::Demote, &error).await));
            }
        }
        self.resync(Mark::Absent, force).await
    }

    async fn resync(&self, enable: Mark, force: Force) -> Result<Outcome, Superseded> {
        if enable == Mark::There {
            self.still()?;
            if let Err(error) = self.driver.enable(&self.volume).await {
                return Ok(Outcome::Failed(self.failed(Aim::Resync, &error).await));
            }
        }
        self.still()?;
        match self.driver.resync(&self.volume, force).await {
            Ok(Readiness::Ready) => Ok(Outcome::InStep),
            Ok(Readiness::NotReady) => Ok(Outcome::NotInStep),
            Err(error) => {
                if force == Force::No && self.refuses_for_good(&error) {
                    let why = format!("the copy is not becoming one: {}", error.message);
                    let _next = fail_resync(self.agent, self.v, why).await;
                }
                if force == Force::Yes && had_no_effect(&error) {
                    take_back_resync(self.agent, self.v).await;
                }
                Ok(Outcome::Failed(self.failed(Aim::Resync, &error).await))
            }
        }
    }

    /// Whether the driver has said again and again that the copy cannot become one as it is. A call that fails otherwise says
    /// nothing of the copy; nor does one refusal, for a copy that is being made anew may not be there for a moment.
    fn refuses_for_good(&self, error: &DriverError) -> bool {
        let said = match &self.v.rule {
            Rule::Hub(hub) => hub.resync_failed < hub.resync_issued,
            Rule::Upstream => false,
        };
        said && self.v.wanted == ReplicationState::Resync
            && error.code == Code::FailedPrecondition
            && self.v.memory.failures >= REFUSALS
    }

    async fn ask(&self) -> Result<Outcome, Superseded> {
        self.still()?;
        Ok(match self.driver.info(&self.volume).await {
            Ok(info) => Outcome::Told(info),
            Err(error) => match error.code {
                Code::Unimplemented => Outcome::NotTold(NotTold::NotOffered),
                Code::NotFound => Outcome::NotTold(NotTold::Nothing),
                _ => Outcome::NotTold(NotTold::Failed(
                    self.failed(Aim::Promote, &error).await.text,
                )),
            },
        })
    }

    async fn destination(&self) -> Result<Outcome, Superseded> {
        self.still()?;
        let found = self.driver.destination_info(&self.volume).await;
        Ok(Outcome::Destination(
            found.map_err(|error| error.upstream_text()),
        ))
    }

    /// A failed call as an outcome; on the way, what it says about driver and credentials is passed on.
    async fn failed(&self, aim: Aim, error: &DriverError) -> Failed {
        if error.delivery == Delivery::NotSent || error.code == Code::Unavailable {
            self.agent.fleet.doubt(self.driver.name());
        }
        if error.retry() == Retry::AfterCredentials
            && let Class::Ours(class) = &self.v.class
            && let Some(secret) = &class.secret
        {
            self.agent.secrets.distrust(secret).await;
        }
        Failed::new(aim, error)
    }
}

fn had_no_effect(error: &DriverError) -> bool {
    error.delivery == Delivery::NotSent
        || matches!(
            error.retry(),
            Retry::AfterChange | Retry::AfterCredentials | Retry::Never
        )
}

async fn call(agent: &Agent, v: &VolumeView, begun: Timestamp, decision: Decision) -> Step {
    let Some((driver, volume)) = target(agent, v) else {
        return Step::Rest(Next::Failed);
    };
    let caller = Caller {
        agent,
        v,
        driver,
        volume,
    };
    let result = match &decision {
        Decision::Promote(rule) => caller.promote(rule).await,
        Decision::Demote { enable } => caller.demote(*enable).await,
        Decision::Check { demote, force } => caller.check(*demote, *force).await,
        Decision::Resync { enable, force } => caller.resync(*enable, *force).await,
        Decision::Ask => caller.ask().await,
        Decision::Disable => return disable(&caller, begun).await,
        _ => return Step::Rest(Next::Failed),
    };
    let Ok(outcome) = result else {
        // Superseded. Noted, and not sent: what is wanted now may be that it is sent after all.
        if matches!(
            decision,
            Decision::Resync {
                force: Force::Yes,
                ..
            }
        ) {
            take_back_resync(agent, v).await;
        }
        return Step::Again;
    };
    let asked = decision == Decision::Ask;
    let step = settle(agent, v, outcome, begun).await;
    if asked && wants_destination(v) && matches!(step, Step::Again) {
        return destination(agent, &caller, begun).await;
    }
    step
}

fn wants_destination(v: &VolumeView) -> bool {
    let offered = matches!(&v.driver, DriverView::Ready(all) if all.contains(&Capability::ReplicationDestinationInfo));
    offered && v.status.destination_volume_id.is_none()
}

/// What the volume is called at the peer. Asked after the rest is stored, so that its failure holds nothing back.
async fn destination(agent: &Agent, caller: &Caller<'_>, begun: Timestamp) -> Step {
    let Ok(outcome) = caller.destination().await else {
        return Step::Again;
    };
    let Some(volume) = agent.caches.volume(&caller.v.key) else {
        return Step::Again;
    };
    let old = volume.status.clone().unwrap_or_default();
    let status = status::after(&old, &outcome, about(agent, caller.v, begun));
    again(
        writes::status(agent, &caller.v.key, &status)
            .await
            .map(|_| ()),
        caller.v,
    )
}

async fn disable(caller: &Caller<'_>, begun: Timestamp) -> Step {
    let (agent, v) = (caller.agent, caller.v);
    if caller.still().is_err() {
        return Step::Again;
    }
    match caller.driver.disable(&caller.volume).await {
        Ok(()) => {}
        Err(error) if error.code == Code::NotFound => {}
        Err(error) => {
            let failed = caller.failed(Aim::of(v.wanted), &error).await;
            let mut memory = v.memory.clone();
            memory.failures = memory.failures.saturating_add(1);
            let delay = lifeboat_kit::queue::backoff(memory.failures, seed(v));
            memory.not_before = agent.clock.now().checked_add(delay).ok();
            agent.remember(&v.key, memory);
            let text = format!(
                "the driver does not let go of the volume: {}",
                failed.message
            );
            return match stuck(agent, v, text, begun).await {
                Step::Rest(_) => Step::Rest(Next::After(delay)),
                Step::Again => Step::Again,
            };
        }
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
        warn_about(agent, v, failed.aim.reason(), "Replicate", failed.message).await;
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
