//! A placement in plain words: what is believed, since when, why something is or is not done, what comes next, and how
//! to change that.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::placement::Action;
use lifeboat_api::policy::FailoverMode;
use lifeboat_api::{DRCluster, DRPlacement, DRPlacementStatus, DRPolicy};

use super::detail::asked_for;
use super::table::indent;
use super::text::{age, count, dash, name, sentence};

/// What an explanation rests on. What could not be read is absent, and said to be.
pub(crate) struct Known<'a> {
    /// The placement.
    pub(crate) placement: &'a DRPlacement,
    /// Its policy.
    pub(crate) policy: Option<&'a DRPolicy>,
    /// The clusters of the hub.
    pub(crate) clusters: Option<&'a [DRCluster]>,
}

/// The whole explanation.
pub(crate) fn explain(known: &Known<'_>, now: Timestamp) -> String {
    let placement = known.placement;
    let Some(status) = &placement.status else {
        return format!(
            "The hub has said nothing about {} yet. Is a hub running, and does it reach this API server?\n",
            name(placement)
        );
    };
    let parts = [
        ("What the hub believes", belief(placement, status, now)),
        ("Since when", since(known, status, now)),
        ("Why it does, or does not, act", why(placement, status)),
        ("What comes next", next(known, status)),
        ("How to change that", change(known, status)),
    ];
    let texts = parts.map(|(title, lines)| format!("{title}\n{}", indent(&lines.join("\n"), 2)));
    texts.join("\n")
}

fn belief(placement: &DRPlacement, status: &DRPlacementStatus, now: Timestamp) -> Vec<String> {
    let app = name(placement);
    let mut lines = vec![match (&status.cluster, status.epoch) {
        (Some(cluster), Some(epoch)) => {
            format!("{cluster} owns {app} (epoch {epoch}): it alone may write the volumes.")
        }
        (Some(cluster), None) => format!("{cluster} owns {app}: it alone may write the volumes."),
        (None, _) => format!("Nobody owns {app} yet."),
    }];
    if status.observed_generation != placement.metadata.generation {
        lines.push("The newest edit of the spec has not been looked at yet; what follows is about the one before.".to_owned());
    }
    for kind in [
        "Available",
        "Protected",
        "PeerReady",
        "FailoverArmed",
        "Accepted",
    ] {
        lines.push(
            match lifeboat_api::common::condition(&status.conditions, kind) {
                Some(c) => format!("{}: {}", meaning(kind, &c.status), sentence(&c.message)),
                None => format!("{}: the hub has not said.", meaning(kind, "Unknown")),
            },
        );
    }
    // Only worth a line where it does not hold.
    if let Some(c) = lifeboat_api::common::condition(&status.conditions, "Guarded")
        && c.status != "True"
    {
        let line = meaning("Guarded", &c.status);
        lines.push(format!("{line}: {}", sentence(&c.message)));
    }
    lines.push(match &status.last_sync_time {
        Some(at) => format!(
            "Everything written until {} ago is safe on another cluster.",
            age(at, now)
        ),
        None => "Nothing is known to be safe on another cluster.".to_owned(),
    });
    lines
}

fn meaning(kind: &str, status: &str) -> String {
    let (yes, no) = match kind {
        "Available" => ("It can run where it is", "It cannot run where it is"),
        "Protected" => ("It is protected", "It is not protected"),
        "PeerReady" => (
            "Another cluster is fit to take over",
            "No other cluster is fit to take over",
        ),
        "FailoverArmed" => (
            "A failover could be made now",
            "A failover could not be made now",
        ),
        "Guarded" => (
            "Every promotion is checked against its epoch",
            "Not every promotion is checked against its epoch",
        ),
        "Accepted" => ("The spec can be followed", "The spec cannot be followed"),
        other => return format!("{other} is {status}"),
    };
    match status {
        "True" => yes.to_owned(),
        "False" => no.to_owned(),
        _ => format!("Not known whether this holds: {}", yes.to_lowercase()),
    }
}

