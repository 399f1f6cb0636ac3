//! The same move with the hub: a person edits one field of one object.

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use lifeboat_api::{DRCluster, DRPlacement, common::condition, names};
use lifeboat_e2e::{
    ControlPlane, Program,
    access::service_account,
    ceph::sites::{NAMES, REPLICATION_CLASS, STORAGE_CLASS, Sites, install},
    objects::{self, apply_yaml},
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
const POLICY: &str = "test-policy";

/// The hub: its control plane and its program.
struct Hub {
    client: Client,
    program: Program,
    _plane: ControlPlane,
}

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
    hub.rights(sites, report)?;
    hub.program.went_well();
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
    let settled = hub.until_settled("dr1").await;
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
    hub.wish(&json!({"preferredCluster": "dr2"})).await?;
    let moved = hub.until_on("dr2").await;
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
    let settled = hub.until_settled("dr2").await;
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
    let api = hub.placements();
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

impl Hub {
    async fn start(sites: &Sites) -> Result<Self> {
        let plane = ControlPlane::start("hub").await?;
        let client = plane.client().await?;
        objects::install(&client, &lifeboat_api::hub_crds()).await?;
        install(&plane.kubeconfig_path(), "hub-deploy/base").await?;
        let admin = plane.kubeconfig();
        let mine = service_account(&admin, names::SYSTEM_NAMESPACE, "lifeboat-hub").await?;
        let file = sites.file("hub");
        std::fs::write(&file, mine)?;
        let file = file.display().to_string();
        let args = ["hub", "--identity", "hub-0", "--admin-address", "off"];
        let program = Program::start("hub", &args, &[("KUBECONFIG", &file)])?;
        let person = sites.person(&[("hub", &admin)])?.display().to_string();
        for name in NAMES {
            let args = ["cluster", "add", name, "--context", name];
            let args = [&args[..], &["--hub-context", "hub"]].concat();
            Program::run(&args, &[("KUBECONFIG", &person)]).await?;
        }
        apply_yaml(
            &client,
            &objects::policy(POLICY, &NAMES, STORAGE_CLASS, REPLICATION_CLASS),
        )
        .await?;
        Ok(Self {
            client,
            program,
            _plane: plane,
        })
    }

    async fn until_ready(&self, name: &str) -> Result<()> {
        let api = Api::<DRCluster>::all(self.client.clone());
        let ready = |cluster: &DRCluster| {
            let status = cluster.status.as_ref();
            let is = |kind| {
                let found = status.and_then(|s| condition(&s.conditions, kind));
                found.is_some_and(|c| c.status == "True")
            };
            is("Reachable") && is("AgentAlive") && is("DriversReady")
        };
        let ready = wait::until_some(&api, name, "it is ready", ready);
        ready.await.map(drop)
    }

    fn placements(&self) -> Api<DRPlacement> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn wish(&self, spec: &serde_json::Value) -> Result<()> {
        let wish = Patch::Merge(json!({"spec": spec}));
        let api = self.placements();
        api.patch(PLACEMENT, &PatchParams::default(), &wish).await?;
        Ok(())
    }

    /// Waits until the placement says that its present spec is carried out there.
    async fn until_on(&self, name: &str) -> Result<()> {
        let is = |p: &DRPlacement| on(p, name);
        let what = format!("it is on {name}");
        let api = self.placements();
        let there = wait::until_some(&api, PLACEMENT, &what, is).await;
        there.map(drop)
    }

    /// Waits until it is at rest there: in step with its peer, which after a move is so with the next snapshot.
    async fn until_settled(&self, name: &str) -> Result<()> {
        let is = |p: &DRPlacement| {
            let steady = p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Steady");
            on(p, name) && steady && has(p, "Protected") && has(p, "PeerReady")
        };
        let what = format!("it is at rest on {name}");
        let api = self.placements();
        let rests = wait::until_some(&api, PLACEMENT, &what, is).await;
        rests.map(drop)
    }

    /// Nothing was refused to a program: the rights of the deploy files are enough.
    fn rights(&self, sites: &Sites, report: &mut Report) -> Result<()> {
        let log = self.program.log().context("no log of the hub")?;
        let mut refused = sites.forbidden()?;
        refused.extend(
            log.lines()
                .filter(|l| l.contains("forbidden"))
                .map(str::to_owned),
        );
        let enough = (|| {
            ensure!(refused.is_empty(), "{refused:?}");
            Ok(())
        })();
        report.check("the rights of the deploy files were enough", enough)
    }
}

fn has(placement: &DRPlacement, kind: &str) -> bool {
    let status = placement.status.as_ref();
    let found = status.and_then(|s| condition(&s.conditions, kind));
    found.is_some_and(|c| c.status == "True")
}

fn on(placement: &DRPlacement, cluster: &str) -> bool {
    let status = placement.status.as_ref();
    let current = status.and_then(|s| s.observed_generation) == placement.metadata.generation;
    let there = status.and_then(|s| s.cluster.as_deref()) == Some(cluster);
    current && there && has(placement, "Available")
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
