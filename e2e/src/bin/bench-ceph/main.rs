//! What a move costs on real storage, beside what the storage itself needs: `cargo xtask bench ceph [VOLUMES]`.
//!
//! An application writes to its volumes on two Ceph clusters. It is relocated, fails over from a site that is lost, and its old
//! copies are brought back in step. In the same run the same is done by hand to another image of the same size, so that what is
//! left over is the time of Lifeboat, of Kubernetes and of mounting.
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

mod by_hand;

use std::time::Duration;

use anyhow::{Context, Result};
use lifeboat_api::DRPlacement;
use lifeboat_e2e::{
    ceph::{App, Fleet},
    placement::{has, on},
    wait,
};
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<()> {
    let asked = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let volumes = asked.unwrap_or(2);
    let mut fleet = Fleet::start().await?;
    println!("| {volumes} volumes | from | to | time |\n|---|---|---|---|");
    let app = fleet.deploy("bench", volumes).await?;
    fleet.until_settled(&app, "dr1").await?;
    let image = by_hand::image(&fleet).await?;
    relocate(&fleet, &app, "dr2").await?;
    by_hand::relocate(&fleet, &image, "dr1", "dr2").await?;
    relocate(&fleet, &app, "dr1").await?;
    by_hand::relocate(&fleet, &image, "dr2", "dr1").await?;
    fail_over(&mut fleet, &app, &image).await?;
    fleet.retire(&app, "dr2").await?;
    fleet.went_well();
    Ok(())
}

async fn relocate(fleet: &Fleet, app: &App, to: &str) -> Result<()> {
    moved(fleet, app, to, "relocate", &json!({"preferredCluster": to})).await?;
    fleet.until_settled(app, to).await.map(drop)
}

/// Changes the spec of the placement, and prints when the volumes are primary, the application available, and the move over.
async fn moved(fleet: &Fleet, app: &App, to: &str, what: &str, spec: &Value) -> Result<()> {
    let start = Instant::now();
    fleet.wish(app, spec).await?;
    let primary = async {
        for volume in &app.volumes {
            primary(fleet, &volume.image, to).await?;
        }
        Ok::<_, anyhow::Error>(start.elapsed())
    };
    let available = async {
        fleet.until_on(app, to).await?;
        Ok::<_, anyhow::Error>(start.elapsed())
    };
    let (primary, available) = tokio::try_join!(primary, available)?;
    let edit = format!("edit: {what} to {to}");
    row("hub", &edit, "all volumes are primary", primary);
    row("hub", &edit, "`Available`", available);
    if what == "relocate" {
        let over = |p: &DRPlacement| on(p, to) && succeeded(p);
        fleet.until(app, "the move is over", over).await?;
        row("hub", &edit, "complete", start.elapsed());
    }
    Ok(())
}

/// Waits until an image is primary, as its cluster says.
async fn primary(fleet: &Fleet, image: &str, on: &str) -> Result<()> {
    let rbd = fleet.pair().site(on).rbd();
    wait::until_answer("it is primary", || async {
        let primary = rbd.info(image).await?.is_primary();
        Ok(primary.then_some(()))
    })
    .await
}

fn succeeded(placement: &DRPlacement) -> bool {
    let status = placement.status.as_ref();
    let last = status.and_then(|s| s.actions.first());
    last.is_some_and(|a| a.complete_time.is_some())
}

async fn fail_over(fleet: &mut Fleet, app: &App, image: &str) -> Result<()> {
    fleet.lose("dr1").await?;
    let silent = |p: &DRPlacement| !has(p, "Available");
    fleet.until(app, "the hub notices it", silent).await?;
    let spec = json!({"action": "Failover"});
    moved(fleet, app, "dr2", "failover", &spec).await?;
    by_hand::fail_over(fleet, image).await?;

    fleet.bring_back("dr1").await?;
    let fleet = &*fleet;
    let start = Instant::now();
    let lifeboat = async {
        fleet.until_returned(app, "dr1", "dr2").await?;
        row("hub", "dr1 is back", "protected again", start.elapsed());
        Ok::<_, anyhow::Error>(())
    };
    let by_hand = by_hand::resync(fleet, image);
    let ((), ()) = tokio::try_join!(lifeboat, by_hand).context("the return of dr1")?;
    Ok(())
}

/// Prints a row of the table.
fn row(who: &str, from: &str, to: &str, took: Duration) {
    println!("| {who} | {from} | {to} | {:.2} s |", took.as_secs_f64());
}
