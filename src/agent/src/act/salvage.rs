//! Before a copy is thrown away: how much it holds that never reached the owner is written down and, where the hub wants
//! it, an independent copy of it is made. The ownership record holds both before anything is sent.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::common::to_time;
use lifeboat_api::{Divergence, KeptCopy, KeptSecret};
use lifeboat_drivers::{Capability, Kept, Retry};
use lifeboat_kit::{CallError, Next};
use tracing::{info, warn};

use super::call::{Caller, source_name};
use super::{Step, settle};
use crate::agent::Agent;
use crate::cache::Work;
use crate::kept::{self, Made, Need, Wish};
use crate::outcome::{Aim, Failed, Outcome};
use crate::slots::Slot;
use crate::view::{Class, Grant, Key, Rule, Salvage, VolumeView};

/// Reason of the event, and the beginning of what is said, when what is to be kept cannot be.
const FAILED: &str = "SalvageFailed";
const HELD: &str = "this copy is not thrown away: an independent copy of it is to be kept first";
const LET_GO: &str = "or take salvage off the policy, and what never reached the owner is lost";

/// Measures and keeps what a request to resync is about to throw away; otherwise what to do instead of sending it.
/// Idempotent because the copy goes by a name that the request gives, and what is recorded is not made again. If
/// interrupted: at most the copy is there and not recorded, and the next pass finds it by its name.
pub(super) async fn salvage(
    agent: &Agent,
    v: &VolumeView,
    (epoch, number): (i64, u32),
) -> Result<(), Step> {
    let Rule::Hub(hub) = &v.rule else {
        return Ok(());
    };
    let Grant::Present(grant) = &hub.grant else {
        return Ok(());
    };
    let caller = Caller::of(agent, v).ok_or(Step::Rest(Next::Failed))?;
    let measures = caller.offers(Capability::Divergence);
    // What a later request of an epoch throws away may be what the one before it has begun to copy, or still all that never
    // reached the owner: that one was noted, and perhaps no driver heard of it. So it is not measured, and kept all the same.
    let sent = hub.resync_issued.is_some_and(|(before, _)| before == epoch);
    if hub.salvage == Salvage::Nothing && (sent || !measures) {
        return Ok(());
    }
    let begun = agent.clock.now();
    let at = Key::new(&v.key.namespace, &grant.name);
    let (record, _) = agent
        .caches
        .ownership(&at)
        .ok_or(Step::Rest(Next::Failed))?;
    let claim = source_name(v);
    let all = record.status.iter().flat_map(|status| &status.divergence);
    let known = kept::find(all, claim, epoch).cloned();
    let entry = measured(&caller, epoch, known, sent).await?;
    // Said first, so that people see what is at stake while the copy cannot be made.
    let said = kept::record(agent, &at, &entry).await;
    let time = match &hub.salvage {
        Salvage::Nothing => {
            if let Err(error) = &said {
                warn!(volume = %v.key, record = %at, error = %error.full(), "not written down what a resync throws away");
                return Ok(());
            }
            return stored(agent, v, &at, said, begun).await;
        }
        Salvage::Copy(time) => *time,
        Salvage::Unreadable(text) => {
            let why = format!(
                "{HELD}, and {text:?} is no number of seconds to keep it for; the hub must write it anew"
            );
            return held(agent, v, Failed::held(Aim::Resync, FAILED, why), begun).await;
        }
    };
    stored(agent, v, &at, said, begun).await?;
    if kept::lasts(entry.kept.as_ref(), time, begun) {
        return Ok(());
    }
    if !caller.offers(Capability::Salvage) {
        let why = format!(
            "{HELD}, and driver {} does not offer that; use one that does, {LET_GO}",
            caller.driver.name()
        );
        return held(agent, v, Failed::held(Aim::Resync, FAILED, why), begun).await;
    }
    let _slot = enter(&caller)?;
    let wish = Wish {
        name: format!(
            "{}.{}.{claim}.{epoch}.{number}",
            record.spec.placement_uid, v.key.namespace
        ),
        time,
        now: begun,
    };
    let reserved = kept::reserve(agent, &at, &entry, &wish).await;
    let name = match stored(agent, v, &at, reserved, begun).await? {
        Need::Nothing => return Ok(()),
        Need::Copy(name) => name,
    };
    caller.still().map_err(|_| Step::Again)?;
    match caller.driver.keep_copy(&caller.volume, &name).await {
        Ok(made) => {
            info!(volume = %v.key, copy = %made.handle, "an independent copy is kept");
            let copy = recorded(&caller, made, time);
            let made = kept::made(agent, &at, &entry, &name, &copy).await;
            match stored(agent, v, &at, made, begun).await? {
                Made::Recorded => Ok(()),
                Made::Dropping => Err(Step::Again),
            }
        }
        Err(error) => {
            let failed = caller.failed(Aim::Resync, &error).await;
            let failed = match error.retry() {
                Retry::Busy | Retry::InDoubt => {
                    let event = failed.event;
                    failed.because(event, &format!("{HELD}, and it is not made yet"))
                }
                Retry::Soon | Retry::AfterChange | Retry::AfterCredentials | Retry::Never => {
                    let why = format!("{HELD}, and that failed; see to the storage, {LET_GO}");
                    failed.because(FAILED, &why)
                }
            };
            held(agent, v, failed, begun).await
        }
    }
}

