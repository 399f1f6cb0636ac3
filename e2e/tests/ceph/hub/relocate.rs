//! Relocation: the writers stop, everything is handed over, and nothing is lost.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use lifeboat_e2e::ceph::{App, Fleet, content};
use serde_json::json;

use super::{clean, nothing_lost, on_fleet, same_on_both, settled, written};

#[test]
fn three_applications_relocate_at_once_and_back_without_losing_a_record() -> Result<()> {
    on_fleet(|fleet| Box::pin(there_and_back(fleet)))
}

async fn there_and_back(fleet: &Fleet) -> Result<()> {
    let apps = settled(fleet, &[("shop", 2), ("ledger", 1), ("mail", 2)]).await?;
    try_join_all(apps.iter().map(|app| one(fleet, app))).await?;
    // Machines also tell of what went wrong on purpose, in other tests.
    let here = |note: &String| {
        apps.iter()
            .any(|a| note.starts_with(&format!("{}/", a.name)))
    };
    for name in ["dr1", "dr2"] {
        let mut notes = fleet.machine(name).notes();
        notes.retain(here);
        ensure!(notes.is_empty(), "not in order: {notes:#?}");
    }
    try_join_all(apps.iter().map(|app| fleet.retire(app, "dr1"))).await?;
    Ok(())
}

async fn one(fleet: &Fleet, app: &App) -> Result<()> {
    written(fleet, app, "dr1", 40).await?;
    fleet.wish(app, &json!({"preferredCluster": "dr2"})).await?;
    fleet.until_on(app, "dr2").await?;
    clean(fleet, app, "dr2")?;
    handed_over(fleet, app).await?;
    written(fleet, app, "dr2", 40).await?;
    nothing_lost(fleet, app, "dr2", &["dr1", "dr2"]).await?;
    fleet.until_settled(app, "dr2").await?;
    same_on_both(fleet, app, "dr2", "dr1").await?;

    fleet.wish(app, &json!({"preferredCluster": "dr1"})).await?;
    fleet.until_on(app, "dr1").await?;
    clean(fleet, app, "dr1")?;
    written(fleet, app, "dr1", 20).await?;
    nothing_lost(fleet, app, "dr1", &["dr1", "dr2"]).await
}

/// What dr2 mounted first is, byte for byte, what dr1 gave up and still holds: no snapshot has been taken on dr2 since.
async fn handed_over(fleet: &Fleet, app: &App) -> Result<()> {
    let rbd = fleet.pair().dr1.rbd();
    for volume in &app.volumes {
        let found = fleet
            .machine("dr2")
            .found(&volume.of)
            .context("not mounted")?;
        let left = content::sha256(&rbd, &volume.image).await?;
        ensure!(found.sha256 == left, "{} came with other data", volume.of);
    }
    Ok(())
}
