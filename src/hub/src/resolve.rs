//! A DRPlacement and its DRPolicy, made into what the loop needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use kube::core::{ParseExpressionError, Selector};
use lifeboat_api::placement::{AcceptedRisk, Action, WorkloadKind};
use lifeboat_api::policy::{FailoverMode, NameMapping};
use lifeboat_api::{DRPlacement, DRPolicy, names};
use lifeboat_core::intent::{
    Failovers, Identity, Intent, Life, MoveKind, Policy, Request, Risk, Workloads,
};
use lifeboat_core::{ClusterId, Epoch, Journal, Phase};
use thiserror::Error;

/// A DRPlacement on the hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PlacementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the loop needs to know of one placement.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The policy, for the planner.
    pub policy: Policy,
    /// What is asked for, for the planner.
    pub intent: Intent,
    /// Where to look and how things are called there.
    pub scope: Arc<Scope>,
}

/// Where a placement's objects are, and how they are called on each cluster.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The DRPlacement.
    pub key: PlacementKey,
    /// The uid it is known by, its own or one that it took over: the mark on its objects.
    pub uid: String,
    /// uid of the DRPlacement itself.
    pub own_uid: String,
    /// Name of its DROwnership.
    pub ownership: String,
    /// The epoch that the journal knows.
    pub epoch: Epoch,
    /// The protected namespaces, by home name.
    pub namespaces: Vec<String>,
    /// Which claims are protected.
    pub pvc_selector: Selector,
    /// Which workloads move, and of which kinds.
    pub workload: Option<(Selector, Vec<WorkloadKind>)>,
    /// The policy's clusters, best first, then any other on which the journal says that something may be.
    pub clusters: Vec<ClusterId>,
    /// How names differ; a cluster that is not listed uses the home names.
    pub mapping: BTreeMap<ClusterId, Names>,
}

/// Names of one cluster, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Of namespaces.
    pub namespaces: TwoWay,
    /// Of storage classes.
    pub storage_classes: TwoWay,
}

/// A mapping of names that can be read both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TwoWay {
    there: BTreeMap<String, String>,
    home: BTreeMap<String, String>,
}

impl TwoWay {
    /// The name there of a home name.
    pub fn there<'a>(&'a self, home: &'a str) -> &'a str {
        self.there.get(home).map_or(home, String::as_str)
    }

    /// The home name of a name there. None: what is called so there is nothing that has a home name.
    pub fn home<'a>(&'a self, there: &'a str) -> Option<&'a str> {
        match self.home.get(there) {
            Some(home) => Some(home),
            None if self.there.contains_key(there) => None,
            None => Some(there),
        }
    }

    fn add(&mut self, rule: &NameMapping) -> Result<(), Ambiguous> {
        let (from, to) = (rule.from.clone(), rule.to.clone());
        let twice = self.there.insert(from.clone(), to.clone());
        let shared = self.home.insert(to, from);
        if twice.is_some() || shared.is_some() {
            return Err(Ambiguous);
        }
        Ok(())
    }
}

struct Ambiguous;

impl Scope {
    /// Name of a namespace on a cluster.
    pub fn namespace_on(&self, cluster: &ClusterId, home: &str) -> String {
        let names = self.mapping.get(cluster);
        names.map_or(home, |n| n.namespaces.there(home)).to_owned()
    }

    /// Home name of a namespace of a cluster.
    pub fn home_namespace(&self, cluster: &ClusterId, there: &str) -> Option<String> {
        match self.mapping.get(cluster) {
            Some(names) => names.namespaces.home(there).map(str::to_owned),
            None => Some(there.to_owned()),
        }
    }

    /// Name of a storage class on a cluster.
    pub fn storage_class_on(&self, cluster: &ClusterId, home: &str) -> String {
        let names = self.mapping.get(cluster);
        names
            .map_or(home, |n| n.storage_classes.there(home))
            .to_owned()
    }

    /// Home name of a storage class of a cluster.
    pub fn home_storage_class(&self, cluster: &ClusterId, there: &str) -> Option<String> {
        match self.mapping.get(cluster) {
            Some(names) => names.storage_classes.home(there).map(str::to_owned),
            None => Some(there.to_owned()),
        }
    }

    /// The protected namespaces as a cluster calls them, with their home names.
    pub fn namespaces_on<'a>(
        &'a self,
        cluster: &'a ClusterId,
    ) -> impl Iterator<Item = (&'a str, String)> {
        self.namespaces
            .iter()
            .map(move |home| (home.as_str(), self.namespace_on(cluster, home)))
    }
}

/// Why a DRPlacement cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Invalid {
    /// A word for it.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

fn invalid(reason: &'static str, message: String, remedy: &str) -> Invalid {
    Invalid {
        reason,
        message,
        remedy: remedy.to_owned(),
    }
}

