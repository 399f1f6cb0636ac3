//! The chapters, in order. One that fails ends the story.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lifeboat_api::{
    DRPlacement,
    placement::{ActionRecord, StepRecord},
};

use super::{Check, Kind, narrate::Narrator};
use crate::lab::{Lab, LabError, Look};

/// Longer than any chapter takes when all is well.
const PATIENCE: Duration = Duration::from_secs(45);

/// Tells all chapters and hands out what was claimed.
pub(super) async fn all(lab: &Arc<Lab>, n: &mut Narrator<'_>) -> Vec<Check> {
    if let Err(error) = chapters(lab, n).await {
        let text = error.full();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        n.claim("the story comes to its end", Some(first));
        for line in lines {
            n.say(Kind::Note, line);
        }
    }
    std::mem::take(&mut n.checks)
}

async fn chapters(lab: &Lab, n: &mut Narrator<'_>) -> Result<(), LabError> {
    protect(lab, n).await?;
    relocate(lab, n, "east", "west").await?;
    let lost = disaster(lab, n).await?;
    let lost = come_back(lab, n, lost).await?;
    n.say(Kind::Chapter, "Home again, without loss");
    go(lab, n, "north", "east", lost).await?;
    lab.check().await?;
    n.claim(
        "no array ever threw away data, and nobody ever wrote where they should not",
        None,
    );
    Ok(())
}

async fn protect(lab: &Lab, n: &mut Narrator<'_>) -> Result<(), LabError> {
    n.say(
        Kind::Chapter,
        "An application with two volumes runs on east, and is protected",
    );
    n.while_telling(lab.settled_on("east", PATIENCE)).await?;
    n.learn_names().await;
    n.claim(
        "every volume has a copy elsewhere, and its objects are stored on the hub",
        None,
    );
    Ok(())
}

async fn relocate(lab: &Lab, n: &mut Narrator<'_>, from: &str, to: &str) -> Result<(), LabError> {
    n.say(Kind::Chapter, format!("A planned move: {from} to {to}"));
    go(lab, n, from, to, 0).await
}

/// A relocation; `lost` records were lost before it.
async fn go(
    lab: &Lab,
    n: &mut Narrator<'_>,
    from: &str,
    to: &str,
    lost: usize,
) -> Result<(), LabError> {
    lab.relocate(to).await?;
    let done = n.while_telling(lab.settled_on(to, PATIENCE)).await?;
    times(n, &done, "relocation");
    let now = lab.ledger();
    let fresh = now.lost.saturating_sub(lost);
    n.say(
        Kind::Measure,
        format!(
            "{} records acknowledged so far, {fresh} lost in this move",
            now.acked
        ),
    );
    n.claim(
        format!("{from} to {to} without a lost record"),
        (fresh > 0).then(|| format!("{fresh} lost")),
    );
    let doubled = (now.doubled > 0).then(|| format!("{} doubled", now.doubled));
    n.claim("no record was written twice", doubled);
    Ok(())
}

async fn disaster(lab: &Lab, n: &mut Narrator<'_>) -> Result<usize, LabError> {
    n.say(Kind::Chapter, "Disaster: west is gone");
    lab.kill_site("west")?;
    let struck = lab.world().fabric().now();
    let placement = lab.placement();
    let synced = placement
        .and_then(|p| p.status)
        .and_then(|s| s.last_sync_time)
        .map(|t| t.0);
    let age = synced.map(|at| struck.duration_since(at).as_secs_f64().max(0.0));
    let predicted = synced.map_or(0, |at| written_since(lab, at));
    let seconds = age.map_or_else(|| "an unknown time".to_owned(), |s| format!("{s:.1} s"));
    n.say(
        Kind::Measure,
        format!("a failover would lose at most {seconds} of work, {predicted} records"),
    );
    let dark = |p: &DRPlacement| p.condition("Available") != "True";
    n.while_telling(lab.until("the hub to notice", PATIENCE, dark))
        .await?;
    n.say(
        Kind::Note,
        "nothing moves by itself: a person accepts the loss",
    );
    lab.failover("north").await?;
    let running = |p: &DRPlacement| {
        p.is_current() && p.cluster() == "north" && p.condition("Available") == "True"
    };
    let done = n
        .while_telling(lab.until("the application to run on north", PATIENCE, running))
        .await?;
    times(n, &done, "failover");
    let lost = lab.ledger().lost;
    n.say(
        Kind::Measure,
        format!("{lost} records were lost; {predicted} were predicted at most"),
    );
    n.claim(
        "no more was lost than was predicted",
        (lost > predicted).then(|| format!("{lost} lost")),
    );
    Ok(lost)
}

