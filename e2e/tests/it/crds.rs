//! The kinds Lifeboat installs are ones a real API server takes, from the code and from the files a user applies.

use std::path::Path;

use anyhow::{Result, ensure};
use lifeboat_e2e::{ControlPlane, Tool, objects, tool};

#[tokio::test]
async fn every_kind_is_served_and_its_file_is_what_the_code_says() -> Result<()> {
    let plane = ControlPlane::start("crds").await?;
    let client = plane.client().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let mut kubectl = tokio::process::Command::new(tool(Tool::Kubectl).await?);
    let applied = kubectl
        .args(["apply", "--server-side", "--field-manager=user", "-f"])
        .arg(folder)
        .env("KUBECONFIG", plane.kubeconfig_path())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&applied.stderr);
    ensure!(applied.status.success(), "kubectl apply: {said}");
    // Another manager without force: any difference from the files is a conflict.
    objects::install(&client, &lifeboat_api::crds()).await
}
