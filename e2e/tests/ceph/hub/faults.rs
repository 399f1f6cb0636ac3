//! A failover to storage that is in trouble of its own: nothing is done by halves, the placement says what is wrong, and goes on by
//! itself once that is mended.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lifeboat_api::DRPlacement;
use lifeboat_e2e::{
    ceph::{App, Fleet, Force, Part, driver::USER_KEY, sites::SECRET},
    placement::has,
};
use serde_json::json;

use super::{Mark, came_from, holds, mark, nothing_lost, on_fleet, settled, written};

#[test]
fn a_failover_says_what_ails_its_storage_and_goes_on_when_it_is_mended() -> Result<()> {
    on_fleet(|fleet| Box::pin(ailing(fleet)))
}

async fn ailing(fleet: &mut Fleet) -> Result<()> {
    let apps = [("secret", 1), ("mirror", 1), ("hand", 1)];
    let apps = settled(fleet, &apps).await?;
    let marks = try_join_all(apps.iter().map(|app| mark(fleet, app))).await?;
    fleet.lose("dr1").await?;
    for (app, marks) in apps.iter().zip(&marks) {
        holds(fleet, marks).await?;
        let silent = |p: &DRPlacement| !has(p, "Available");
        fleet
            .until(app, "the hub notices the silence", silent)
            .await?;
    }
    let [secret, mirror, hand] = &apps[..] else {
        anyhow::bail!("three applications");
    };
    let [marked_secret, marked_mirror, marked_hand] = &marks[..] else {
        anyhow::bail!("three marks");
    };
    wrong_secret(fleet, secret, marked_secret).await?;
    by_hand(fleet, hand, marked_hand).await?;
    no_mirror(fleet, mirror, marked_mirror).await?;

    fleet.bring_back("dr1").await?;
    let fleet = &*fleet;
    let all = apps.iter().map(|app| async move {
        fleet.until_returned(app, "dr1", "dr2").await?;
        nothing_lost(fleet, app, "dr2", &["dr2"]).await?;
        fleet.retire(app, "dr2").await
    });
    try_join_all(all).await.map(drop)
}

/// The driver is not let in.
async fn wrong_secret(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    let wrong = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
    set_key(fleet, wrong).await?;
    asked(fleet, app).await?;
    stuck(fleet, app, marks).await?;
    set_key(fleet, fleet.pair().dr2.key()).await?;
    runs(fleet, app, marks).await
}

async fn set_key(fleet: &Fleet, key: &str) -> Result<()> {
    let (namespace, name) = SECRET;
    let api = Api::<Secret>::namespaced(fleet.sites.dr2.client.clone(), namespace);
    let data = Patch::Merge(json!({"stringData": {USER_KEY: key}}));
    api.patch(name, &PatchParams::default(), &data).await?;
    Ok(())
}

/// Somebody was quicker than the hub.
async fn by_hand(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    let rbd = fleet.pair().dr2.rbd();
    for volume in &app.volumes {
        rbd.promote(&volume.image, Force::Yes).await?;
    }
    asked(fleet, app).await?;
    runs(fleet, app, marks).await
}

/// The rbd-mirror died, and with it whoever holds the lock on the copy.
async fn no_mirror(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    let dr2 = &fleet.pair().dr2;
    dr2.kill_part(Part::Mirror).await?;
    asked(fleet, app).await?;
    runs(fleet, app, marks).await?;
    dr2.start_part(Part::Mirror).await
}

async fn asked(fleet: &Fleet, app: &App) -> Result<()> {
    fleet.wish(app, &json!({"action": "Failover"})).await
}

/// The placement says that the storage does not do what it should, and none of the volumes is primary.
async fn stuck(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    told(fleet, app).await?;
    for mark in marks {
        let info = fleet.pair().dr2.rbd().info(&mark.volume.image).await?;
        ensure!(!info.is_primary(), "{} is primary", mark.volume.of);
    }
    Ok(())
}

/// Waits until the placement names the volume and what the driver said of it.
async fn told(fleet: &Fleet, app: &App) -> Result<()> {
    let of = &app.volumes.first().context("no volume")?.of;
    let told = |p: &DRPlacement| {
        let blockers = p.status.iter().flat_map(|s| &s.blockers);
        let mut messages = blockers.map(|b| &b.message);
        messages.any(|m| m.contains(of) && m.contains("rbd"))
    };
    fleet.until(app, "it says what is wrong", told).await?;
    Ok(())
}

async fn runs(fleet: &Fleet, app: &App, marks: &[Mark]) -> Result<()> {
    fleet.until_on(app, "dr2").await?;
    came_from(fleet, marks).await?;
    written(fleet, app, "dr2", 20).await
}
