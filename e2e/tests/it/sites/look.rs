//! What a test waits for and looks at.

use anyhow::Result;
use kube::{Api, ResourceExt, api::ListParams};
use lifeboat_api::{DRCluster, DRPlacement};
use lifeboat_e2e::{
    placement::{at_rest, ready},
    wait,
};
use lifeboat_sim::world::App;
use serde_json::{Value, json};

use super::Sites;

impl Sites {
    /// Waits until the hub calls a cluster, its agent and its drivers ready.
    pub(crate) async fn until_ready(&self, cluster: &str) -> Result<()> {
        let api = Api::<DRCluster>::all(self.hub_client.clone());
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
        self.until(app, &what, |p| at_rest(p, cluster)).await
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
