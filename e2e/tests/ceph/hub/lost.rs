//! A site is lost as a whole: failover to the last copies, the return of the site, and the way home. Twice, for the second time
//! everything has a history.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use lifeboat_api::DRPlacement;
use lifeboat_e2e::{
    ceph::{App, Fleet},
    placement::has,
};
use serde_json::json;

use super::{
    Mark, came_from, clean, holds, mark, nothing_lost, on_fleet, same_on_both, settled, written,
};

/// The interval of the schedule, in seconds: by so much the hub may be wrong about a loss.
const INTERVAL: i64 = 60;

#[test]
fn a_lost_site_costs_what_was_told_and_comes_back_twice() -> Result<()> {
    on_fleet(|fleet| Box::pin(twice(fleet)))
}

async fn twice(fleet: &mut Fleet) -> Result<()> {
    let apps = settled(fleet, &[("orders", 2), ("audit", 1)]).await?;
    for _ in 0..2 {
        lost(fleet, &apps).await?;
        returned(fleet, &apps).await?;
        home(fleet, &apps).await?;
    }
    try_join_all(apps.iter().map(|app| fleet.retire(app, "dr1"))).await?;
    Ok(())
}

async fn lost(fleet: &mut Fleet, apps: &[App]) -> Result<()> {
    let marks = try_join_all(apps.iter().map(|app| mark(fleet, app))).await?;
    fleet.lose("dr1").await?;
    let over = |app, marks| fail_over(fleet, app, marks);
    let all = apps.iter().zip(&marks).map(|(app, marks)| over(app, marks));
    try_join_all(all).await.map(drop)
}

async fn fail_over(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    holds(fleet, marks).await?;
    let silent = |p: &DRPlacement| !has(p, "Available");
    fleet
        .until(app, "the hub notices the silence", silent)
        .await?;
    fleet.wish(app, &json!({"action": "Failover"})).await?;
    let moved = fleet.until_on(app, "dr2").await?;
    came_from(fleet, marks).await?;
    loss(fleet, marks, &moved)?;
    written(fleet, app, "dr2", 40).await?;
    nothing_lost(fleet, app, "dr2", &["dr2"]).await
}

/// The loss, in records and in seconds, beside what the hub says of it.
fn loss(fleet: &Fleet, marks: &[Mark], moved: &DRPlacement) -> Result<()> {
    let status = moved.status.as_ref().context("no status")?;
    let action = status.actions.first().context("no move is recorded")?;
    let told = action.data_loss_seconds.context("no loss is told")?;
    let began = action.start_time.as_ref().context("no beginning")?.0;
    // The hub counts to the decision, and the records end with the site.
    let copied = began.as_second() - told;
    for Mark {
        volume, last, time, ..
    } in marks
    {
        let of = &volume.of;
        let acknowledged = fleet.machine("dr1").told(of)?;
        let end = acknowledged.all.values().next_back().context("no record")?;
        let records = acknowledged.last() - last;
        ensure!(records >= 40, "{of}: only {records} are lost");
        let seconds = (end.time - time.as_millisecond()) / 1000;
        eprintln!("{of}: {records} records, {seconds} s; the hub: {told} s before its decision");
        // It never says that less is lost than is.
        ensure!(
            copied <= time.as_second() + 1,
            "{of}: the hub takes the copy for newer than it is: {copied}, {time}"
        );
        ensure!(
            copied >= time.as_second() - INTERVAL,
            "{of}: the hub takes the copy for older by more than a snapshot: {copied}, {time}"
        );
        ensure!(told + 1 >= seconds, "{of}: {told} s told, {seconds} s lost");
    }
    Ok(())
}

async fn returned(fleet: &mut Fleet, apps: &[App]) -> Result<()> {
    fleet.bring_back("dr1").await?;
    let fleet = &*fleet;
    let all = apps.iter().map(|app| async move {
        fleet.until_returned(app, "dr1", "dr2").await?;
        nothing_lost(fleet, app, "dr2", &["dr2"]).await?;
        same_on_both(fleet, app, "dr2", "dr1").await
    });
    try_join_all(all).await.map(drop)
}

async fn home(fleet: &Fleet, apps: &[App]) -> Result<()> {
    let all = apps.iter().map(|app| async move {
        for volume in &app.volumes {
            fleet.machine("dr1").forget(&volume.of)?;
        }
        fleet.wish(app, &json!({"action": "Relocate"})).await?;
        fleet.until_on(app, "dr1").await?;
        clean(fleet, app, "dr1")?;
        written(fleet, app, "dr1", 20).await?;
        nothing_lost(fleet, app, "dr1", &["dr1", "dr2"]).await?;
        for volume in &app.volumes {
            fleet.machine("dr2").forget(&volume.of)?;
        }
        fleet.until_settled(app, "dr1").await.map(drop)
    });
    try_join_all(all).await.map(drop)
}
