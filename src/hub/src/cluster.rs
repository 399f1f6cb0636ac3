//! DRCluster: its Secret goes to the fleet, and what the fleet knows of it goes to its status.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource};
use lifeboat_api::cluster::{Replication, Signal};
use lifeboat_api::common::{set_condition, to_time};
use lifeboat_api::{DRCluster, DRClusterStatus, names};
use lifeboat_core::ClusterId;
use lifeboat_core::observed::{AgentFacts, Contact, Replicator};
use lifeboat_core::report::Tri;
use lifeboat_kit::events::EventKind;
use lifeboat_kit::{Next, apply_status};
use serde_json::json;
use tracing::warn;

use crate::context::{Context, wake_each};
use crate::fleet::{API_SIGNAL, AUTH_ERROR, Credentials, MemberStatus};
use crate::status::tri;

/// How often the proof of life is written while nothing else changes.
const MINUTE: Duration = Duration::from_secs(60);
/// A cluster that answers and is read again for less than this is as healthy as it was.
const SETTLING: SignedDuration = SignedDuration::from_secs(5);

/// Looks at one DRCluster. Every replica keeps its connections; only the acting one writes.
pub(crate) async fn cluster(context: Arc<Context>, name: String) -> Next {
    let id = ClusterId::new(name.as_str());
    let Some(object) = context.stores.clusters.get(&name) else {
        context.fleet.remove(&id);
        context.identities.lock().remove(&name);
        context.metrics.contact(&id, None);
        context.queues.clusters.forget(&name);
        // One that was taken for a double of this one may be used now.
        wake_each(
            &context.queues.clusters,
            context.stores.clusters.keys(|_| true),
        );
        return Next::Wait;
    };
    let credentials = credentials(&context, &object);
    let twin = twin(&context, &object, &credentials);
    let used = match &twin {
        Some(elder) => Err(format!(
            "it is the same cluster as {elder}: their namespaces kube-system have one uid"
        )),
        None => credentials,
    };
    context.fleet.set(&id, used, recorded_uid(&object).cloned());
    let replicator = match object.spec.replication {
        Replication::Agent => Replicator::Agent,
        Replication::Upstream => Replicator::Upstream,
    };
    context.fleet.declare(&id, replicator);
    let member = context.fleet.status(&id);
    context
        .metrics
        .contact(&id, member.as_ref().map(|m| &m.contact));
    if !context.acts() {
        return Next::Wait;
    }
    let Some(member) = member else {
        return Next::Wait;
    };
    report(&context, &object, &member, twin.as_deref()).await
}

fn credentials(context: &Context, cluster: &DRCluster) -> Credentials {
    let (namespace, name) = (
        &context.config.namespace,
        &cluster.spec.kubeconfig_secret_ref.name,
    );
    let secret = context
        .stores
        .secrets
        .get(name)
        .ok_or_else(|| format!("Secret {namespace}/{name} does not exist"))?;
    let bytes = secret
        .data
        .as_ref()
        .and_then(|d| d.get(names::KUBECONFIG_KEY));
    bytes.map(|b| b.0.clone()).ok_or_else(|| {
        format!(
            "Secret {namespace}/{name} has no key {}",
            names::KUBECONFIG_KEY
        )
    })
}

/// The other DRCluster that leads to the very same cluster and had it first, if there is one. Two names for one cluster
/// would have the hub move an application from a cluster to itself.
fn twin(context: &Context, cluster: &DRCluster, credentials: &Credentials) -> Option<String> {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let (ours, changed) = identify(context, &name, credentials);
    if changed {
        // Another may have become a double of this one, or no longer be one.
        wake_each(
            &context.queues.clusters,
            context.stores.clusters.keys(|_| true),
        );
    }
    let ours = ours?;
    let identities = context.identities.lock();
    // A cluster that cannot be asked now is taken for what it was.
    let leads_here = |other: &str, c: &DRCluster| match identities.get(other) {
        Some((_, uid)) => *uid == ours,
        None => recorded_uid(c) == Some(&ours),
    };
    // Never the age alone: an edit of a kubeconfig must not push out the cluster that has long been used.
    let rank = |n: &str, c: &DRCluster| {
        let created = c.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (recorded_uid(c) != Some(&ours), created, n.to_owned())
    };
    let mine = rank(&name, cluster);
    let all = context.stores.clusters.all();
    let others = all.iter().filter(|(n, c)| **n != name && leads_here(n, c));
    let elders = others.map(|(n, c)| rank(n, c)).filter(|r| *r < mine);
    elders.min().map(|(_, _, elder)| elder)
}

