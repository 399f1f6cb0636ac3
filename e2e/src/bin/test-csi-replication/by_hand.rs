//! Volume replication by hand: no hub, a person edits VolumeReplications.

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Secret},
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use lifeboat_api::{VolumeReplication, VolumeReplicationClass};
use lifeboat_e2e::{
    ceph::{
        POOL,
        copying::drained,
        sites::{NAMES, REPLICATION_CLASS, SECRET, STORAGE_CLASS, Site, Sites, volume_name},
    },
    objects::apply_yaml,
    wait,
};
use lifeboat_sim::told::{DRAINED, PRIMARY, told};
use serde_json::json;

use crate::{
    look::{self, SIZE},
    report::{Report, explain},
};

const NAMESPACE: &str = "test-replication";
const CLAIM: &str = "test-replication-pvc";
const ROLE: &str = "test-volume-replication";

const MODEL: &str = "\
Storage mirrors images, not Kubernetes objects: dr2 has the data and knows of no application.
Its copy cannot be written, so nothing there can spoil it, and a claim bound to it could not be used.
Claim, volume and VolumeReplication are made on dr2 when the application moves there: by hand in what
follows, by the hub in the second half. A VolumeReplication as secondary is not needed on a cluster
that only holds the copy; it is what a cluster that steps down has.";

/// All of it; `keep` leaves out the clean-up.
pub(crate) async fn story(sites: &Sites, report: &mut Report, keep: bool) -> Result<()> {
    clusters(sites, report).await?;
    classes(sites, report).await?;
    let image = claim(sites, report).await?;
    replicate(sites, report, &image).await?;
    let written = data(sites, report, &image).await?;
    source(sites, report, &image).await?;
    target(sites, report, &image).await?;
    step_down(sites, report, &image).await?;
    take_over(sites, report, &image, &written).await?;
    reverse(sites, report, &image).await?;
    if !keep {
        clean(sites, report, &image).await?;
    }
    Ok(())
}

async fn clusters(sites: &Sites, report: &mut Report) -> Result<()> {
    report.section(
        "Clusters: two control planes, each with a Ceph cluster, an RBD driver and an agent",
    );
    for name in NAMES {
        let version = sites.site(name).client.apiserver_version().await;
        let version = version.map(|v| v.git_version).map_err(Into::into);
        let seen = version.as_deref().unwrap_or("no answer").to_owned();
        report.check(format!("{name}: Kubernetes {seen}"), version)?;
        let health = wait::until_answer("Ceph is well", || async {
            let health = sites.pair.site(name).ceph(&["health"]).await?;
            ensure!(health.starts_with("HEALTH_OK"), "{health}");
            Ok(Some(()))
        });
        report.check(format!("{name}: Ceph is HEALTH_OK"), health.await)?;
    }
    Ok(())
}

async fn classes(sites: &Sites, report: &mut Report) -> Result<()> {
    report.section("Classes, and the Secret by which the driver is known to Ceph");
    for name in NAMES {
        let client = &sites.site(name).client;
        let class = Api::<StorageClass>::all(client.clone());
        let class = class.get(STORAGE_CLASS).await.map_err(Into::into);
        report.check(format!("{name}: StorageClass {STORAGE_CLASS}"), class)?;
        let class = Api::<VolumeReplicationClass>::all(client.clone());
        let class = class.get(REPLICATION_CLASS).await.map_err(Into::into);
        let what = format!("{name}: VolumeReplicationClass {REPLICATION_CLASS}");
        report.check(what, class)?;
        let (namespace, secret) = SECRET;
        let found = Api::<Secret>::namespaced(client.clone(), namespace);
        let found = found.get(secret).await.map_err(Into::into);
        report.check(format!("{name}: Secret {namespace}/{secret}"), found)?;
    }
    Ok(())
}

