//! The agents' programs without a hub: a person moves volumes between real API servers by plain patches of
//! VolumeReplications, as with any other CSI-Addons controller.

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lifeboat_api::VolumeReplication;
use lifeboat_e2e::{objects::apply_yaml, wait};
use lifeboat_sim::told::{COPY, DRAINED, PRIMARY, told};
use lifeboat_sim::{storage::RoleChange, world::App};
use serde_json::json;

use crate::moves::runs;
use crate::sites::{CLUSTERS, Site, Sites, on_sites};

#[test]
fn volumes_are_moved_lost_and_taken_back_by_hand() -> Result<()> {
    on_sites(|sites| Box::pin(by_hand(sites)))
}

async fn by_hand(sites: &mut Sites) -> Result<()> {
    sites.kill_hub().await?;
    let app = sites.deploy_alone("hands").await?;
    replicate(&sites.dr1, &app).await?;
    until(&sites.dr1, &app, PRIMARY).await?;
    planned(sites, &app).await?;
    lost_and_regained(sites, &app).await?;
    sites.start_hub()?;
    for cluster in CLUSTERS {
        sites.until_ready(cluster).await?;
    }
    Ok(())
}

/// To the second cluster and back.
async fn planned(sites: &Sites, app: &App) -> Result<()> {
    let (dr1, dr2) = (&sites.dr1, &sites.dr2);
    let before = sites.fabric.events().len();
    sites.write(app, "dr1", &[1, 2])?;
    sites.until_written(app, "dr2", &[1, 2]).await?;
    scale(dr1, app, 0).await?;
    ask(dr1, app, "secondary").await?;
    until(dr1, app, DRAINED).await?;
    let stopped = app.yaml().replace("replicas: 1", "replicas: 0");
    dr2.install(app, &stopped).await?;
    replicate(dr2, app).await?;
    until(dr2, app, PRIMARY).await?;
    scale(dr2, app, 1).await?;
    runs(dr2, app).await?;
    sites.write(app, "dr2", &[3])?;

    scale(dr2, app, 0).await?;
    ask(dr2, app, "secondary").await?;
    // Only whoever steps down now can tell: a side that was drained once is not asked again.
    until(dr2, app, DRAINED).await?;
    ask(dr1, app, "primary").await?;
    until(dr1, app, PRIMARY).await?;
    scale(dr1, app, 1).await?;
    runs(dr1, app).await?;
    sites.until_written(app, "dr1", &[1, 2, 3]).await?;
    let events = sites.fabric.events_since(before);
    let forced = [
        RoleChange::ForcePromoted,
        RoleChange::SplitBrain,
        RoleChange::Resynced,
    ];
    let forced = events.iter().find(|e| forced.contains(&e.what));
    ensure!(forced.is_none(), "in a planned move: {forced:?}");
    Ok(())
}

/// The first cluster is lost, the second promoted by force; the first comes back, is copied anew and promoted again.
async fn lost_and_regained(sites: &mut Sites, app: &App) -> Result<()> {
    let before = sites.fabric.events().len();
    sites.until_written(app, "dr2", &[1, 2, 3]).await?;
    sites.fabric.cut("dr1", "dr2")?;
    sites.write(app, "dr1", &[4])?;
    sites.dr1.plane.freeze().await?;
    sites.dr1.kill_agent().await?;
    ask(&sites.dr2, app, "primary").await?;
    until(&sites.dr2, app, PRIMARY).await?;
    scale(&sites.dr2, app, 1).await?;
    runs(&sites.dr2, app).await?;
    sites.write(app, "dr2", &[5])?;
    let count = |site: &str, what| {
        let events = sites.fabric.events_since(before);
        events
            .iter()
            .filter(|e| e.site == site && e.what == what)
            .count()
    };
    let forced = count("dr2", RoleChange::ForcePromoted);
    ensure!(forced == app.volumes, "{forced} were promoted by force");

    sites.fabric.heal("dr1", "dr2")?;
    sites.dr1.plane.thaw().await?;
    sites.start_agent("dr1").await?;
    let (dr1, dr2) = (&sites.dr1, &sites.dr2);
    scale(dr1, app, 0).await?;
    ask(dr1, app, "secondary").await?;
    until(dr1, app, COPY).await?;
    ask(dr1, app, "resync").await?;
    sites.until_written(app, "dr1", &[1, 2, 3, 5]).await?;
    until(dr1, app, COPY).await?;

    scale(dr2, app, 0).await?;
    ask(dr1, app, "secondary").await?;
    ask(dr2, app, "secondary").await?;
    until(dr2, app, DRAINED).await?;
    until(dr1, app, DRAINED).await?;
    ask(dr1, app, "primary").await?;
    until(dr1, app, PRIMARY).await?;
    scale(dr1, app, 1).await?;
    runs(dr1, app).await?;
    sites.until_written(app, "dr1", &[1, 2, 3, 5]).await?;
    let events = sites.fabric.events_since(before);
    let resynced = events.iter().filter(|e| e.what == RoleChange::Resynced);
    let resynced = resynced.map(|e| e.site.as_str()).collect::<Vec<_>>();
    ensure!(
        resynced == vec!["dr1"; app.volumes],
        "thrown away: {resynced:?}"
    );
    Ok(())
}

fn replications(site: &Site, app: &App) -> Api<VolumeReplication> {
    Api::namespaced(site.client.clone(), &app.namespace)
}

/// A VolumeReplication as primary for each claim.
async fn replicate(site: &Site, app: &App) -> Result<()> {
    for claim in app.claims() {
        let vr = json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
            "metadata": {"name": claim, "namespace": app.namespace},
            "spec": {"volumeReplicationClass": "fast-mirror", "replicationState": "primary", "autoResync": false,
                "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": claim}},
        });
        apply_yaml(&site.client, &vr.to_string()).await?;
    }
    Ok(())
}

async fn ask(site: &Site, app: &App, state: &str) -> Result<()> {
    let wish = Patch::Merge(json!({"spec": {"replicationState": state}}));
    for claim in app.claims() {
        let api = replications(site, app);
        api.patch(&claim, &PatchParams::default(), &wish).await?;
    }
    Ok(())
}

async fn until(site: &Site, app: &App, want: &str) -> Result<()> {
    let what = format!("{want} on {}", site.plane.name());
    for claim in app.claims() {
        let api = replications(site, app);
        let is =
            |vr: &VolumeReplication| serde_json::to_value(vr).is_ok_and(|vr| told(&vr) == want);
        wait::until_some(&api, &claim, &what, is).await?;
    }
    Ok(())
}

/// Starts or stops the application, and waits until the last pod of it is gone.
async fn scale(site: &Site, app: &App, replicas: usize) -> Result<()> {
    let api = Api::<Deployment>::namespaced(site.client.clone(), &app.namespace);
    let wish = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(&app.name, &PatchParams::default(), &wish).await?;
    let pods = Api::<Pod>::namespaced(site.client.clone(), &app.namespace);
    let what = format!("{replicas} pods on {}", site.plane.name());
    wait::until_list(&pods, &what, |all| all.len() == replicas)
        .await
        .map(drop)
}
