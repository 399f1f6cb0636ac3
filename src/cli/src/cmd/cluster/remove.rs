//! `lifeboat cluster remove`.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use lifeboat_api::{DRCluster, DRPolicy, names};
use lifeboat_kit::{CallError, deadline};

use super::secret_name;
use crate::args::HubAccess;
use crate::client::{self, READ_DEADLINE};
use crate::failure::Failure;
use crate::output::print;

/// Flags of a removal.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Name of the DRCluster.
    name: String,
    /// Remove it though a DRPolicy names it: placements of that policy lose sight of it.
    #[arg(long)]
    force: bool,
    /// Namespace of the hub, where the credentials are.
    #[arg(long, default_value = names::SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    hub_namespace: String,
    #[command(flatten)]
    hub: HubAccess,
}

/// Deletes the DRCluster and its credentials, unless a policy names it.
pub(super) async fn run(args: RemoveArgs) -> Result<(), Failure> {
    let config = client::kubeconfig(args.hub.kubeconfig.as_ref())?;
    let hub = client::connect(config, args.hub.context.as_deref())
        .await?
        .client;
    let name = &args.name;
    let policies: Api<DRPolicy> = Api::all(hub.clone());
    let all = deadline(
        "list DRPolicies",
        READ_DEADLINE,
        policies.list(&ListParams::default()),
    )
    .await?;
    let naming = naming(&all.items, name);
    if !naming.is_empty() && !args.force {
        return Err(Failure::Refused(format!(
            "cluster {name} is named by policy {}; take it out of there first, or say --force",
            naming.join(", ")
        )));
    }
    let clusters: Api<DRCluster> = Api::all(hub.clone());
    let delete = DeleteParams::default();
    deadline(
        format!("delete DRCluster {name}"),
        READ_DEADLINE,
        clusters.delete(name, &delete),
    )
    .await?;
    let secrets: Api<Secret> = Api::namespaced(hub, &args.hub_namespace);
    let secret = secret_name(name);
    let deleted = deadline(
        format!("delete Secret {secret}"),
        READ_DEADLINE,
        secrets.delete(&secret, &delete),
    )
    .await;
    let kept = match deleted {
        Ok(_) => String::new(),
        Err(e) if CallError::is_not_found(&e) => {
            format!("; its credentials were not in Secret {secret}, look for them yourself")
        }
        Err(e) => return Err(e.into()),
    };
    print(&format!(
        "cluster {name} is removed{kept}\nOn the cluster itself nothing was touched. To take back its access: kubectl delete serviceaccount {} -n {}\n",
        names::HUB_MANAGER,
        names::SYSTEM_NAMESPACE
    ))
}

fn naming(policies: &[DRPolicy], cluster: &str) -> Vec<String> {
    let named = policies
        .iter()
        .filter(|p| p.spec.clusters.iter().any(|c| c == cluster));
    named.map(ResourceExt::name_any).collect()
}