/// The uid of the cluster that these credentials lead to, if it is known, and whether that is new.
fn identify(context: &Context, name: &str, credentials: &Credentials) -> (Option<String>, bool) {
    let mut identities = context.identities.lock();
    let before = identities.get(name).map(|(_, uid)| uid.clone());
    match credentials {
        Ok(bytes) if identities.get(name).is_none_or(|(b, _)| b == bytes) => {
            let member = context.fleet.status(&ClusterId::new(name));
            if let Some(uid) = member.and_then(|m| m.cluster_uid) {
                identities.insert(name.to_owned(), (bytes.clone(), uid));
            }
        }
        Ok(_) | Err(_) => drop(identities.remove(name)),
    }
    let now = identities.get(name).map(|(_, uid)| uid.clone());
    let changed = now != before;
    (now, changed)
}

fn recorded_uid(cluster: &DRCluster) -> Option<&String> {
    cluster.status.as_ref()?.cluster_uid.as_ref()
}

async fn report(
    context: &Context,
    cluster: &DRCluster,
    member: &MemberStatus,
    twin: Option<&str>,
) -> Next {
    let now = context.now();
    let before = cluster.status.clone().unwrap_or_default();
    let known = before.health.as_deref();
    let (health, again) = health(cluster, member, known, now, context.config.lost_after);
    let status = status(cluster, member, twin, health, now);
    if status != before {
        let name = cluster.metadata.name.clone().unwrap_or_default();
        let api: Api<DRCluster> = Api::all(context.hub.clone());
        let body =
            json!({ "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRCluster", "status": status });
        match apply_status(
            &api,
            &name,
            names::HUB_MANAGER,
            body,
            cluster.metadata.resource_version.as_deref(),
        )
        .await
        {
            Ok(written) => drop(context.stores.clusters.put(written)),
            Err(error) => {
                warn!(cluster = %name, error = %error.full(), "status not written");
                return Next::Failed;
            }
        }
        if before.health.as_deref() != Some(health) {
            let kind = if matches!(health, "Suspect" | "Lost") {
                EventKind::Warning
            } else {
                EventKind::Normal
            };
            context.tell(
                cluster.object_ref(&()),
                kind,
                health,
                &member.contact.describe(),
            );
        }
    }
    again.map_or(Next::Wait, Next::After)
}

/// The health in one word, and when it may change by itself.
fn health(
    cluster: &DRCluster,
    member: &MemberStatus,
    before: Option<&str>,
    now: Timestamp,
    lost_after: Duration,
) -> (&'static str, Option<Duration>) {
    let until = |then: Timestamp| {
        Duration::try_from(then.duration_since(now))
            .unwrap_or_default()
            .max(Duration::from_millis(10))
    };
    if let Some(maintenance) = cluster
        .spec
        .maintenance
        .as_ref()
        .filter(|m| m.until.0 > now)
    {
        return ("Maintenance", Some(until(maintenance.until.0).min(MINUTE)));
    }
    match &member.contact {
        Contact::Fresh => ("Healthy", Some(MINUTE)),
        // One that is read for the first time is no cause for worry.
        Contact::Behind { .. } if matches!(before, None | Some("Unknown")) => ("Unknown", None),
        Contact::Behind { since, .. } if now.duration_since(*since) < SETTLING => {
            let known = match cluster.status.as_ref().and_then(|s| s.health.as_deref()) {
                Some("Healthy") => "Healthy",
                Some("Suspect") => "Suspect",
                Some("Lost") => "Lost",
                _ => "Unknown",
            };
            let settled = since.checked_add(SETTLING).unwrap_or(now);
            (known, Some(until(settled)))
        }
        Contact::Stale { since, .. } | Contact::Behind { since, .. } => {
            match since.checked_add(lost_after) {
                Ok(lost) if lost > now => ("Suspect", Some(until(lost))),
                _ => ("Lost", None),
            }
        }
        Contact::Never { .. }
        | Contact::Refused { .. }
        | Contact::Replaced { .. }
        | Contact::Unregistered { .. } => ("Unknown", None),
    }
}