/// A slot for calls about copies, or a place in its line.
fn enter<'a>(caller: &Caller<'a>) -> Result<Slot<'a>, Step> {
    let work = Work::Volume(caller.v.key.clone());
    let slot = caller.agent.fleet.enter_copies(caller.driver.name(), &work);
    slot.ok_or(Step::Rest(Next::Wait))
}

/// What is known of a volume's divergence, asked for again as long as the driver could not say and nothing was `sent`.
async fn measured(
    caller: &Caller<'_>,
    epoch: i64,
    known: Option<Divergence>,
    sent: bool,
) -> Result<Divergence, Step> {
    if let Some(known) = &known
        && (known.bytes.is_some() || sent)
    {
        return Ok(known.clone());
    }
    let (bytes, message) = if sent {
        let why = "not measured: an earlier request to resync may have thrown it away";
        (None, Some(why.to_owned()))
    } else if caller.offers(Capability::Divergence) {
        let _slot = enter(caller)?;
        caller.still().map_err(|_| Step::Again)?;
        match caller.driver.divergence(&caller.volume).await {
            Ok(bytes) => (Some(i64::try_from(bytes).unwrap_or(i64::MAX)), None),
            Err(error) => (None, Some(error.upstream_text())),
        }
    } else {
        let name = caller.driver.name();
        (None, Some(format!("driver {name} cannot say how much")))
    };
    Ok(match known {
        Some(known) if known.message == message => known,
        known => Divergence {
            claim: source_name(caller.v).to_owned(),
            epoch,
            measured_at: to_time(caller.agent.clock.now()),
            bytes,
            message,
            copy_name: None,
            kept: known.and_then(|known| known.kept),
            replaced: Vec::new(),
        },
    })
}

fn recorded(caller: &Caller<'_>, made: Kept, time: Duration) -> KeptCopy {
    let now = caller.agent.clock.now();
    let secret = match &caller.v.class {
        Class::Ours(class) => class.secret.as_ref(),
        Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => None,
    };
    KeptCopy {
        driver: caller.driver.name().to_owned(),
        volume_handle: made.handle,
        bytes: i64::try_from(made.bytes).unwrap_or(i64::MAX),
        kept_at: to_time(now),
        keep_until: to_time(now.checked_add(time).unwrap_or(Timestamp::MAX)),
        dropping_since: None,
        dropped_at: None,
        secret: secret.map(|secret| KeptSecret {
            namespace: secret.namespace.clone(),
            name: secret.name.clone(),
        }),
    }
}

/// What came of writing into a record, without which nothing is thrown away.
async fn stored<T>(
    agent: &Agent,
    v: &VolumeView,
    record: &Key,
    written: Result<Option<T>, CallError>,
    begun: Timestamp,
) -> Result<T, Step> {
    match written {
        Ok(Some(done)) => Ok(done),
        Ok(None) => {
            warn!(volume = %v.key, %record, "the ownership record is gone; nothing is thrown away");
            Err(Step::Rest(Next::Failed))
        }
        Err(error) => {
            let why = format!(
                "{HELD}, and DROwnership {record} does not take down what is known of it ({}); bring that kind and the agent's rights up to date, {LET_GO}",
                error.full()
            );
            let failed = Failed::held(Aim::Resync, FAILED, why);
            Err(settle(agent, v, Outcome::Failed(failed), begun).await)
        }
    }
}

async fn held(agent: &Agent, v: &VolumeView, failed: Failed, begun: Timestamp) -> Result<(), Step> {
    Err(settle(agent, v, Outcome::Failed(failed), begun).await)
}
