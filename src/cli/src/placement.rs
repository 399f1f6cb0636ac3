//! Reading placements and what belongs to them from the hub, and asking for a move.

use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use lifeboat_api::placement::{AcceptedRisk, Action};
use lifeboat_api::{DRCluster, DRPlacement, DRPlacementSpec, DRPolicy};
use lifeboat_kit::{CallError, deadline};
use serde_json::{Value, json};

use crate::args::PlacementArgs;
use crate::client::{self, READ_DEADLINE};
use crate::failure::Failure;

/// Field manager of what the command line writes.
pub(crate) const MANAGER: &str = "lifeboat-cli";

/// A placement on its hub.
pub(crate) struct Subject {
    /// The hub.
    pub(crate) client: kube::Client,
    /// Placements of its namespace.
    pub(crate) api: Api<DRPlacement>,
    /// Namespace.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
}

impl Subject {
    /// Connects to the hub that the arguments name.
    pub(crate) async fn open(args: &PlacementArgs) -> Result<Self, Failure> {
        let config = client::kubeconfig(args.hub.kubeconfig.as_ref())?;
        let session = client::connect(config, args.hub.context.as_deref()).await?;
        let namespace = args.namespace.clone().unwrap_or(session.namespace);
        let api = Api::namespaced(session.client.clone(), &namespace);
        Ok(Self {
            client: session.client,
            api,
            namespace,
            name: args.name.clone(),
        })
    }

    /// Reads it.
    pub(crate) async fn get(&self) -> Result<DRPlacement, Failure> {
        let what = format!("get DRPlacement {}/{}", self.namespace, self.name);
        Ok(deadline(what, READ_DEADLINE, self.api.get(&self.name)).await?)
    }

    /// Its policy.
    pub(crate) async fn policy(&self, placement: &DRPlacement) -> Result<DRPolicy, CallError> {
        let name = &placement.spec.policy_ref.name;
        let api: Api<DRPolicy> = Api::all(self.client.clone());
        deadline(format!("get DRPolicy {name}"), READ_DEADLINE, api.get(name)).await
    }

    /// Writes a merge patch.
    pub(crate) async fn patch(&self, patch: &Value) -> Result<DRPlacement, Failure> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let what = format!("patch DRPlacement {}/{}", self.namespace, self.name);
        let patch = Patch::Merge(patch);
        let call = self.api.patch(&self.name, &params, &patch);
        Ok(deadline(what, READ_DEADLINE, call).await?)
    }
}

/// Every cluster of the hub, by name.
pub(crate) async fn clusters(client: &kube::Client) -> Result<Vec<DRCluster>, CallError> {
    let api: Api<DRCluster> = Api::all(client.clone());
    let mut all = deadline(
        "list DRClusters",
        READ_DEADLINE,
        api.list(&ListParams::default()),
    )
    .await?
    .items;
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Ok(all)
}

/// A move that a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// How.
    pub(crate) action: Action,
    /// Where to.
    pub(crate) to: String,
    /// What may go wrong with it and is accepted, beside what the spec accepts already.
    pub(crate) accept: Vec<AcceptedRisk>,
}

impl Wish {
    /// The patch that asks for it. When the spec says so already the hub would see nothing new, so `ticket` asks again.
    pub(crate) fn patch(&self, spec: &DRPlacementSpec, ticket: &str) -> Value {
        let mut fields = match self.action {
            Action::Relocate => {
                json!({ "preferredCluster": self.to, "action": "Relocate", "failoverCluster": null })
            }
            Action::Failover => json!({ "action": "Failover", "failoverCluster": self.to }),
        };
        let mut accepted = spec.accept_risks.clone();
        accepted.extend(
            self.accept
                .iter()
                .filter(|r| !spec.accept_risks.contains(r)),
        );
        if accepted != spec.accept_risks
            && let Some(fields) = fields.as_object_mut()
        {
            fields.insert("acceptRisks".to_owned(), json!(accepted));
        }
        if self.stands_in(spec)
            && let Some(fields) = fields.as_object_mut()
        {
            fields.insert("requestID".to_owned(), json!(ticket));
        }
        json!({ "spec": fields })
    }

