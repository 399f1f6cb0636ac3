//! Kubeconfigs of other identities than the administrator's.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::tools::{Tool, tool};

/// How long a token is good for: longer than any test.
const HOUR: i64 = 3600;

/// The kubeconfig of a `ServiceAccount`, with a token from the API server itself: its authorizer checks every request.
///
/// `admin` is the administrator's kubeconfig of the same cluster; only the address and the authority are taken from it.
pub async fn service_account(admin: &str, namespace: &str, name: &str) -> Result<String> {
    let client = crate::client(admin).await?;
    let token = token(&client, namespace, name)
        .await
        .with_context(|| format!("no token for {namespace}/{name}"))?;
    let mut config = Kubeconfig::from_yaml(admin)?;
    for user in &mut config.auth_infos {
        user.auth_info = serde_json::from_value(json!({"token": token}))?;
    }
    Ok(serde_json::to_string_pretty(&config)?)
}

async fn token(client: &Client, namespace: &str, name: &str) -> Result<String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec {
        expiration_seconds: Some(HOUR),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest {
        spec,
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await?;
    Ok(answer.status.context("an answer without status")?.token)
}

/// One kubeconfig with a context for each of these, as a person has who works with several clusters. The first one is current.
pub fn merged(all: &[(&str, &str)]) -> Result<String> {
    let mut lists = BTreeMap::<&str, Vec<Value>>::new();
    for (name, yaml) in all {
        let config = serde_json::to_value(Kubeconfig::from_yaml(yaml)?)?;
        for (list, part) in [("clusters", "cluster"), ("users", "user")] {
            let inner = config
                .pointer(&format!("/{list}/0/{part}"))
                .with_context(|| format!("the kubeconfig of {name} has no {part}"))?;
            let entry = json!({"name": name, part: inner});
            lists.entry(list).or_default().push(entry);
        }
        let context = json!({"name": name, "context": {"cluster": name, "user": name}});
        lists.entry("contexts").or_default().push(context);
    }
    let current = all.first().map(|(name, _)| *name);
    let mut whole = json!({"apiVersion": "v1", "kind": "Config", "current-context": current});
    if let Some(fields) = whole.as_object_mut() {
        fields.extend(lists.into_iter().map(|(k, v)| (k.to_owned(), v.into())));
    }
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// A file of the repository, or a folder of it.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs the kubectl of an older version to its end and returns what it printed; an error has its stderr.
pub async fn kubectl(kubeconfig: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(tool(Tool::Kubectl).await?);
    command
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let out = tokio::time::timeout(crate::wait::LIMIT, command.output())
        .await
        .with_context(|| format!("kubectl {} does not end", args.join(" ")))??;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "kubectl {}: {}: {said}",
        args.join(" "),
        out.status
    );
    Ok(String::from_utf8(out.stdout)?)
}