/// Puts a placement and its policy together. A wish for a cluster outside the policy is invalid only while nothing has
/// begun: later the planner refuses the wish, and goes on with what is under way.
pub fn resolve(
    p: &DRPlacement,
    policies: impl Fn(&str) -> Option<Arc<DRPolicy>>,
    journal: &Journal,
) -> Result<Resolved, Invalid> {
    let policy_name = &p.spec.policy_ref.name;
    let policy = policies(policy_name).ok_or_else(|| {
        let message = format!("DRPolicy {policy_name} does not exist");
        invalid("PolicyMissing", message, "create the DRPolicy")
    })?;
    let clusters: Vec<ClusterId> = policy.spec.clusters.iter().map(ClusterId::new).collect();
    let request = request(p);
    if journal.phase == Phase::Undecided {
        named_in_policy(&request, &clusters, policy_name)?;
    }
    let key = PlacementKey {
        namespace: p.metadata.namespace.clone().unwrap_or_default(),
        name: p.metadata.name.clone().unwrap_or_default(),
    };
    let named = named_identity(p)?;
    let uid = identity(p, journal)?;
    let scope = scope(p, &policy, journal, &key, &uid, &clusters)?;
    let leaving = p.metadata.deletion_timestamp.is_some();
    Ok(Resolved {
        policy: core_policy(&policy, clusters)?,
        intent: Intent {
            placement: key.to_string(),
            uid,
            identity: if named == scope.own_uid {
                Identity::Own
            } else {
                Identity::TakenOver
            },
            named: Some(named),
            request,
            workloads: match p.spec.workload {
                Some(_) => Workloads::Selected,
                None => Workloads::None,
            },
            accepted: p.spec.accept_risks.iter().map(|r| risk(*r)).collect(),
            life: if leaving { Life::Leaving } else { Life::Wanted },
        },
        scope: Arc::new(scope),
    })
}

/// The uid that a DRPlacement says it is to be known by.
fn named_identity(p: &DRPlacement) -> Result<String, Invalid> {
    let own = p.metadata.uid.clone().unwrap_or_default();
    let annotations = p.metadata.annotations.as_ref();
    let Some(named) = annotations.and_then(|all| all.get(names::IDENTITY)) else {
        return Ok(own);
    };
    // It becomes a label, and part of names.
    let plain = named.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !plain
        || named.len() < 8
        || named.len() > 63
        || named.starts_with('-')
        || named.ends_with('-')
    {
        let message = format!("the annotation {} is no uid: {named:?}", names::IDENTITY);
        let remedy = "set it to the uid that the clusters' DROwnerships carry, or remove it";
        return Err(invalid("BadIdentity", message, remedy));
    }
    Ok(named.clone())
}

/// The uid that a DRPlacement is known by: once it is decided on, the one it was decided on with.
pub(crate) fn identity(p: &DRPlacement, journal: &Journal) -> Result<String, Invalid> {
    if journal.owner.is_none() {
        return named_identity(p);
    }
    let own = p.metadata.uid.clone().unwrap_or_default();
    Ok(journal.identity.clone().unwrap_or(own))
}

fn request(p: &DRPlacement) -> Request {
    Request {
        preferred: ClusterId::new(&p.spec.preferred_cluster),
        action: p.spec.action.map(|action| match action {
            Action::Relocate => MoveKind::Relocate,
            Action::Failover => MoveKind::Failover,
        }),
        // What a failover leaves in the spec asks for nothing: it neither makes a request new nor has to be in the policy.
        failover_cluster: match p.spec.action {
            Some(Action::Failover) => p.spec.failover_cluster.as_ref().map(ClusterId::new),
            Some(Action::Relocate) | None => None,
        },
        id: p.spec.request_id.clone(),
    }
}

fn risk(accepted: AcceptedRisk) -> Risk {
    match accepted {
        AcceptedRisk::UnverifiedCopy => Risk::UnverifiedCopy,
    }
}

fn named_in_policy(request: &Request, clusters: &[ClusterId], policy: &str) -> Result<(), Invalid> {
    let wished = [Some(&request.preferred), request.failover_cluster.as_ref()];
    match wished.into_iter().flatten().find(|c| !clusters.contains(c)) {
        None => Ok(()),
        Some(stranger) => Err(invalid(
            "ClusterNotInPolicy",
            format!("DRPolicy {policy} has no cluster {stranger}"),
            "name a cluster of the policy, or add the cluster to it",
        )),
    }
}