fn status(
    cluster: &DRCluster,
    member: &MemberStatus,
    twin: Option<&str>,
    health: &str,
    now: Timestamp,
) -> DRClusterStatus {
    let before = cluster.status.clone().unwrap_or_default();
    let MemberStatus {
        contact,
        kubernetes_version,
        cluster_uid,
        stranger,
        agent: _,
        replicator: _,
        drivers,
        last_proof,
        signals,
    } = member;
    let generation = cluster.metadata.generation;
    let mut conditions = before.conditions.clone();
    for (kind, (value, reason, message)) in [
        ("Reachable", reachable(cluster, member, twin)),
        ("AgentAlive", agent_alive(member)),
        ("DriversReady", drivers_ready(member)),
        (
            "Fenced",
            (
                Tri::False,
                "NotFenced",
                "this release cuts nobody off".to_owned(),
            ),
        ),
    ] {
        let condition = Condition {
            type_: kind.to_owned(),
            status: tri(value).to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: to_time(now),
        };
        set_condition(&mut conditions, condition);
    }
    // While all is well the proof of life moves once a minute; what matters is written as it is.
    let steady = before.health.as_deref() == Some(health) && contact.is_fresh();
    let proof = last_proof
        .filter(|_| stranger.is_none())
        .map(|at| if steady { whole_minute(at) } else { at })
        .map(to_time);
    let proof = match (&before.last_proof_of_life_time, proof) {
        (Some(old), Some(new)) if steady && new.0 < old.0 => Some(old.clone()),
        (old, None) => old.clone(),
        (_, new) => new,
    };
    DRClusterStatus {
        health: Some(health.to_owned()),
        signals: signals.clone(),
        last_proof_of_life_time: proof,
        kubernetes_version: kubernetes_version.clone().or(before.kubernetes_version),
        // Always the first one: it tells whether the kubeconfig still leads to the same cluster. A double never gets to be
        // the one that had the cluster first.
        cluster_uid: before
            .cluster_uid
            .or_else(|| cluster_uid.clone().filter(|_| twin.is_none())),
        drivers: drivers.clone(),
        observed_generation: generation,
        conditions,
    }
}

fn whole_minute(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}

