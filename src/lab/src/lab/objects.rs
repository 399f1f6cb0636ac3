//! The YAML that makes a world one that Lifeboat runs on.

use std::fmt::Write as _;

use lifeboat_api::names;
use lifeboat_sim::world::{App, HUB, STORAGE_CLASS, World};

use super::{LabError, connect};

/// The DRPolicy of the laboratory.
pub const POLICY: &str = "gold";
/// The DRPolicy of the neighbour, over the first two clusters.
pub(super) const NEIGHBOURS_POLICY: &str = "silver";

/// How the storage class and the namespaces of applications are called on the cluster that is not like the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Otherwise<'a> {
    /// The cluster.
    pub(super) cluster: &'a str,
    /// The applications whose namespaces have another name there.
    pub(super) namespaces: &'a [&'a str],
}

/// A name on the cluster that is not like the others.
pub(super) fn otherwise(name: &str) -> String {
    format!("{name}-dr")
}

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

/// Kinds, roles, classes and tokens everywhere. On the `renamed` cluster the storage class has another name, and there
/// is none of the usual one: who forgets the mapping finds nothing.
pub(super) fn install(world: &World, renamed: Option<&str>) -> Result<(), LabError> {
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
        let class = if renamed == Some(site.name.as_str()) {
            otherwise(STORAGE_CLASS)
        } else {
            STORAGE_CLASS.to_owned()
        };
        world.install_infrastructure(&site.name, &class)?;
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
spec:
  kubeconfigSecretRef: {{name: cluster-{cluster}}}
  region: {cluster}
",
        group = names::GROUP
    )
}

/// A DRPolicy over these clusters, best first.
pub(super) fn policy(name: &str, clusters: &[String], renamed: Option<Otherwise<'_>>) -> String {
    let mut yaml = format!(
        "\
apiVersion: {}/v1alpha1
kind: DRPolicy
metadata: {{name: {name}}}
spec:
  clusters: [{}]
  rpo: 1m
  rto: 5m
  classes: [{{storageClassName: {STORAGE_CLASS}, volumeReplicationClassName: fast-mirror}}]
",
        names::GROUP,
        clusters.join(", ")
    );
    if let Some(Otherwise {
        cluster,
        namespaces,
    }) = renamed
    {
        let rule = |from: &str| {
            let to = otherwise(from);
            format!("{{cluster: {cluster}, from: {from}, to: {to}}}")
        };
        let namespaces: Vec<String> = namespaces.iter().map(|n| rule(n)).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            yaml,
            "  storageClassMapping: [{}]\n  namespaceMapping: [{}]\n",
            rule(STORAGE_CLASS),
            namespaces.join(", ")
        );
    }
    yaml
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
