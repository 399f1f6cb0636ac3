//! The product's own programs move an application between real API servers, under the rights that the deploy files give them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{PersistentVolume, PersistentVolumeClaim, Secret},
    },
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use lifeboat_api::{DRCluster, DROwnership, DRPlacement, VolumeReplication, names};
use lifeboat_e2e::{access::service_account, client, wait};
use lifeboat_sim::{
    storage::{Event, RoleChange},
    world::App,
};
use serde_json::json;

use crate::sites::{Site, Sites, epoch, has, on, on_sites, phase};

/// How often the volume binder looks at claims by itself.
const BINDER: SignedDuration = SignedDuration::from_secs(15);

#[test]
fn relocates_there_and_back() -> Result<()> {
    on_sites(|sites| Box::pin(there_and_back(sites)))
}

async fn there_and_back(sites: &mut Sites) -> Result<()> {
    let app = sites.deploy("there").await?;
    let before = sites.until_settled(&app, "dr1").await?;
    sites.write(&app, "dr1", &[1, 2, 3])?;
    sites.wish(&app, json!({"preferredCluster": "dr2"})).await?;
    let there = sites.until_settled(&app, "dr2").await?;
    ensure!(epoch(&there) == epoch(&before) + 1, "one move, one epoch");
    swift(&there)?;
    sites.until_written(&app, "dr2", &[1, 2, 3]).await?;
    runs(&sites.dr2, &app).await?;
    only_data(&sites.dr1, &app).await?;
    sites.write(&app, "dr2", &[4])?;
    sites.wish(&app, json!({"preferredCluster": "dr1"})).await?;
    let back = sites.until_settled(&app, "dr1").await?;
    ensure!(epoch(&back) == epoch(&there) + 1, "one move, one epoch");
    swift(&back)?;
    sites.until_written(&app, "dr1", &[1, 2, 3, 4]).await?;
    runs(&sites.dr1, &app).await?;
    only_data(&sites.dr2, &app).await?;
    never_forced(sites, &app)
}

/// The volume binder of the real controller manager may come to a claim only at its next resync, after 15 s. A move that
/// waited for that took longer than this: the hub must have woken it.
fn swift(moved: &DRPlacement) -> Result<()> {
    let status = moved.status.as_ref().context("it has no status")?;
    let last = status.actions.first().context("no move is recorded")?;
    let (Some(from), Some(to)) = (&last.start_time, &last.available_time) else {
        bail!("the last move has no times: {last:?}");
    };
    let took = to.0.duration_since(from.0);
    eprintln!("{} to {} took {took:#}", last.kind, last.to);
    ensure!(took < BINDER, "the move took {took:#}: {last:?}");
    Ok(())
}

#[test]
fn fails_over_from_a_frozen_cluster_and_back() -> Result<()> {
    on_sites(|sites| Box::pin(frozen(sites)))
}

async fn frozen(sites: &mut Sites) -> Result<()> {
    let app = sites.deploy("frozen").await?;
    sites.until_settled(&app, "dr1").await?;
    sites.write(&app, "dr1", &[1, 2])?;
    sites.until_written(&app, "dr2", &[1, 2]).await?;
    sites.fabric.cut("dr1", "dr2")?;
    sites.write(&app, "dr1", &[3])?;
    sites.dr1.plane.freeze().await?;
    sites.dr1.kill_agent().await?;
    let silent = |p: &DRPlacement| !has(p, "Available");
    sites
        .until(&app, "the hub notices the silence", silent)
        .await?;

    sites.wish(&app, json!({"action": "Failover"})).await?;
    let runs_on = |p: &DRPlacement| on(p, "dr2");
    let moved = sites.until(&app, "it runs on dr2", runs_on).await?;
    runs(&sites.dr2, &app).await?;
    sites.until_written(&app, "dr2", &[1, 2]).await?;
    sites.write(&app, "dr2", &[4])?;

    let seen = sites.fabric.events().len();
    sites.fabric.heal("dr1", "dr2")?;
    sites.dr1.plane.thaw().await?;
    sites.start_agent("dr1").await?;
    sites.until_settled(&app, "dr2").await?;
    resynced_once(sites, &app, seen)?;
    sites.until_written(&app, "dr1", &[1, 2, 4]).await?;
    only_data(&sites.dr1, &app).await?;

    let rested = unmoved_by_the_same_wish(sites, &app).await?;
    ensure!(epoch(&rested) == epoch(&moved), "one failover, one epoch");

    sites.wish(&app, json!({"action": "Relocate"})).await?;
    sites.until_settled(&app, "dr1").await?;
    sites.until_written(&app, "dr1", &[1, 2, 4]).await?;
    only_data(&sites.dr2, &app).await
}

