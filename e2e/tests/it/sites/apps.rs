//! Applications on the sites, and what is asked for them.

use std::sync::Arc;

use anyhow::{Context, Result};
use kube::api::{Patch, PatchParams};
use lifeboat_e2e::objects::{self, apply_yaml};
use lifeboat_sim::{storage::Record, world::App};
use serde_json::{Value, json};

use super::{CLUSTERS, POLICY, Sites};

impl Sites {
    /// Changes the wish of a placement.
    pub(crate) async fn wish(&self, app: &App, spec: Value) -> Result<()> {
        let wish = Patch::Merge(json!({"spec": spec}));
        let api = self.placements(&app.namespace);
        api.patch(&app.name, &PatchParams::default(), &wish).await?;
        Ok(())
    }

    /// An application on the first cluster, whose volumes are there already.
    pub(crate) async fn deploy_alone(&self, name: &str) -> Result<App> {
        let app = App::new(name);
        for claim in app.claims() {
            self.dr1.array.create(&claim)?;
        }
        self.dr1.install(&app, &app.yaml()).await?;
        Ok(app)
    }

    /// The same, and its placement.
    pub(crate) async fn deploy(&self, name: &str) -> Result<App> {
        let app = self.deploy_alone(name).await?;
        objects::namespace(&self.hub_client, &app.namespace).await?;
        apply_yaml(&self.hub_client, &placement(&app)).await?;
        Ok(app)
    }

    /// Writes records into every volume of an application, as it does where it runs. Fails where it may not write.
    pub(crate) fn write(&self, app: &App, cluster: &str, numbers: &[u64]) -> Result<()> {
        let writer = Arc::from(app.name.as_str());
        let array = &self.site(cluster).array;
        for handle in app.claims() {
            for number in numbers {
                let record = Record::new(&writer, *number);
                array
                    .append(&handle, record)
                    .with_context(|| format!("{cluster} refuses record {number} of {handle}"))?;
            }
        }
        Ok(())
    }
}

fn placement(app: &App) -> String {
    let App {
        namespace, name, ..
    } = app;
    format!(
        "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPlacement
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  policyRef: {{name: {POLICY}}}
  preferredCluster: {}
  pvcSelector: {{matchLabels: {{app: {name}}}}}
  workload: {{selector: {{matchLabels: {{app: {name}}}}}}}
",
        CLUSTERS[0]
    )
}