    /// Whether the spec asks for exactly this.
    pub(crate) fn stands_in(&self, spec: &DRPlacementSpec) -> bool {
        spec.action == Some(self.action)
            && match self.action {
                // A failoverCluster that a failover left there means nothing to the hub.
                Action::Relocate => spec.preferred_cluster == self.to,
                Action::Failover => spec.failover_cluster.as_deref() == Some(self.to.as_str()),
            }
    }

    /// Whether there is nothing to do: it is on the target, at rest, and nothing else is wanted of it.
    pub(crate) fn is_fulfilled(&self, placement: &DRPlacement) -> bool {
        let Some(status) = &placement.status else {
            return false;
        };
        let at_rest = status.cluster.as_deref() == Some(self.to.as_str())
            && status.phase.as_deref() == Some("Steady");
        let spec = &placement.spec;
        let wanted = match self.action {
            Action::Relocate => spec.preferred_cluster == self.to,
            Action::Failover => true,
        };
        at_rest && wanted && status.observed_generation == placement.metadata.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{placement, steady};

    fn wish(action: Action, to: &str) -> Wish {
        Wish {
            action,
            to: to.to_owned(),
            accept: Vec::new(),
        }
    }

    #[test]
    fn a_new_wish_needs_no_ticket_and_a_repeated_one_does() {
        let mut spec = placement("db").spec;
        let relocate = wish(Action::Relocate, "west");
        let patch = relocate.patch(&spec, "t1");
        assert_eq!(
            patch,
            json!({"spec": {"preferredCluster": "west", "action": "Relocate", "failoverCluster": null}})
        );
        spec.preferred_cluster = "west".to_owned();
        spec.action = Some(Action::Relocate);
        spec.failover_cluster = Some("west".to_owned());
        assert_eq!(
            relocate.patch(&spec, "t1").pointer("/spec/requestID"),
            Some(&json!("t1"))
        );

        let failover = wish(Action::Failover, "north");
        assert_eq!(
            failover.patch(&spec, "t"),
            json!({"spec": {"action": "Failover", "failoverCluster": "north"}})
        );
        spec.action = Some(Action::Failover);
        spec.failover_cluster = Some("north".to_owned());
        assert_eq!(
            failover.patch(&spec, "t2").pointer("/spec/requestID"),
            Some(&json!("t2"))
        );
        assert_eq!(relocate.patch(&spec, "t2").pointer("/spec/requestID"), None);
    }

    #[test]
    fn what_is_accepted_is_added_to_what_the_spec_accepts_once() {
        let mut spec = placement("db").spec;
        let mut failover = wish(Action::Failover, "west");
        failover.accept.push(AcceptedRisk::UnverifiedCopy);
        let accepted = |spec: &DRPlacementSpec| {
            let patch = failover.patch(spec, "t");
            patch.pointer("/spec/acceptRisks").cloned()
        };
        assert_eq!(accepted(&spec), Some(json!(["UnverifiedCopy"])));
        spec.accept_risks = failover.accept.clone();
        assert_eq!(accepted(&spec), None);
    }

    #[test]
    fn nothing_is_to_be_done_only_at_rest_on_the_target() {
        let east = wish(Action::Relocate, "east");
        let mut p = steady("db", "east");
        assert!(east.is_fulfilled(&p));
        assert!(!wish(Action::Relocate, "west").is_fulfilled(&p));
        p.metadata.generation = Some(9);
        assert!(
            !east.is_fulfilled(&p),
            "the hub has not seen the newest wish"
        );
        let mut p = steady("db", "east");
        p.spec.preferred_cluster = "west".to_owned();
        assert!(!east.is_fulfilled(&p), "it is about to leave");
    }
}
