//! `lifeboat cluster add`.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use lifeboat_api::{DRCluster, names};
use lifeboat_hub::connect::vet;
use lifeboat_kit::error::full;
use lifeboat_kit::{CallError, Conflicts, apply, deadline};
use serde_json::json;

use super::access::{Place, token};
use super::install::{self, Kind, PART_OF};
use super::secret_name;
use crate::client::{self, READ_DEADLINE};
use crate::failure::Failure;
use crate::input::duration;
use crate::output::{print, say};
use crate::placement::MANAGER;

/// Flags of an addition.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AddArgs {
    /// What the hub calls the cluster.
    #[arg(value_parser = label)]
    name: String,
    /// The context of the cluster in the kubeconfig. Its user must be an administrator there.
    #[arg(long, value_name = "CONTEXT")]
    context: String,
    /// The failure domain of the cluster: clusters of one region are expected to fail together.
    #[arg(long)]
    region: Option<String>,
    /// The context of the hub [default: the current context].
    #[arg(long, value_name = "CONTEXT")]
    hub_context: Option<String>,
    /// Namespace of the hub, where the credentials are kept.
    #[arg(long, default_value = names::SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    hub_namespace: String,
    /// The URL at which the hub reaches the cluster, when it is not that of the context. It is not tried from here.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How long to wait for a token that lasts before asking for one that ends (ms, s, m, h).
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    token_wait: Duration,
    /// Let the name stand for another cluster than it did.
    #[arg(long)]
    force: bool,
    /// The kubeconfig file [default: what KUBECONFIG names, or ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

fn label(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ok = (1..=55).contains(&text.len())
        && text.chars().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if ok {
        Ok(text.to_owned())
    } else {
        Err("use lower case letters, digits and dashes, 55 at most".to_owned())
    }
}

/// Prepares the cluster, makes credentials for the hub, and registers them.
pub(super) async fn run(args: AddArgs) -> Result<(), Failure> {
    let config = client::kubeconfig(args.kubeconfig.as_ref())?;
    let mut place = Place::of(&config, &args.context)?;
    let hub = client::connect(config.clone(), args.hub_context.as_deref())
        .await?
        .client;
    let member = client::connect(config, Some(&args.context)).await?.client;
    let before = same_cluster(&hub, &member, &args).await?;
    prepare(&member).await?;

    let token = token(&member, args.token_wait).await?;
    if let Some(end) = token.expires {
        say(&format!(
            "the cluster gave no lasting token: this one ends at {end}; run this command again before that"
        ));
    }
    if let Some(server) = &args.server {
        place.server.clone_from(server);
    } else if place.is_local() {
        say(&format!(
            "{} means this machine alone: unless the hub runs here too, say --server",
            place.server
        ));
    }
    let kubeconfig = place.kubeconfig(&args.name, &token.text)?;
    works(&kubeconfig, &args).await?;
    let region = args
        .region
        .clone()
        .or_else(|| before.and_then(|c| c.spec.region));
    register(&hub, &args, region, kubeconfig).await?;
    print(&format!(
        "cluster {} is registered; see it with: lifeboat cluster list\n",
        args.name
    ))
}

/// The cluster as it is registered, if it is. Refuses to let a name that stands for one cluster stand for another: its
/// placements would be taken for lost, or worse.
async fn same_cluster(
    hub: &Client,
    member: &Client,
    args: &AddArgs,
) -> Result<Option<DRCluster>, Failure> {
    let api: Api<DRCluster> = Api::all(hub.clone());
    let name = &args.name;
    let there = deadline(
        format!("get DRCluster {name}"),
        READ_DEADLINE,
        api.get_opt(name),
    )
    .await;
    let there = there.map_err(not_installed)?;
    let known = there
        .as_ref()
        .and_then(|c| c.status.as_ref())
        .and_then(|s| s.cluster_uid.clone());
    let found = install::cluster_uid(member).await?;
    match (known, found) {
        (Some(known), Some(found)) if known != found && !args.force => {
            Err(Failure::Refused(format!(
                "cluster {name} is another cluster by now: the hub knows it by uid {known}, context {} leads to {found}; \
             choose another name, or say --force",
                args.context
            )))
        }
        _ => Ok(there),
    }
}

fn not_installed(error: CallError) -> Failure {
    if error.is_not_found() {
        Failure::Refused(
            "the hub's API server does not know DRCluster: install hub-deploy there first"
                .to_owned(),
        )
    } else {
        error.into()
    }
}

async fn prepare(member: &Client) -> Result<(), Failure> {
    install::namespace(member, names::SYSTEM_NAMESPACE).await?;
    install::account(member).await?;
    for kind in install::kinds(member).await? {
        match kind {
            Kind::Ours(name) => say(&format!("{name} is installed")),
            Kind::Theirs(name) => say(&format!(
                "{name} is there, from elsewhere, and is left as it is"
            )),
        }
    }
    Ok(())
}

/// Tries the credentials before the hub gets them: by the hub's own rules, and, unless only the hub can, on the cluster.
async fn works(kubeconfig: &str, args: &AddArgs) -> Result<(), Failure> {
    let wrong = |why: String| {
        Failure::Refused(format!("the credentials that were made do not work: {why}"))
    };
    let vetted = vet(kubeconfig.as_bytes()).map_err(|e| wrong(full(&e)))?;
    if args.server.is_some() {
        return Ok(());
    }
    let client = client::connect(vetted, None).await?.client;
    let answer = deadline(
        "get the version with the new credentials",
        READ_DEADLINE,
        client.apiserver_version(),
    )
    .await;
    answer.map(drop).map_err(|e| wrong(e.full()))
}

async fn register(
    hub: &Client,
    args: &AddArgs,
    region: Option<String>,
    kubeconfig: String,
) -> Result<(), Failure> {
    install::namespace(hub, &args.hub_namespace).await?;
    let (name, secret) = (&args.name, secret_name(&args.name));
    let api: Api<Secret> = Api::namespaced(hub.clone(), &args.hub_namespace);
    let body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": secret, "namespace": args.hub_namespace, "labels": { PART_OF: "lifeboat" } },
        "data": { names::KUBECONFIG_KEY: ByteString(kubeconfig.into_bytes()) },
    });
    apply(&api, &secret, MANAGER, &body, Conflicts::Force).await?;

    let mut spec = json!({ "kubeconfigSecretRef": { "name": secret } });
    if let (Some(fields), Some(region)) = (spec.as_object_mut(), region) {
        fields.insert("region".to_owned(), json!(region));
    }
    let api: Api<DRCluster> = Api::all(hub.clone());
    let body = json!({ "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRCluster", "metadata": { "name": name }, "spec": spec });
    apply(&api, name, MANAGER, &body, Conflicts::Force)
        .await
        .map_err(not_installed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        assert!(label("east-1").is_ok());
        for bad in ["", "East", "-a", "a-", "a.b", &"x".repeat(56)] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
