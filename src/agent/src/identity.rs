//! Which cluster this is: the uid of its namespace kube-system, as the hub knows it too. A record that a backup has brought
//! here from another cluster carries that one's.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use lifeboat_kit::hash::fnv;
use lifeboat_kit::retry::Waits;
use lifeboat_kit::{Readiness, Ready, deadline};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::agent::Agent;

/// What readiness calls it.
const PART: &str = "uid of the cluster";
/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks until it is known; then looks at everything that waited for it.
pub(crate) async fn learn(agent: Arc<Agent>, readiness: Readiness, cancel: CancellationToken) {
    readiness.set(PART, Ready::No("not read yet".to_owned()));
    let api: Api<Namespace> = Api::all(agent.client.clone());
    let (first, longest) = (Duration::from_millis(200), Duration::from_secs(5));
    let mut waits = Waits::new(first, longest, fnv(PART));
    loop {
        let why = match deadline("get namespace kube-system", LIMIT, api.get("kube-system")).await {
            Ok(namespace) => match namespace.metadata.uid {
                Some(uid) => {
                    // Set once: a cluster does not become another one.
                    drop(agent.cluster_uid.set(uid));
                    readiness.set(PART, Ready::Yes);
                    agent.wake(agent.caches.everything());
                    return;
                }
                None => "namespace kube-system has no uid".to_owned(),
            },
            Err(error) => error.full(),
        };
        warn!(%why, "it is not known which cluster this is; nothing that a hub asks for is done");
        readiness.set(PART, Ready::No(why));
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(waits.after_failure()) => {}
        }
    }
}
