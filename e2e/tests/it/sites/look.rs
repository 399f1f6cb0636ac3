//! What a test waits for and looks at.

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt, api::ListParams};
use lifeboat_api::{DRCluster, DRPlacement, common::condition};
use lifeboat_e2e::wait;
use lifeboat_sim::world::App;
use serde_json::{Value, json};

use super::Sites;

impl Sites {
    /// Waits until the hub calls a cluster, its agent and its drivers ready.
    pub(crate) async fn until_ready(&self, cluster: &str) -> Result<()> {
        let api = Api::<DRCluster>::all(self.hub_client.clone());
        let ready = |c: &DRCluster| {
            let conditions = c.status.as_ref().map(|s| s.conditions.as_slice());
            let is = |kind| is_true(conditions.unwrap_or_default(), kind);
            is("Reachable") && is("AgentAlive") && is("DriversReady")
        };
        wait::until_some(&api, cluster, "it is ready", ready)
            .await
            .map(drop)
    }

    /// The placements of a namespace.
    pub(crate) fn placements(&self, namespace: &str) -> Api<DRPlacement> {
        Api::namespaced(self.hub_client.clone(), namespace)
    }

    /// Waits until the one placement of a namespace is as wanted.
    pub(crate) async fn until(
        &self,
        app: &App,
        what: &str,
        is: impl FnMut(&DRPlacement) -> bool,
    ) -> Result<DRPlacement> {
        let api = self.placements(&app.namespace);
        wait::until_some(&api, &app.name, what, is).await
    }

    /// Waits until an application has come to rest on a cluster: available, and protected on the other one.
    pub(crate) async fn until_settled(&self, app: &App, cluster: &str) -> Result<DRPlacement> {
        let what = format!("it is at rest on {cluster}");
        self.until(app, &what, |p| {
            on(p, cluster) && phase(p) == "Steady" && has(p, "Protected") && has(p, "PeerReady")
        })
        .await
    }

    /// Waits until every copy of an application's volumes on a cluster holds exactly these records.
    pub(crate) async fn until_written(
        &self,
        app: &App,
        cluster: &str,
        numbers: &[u64],
    ) -> Result<()> {
        let array = &self.site(cluster).array;
        for handle in app.claims() {
            let read = || {
                let found: Vec<u64> = array
                    .content(&handle)
                    .iter()
                    .map(|e| e.record.number)
                    .collect();
                std::future::ready(if found == numbers {
                    Ok(Some(()))
                } else {
                    Err(anyhow::anyhow!("{found:?}"))
                })
            };
            let what = format!("{handle} on {cluster} holds {numbers:?}");
            wait::until_answer(&what, read).await?;
        }
        Ok(())
    }

    /// Prints what the hub believes.
    pub(super) async fn show(&self) {
        let all = ListParams::default();
        let placements = Api::<DRPlacement>::all(self.hub_client.clone());
        let clusters = Api::<DRCluster>::all(self.hub_client.clone());
        for p in placements.list(&all).await.into_iter().flatten() {
            print(
                "DRPlacement",
                &p.name_any(),
                &json!({"spec": p.spec, "status": p.status}),
            );
        }
        for c in clusters.list(&all).await.into_iter().flatten() {
            print("DRCluster", &c.name_any(), &json!({"status": c.status}));
        }
        for event in self.fabric.events() {
            eprintln!(
                "{} {} {} {:?}",
                event.at, event.site, event.handle, event.what
            );
        }
    }
}

fn print(kind: &str, name: &str, what: &Value) {
    let text = serde_saphyr::to_string(what).unwrap_or_else(|_| what.to_string());
    eprintln!("--- {kind} {name}\n{text}");
}

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Whether a condition of the placement is True.
pub(crate) fn has(placement: &DRPlacement, kind: &str) -> bool {
    let status = placement.status.as_ref();
    status.is_some_and(|s| is_true(&s.conditions, kind))
}

/// Whether the status speaks of the present spec, and says that the application runs on this cluster.
pub(crate) fn on(placement: &DRPlacement, cluster: &str) -> bool {
    let status = placement.status.as_ref();
    let current = status.and_then(|s| s.observed_generation) == placement.metadata.generation;
    let there = status.and_then(|s| s.cluster.as_deref()) == Some(cluster);
    current && there && has(placement, "Available")
}

/// The phase of a placement.
pub(crate) fn phase(placement: &DRPlacement) -> &str {
    let status = placement.status.as_ref();
    status.and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The epoch of a placement.
pub(crate) fn epoch(placement: &DRPlacement) -> i64 {
    let status = placement.status.as_ref();
    status.and_then(|s| s.epoch).unwrap_or_default()
}