async fn claim(sites: &Sites, report: &mut Report) -> Result<String> {
    report.section("A claim on dr1, bound to an image");
    let image = sites.provision("dr1", SIZE).await?;
    let bound = sites.claim("dr1", NAMESPACE, CLAIM, SIZE, &image).await;
    let what = format!("PVC {CLAIM} ({SIZE}, RWO, {STORAGE_CLASS}) is Bound");
    report.check(what, bound)?;
    let info = sites.pair.dr1.rbd().info(&image).await;
    let is = info.map_err(Into::into).and_then(|info| {
        ensure!(info.size == 1 << 30, "its size is {}", info.size);
        ensure!(info.mirroring.is_none(), "it is mirrored already");
        Ok(())
    });
    let what = format!("image {POOL}/{image} is there, and not mirrored yet");
    report.check(what, is)?;
    Ok(image)
}

async fn replicate(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("A VolumeReplication as primary");
    make_primary(&sites.dr1).await?;
    report.check(
        format!("{ROLE}: {PRIMARY}"),
        until(&sites.dr1, PRIMARY).await,
    )?;

    report.section("The image is mirrored");
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let healthy = look::mirrors(dr1, dr2, image).await;
    report.check("primary on dr1, and dr2 follows", healthy)?;
    let schedule = ["mirror", "snapshot", "schedule", "ls", "--pool", POOL];
    let schedule = [&schedule[..], &["--image", image]].concat();
    let schedule = dr1.rbd().text(&schedule).await?;
    let set = schedule.contains("1m").then_some(());
    let set = set.ok_or_else(|| anyhow::anyhow!("{schedule:?}"));
    report.check("a snapshot is taken every minute, as the class says", set)
}

async fn data(sites: &Sites, report: &mut Report, image: &str) -> Result<String> {
    report.section("Data");
    let written = look::write(sites, "dr1", image, "written on dr1\n").await;
    let written = report.check("written on dr1", written)?;
    explain(&format!("sha256 {written}"));
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let shipped = look::ship(dr1, dr2, image).await;
    report.check("a snapshot of it has arrived on dr2", shipped)?;
    Ok(written)
}

async fn source(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("What should exist on DR1, the primary");
    let has = look::has(&sites.dr1, NAMESPACE, [1, 1, 1]).await;
    report.check("PVC, PV and VolumeReplication", has)?;
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let healthy = look::mirrors(dr1, dr2, image).await;
    report.check("the image is primary and up+stopped", healthy)
}

async fn target(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("What should and should not exist on DR2, the secondary");
    let [roles, claims, volumes] = look::objects(&sites.dr2, NAMESPACE).await?;
    for (what, count) in [
        ("VolumeReplication", roles),
        ("PVC", claims),
        ("PV", volumes),
    ] {
        let none = (count == 0).then_some(());
        let none = none.ok_or_else(|| anyhow::anyhow!("there are {count}"));
        report.check(format!("no {what}"), none)?;
    }
    let dr2 = &sites.pair.dr2;
    let info = dr2.rbd().info(image).await;
    let copy = info.map_err(Into::into).and_then(|info| {
        ensure!(info.mirrored().is_some_and(|m| !m.primary), "{info:?}");
        Ok(())
    });
    report.check(format!("image {POOL}/{image} is there, not primary"), copy)?;
    let refused = look::read_only(dr2, image).await;
    report.check("it is read-only", refused)?;
    let follows = lifeboat_e2e::ceph::copying::follows(&sites.pair.dr1, dr2, image).await;
    report.check("it is up+replaying", follows)?;
    explain(MODEL);
    Ok(())
}

async fn step_down(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("A planned move: DR1 steps down");
    ask(&sites.dr1, "secondary").await?;
    report.check(
        format!("{ROLE}: {DRAINED}"),
        until(&sites.dr1, DRAINED).await,
    )?;
    let both = drained(&sites.pair, image).await;
    report.check("both images are up+unknown: neither is primary", both)?;
    for site in sites.pair.both() {
        let refused = look::read_only(site, image).await;
        report.check(format!("nobody can write on {}", site.name()), refused)?;
    }
    Ok(())
}