fn since(known: &Known<'_>, status: &DRPlacementStatus, now: Timestamp) -> Vec<String> {
    let mut all: Vec<&Condition> = status.conditions.iter().collect();
    all.sort_by_key(|c| std::cmp::Reverse(c.last_transition_time.0));
    let mut lines: Vec<String> = all
        .iter()
        .map(|c| {
            format!(
                "{} has been {} for {} ({}).",
                c.type_,
                c.status,
                age(&c.last_transition_time, now),
                c.reason
            )
        })
        .collect();
    match known.clusters {
        None => {
            lines.push("The clusters could not be read, so nothing is said of them.".to_owned());
        }
        Some(clusters) => lines.extend(concerned(known, clusters).map(|c| contact(c, now))),
    }
    lines
}

/// The clusters that the policy names, or all if it is not known.
fn concerned<'a>(
    known: &'a Known<'_>,
    clusters: &'a [DRCluster],
) -> impl Iterator<Item = &'a DRCluster> {
    clusters.iter().filter(move |c| {
        known
            .policy
            .is_none_or(|p| p.spec.clusters.contains(&name(*c)))
    })
}

fn contact(cluster: &DRCluster, now: Timestamp) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let seen = match &status.last_proof_of_life_time {
        Some(at) => format!("it last proved that it lives {} ago", age(at, now)),
        None => "it has never been heard".to_owned(),
    };
    let mut line = format!(
        "Cluster {} is {}: {seen}",
        name(cluster),
        dash(status.health.as_deref())
    );
    for signal in status.signals.iter().filter(|s| s.state != "Up") {
        let for_how_long = signal
            .since
            .as_ref()
            .map(|t| format!(" for {}", age(t, now)))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "; {} has been {}{for_how_long}",
            signal.name, signal.state
        );
    }
    line.push('.');
    line
}

fn why(placement: &DRPlacement, status: &DRPlacementStatus) -> Vec<String> {
    let mut lines: Vec<String> = status
        .blockers
        .iter()
        .map(|b| format!("{}: {}", b.reason, sentence(&b.message)))
        .collect();
    for gate in &status.gates {
        let (of, name, seen) = (asked_for(gate), &gate.name, sentence(&gate.message));
        let holds = match gate.state.as_str() {
            "Pass" => "holds",
            "Fail" => "does not hold",
            _ => "is not known, which counts as no",
        };
        lines.push(format!("{of}: {name} {holds}: {seen}"));
    }
    if lines.is_empty() {
        let wanted = wanted(placement);
        lines.push(if status.cluster.as_deref() == Some(wanted) {
            format!("It is where it is wanted ({wanted}), so nothing needs to be done.")
        } else {
            format!("It is wanted on {wanted}; nothing stands in the way.")
        });
    }
    lines
}

fn wanted(placement: &DRPlacement) -> &str {
    let spec = &placement.spec;
    match (spec.action, &spec.failover_cluster) {
        (Some(Action::Failover), Some(to)) => to,
        _ => &spec.preferred_cluster,
    }
}

fn next(known: &Known<'_>, status: &DRPlacementStatus) -> Vec<String> {
    let mut lines = vec![format!("Phase {}.", dash(status.phase.as_deref()))];
    if let Some(step) = &status.step {
        lines.push(format!("Now: {}", sentence(step)));
    }
    if let Some(record) = status.actions.first().filter(|a| a.result == "Running") {
        let steps = count(record.steps.len(), "step");
        lines.push(format!(
            "A move is under way ({} {} -> {}), {steps} begun.",
            record.kind, record.from, record.to
        ));
    } else {
        lines.push("No move is under way.".to_owned());
    }
    lines.push(match known.policy.map(|p| p.spec.failover.mode) {
        Some(FailoverMode::Disabled) => {
            "If its cluster is lost nothing moves: the policy forbids failovers.".to_owned()
        }
        Some(FailoverMode::Observe | FailoverMode::Recommend | FailoverMode::Automatic) => {
            "If its cluster is lost the hub says so and waits for a person to decide.".to_owned()
        }
        None => "The policy could not be read, so nothing is said of what a lost cluster leads to."
            .to_owned(),
    });
    lines
}