/// The hub looks again and again at a placement whose wish was carried out, also after a restart, and does nothing.
async fn unmoved_by_the_same_wish(sites: &mut Sites, app: &App) -> Result<DRPlacement> {
    sites.kill_hub().await?;
    let api = sites.placements(&app.namespace);
    let synced = |p: &DRPlacement| p.status.as_ref().and_then(|s| s.last_sync_time.clone());
    let before = synced(&api.get(&app.name).await?);
    sites.start_hub()?;
    // A sync time that moves is a reconcile that has written what it decided.
    let looked =
        |p: &DRPlacement| synced(p) > before && phase(p) == "Steady" && has(p, "Protected");
    let rested = sites.until(app, "it looks again", looked).await?;
    ensure!(on(&rested, "dr2"), "it moved: {:?}", rested.status);
    Ok(rested)
}

fn resynced_once(sites: &Sites, app: &App, since: usize) -> Result<()> {
    for handle in app.claims() {
        let events = sites.fabric.events_since(since);
        let resyncs = events
            .iter()
            .filter(|e| e.handle == handle && e.what == RoleChange::Resynced);
        let sites: Vec<&str> = resyncs.map(|e| e.site.as_str()).collect();
        ensure!(sites == ["dr1"], "{handle} was thrown away on {sites:?}");
    }
    Ok(())
}

#[test]
fn hub_killed_in_the_middle() -> Result<()> {
    on_sites(|sites| Box::pin(killed(sites)))
}

async fn killed(sites: &mut Sites) -> Result<()> {
    let app = sites.deploy("killed").await?;
    let before = sites.until_settled(&app, "dr1").await?;
    sites.write(&app, "dr1", &[1, 2, 3])?;
    sites.wish(&app, json!({"preferredCluster": "dr2"})).await?;
    kill_at(sites, &app, &["Relocating", "Promoting", "CleaningUp"]).await?;
    let there = sites.until_settled(&app, "dr2").await?;
    ensure!(epoch(&there) == epoch(&before) + 1, "one move, one epoch");
    sites.until_written(&app, "dr2", &[1, 2, 3]).await?;
    runs(&sites.dr2, &app).await?;
    only_data(&sites.dr1, &app).await?;
    never_forced(sites, &app)
}

/// Kills the hub at the beginning of each of these phases, and starts it again.
async fn kill_at(sites: &mut Sites, app: &App, phases: &[&str]) -> Result<()> {
    for at in phases {
        let seen = |p: &DRPlacement| phase(p) == *at;
        sites.until(app, &format!("{at} begins"), seen).await?;
        sites.kill_hub().await?;
        sites.start_hub()?;
    }
    Ok(())
}

#[test]
fn hub_killed_in_a_failover_in_the_return_and_in_the_failback() -> Result<()> {
    on_sites(|sites| Box::pin(killed_after_a_loss(sites)))
}

