//! The conformance rows on a real kube-apiserver: one for all of them, a namespace for each.
//! `LIFEBOAT_ROWS=row_47` runs those with that in their name.

use anyhow::{Context, Result, ensure};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lifeboat_conformance::{Kube, on_kube};
use lifeboat_e2e::{ControlPlane, StartOptions, access};

async fn config(yaml: &str) -> Result<Config> {
    let parsed = Kubeconfig::from_yaml(yaml)?;
    Ok(Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?)
}

#[tokio::test]
async fn every_row_holds_on_a_real_api_server() -> Result<()> {
    // Rows bind claims themselves, also to volumes that are not there; on the simulated server nobody else does either.
    let options = StartOptions {
        controller_manager: vec!["--controllers=*,-persistentvolume-binder-controller".to_owned()],
        ..StartOptions::default()
    };
    let plane = ControlPlane::start_with("rows", options).await?;
    let admin = plane.kubeconfig();
    let version = plane.client().await?.apiserver_version().await?.git_version;
    let kube = Kube::prepare(config(&admin).await?, &version).await;
    let agent = access::service_account(&admin, "lifeboat-system", "lifeboat-agent").await?;
    let token: serde_json::Value = serde_json::from_str(&agent)?;
    let token = token
        .pointer("/users/0/user/token")
        .and_then(|t| t.as_str())
        .context("no token")?
        .to_owned();
    let kube = kube.sign_in(config(&agent).await?);
    let filter = std::env::var("LIFEBOAT_ROWS").unwrap_or_default();
    // Each row has a runtime of its own.
    let failed = tokio::task::spawn_blocking(move || on_kube(kube, &token, &filter)).await?;
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}
