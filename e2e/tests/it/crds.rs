//! What Lifeboat installs is what a real API server takes: its kinds, from the code and from the files a user applies, and
//! the manifests of its programs.

use anyhow::{Result, ensure};
use lifeboat_e2e::{
    ControlPlane,
    access::{in_repository, kubectl},
    objects,
};

/// Applies a kustomization as a user does; what kubectl printed.
async fn apply(plane: &ControlPlane, folder: &str) -> Result<String> {
    let folder = in_repository(folder).display().to_string();
    let args = [
        "apply",
        "--server-side",
        "--field-manager=user",
        "-k",
        &folder,
    ];
    kubectl(&plane.kubeconfig_path(), &args).await
}

#[tokio::test]
async fn every_kind_is_served_and_its_file_is_what_the_code_says() -> Result<()> {
    let plane = ControlPlane::start("crds").await?;
    let client = plane.client().await?;
    for (folder, _) in lifeboat_api::crd_folders() {
        apply(&plane, &format!("crds/{folder}")).await?;
    }
    // Another manager without force: any difference from the files is a conflict.
    objects::install(&client, &lifeboat_api::crds()).await
}

/// The Deployment of a storage driver's controller, as far as the patch of the sidecar goes by it.
const PROVISIONER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: csi-rbdplugin-provisioner, namespace: ceph-csi-rbd}
spec:
  selector: {matchLabels: {app: csi-rbdplugin-provisioner}}
  template:
    metadata: {labels: {app: csi-rbdplugin-provisioner}}
    spec:
      serviceAccountName: rbd-csi-provisioner
      containers:
      - name: csi-rbdplugin
        image: cephcsi
        volumeMounts: [{name: socket-dir, mountPath: /csi}]
      volumes: [{name: socket-dir, emptyDir: {medium: Memory}}]
";

#[tokio::test]
async fn each_way_to_install_is_taken_as_it_is() -> Result<()> {
    let plane = ControlPlane::start("installs").await?;
    let client = plane.client().await?;
    // The driver is there before the agent, which gets rights in its namespace.
    objects::namespace(&client, "ceph-csi-rbd").await?;
    for folder in [
        "hub-deploy/base",
        "spoke-deploy/standalone",
        "spoke-deploy/sidecar",
    ] {
        let said = apply(&plane, folder).await?;
        ensure!(
            said.contains("customresourcedefinition"),
            "{folder} brings its kinds:\n{said}"
        );
    }
    objects::apply_yaml(&client, PROVISIONER).await?;
    let patch = in_repository("spoke-deploy/sidecar/container.yaml");
    let args = [
        "--namespace=ceph-csi-rbd",
        "patch",
        "deployment",
        "csi-rbdplugin-provisioner",
        "--output=jsonpath={.spec.template.spec.containers[*].name}",
        "--patch-file",
        &patch.display().to_string(),
    ];
    let containers = kubectl(&plane.kubeconfig_path(), &args).await?;
    let mut names: Vec<&str> = containers.split_whitespace().collect();
    names.sort_unstable();
    ensure!(names == ["csi-rbdplugin", "lifeboat-agent"], "{names:?}");
    Ok(())
}