type Answer = (Tri, &'static str, String);

/// What is known of the way there, and what a person can do about it.
fn reachable(cluster: &DRCluster, member: &MemberStatus, twin: Option<&str>) -> Answer {
    let words = member.contact.describe();
    let secret = format!(
        "the kubeconfig in Secret {}",
        cluster.spec.kubeconfig_secret_ref.name
    );
    let denied = |s: &Signal| s.name == API_SIGNAL && s.state == AUTH_ERROR;
    if let Some(elder) = twin {
        let message = format!(
            "it is the same cluster as {elder}; delete one of the two, or correct the kubeconfig of one"
        );
        return (Tri::False, "DuplicateCluster", message);
    }
    if let Some(why) = &member.stranger {
        let message = format!(
            "this DRCluster {why}; correct {secret}, or delete the DRCluster and create it again if the cluster was replaced"
        );
        return (Tri::False, "ClusterReplaced", message);
    }
    match &member.contact {
        Contact::Fresh => (
            Tri::True,
            "Answers",
            "the API server answers and every watch is in step".to_owned(),
        ),
        Contact::Refused { .. } | Contact::Replaced { .. } | Contact::Unregistered { .. } => {
            let message = format!("{words}; mend {secret}: see `lifeboat cluster add`");
            (Tri::False, "CredentialsRefused", message)
        }
        Contact::Behind { .. } | Contact::Stale { .. } | Contact::Never { .. }
            if member.signals.iter().any(denied) =>
        {
            let message = format!(
                "{words}; renew the token or certificate of {secret}, and look at the hub's role there"
            );
            (Tri::False, "CredentialsDenied", message)
        }
        Contact::Behind { .. } => {
            let message = format!(
                "its API server answers, and it {words}; look at the API server, and at the hub's role there"
            );
            (Tri::False, "OutOfStep", message)
        }
        Contact::Stale { .. } => {
            let message = format!("{words}; look at the cluster and at the way there");
            (Tri::False, "Silent", message)
        }
        Contact::Never { .. } => {
            let message = format!(
                "{words}; look at the cluster and at the way there, and check address and certificate authority of {secret}"
            );
            (Tri::Unknown, "NotReachedYet", message)
        }
    }
}

fn agent_alive(member: &MemberStatus) -> Answer {
    if !member.contact.is_fresh() {
        return (
            Tri::Unknown,
            "ClusterNotFresh",
            "the cluster does not answer, so nothing is known of its agent".to_owned(),
        );
    }
    match &member.agent {
        AgentFacts::Unseen if member.replicator == Replicator::Upstream => (
            Tri::False,
            "Upstream",
            "no agent is needed: the controllers of the CSI-Addons project work the volumes".to_owned(),
        ),
        AgentFacts::Alive { .. } if member.replicator == Replicator::Upstream => (
            Tri::True,
            "HeartbeatOnly",
            "an agent renews its Lease, and leaves the volumes to the controllers of the CSI-Addons project".to_owned(),
        ),
        AgentFacts::Alive { silent, .. } if silent.is_empty() => (
            Tri::True,
            "Renews",
            "every agent renews its Lease".to_owned(),
        ),
        // Whoever watches this condition must learn that volumes are looked after by nobody.
        AgentFacts::Alive { silent, .. } => {
            let each = silent.iter().map(|(d, at)| format!("{d} since {at}"));
            let each: Vec<String> = each.collect();
            let message = format!(
                "silent are the agents of these drivers, others renew their Leases: {}; look at their pods in lifeboat-system",
                each.join(", ")
            );
            (Tri::False, "DriverSilent", message)
        }
        AgentFacts::Silent { since } => (
            Tri::False,
            "Silent",
            format!("no agent has renewed its Lease since {since}"),
        ),
        AgentFacts::Unseen => (
            Tri::False,
            "NoLease",
            "no agent has run on the cluster; install spoke-deploy there".to_owned(),
        ),
    }
}

fn drivers_ready(member: &MemberStatus) -> Answer {
    let AgentFacts::Alive {
        drivers, silent, ..
    } = &member.agent
    else {
        return (
            Tri::Unknown,
            "AgentNotAlive",
            "only a living agent knows its drivers".to_owned(),
        );
    };
    if !member.contact.is_fresh() {
        return (
            Tri::Unknown,
            "ClusterNotFresh",
            "the cluster does not answer".to_owned(),
        );
    }
    let bad: Vec<String> = drivers
        .iter()
        .filter(|(_, why)| !why.is_empty())
        .map(|(name, why)| format!("{name}: {why}"))
        .chain(
            silent
                .keys()
                .map(|name| format!("{name}: its agent is silent")),
        )
        .collect();
    if drivers.is_empty() && silent.is_empty() {
        return (
            Tri::False,
            "NoDrivers",
            "the agent serves no storage driver".to_owned(),
        );
    }
    if bad.is_empty() {
        return (Tri::True, "Ready", "every driver answers".to_owned());
    }
    (Tri::False, "NotReady", bad.join("; "))
}
