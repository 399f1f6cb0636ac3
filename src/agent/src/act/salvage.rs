//! Before a copy is thrown away: how much it holds that never reached the owner is written down and, where the hub wants
//! it, an independent copy of it is made. The ownership record holds both before anything is sent.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::common::to_time;
use lifeboat_api::{Divergence, KeptCopy, KeptSecret};
use lifeboat_drivers::{Capability, Kept};
use lifeboat_kit::Next;
use tracing::{info, warn};

use super::call::{Caller, source_name};
use super::{Step, again, settle};
use crate::agent::Agent;
use crate::kept;
use crate::outcome::{Aim, Failed, Outcome};
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
    // What a later request of an epoch throws away is what the one before it has begun to copy.
    let Rule::Hub(hub) = &v.rule else {
        return Ok(());
    };
    let Grant::Present(grant) = &hub.grant else {
        return Ok(());
    };
    let caller = Caller::of(agent, v).ok_or(Step::Rest(Next::Failed))?;
    let measures = caller.offers(Capability::Divergence);
    if number > 1 || (!measures && hub.salvage == Salvage::Nothing) {
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
    let mut all = all.filter(|d| d.claim == claim && d.epoch == epoch);
    let known = all.next().cloned();
    let mut entry = measured(&caller, epoch, known).await?;
    // Said first, so that people see what is at stake while the copy cannot be made.
    store(agent, v, &at, &entry).await?;
    let time = match &hub.salvage {
        Salvage::Nothing => return Ok(()),
        Salvage::Copy(time) => *time,
        Salvage::Unreadable(text) => {
            let why = format!(
                "{HELD}, and {text:?} is no number of seconds to keep it for; the hub must write it anew"
            );
            return held(agent, v, Failed::held(Aim::Resync, FAILED, why), begun).await;
        }
    };
    if lasts(entry.kept.as_ref(), time, begun) {
        return Ok(());
    }
    if !caller.offers(Capability::Salvage) {
        let why = format!(
            "{HELD}, and driver {} does not offer that; use one that does, {LET_GO}",
            caller.driver.name()
        );
        return held(agent, v, Failed::held(Aim::Resync, FAILED, why), begun).await;
    }
    caller.still().map_err(|_| Step::Again)?;
    let name = format!(
        "{}.{}.{claim}.{epoch}.{number}",
        record.spec.placement_uid, v.key.namespace
    );
    match caller.driver.keep_copy(&caller.volume, &name).await {
        Ok(made) => {
            info!(volume = %v.key, copy = %made.handle, "an independent copy is kept");
            entry.kept = Some(recorded(&caller, made, time));
            store(agent, v, &at, &entry).await
        }
        Err(error) => {
            let why = format!("{HELD}, and that failed; see to the storage, {LET_GO}");
            let failed = caller.failed(Aim::Resync, &error).await;
            held(agent, v, failed.because(FAILED, &why), begun).await
        }
    }
}

/// What is known of a volume's divergence, asked for again as long as the driver could not say.
async fn measured(
    caller: &Caller<'_>,
    epoch: i64,
    known: Option<Divergence>,
) -> Result<Divergence, Step> {
    if let Some(known) = &known
        && known.bytes.is_some()
    {
        return Ok(known.clone());
    }
    let (bytes, message) = if caller.offers(Capability::Divergence) {
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
            kept: known.and_then(|known| known.kept),
        },
    })
}

/// Whether a copy that was made is there for most of the time that it is wanted from now on: the resync it was made for may
/// have been refused since, for long.
fn lasts(kept: Option<&KeptCopy>, time: Duration, now: Timestamp) -> bool {
    let enough = now.checked_add(time / 2);
    kept.is_some_and(|kept| {
        kept.dropped_at.is_none() && enough.is_ok_and(|enough| kept.keep_until.0 >= enough)
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
        dropped_at: None,
        secret: secret.map(|secret| KeptSecret {
            namespace: secret.namespace.clone(),
            name: secret.name.clone(),
        }),
    }
}

async fn store(
    agent: &Agent,
    v: &VolumeView,
    record: &Key,
    entry: &Divergence,
) -> Result<(), Step> {
    match kept::record(agent, record, entry).await {
        Ok(Some(())) => Ok(()),
        Ok(None) => {
            warn!(volume = %v.key, %record, "the ownership record is gone; nothing is thrown away");
            Err(Step::Rest(Next::Failed))
        }
        Err(error) => Err(again(Err(error), v)),
    }
}

async fn held(agent: &Agent, v: &VolumeView, failed: Failed, begun: Timestamp) -> Result<(), Step> {
    Err(settle(agent, v, Outcome::Failed(failed), begun).await)
}
