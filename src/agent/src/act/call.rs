//! Calls to the driver for one volume: each only while what it is for still holds.

use jiff::Timestamp;
use lifeboat_api::replication::ReplicationState;
use lifeboat_drivers::{
    Arrival, Capability, Code, Delivery, Driver, DriverError, Force, Readiness, ReplicationDriver,
    Retry, Source, Volume,
};
use lifeboat_kit::Next;
use tracing::info;

use super::resync::{fail_resync, take_back_resync};
use super::{Step, about, again, seed, settle, stuck};
use crate::agent::Agent;
use crate::decide::{Decision, ForceRule};
use crate::gather::fingerprint;
use crate::outcome::{Aim, Failed, NotTold, Outcome, Prerequisite};
use crate::view::{
    Backing, ClaimView, Class, DriverView, GroupHandle, GroupSource, Mark, Rule, SecretView,
    SourceView, VolumeView,
};
use crate::{status, writes};

/// So many failed checks of a copy in a row, the last of them a refusal, and the resync has failed.
const REFUSALS: u32 = 5;

/// The driver and what to tell it.
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

/// What people call the volume: its claim, or its group.
pub(super) fn source_name(v: &VolumeView) -> &str {
    match &v.source {
        SourceView::Claim(claim) => &claim.name,
        SourceView::Group(group) => &group.name,
        SourceView::NoClaim { name } | SourceView::NoGroup { name } => name,
        SourceView::UnsupportedKind | SourceView::Unread => &v.key.name,
    }
}

/// What is called, and on whose behalf.
pub(super) struct Caller<'a> {
    pub(super) agent: &'a Agent,
    pub(super) v: &'a VolumeView,
    pub(super) driver: &'a Driver,
    pub(super) volume: Volume,
}

/// A call was not made because what it was for has changed.
pub(super) struct Superseded;

impl<'a> Caller<'a> {
    /// `None` cannot happen after a decision to call, and means to look again.
    pub(super) fn of(agent: &'a Agent, v: &'a VolumeView) -> Option<Self> {
        let (driver, volume) = target(agent, v)?;
        Some(Self {
            agent,
            v,
            driver,
            volume,
        })
    }
}

impl Caller<'_> {
    /// Before each call: whether the spec, the grant and the volume are still those that were decided on.
    pub(super) fn still(&self) -> Result<(), Superseded> {
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
            let failed = self.failed(Aim::Promote, &refused).await;
            let why = format!(
                "the peer still looks primary, and there is no force grant for epoch {epoch}"
            );
            let event = failed.event;
            return Ok(Outcome::Failed(failed.because(event, &why)));
        }
        if let Some(failed) = self.incomplete().await? {
            return Ok(Outcome::Failed(failed));
        }
        self.still()?;
        info!(volume = %self.v.key, "promoting by force");
        match self.driver.promote(&self.volume, Force::Yes).await {
            Ok(()) => Ok(Outcome::Promoted),
            Err(error) => Ok(Outcome::Failed(self.failed(Aim::Promote, &error).await)),
        }
    }

    /// Why the copy here is not to be promoted by force: forced in the middle of a copy, storage answers OK and brings back
    /// what is older than the last good copy, or nothing at all. A driver that does not offer to say has it promoted.
    async fn incomplete(&self) -> Result<Option<Failed>, Superseded> {
        if !self.offers(Capability::CopyState) {
            return Ok(None);
        }
        self.still()?;
        let what = format!("{} ({})", source_name(self.v), self.volume.source.handle());
        match self.driver.copy_state(&self.volume).await {
            Ok(state) if state.arrival == Arrival::Complete => Ok(None),
            Ok(state) => {
                let why = format!(
                    "not promoted by force: the copy of {what} has not arrived whole ({}); it would come up older than its last good copy, or empty. Bring the source back, so that the copy is completed, or go to another cluster; it is promoted as soon as the copy is whole",
                    state.message
                );
                let held = Failed::held(Aim::Promote, "CopyIncomplete", why);
                Ok(Some(held))
            }
            Err(error) => {
                let failed = self.failed(Aim::Promote, &error).await;
                let why = format!(
                    "not promoted by force: the driver does not say whether the copy of {what} has arrived whole; it is asked again"
                );
                let event = failed.event;
                Ok(Some(failed.because(event, &why)))
            }
        }
    }

    /// Whether the driver said that it offers this.
    pub(super) fn offers(&self, capability: Capability) -> bool {
        matches!(&self.v.driver, DriverView::Ready(all) if all.contains(&capability))
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
    pub(super) async fn failed(&self, aim: Aim, error: &DriverError) -> Failed {
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

pub(super) async fn call(
    agent: &Agent,
    v: &VolumeView,
    begun: Timestamp,
    decision: Decision,
) -> Step {
    let Some(caller) = Caller::of(agent, v) else {
        return Step::Rest(Next::Failed);
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