async fn killed_after_a_loss(sites: &mut Sites) -> Result<()> {
    let app = sites.deploy("lost").await?;
    let before = sites.until_settled(&app, "dr1").await?;
    sites.write(&app, "dr1", &[1, 2])?;
    sites.until_written(&app, "dr2", &[1, 2]).await?;
    sites.dr1.plane.freeze().await?;
    sites.dr1.kill_agent().await?;
    let silent = |p: &DRPlacement| !has(p, "Available");
    sites.until(&app, "it is silent", silent).await?;

    sites.wish(&app, json!({"action": "Failover"})).await?;
    kill_at(sites, &app, &["Promoting", "Starting"]).await?;
    let runs_on = |p: &DRPlacement| on(p, "dr2") && has(p, "Available");
    let moved = sites.until(&app, "it runs on dr2", runs_on).await?;
    ensure!(epoch(&moved) == epoch(&before) + 1, "one move, one epoch");
    runs(&sites.dr2, &app).await?;
    sites.write(&app, "dr2", &[3])?;

    let seen = sites.fabric.events().len();
    sites.dr1.plane.thaw().await?;
    sites.start_agent("dr1").await?;
    // The old copy was told to step down, and has not been rebuilt: the middle of the return.
    until_event(sites, &app, "dr1", seen, RoleChange::Demoted).await?;
    sites.kill_hub().await?;
    sites.start_hub()?;
    let rested = sites.until_settled(&app, "dr2").await?;
    ensure!(epoch(&rested) == epoch(&moved), "a return is no move");
    resynced_once(sites, &app, seen)?;
    sites.until_written(&app, "dr1", &[1, 2, 3]).await?;
    only_data(&sites.dr1, &app).await?;

    let seen = sites.fabric.events().len();
    sites.wish(&app, json!({"action": "Relocate"})).await?;
    kill_at(sites, &app, &["Relocating", "Promoting", "CleaningUp"]).await?;
    let back = sites.until_settled(&app, "dr1").await?;
    ensure!(epoch(&back) == epoch(&moved) + 1, "one move, one epoch");
    sites.until_written(&app, "dr1", &[1, 2, 3]).await?;
    runs(&sites.dr1, &app).await?;
    only_data(&sites.dr2, &app).await?;
    let events = sites.fabric.events_since(seen);
    let forced = |what| matches!(what, RoleChange::ForcePromoted | RoleChange::Resynced);
    let forced = events.iter().find(|e| forced(e.what));
    ensure!(forced.is_none(), "in the failback: {forced:?}");
    Ok(())
}

/// Waits until the array of a site has done this to some volume of the application.
async fn until_event(
    sites: &Sites,
    app: &App,
    site: &str,
    since: usize,
    what: RoleChange,
) -> Result<()> {
    let ask = || {
        let events = sites.fabric.events_since(since);
        let is = |e: &Event| e.site == site && e.what == what && app.claims().contains(&e.handle);
        std::future::ready(Ok(events.iter().any(is).then_some(())))
    };
    wait::until_answer(&format!("{what:?} on {site}"), ask).await
}

#[test]
fn a_cluster_joins_and_rotates_credentials() -> Result<()> {
    on_sites(|sites| Box::pin(joins_and_rotates(sites)))
}

async fn joins_and_rotates(sites: &mut Sites) -> Result<()> {
    let app = sites.deploy("joins").await?;
    sites.until_settled(&app, "dr1").await?;
    sites
        .lifeboat(&["cluster", "remove", "dr2", "--force"])
        .await?;
    let alone = |p: &DRPlacement| !has(p, "PeerReady");
    sites.until(&app, "its peer is gone", alone).await?;
    sites.register("dr2").await?;
    sites.until_ready("dr2").await?;
    sites.until_settled(&app, "dr1").await?;

    let old = rotate(sites).await?;
    refused(&old).await?;
    sites.until_ready("dr2").await?;
    sites.wish(&app, json!({"preferredCluster": "dr2"})).await?;
    sites.until_settled(&app, "dr2").await?;
    only_data(&sites.dr1, &app).await?;
    ensure!(sites.hub_runs()?, "the hub was never restarted");
    Ok(())
}