fn core_policy(policy: &DRPolicy, clusters: Vec<ClusterId>) -> Result<Policy, Invalid> {
    let failover = &policy.spec.failover;
    let retention = failover.salvage.as_ref().map(|s| &s.retention);
    let durations = [
        ("rpo", Some(&policy.spec.rpo)),
        ("rto", Some(&policy.spec.rto)),
        ("gracePeriod", Some(&failover.grace_period)),
        ("failover.salvage.retention", retention),
    ];
    for (field, text) in durations {
        if let Some(text) = text
            && seconds(text).is_none()
        {
            return Err(invalid(
                "BadDuration",
                format!("{field} of the policy is no duration: {text}"),
                "write it like 30s, 5m or 1h30m",
            ));
        }
    }
    let classes = policy.spec.classes.iter().map(|rule| {
        let (class, vrc) = (
            &rule.storage_class_name,
            &rule.volume_replication_class_name,
        );
        (class.clone(), vrc.clone())
    });
    Ok(Policy {
        clusters,
        rpo_seconds: seconds(&policy.spec.rpo).unwrap_or_default(),
        classes: classes.collect(),
        salvage_seconds: retention.and_then(|text| seconds(text)),
        failover: match failover.mode {
            FailoverMode::Disabled => Failovers::Disabled,
            FailoverMode::Observe | FailoverMode::Recommend | FailoverMode::Automatic => {
                Failovers::Allowed
            }
        },
    })
}

fn scope(
    p: &DRPlacement,
    policy: &DRPolicy,
    journal: &Journal,
    key: &PlacementKey,
    uid: &str,
    clusters: &[ClusterId],
) -> Result<Scope, Invalid> {
    if uid.is_empty() {
        let message = "the DRPlacement has no uid".to_owned();
        return Err(invalid("NoUid", message, "read it from the API server"));
    }
    let mut namespaces: Vec<String> = Vec::new();
    for namespace in &p.spec.protected_namespaces {
        if !namespaces.contains(namespace) {
            namespaces.push(namespace.clone());
        }
    }
    if namespaces.is_empty() {
        namespaces.push(key.namespace.clone());
    }
    let mut all = clusters.to_vec();
    for known in journal.clusters() {
        if !all.contains(&known) {
            all.push(known);
        }
    }
    let workload = match &p.spec.workload {
        None => None,
        Some(workload) => {
            let kinds = match workload.kinds.as_slice() {
                [] => vec![WorkloadKind::Deployment, WorkloadKind::StatefulSet],
                some => some.to_vec(),
            };
            let selector = workload.selector.clone().try_into();
            let selector = selector.map_err(|e| bad_selector("workload.selector", &e))?;
            Some((selector, kinds))
        }
    };
    let selector = p.spec.pvc_selector.clone().try_into();
    let scope = Scope {
        key: key.clone(),
        uid: uid.to_owned(),
        own_uid: p.metadata.uid.clone().unwrap_or_default(),
        ownership: names::ownership_name(&key.name, uid),
        epoch: journal.epoch,
        namespaces,
        pvc_selector: selector.map_err(|e| bad_selector("pvcSelector", &e))?,
        workload,
        clusters: all,
        mapping: mapping(policy)?,
    };
    distinct_namespaces(&scope)?;
    Ok(scope)
}

fn bad_selector(field: &str, error: &ParseExpressionError) -> Invalid {
    let message = format!("{field} makes no sense: {error}");
    invalid("BadSelector", message, "correct the selector")
}

fn mapping(policy: &DRPolicy) -> Result<BTreeMap<ClusterId, Names>, Invalid> {
    let mut all: BTreeMap<ClusterId, Names> = BTreeMap::new();
    let ambiguous = |what: &str, rule: &NameMapping| {
        invalid(
            "AmbiguousMapping",
            format!(
                "the {what} mapping of cluster {} uses {} or {} twice",
                rule.cluster, rule.from, rule.to
            ),
            "map each name once, to a name of its own",
        )
    };
    for rule in &policy.spec.namespace_mapping {
        let names = all.entry(ClusterId::new(&rule.cluster)).or_default();
        let added = names.namespaces.add(rule);
        added.map_err(|Ambiguous| ambiguous("namespace", rule))?;
    }
    for rule in &policy.spec.storage_class_mapping {
        let names = all.entry(ClusterId::new(&rule.cluster)).or_default();
        let added = names.storage_classes.add(rule);
        added.map_err(|Ambiguous| ambiguous("storage class", rule))?;
    }
    Ok(all)
}

/// Two namespaces that became one on some cluster could not be told apart on the way back.
fn distinct_namespaces(scope: &Scope) -> Result<(), Invalid> {
    for cluster in &scope.clusters {
        let mut seen = BTreeSet::new();
        for (_, there) in scope.namespaces_on(cluster) {
            if !seen.insert(there.clone()) {
                let message = format!(
                    "two protected namespaces are both called {there} on cluster {cluster}"
                );
                let remedy = "map each protected namespace to a name of its own";
                return Err(invalid("AmbiguousMapping", message, remedy));
            }
        }
    }
    Ok(())
}

/// A duration such as `1h30m` or `500ms` in whole seconds, rounded up.
pub fn seconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut millis: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(unit)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(number.parse::<i64>().ok()?.checked_mul(factor)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| millis.div_euclid(1000) + i64::from(millis % 1000 != 0))
}

#[cfg(test)]
mod tests;
