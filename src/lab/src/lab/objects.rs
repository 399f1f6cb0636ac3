//! The YAML that makes a world one that Lifeboat runs on.

use std::fmt::Write as _;

use lifeboat_api::names;
use lifeboat_sim::world::{App, HUB, World};

use super::{LabError, connect};

/// The DRPolicy of the laboratory.
pub const POLICY: &str = "gold";
/// The DRPolicy of the neighbour, over the first two clusters.
pub(super) const NEIGHBOURS_POLICY: &str = "silver";

/// What a managed cluster gets besides the kinds: the roles under which hub and agent work there.
const SPOKE: [&str; 4] = [
    include_str!("../../../../spoke-deploy/base/namespace.yaml"),
    include_str!("../../../../spoke-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../spoke-deploy/base/agent-role.yaml"),
    include_str!("../../../../spoke-deploy/base/hub-role.yaml"),
];

/// The same for the hub's own cluster.
const HUB_FILES: [&str; 3] = [
    include_str!("../../../../hub-deploy/base/namespace.yaml"),
    include_str!("../../../../hub-deploy/base/serviceaccount.yaml"),
    include_str!("../../../../hub-deploy/base/hub-role.yaml"),
];

/// Kinds, roles, classes and tokens everywhere.
pub(super) fn install(world: &World) -> Result<(), LabError> {
    for crd in lifeboat_api::hub_crds() {
        world.install(HUB, &json(&crd))?;
    }
    for file in HUB_FILES {
        world.install(HUB, file)?;
    }
    for crd in lifeboat_api::spoke_crds() {
        world.install_on_sites(&json(&crd))?;
    }
    for file in SPOKE {
        world.install_on_sites(file)?;
    }
    for site in world.sites() {
        world.install_infrastructure(&site.name)?;
        site.api
            .add_token(&connect::token(&site.name), connect::hub_identity());
    }
    Ok(())
}

/// JSON is YAML.
fn json<T: serde::Serialize>(object: &T) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

/// A DRCluster and the Secret with its kubeconfig. Each cluster is a region of its own.
pub fn cluster_objects(cluster: &str, kubeconfig: &str) -> String {
    let (namespace, key) = (names::SYSTEM_NAMESPACE, names::KUBECONFIG_KEY);
    let text = json(&kubeconfig);
    format!(
        "\
apiVersion: v1
kind: Secret
metadata: {{name: cluster-{cluster}, namespace: {namespace}}}
stringData: {{{key}: {text}}}
---
apiVersion: {group}/v1alpha1
kind: DRCluster
metadata: {{name: {cluster}}}
spec: {{kubeconfigSecretRef: {{name: cluster-{cluster}}}, region: {cluster}}}
",
        group = names::GROUP
    )
}

/// A DRPolicy over these clusters, best first.
pub fn policy(name: &str, clusters: &[String]) -> String {
    format!(
        "\
apiVersion: {}/v1alpha1
kind: DRPolicy
metadata: {{name: {name}}}
spec:
  clusters: [{}]
  rpo: 1m
  rto: 5m
  classes: [{{storageClassName: fast, volumeReplicationClassName: fast-mirror}}]
",
        names::GROUP,
        clusters.join(", ")
    )
}

/// The DRPlacement of an application that is on `cluster`, and its namespace on the hub.
pub fn placement(app: &App, cluster: &str) -> String {
    placement_under(POLICY, app, cluster, &app.name)
}

/// The same under another policy, for claims and workloads whose `app` label is `label`.
pub(super) fn placement_under(policy: &str, app: &App, cluster: &str, label: &str) -> String {
    let App {
        namespace, name, ..
    } = app;
    let mut yaml = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        yaml,
        "\
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: {}/v1alpha1
kind: DRPlacement
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  policyRef: {{name: {policy}}}
  preferredCluster: {cluster}
  pvcSelector: {{matchLabels: {{app: {label}}}}}
  workload: {{selector: {{matchLabels: {{app: {label}}}}}}}
",
        names::GROUP
    );
    yaml
}