/// Gives the hub another token for dr2, takes the old one back, and returns the kubeconfig with the old one.
async fn rotate(sites: &Sites) -> Result<String> {
    let secrets = Api::<Secret>::namespaced(sites.hub_client.clone(), names::SYSTEM_NAMESPACE);
    let clusters = Api::<DRCluster>::all(sites.hub_client.clone());
    let name = clusters.get("dr2").await?.spec.kubeconfig_secret_ref.name;
    let held = secrets.get(&name).await?.data.unwrap_or_default();
    let old = held.get(names::KUBECONFIG_KEY).context("no kubeconfig")?;
    let old = String::from_utf8(old.0.clone())?;

    let admin = sites.dr2.plane.kubeconfig();
    let new = service_account(&admin, names::SYSTEM_NAMESPACE, names::HUB_MANAGER).await?;
    ensure!(old != new, "the token is another one");
    let data = BTreeMap::from([(names::KUBECONFIG_KEY, ByteString(new.into_bytes()))]);
    let change = Patch::Merge(json!({"data": data}));
    secrets
        .patch(&name, &PatchParams::default(), &change)
        .await?;
    let tokens = Api::<Secret>::namespaced(sites.dr2.client.clone(), names::SYSTEM_NAMESPACE);
    tokens
        .delete("lifeboat-hub-token", &DeleteParams::default())
        .await?;
    Ok(old)
}

/// Waits until credentials are good for nothing; the API server remembers good ones for seconds.
async fn refused(kubeconfig: &str) -> Result<()> {
    let old = client(kubeconfig).await?;
    let ask = || async {
        match old.list_core_api_versions().await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(Some(())),
            _ => Ok(None),
        }
    };
    wait::until_answer("the old token is refused", ask).await
}

/// Each volume is bound and in use, and the workload is as it was.
pub(crate) async fn runs(site: &Site, app: &App) -> Result<()> {
    let claims = Api::<PersistentVolumeClaim>::namespaced(site.client.clone(), &app.namespace);
    for name in app.claims() {
        let claim = claims.get(&name).await?;
        let phase = claim.status.and_then(|s| s.phase);
        ensure!(phase.as_deref() == Some("Bound"), "{name} is {phase:?}");
    }
    let deployments = Api::<Deployment>::namespaced(site.client.clone(), &app.namespace);
    let ready = |d: &Deployment| d.status.as_ref().and_then(|s| s.ready_replicas) == Some(1);
    wait::until_some(&deployments, &app.name, "its pod is ready", ready)
        .await
        .map(drop)
}

/// No object of the application is left that could use or change its data; the images are there.
async fn only_data(site: &Site, app: &App) -> Result<()> {
    let (client, ns) = (&site.client, &app.namespace);
    let all = ListParams::default();
    let deployments = Api::<Deployment>::namespaced(client.clone(), ns);
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), ns);
    let roles = Api::<VolumeReplication>::namespaced(client.clone(), ns);
    let counts = [
        ("Deployments", deployments.list(&all).await?.items.len()),
        ("claims", claims.list(&all).await?.items.len()),
        ("VolumeReplications", roles.list(&all).await?.items.len()),
        ("volumes", volumes(site, app).await?),
    ];
    let at = site.plane.name();
    for (what, count) in counts {
        ensure!(count == 0, "{count} {what} of {ns} are left on {at}");
    }
    for handle in app.claims() {
        ensure!(
            site.array.images().contains(&handle),
            "{handle} is gone from {at}"
        );
    }
    // The record of who owns it stays, so that whoever comes back learns that it is not here.
    let records = Api::<DROwnership>::namespaced(client.clone(), ns);
    let owned = records.list(&all).await?.items;
    ensure!(!owned.is_empty(), "no ownership record is on {at}");
    Ok(())
}

async fn volumes(site: &Site, app: &App) -> Result<usize> {
    let all = Api::<PersistentVolume>::all(site.client.clone());
    let all = all.list(&ListParams::default()).await?;
    let of = |v: &PersistentVolume| v.spec.as_ref()?.claim_ref.as_ref()?.namespace.clone();
    Ok(all
        .iter()
        .filter(|v| of(v).as_ref() == Some(&app.namespace))
        .count())
}

/// No copy of the application was made primary against the word of another, nor thrown away.
fn never_forced(sites: &Sites, app: &App) -> Result<()> {
    let bad = [
        RoleChange::ForcePromoted,
        RoleChange::SplitBrain,
        RoleChange::Resynced,
    ];
    let events = sites.fabric.events();
    let forced = events
        .iter()
        .find(|e| app.claims().contains(&e.handle) && bad.contains(&e.what));
    ensure!(forced.is_none(), "{forced:?}");
    Ok(())
}
