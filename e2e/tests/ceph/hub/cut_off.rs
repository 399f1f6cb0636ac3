//! A site is not heard of and not dead: the application runs on the other one, and then there are two.

use anyhow::{Context, Result, ensure};
use kube::{Api, api::ListParams};
use lifeboat_api::replication::ReplicationState;
use lifeboat_api::{DRPlacement, VolumeReplication};
use lifeboat_e2e::{
    ceph::{App, Fleet},
    placement::has,
    wait,
};
use serde_json::json;

use super::{came_from, holds, mark, nothing_lost, on_fleet, same_on_both, settled, written};

#[test]
fn a_site_that_is_heard_of_again_steps_down_before_anything_is_thrown_away() -> Result<()> {
    on_fleet(|fleet| Box::pin(cut_off(fleet)))
}

async fn cut_off(fleet: &Fleet) -> Result<()> {
    let apps = settled(fleet, &[("bank", 2)]).await?;
    let app = apps.first().context("no application")?;
    let marks = mark(fleet, app).await?;
    fleet.sites.freeze("dr1").await?;
    holds(fleet, &marks).await?;
    let silent = |p: &DRPlacement| !has(p, "Available");
    fleet
        .until(app, "the hub notices the silence", silent)
        .await?;
    fleet.wish(app, &json!({"action": "Failover"})).await?;
    fleet.until_on(app, "dr2").await?;
    came_from(fleet, &marks).await?;
    written(fleet, app, "dr2", 40).await?;

    fleet
        .sites
        .thaw("dr1", async || both_write(fleet, app).await)
        .await?;
    let left = stepped_down_first(fleet, app);
    fleet.meanwhile(app, "dr2", left).await?;
    fleet.until_returned(app, "dr1", "dr2").await?;
    nothing_lost(fleet, app, "dr2", &["dr2"]).await?;
    same_on_both(fleet, app, "dr2", "dr1").await?;
    fleet.retire(app, "dr2").await
}

/// The storage of dr1 goes on before anybody there hears of anything: for a while there are two primaries, and two writers.
async fn both_write(fleet: &Fleet, app: &App) -> Result<()> {
    for volume in &app.volumes {
        for site in fleet.pair().both() {
            let primary = wait::until_answer("it tells its role", || async {
                Ok(Some(site.rbd().info(&volume.image).await?.is_primary()))
            });
            ensure!(primary.await?, "{} is not primary", site.name());
        }
    }
    written(fleet, app, "dr1", 5).await?;
    written(fleet, app, "dr2", 5).await
}

/// Looks at dr1 again and again: whenever a copy is seen that is to be thrown away, nothing of the application uses it any more.
async fn stepped_down_first(fleet: &Fleet, app: &App) -> Result<()> {
    let client = &fleet.sites.dr1.client;
    let roles = Api::<VolumeReplication>::namespaced(client.clone(), &app.name);
    wait::until_answer("its copies are taken anew", || async {
        let roles = roles.list(&ListParams::default()).await?;
        let asked = |r: &&VolumeReplication| r.spec.replication_state == ReplicationState::Resync;
        let asked = roles.iter().filter(asked).count();
        if asked == 0 {
            return Ok(None);
        }
        let mounted = fleet.machine("dr1").mounted().await;
        let uses = mounted
            .iter()
            .any(|of| app.volumes.iter().any(|v| v.of == *of));
        Ok(Some(!uses))
    })
    .await
    .and_then(|first| {
        ensure!(
            first,
            "it was still in use when its copies were to be taken anew"
        );
        Ok(())
    })
}
