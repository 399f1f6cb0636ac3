//! The same move with the hub: a person edits one field of one object.

use anyhow::{Result, anyhow, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, api::DeleteParams};
use lifeboat_e2e::{
    ceph::{
        Hub,
        hub::POLICY,
        sites::{NAMES, Sites},
    },
    objects::{self, apply_yaml},
    placement::{at_rest, on},
    wait,
};
use serde_json::json;

use crate::{
    look::{self, SIZE},
    report::Report,
};

const NAMESPACE: &str = "test-replication-hub";
const CLAIM: &str = "test-replication-pvc";
const PLACEMENT: &str = "test-placement";

/// All of it; `keep` leaves out the clean-up.
pub(crate) async fn story(sites: &Sites, report: &mut Report, keep: bool) -> Result<()> {
    report.section("With the hub: both clusters join");
    let mut hub = report.check("the hub runs", Hub::start(sites).await)?;
    for name in NAMES {
        let ready = hub.until_ready(name).await;
        let what = format!("DRCluster {name} is reachable, its agent lives, its driver is ready");
        report.check(what, ready)?;
    }
    let image = protect(sites, &hub, report).await?;
    relocate(sites, &hub, report, &image).await?;
    if !keep {
        end(sites, &hub, report, &image).await?;
    }
    rights(sites, &hub, report)?;
    hub.went_well();
    Ok(())
}

async fn protect(sites: &Sites, hub: &Hub, report: &mut Report) -> Result<String> {
    report.section("With the hub: a claim under protection");
    let image = sites.provision("dr1", SIZE).await?;
    let bound = sites.claim("dr1", NAMESPACE, CLAIM, SIZE, &image).await;
    report.check(format!("PVC {CLAIM} is Bound on dr1"), bound)?;
    let written = look::write(sites, "dr1", &image, "written under the hub\n").await;
    report.check("data is written", written)?;
    objects::namespace(&hub.client, NAMESPACE).await?;
    apply_yaml(&hub.client, &placement()).await?;
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let mirrored = wait::until_answer("the hub has it mirrored", || async {
        let primary = dr1.rbd().info(&image).await?.is_primary();
        Ok(primary.then_some(()))
    });
    mirrored.await?;
    let healthy = look::mirrors(dr1, dr2, &image).await;
    report.check("the image is mirrored from dr1 to dr2", healthy)?;
    // The first snapshot counts for nothing: the hub asks for a copy from after the claim came under protection.
    let shipped = look::ship(dr1, dr2, &image).await;
    report.check("a snapshot of it has arrived on dr2", shipped)?;
    let settled = hub
        .until(NAMESPACE, PLACEMENT, "it is at rest on dr1", |p| {
            at_rest(p, "dr1")
        })
        .await;
    report.check(
        "DRPlacement is Steady on dr1, protected, with a peer",
        settled,
    )?;
    let nothing = look::has(&sites.dr2, NAMESPACE, [0, 0, 0]).await;
    report.check("no VolumeReplication, PVC or PV on dr2", nothing)?;
    Ok(image)
}

async fn relocate(sites: &Sites, hub: &Hub, report: &mut Report, image: &str) -> Result<()> {
    report.section("With the hub: relocation to DR2, by one edit");
    let written = look::sha256(sites, "dr1", image).await?;
    hub.wish(NAMESPACE, PLACEMENT, &json!({"preferredCluster": "dr2"}))
        .await?;
    let moved = hub
        .until(NAMESPACE, PLACEMENT, "it is on dr2", |p| on(p, "dr2"))
        .await;
    report.check("DRPlacement says that it is on dr2", moved)?;
    let found = look::sha256(sites, "dr2", image).await?;
    let equal = (found == written).then_some(());
    let equal = equal.ok_or_else(|| anyhow!("sha256 {found}"));
    report.check("the data is what was written on dr1 (sha256)", equal)?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(sites.dr2.client.clone(), NAMESPACE);
    let claim = claims.get(CLAIM).await?;
    let phase = claim.status.and_then(|s| s.phase);
    let bound = (phase.as_deref() == Some("Bound")).then_some(());
    let bound = bound.ok_or_else(|| anyhow!("it is {phase:?}"));
    report.check(
        format!("PVC {CLAIM} is Bound on dr2, made by the hub"),
        bound,
    )?;
    // Protected again with the first snapshot that arrives on dr1; by the schedule that would take one to two minutes.
    let shipped = look::ship(&sites.pair.dr2, &sites.pair.dr1, image).await;
    report.check("a snapshot of it has arrived on dr1", shipped)?;
    let settled = hub
        .until(NAMESPACE, PLACEMENT, "it is at rest on dr2", |p| {
            at_rest(p, "dr2")
        })
        .await;
    report.check(
        "DRPlacement is Steady on dr2, protected, with a peer",
        settled,
    )?;
    let there = look::has(&sites.dr2, NAMESPACE, [1, 1, 1]).await;
    report.check("VolumeReplication, PVC and PV on dr2", there)?;
    let gone = look::has(&sites.dr1, NAMESPACE, [0, 0, 0]).await;
    report.check("none of them on dr1", gone)?;
    let (dr1, dr2) = (&sites.pair.dr1, &sites.pair.dr2);
    let healthy = look::mirrors(dr2, dr1, image).await;
    report.check("the image is mirrored from dr2 to dr1", healthy)
}

async fn end(sites: &Sites, hub: &Hub, report: &mut Report, image: &str) -> Result<()> {
    report.section("With the hub: the end of protection");
    let api = hub.placements(NAMESPACE);
    api.delete(PLACEMENT, &DeleteParams::default()).await?;
    let gone = wait::until_gone(&api, PLACEMENT).await;
    report.check("the DRPlacement is gone", gone)?;
    let kept = look::has(&sites.dr2, NAMESPACE, [0, 1, 1]).await;
    report.check("claim and volume stay where the application is", kept)?;
    let copy = wait::until_answer("the copy goes", || async {
        let copy = sites.pair.dr1.rbd().info(image).await;
        Ok(copy.is_err_and(|e| e.code() == Some(2)).then_some(()))
    });
    report.check("the copy on dr1 is gone, replication is off", copy.await)
}

/// Nothing was refused to a program: the rights of the deploy files are enough.
fn rights(sites: &Sites, hub: &Hub, report: &mut Report) -> Result<()> {
    let refused = hub.forbidden().and_then(|mut refused| {
        refused.extend(sites.forbidden()?);
        ensure!(refused.is_empty(), "{refused:?}");
        Ok(())
    });
    report.check("the rights of the deploy files were enough", refused)
}

fn placement() -> String {
    format!(
        "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPlacement
metadata: {{name: {PLACEMENT}, namespace: {NAMESPACE}}}
spec:
  policyRef: {{name: {POLICY}}}
  preferredCluster: dr1
  pvcSelector: {{matchLabels: {{app: {CLAIM}}}}}
"
    )
}