fn change(known: &Known<'_>, status: &DRPlacementStatus) -> Vec<String> {
    let app = name(known.placement);
    let blockers = status.blockers.iter().filter(|b| !b.remedy.is_empty());
    let mut lines: Vec<String> = blockers
        .map(|b| format!("{}: {}", b.reason, sentence(&b.remedy)))
        .collect();
    let others: Vec<&str> = known
        .policy
        .map(|p| {
            p.spec
                .clusters
                .iter()
                .map(String::as_str)
                .filter(|c| status.cluster.as_deref() != Some(*c))
                .collect()
        })
        .unwrap_or_default();
    let to = others.first().copied().unwrap_or("CLUSTER");
    let rest: Vec<&str> = others.iter().skip(1).copied().collect();
    let choice = if rest.is_empty() {
        String::new()
    } else {
        format!(" (or {})", rest.join(", "))
    };
    lines.push(format!(
        "To move it without loss: lifeboat relocate {app} --to {to}{choice}"
    ));
    lines.push(format!(
        "To bring it up elsewhere without its cluster, accepting the loss: lifeboat failover {app} --to {to}{choice}"
    ));
    lines.push(format!(
        "To see what that would lose first: lifeboat failover {app} --to {to} --dry-run"
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{ago, blocker, cluster, now, placement, steady};

    fn policy() -> DRPolicy {
        let spec = serde_json::json!({
            "clusters": ["east", "west"],
            "classes": [{"storageClassName": "fast", "volumeReplicationClassName": "fast"}],
        });
        DRPolicy::new("gold", serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_blocked_move_is_explained() {
        let mut p = steady("db", "east");
        p.spec.preferred_cluster = "west".to_owned();
        p.status
            .as_mut()
            .unwrap()
            .blockers
            .push(blocker("TargetUnreachable"));
        let mut west = cluster("west", "Lost");
        west.status.as_mut().unwrap().signals = vec![lifeboat_api::cluster::Signal {
            name: "ApiServer".to_owned(),
            state: "Down".to_owned(),
            since: Some(ago(90)),
            message: String::new(),
        }];
        let clusters = [
            cluster("east", "Healthy"),
            west,
            cluster("other", "Healthy"),
        ];
        let policy = policy();
        let text = explain(
            &Known {
                placement: &p,
                policy: Some(&policy),
                clusters: Some(&clusters),
            },
            now(),
        );
        let expected = "\
What the hub believes
  east owns db (epoch 3): it alone may write the volumes.
  It can run where it is: all is well.
  It is protected: all is well.
  Not known whether this holds: another cluster is fit to take over: the hub has not said.
  Not known whether this holds: a failover could be made now: the hub has not said.
  Not known whether this holds: the spec can be followed: the hub has not said.
  Everything written until 12s ago is safe on another cluster.

Since when
  Available has been True for 1h (Good).
  Protected has been True for 1h (Good).
  Cluster east is Healthy: it last proved that it lives 2s ago.
  Cluster west is Lost: it last proved that it lives 2s ago; ApiServer has been Down for 1m30s.

Why it does, or does not, act
  TargetUnreachable: something is wrong.
  Failover: SourceDown is not known, which counts as no: east still answers.
  Failover to west: TargetHealthy holds: west answers.

What comes next
  Phase Steady.
  Now: protected on west.
  No move is under way.
  If its cluster is lost the hub says so and waits for a person to decide.

How to change that
  TargetUnreachable: mend it.
  To move it without loss: lifeboat relocate db --to west
  To bring it up elsewhere without its cluster, accepting the loss: lifeboat failover db --to west
  To see what that would lose first: lifeboat failover db --to west --dry-run
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_silent_hub_is_said_so() {
        let p = placement("db");
        let text = explain(
            &Known {
                placement: &p,
                policy: None,
                clusters: None,
            },
            now(),
        );
        assert!(text.contains("said nothing about db yet"), "{text}");
    }
}