/// Hands out how many records are lost by now: those of the disaster, and those that west wrote between its return and
/// its quarantine, on a copy that had already been given up.
async fn come_back(lab: &Lab, n: &mut Narrator<'_>, lost: usize) -> Result<usize, LabError> {
    n.say(
        Kind::Chapter,
        "West returns, believing that it still owns the data",
    );
    lab.revive_site("west")?;
    let done = n.while_telling(lab.settled_on("north", PATIENCE)).await?;
    times(n, &done, "failover, clean-up included,");
    let mut wrong = None;
    for volume in lab.world().fabric().volumes() {
        let lead = lab.world().fabric().primaries(&volume);
        if lead != ["north"] {
            wrong = Some(format!("{volume} is primary on {lead:?}"));
        }
    }
    n.claim(
        "west was quarantined and copied anew; north alone may write",
        wrong,
    );
    let now = lab.ledger().lost;
    let astray = now.saturating_sub(lost);
    n.say(
        Kind::Measure,
        format!(
            "{astray} records that west wrote before its quarantine were thrown away with its copy"
        ),
    );
    let others = lost_elsewhere(lab, "west");
    n.claim(
        "north lost nothing of what it wrote",
        (others > 0).then(|| format!("{others} lost")),
    );
    Ok(now)
}

/// Records acknowledged after a point in time, on all volumes.
fn written_since(lab: &Lab, at: jiff::Timestamp) -> usize {
    let ledger = lab.world().ledger();
    let after = |volume: &String| {
        ledger
            .acknowledged(volume)
            .iter()
            .filter(|a| a.at > at)
            .count()
    };
    ledger.volumes().iter().map(after).sum()
}

/// Lost records that another site than this one had acknowledged.
fn lost_elsewhere(lab: &Lab, site: &str) -> usize {
    let ledger = lab.world().ledger();
    let of = |volume: &String| {
        ledger
            .lost(volume)
            .iter()
            .filter(|a| a.site != site)
            .count()
    };
    ledger.volumes().iter().map(of).sum()
}

/// Tells how long the newest move took, step by step.
fn times(n: &mut Narrator<'_>, placement: &DRPlacement, what: &str) {
    let newest = placement.status.as_ref().and_then(|s| s.actions.first());
    let Some(newest) = newest else { return };
    for step in &newest.steps {
        if let Some(ms) = step.milliseconds {
            n.say(Kind::Measure, format!("  {:<16} {ms:>6} ms", step.name));
        }
    }
    n.say(Kind::Measure, format!("{what} took {}", span(newest)));
}

/// The status has times to the second; the steps are known to the millisecond.
fn span(action: &ActionRecord) -> String {
    let until = |complete: bool| {
        let after = |s: &&StepRecord| complete || !matches!(s.name.as_str(), "CleanUp" | "Resync");
        let steps = action.steps.iter().filter(after);
        let all: i64 = steps.map(|s| s.milliseconds.unwrap_or_default()).sum();
        format!("{all} ms")
    };
    let show = |end: Option<&Time>, complete| match end {
        Some(_) => until(complete),
        None => "not yet".to_owned(),
    };
    format!(
        "{} to available, {} to complete",
        show(action.available_time.as_ref(), false),
        show(action.complete_time.as_ref(), true)
    )
}
