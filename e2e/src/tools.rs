//! The Go programs the tests run, built on first use.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// A Go program under `e2e/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl of one version in one file.
    ControlPlane,
    /// The kubectl of an older version: what a user of an older cluster has.
    Kubectl,
}

impl Tool {
    fn folder(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Kubectl => "kubectl",
        }
    }
}

/// The path of a program; builds it first if this machine has not yet, which takes minutes.
pub async fn tool(which: Tool) -> Result<PathBuf> {
    let script = folder().join("build.sh");
    let run = Command::new(&script)
        .arg(which.folder())
        .stderr(Stdio::inherit())
        .output()
        .await;
    let out = run.with_context(|| format!("could not run {}", script.display()))?;
    ensure!(
        out.status.success(),
        "{} {} ended with {}",
        script.display(),
        which.folder(),
        out.status
    );
    let text = String::from_utf8(out.stdout).context("the path of a program is text")?;
    Ok(PathBuf::from(text.trim()))
}

/// Where this crate's scripts are.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
