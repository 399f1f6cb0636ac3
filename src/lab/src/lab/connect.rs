//! How a hub in the laboratory gets from a cluster's kubeconfig to a client.

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::{Client, config::Kubeconfig};
use lifeboat_api::names;
use lifeboat_hub::connect::{Connect, ConnectError};
use lifeboat_sim::{
    apiserver::Identity,
    world::{HUB, World},
};

use super::Tap;

/// Where the kubeconfigs of the laboratory lead.
const ROOT: &str = "https://sim.invalid/clusters/";

/// The token of the hub at a cluster.
pub(super) fn token(cluster: &str) -> String {
    format!("hub-at-{cluster}")
}

/// The hub as a managed cluster knows it.
pub(super) fn hub_identity() -> Identity {
    Identity::service_account(names::SYSTEM_NAMESPACE, "lifeboat-hub")
}

/// A kubeconfig that only [`InProcess`] understands.
pub(super) fn kubeconfig(cluster: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {cluster}\nclusters:\n- name: {cluster}\n  cluster: {{server: \
         \"{ROOT}{cluster}\"}}\nusers:\n- name: hub\n  user: {{token: {}}}\ncontexts:\n- name: {cluster}\n  context: \
         {{cluster: {cluster}, user: hub}}\n",
        token(cluster)
    )
}

/// Clients without a network, each over the link from the hub to its cluster.
pub(super) struct InProcess {
    pub(super) world: Arc<World>,
    pub(super) tap: Arc<Tap>,
    /// The number of the hub.
    pub(super) hub: usize,
}

impl Connect for InProcess {
    fn connect<'a>(
        &'a self,
        kubeconfig: &'a Kubeconfig,
    ) -> BoxFuture<'a, Result<Client, ConnectError>> {
        let client = self
            .resolve(kubeconfig)
            .map(|client| self.tap.on(client, self.hub));
        Box::pin(async move { client })
    }
}

impl InProcess {
    /// The token decides who calls, as at a real API server: one that was revoked is nobody's.
    fn resolve(&self, kubeconfig: &Kubeconfig) -> Result<Client, ConnectError> {
        let whole = serde_json::to_value(kubeconfig).unwrap_or_default();
        let text = |path: &str| {
            whole
                .pointer(path)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let server = text("/clusters/0/cluster/server");
        let name = server.strip_prefix(ROOT).unwrap_or_default();
        let api = self.world.api(name).map_err(|e| refused(&e.to_string()))?;
        let who = api.authenticate(&text("/users/0/user/token"));
        let who = who.ok_or_else(|| refused("the token is not known there"))?;
        let link = self
            .world
            .link(HUB, name)
            .map_err(|e| refused(&e.to_string()))?;
        Ok(api.client(who, link))
    }
}

fn refused(why: &str) -> ConnectError {
    ConnectError::Client(Box::new(kube::Error::Service(
        std::io::Error::other(why.to_owned()).into(),
    )))
}