async fn take_over(sites: &Sites, report: &mut Report, image: &str, written: &str) -> Result<()> {
    report.section(
        "DR2 takes over: claim and volume on the same image, and a VolumeReplication as primary",
    );
    let bound = sites.claim("dr2", NAMESPACE, CLAIM, SIZE, image).await;
    report.check(format!("PVC {CLAIM} is Bound on dr2"), bound)?;
    make_primary(&sites.dr2).await?;
    report.check(
        format!("{ROLE}: {PRIMARY}"),
        until(&sites.dr2, PRIMARY).await,
    )?;
    let found = look::sha256(sites, "dr2", image).await?;
    let equal = (found == *written).then_some(());
    let equal = equal.ok_or_else(|| anyhow::anyhow!("sha256 {found}"));
    report.check("the data is what was written on dr1 (sha256)", equal)
}

async fn reverse(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("Mirroring the other way");
    let written = look::write(sites, "dr2", image, "written on dr2\n").await;
    let written = report.check("written on dr2", written)?;
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let shipped = look::ship(dr2, dr1, image).await;
    report.check("a snapshot of it has arrived on dr1", shipped)?;
    let found = look::sha256(sites, "dr1", image).await?;
    let equal = (found == written).then_some(());
    let equal = equal.ok_or_else(|| anyhow::anyhow!("sha256 {found}"));
    report.check("dr1 holds the same (sha256)", equal)?;
    let healthy = look::mirrors(dr2, dr1, image).await;
    report.check("dr2 is up+stopped, dr1 up+replaying", healthy)
}

async fn clean(sites: &Sites, report: &mut Report, image: &str) -> Result<()> {
    report.section("Clean-up");
    // The copy first: its VolumeReplication is let go while it follows; the primary's switches mirroring off for both.
    for site in [&sites.dr1, &sites.dr2] {
        let name = site.plane.name().to_owned();
        let gone = remove(site).await;
        report.check(
            format!("{name}: VolumeReplication, PVC and PV are gone"),
            gone,
        )?;
    }
    let copy = wait::until_answer("the copy goes", || async {
        let copy = sites.pair.dr1.rbd().info(image).await;
        Ok(copy.is_err_and(|e| e.code() == Some(2)).then_some(()))
    });
    report.check("the copy on dr1 is gone", copy.await)?;
    let rbd = sites.pair.dr2.rbd();
    let removed = rbd.text(&["rm", "--no-progress", &rbd.spec(image)]).await;
    report.check("the image on dr2 is removed", removed.map_err(Into::into))?;
    Ok(())
}

async fn remove(site: &Site) -> Result<()> {
    let (client, now) = (site.client.clone(), DeleteParams::default());
    let roles = Api::<VolumeReplication>::namespaced(client.clone(), NAMESPACE);
    roles.delete(ROLE, &now).await?;
    wait::until_gone(&roles, ROLE).await?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), NAMESPACE);
    claims.delete(CLAIM, &now).await?;
    wait::until_gone(&claims, CLAIM).await?;
    let volumes = Api::<PersistentVolume>::all(client);
    let volume = volume_name(NAMESPACE, CLAIM);
    volumes.delete(&volume, &now).await?;
    wait::until_gone(&volumes, &volume).await
}

async fn make_primary(site: &Site) -> Result<()> {
    let role = json!({
        "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
        "metadata": {"name": ROLE, "namespace": NAMESPACE},
        "spec": {"volumeReplicationClass": REPLICATION_CLASS, "replicationState": "primary", "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": CLAIM}},
    });
    apply_yaml(&site.client, &role.to_string()).await
}

async fn ask(site: &Site, state: &str) -> Result<()> {
    let api = Api::<VolumeReplication>::namespaced(site.client.clone(), NAMESPACE);
    let wish = Patch::Merge(json!({"spec": {"replicationState": state}}));
    api.patch(ROLE, &PatchParams::default(), &wish).await?;
    Ok(())
}

async fn until(site: &Site, want: &str) -> Result<()> {
    let api = Api::<VolumeReplication>::namespaced(site.client.clone(), NAMESPACE);
    let is = |vr: &VolumeReplication| serde_json::to_value(vr).is_ok_and(|vr| told(&vr) == want);
    wait::until_some(&api, ROLE, want, is).await.map(drop)
}
