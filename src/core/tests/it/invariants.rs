//! The rules that every single plan keeps, whatever it was made from.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lifeboat_core::ids::{ClaimKey, ClusterId};
use lifeboat_core::intent::{Intent, Life, MoveKind, Policy};
use lifeboat_core::journal::{Journal, Phase};
use lifeboat_core::observed::{Mark, Observed, Role, VolumeFacts, VrFacts, VrStatus};
use lifeboat_core::plan::Plan;
use lifeboat_core::step::{Force, Step};
use lifeboat_core::wait::Reason;

/// Says which rules a plan breaks.
pub(crate) fn broken(
    now: Timestamp,
    policy: &Policy,
    intent: &Intent,
    observed: &Observed,
    journal: &Journal,
    plan: &Plan,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |ok: bool, what: String| {
        if !ok {
            found.push(what);
        }
    };
    say(
        plan.journal.is_none() || plan.all_steps().next().is_none(),
        "a plan that changes the journal has steps".into(),
    );
    say(!plan.report.step.is_empty(), "nothing is said".into());
    say(
        plan.journal.as_ref() != Some(journal),
        "a journal is written that changes nothing".into(),
    );
    if plan.journal.is_none() && plan.steps.is_empty() && !matches!(journal.phase, Phase::Steady) {
        say(
            !plan.report.step.is_empty() || !plan.report.blockers.is_empty(),
            "stands still without a word".into(),
        );
    }
    let newer = |c: &lifeboat_core::ClusterFacts| {
        c.record.as_ref().is_some_and(|r| r.epoch > journal.epoch)
    };
    if journal.owner.is_some() && observed.clusters.values().any(newer) {
        say(
            plan.all_steps().next().is_none() && plan.journal.is_none(),
            "acts although another hub knows more".into(),
        );
        say(
            plan.report
                .blockers
                .iter()
                .any(|b| b.reason == Reason::StaleHub),
            "does not say that it is stale".into(),
        );
    }
    if let Some(new) = &plan.journal {
        found.extend(handed_over(now, intent, observed, journal, new));
    }
    for steps in [&plan.steps, &plan.aside] {
        for (n, step) in steps.iter().enumerate() {
            let earlier = steps.get(..n).unwrap_or_default();
            let about = (now, policy, intent, observed, journal);
            found.extend(misstep(about, step, earlier));
        }
    }
    found
}

/// The owner changes with the next epoch only, and only when nobody else can write or the loss was accepted.
fn handed_over(
    now: Timestamp,
    intent: &Intent,
    observed: &Observed,
    old: &Journal,
    new: &Journal,
) -> Vec<String> {
    let mut found = Vec::new();
    if new.epoch < old.epoch {
        found.push(format!(
            "the epoch goes down: {} to {}",
            old.epoch, new.epoch
        ));
    }
    let (Some(from), Some(to)) = (&old.owner, &new.owner) else {
        if old.owner.is_some() {
            found.push("the owner is forgotten".into());
        }
        return found;
    };
    if from == to {
        if new.epoch != old.epoch {
            found.push("the epoch changes and the owner does not".into());
        }
        return found;
    }
    if new.epoch != old.epoch.next() {
        found.push(format!(
            "the owner changes, the epoch goes from {} to {}",
            old.epoch, new.epoch
        ));
    }
    let kind = match &new.phase {
        Phase::Promoting { kind, .. } => *kind,
        other => {
            if old.capture > 0 {
                found.push(format!("the owner changes into {}", other.as_str()));
            }
            return found;
        }
    };
    if intent.request.kind() != kind {
        found.push(format!("a {kind:?} that nobody asks for"));
    }
    if !observed.cluster(to).contact.is_fresh() {
        found.push(format!("committed to {to}, which does not answer"));
    }
    let source = observed.cluster(from);
    if kind == MoveKind::Relocate {
        let drained = |r: &VrFacts| {
            r.desired == Role::Secondary
                && r.status == VrStatus::Drained
                && r.epoch == Some(old.epoch)
        };
        let all = captured(observed)
            .iter()
            .all(|k| vr(observed, from, k).is_some_and(drained));
        if !source.contact.is_fresh() || !all || captured(observed).is_empty() {
            found.push("a relocation is committed and the source is not drained".into());
        }
    } else if !(source.contact.is_silent(now)
        || source.contact.is_fresh() && source.holders.is_empty())
    {
        found.push("a failover is committed while the source may well run".into());
    }
    found
}

fn captured(observed: &Observed) -> BTreeSet<ClaimKey> {
    let newest = observed.archive.newest.as_ref();
    newest
        .map(|c| c.volumes.keys().cloned().collect())
        .unwrap_or_default()
}

fn vr<'a>(observed: &'a Observed, on: &ClusterId, key: &ClaimKey) -> Option<&'a VrFacts> {
    observed.cluster(on).volumes.get(key)?.replication.as_ref()
}

fn primary(observed: &Observed, journal: &Journal, key: &ClaimKey) -> bool {
    journal
        .owner
        .as_ref()
        .and_then(|o| vr(observed, o, key))
        .is_some_and(|r| {
            r.desired == Role::Primary
                && r.status == VrStatus::Primary
                && r.epoch == Some(journal.epoch)
        })
}

fn misstep(
    (now, policy, intent, observed, journal): (Timestamp, &Policy, &Intent, &Observed, &Journal),
    step: &Step,
    earlier: &[Step],
) -> Vec<String> {
    let mut found = Vec::new();
    let Some(cluster) = step.cluster() else {
        if intent.life == Life::Wanted {
            found.push("lets go of a placement that is wanted".into());
        }
        return found;
    };
    let mut say = |ok: bool, what: &str| {
        if !ok {
            found.push(format!("{} on {cluster}: {what}", step.name()));
        }
    };
    let owner = journal.owner.as_ref() == Some(cluster);
    say(
        observed.cluster(cluster).contact.is_fresh(),
        "the cluster does not answer",
    );
    say(
        policy.clusters.contains(cluster) || observed.clusters.contains_key(cluster),
        "the cluster is a stranger",
    );
    match step {
        Step::Record {
            owner,
            epoch,
            force,
            ..
        } => {
            say(
                journal.owner.as_ref() == Some(owner) && *epoch == journal.epoch,
                "records what is not in the journal",
            );
            let failing = matches!(
                &journal.phase,
                Phase::Promoting {
                    kind: MoveKind::Failover,
                    ..
                }
            );
            say(
                *force == Force::Denied || failing && owner == cluster,
                "grants force",
            );
        }
        Step::Replicate {
            claims,
            role: Role::Primary,
            epoch,
            ..
        } => {
            say(
                owner && *epoch == journal.epoch,
                "promotes who is not the owner",
            );
            for (other, facts) in observed
                .clusters
                .iter()
                .filter(|(c, f)| *c != cluster && f.contact.is_fresh())
            {
                let gave_up = earlier.iter().any(|s| {
                    matches!(s, Step::Replicate { role: Role::Secondary, cluster, .. } if cluster == other)
                });
                let rival = facts.volumes.iter().any(|(k, x)| {
                    let mine = |r: &VrFacts| r.desired == Role::Primary && r.mark == Mark::Ours;
                    claims.contains_key(k) && x.replication.as_ref().is_some_and(mine)
                });
                say(
                    !rival || gave_up,
                    &format!("{other} is still asked to be primary"),
                );
            }
        }
        Step::Replicate {
            role: Role::Secondary,
            ..
        } => {
            let moving = matches!(
                &journal.phase,
                Phase::Relocating {
                    kind: MoveKind::Relocate,
                    ..
                }
            );
            say(
                !owner || moving && observed.cluster(cluster).holders.is_empty(),
                "demotes the owner",
            );
        }
        Step::Replicate {
            role: Role::Resync, ..
        } => say(false, "an order without an end"),
        Step::Resync {
            claims,
            epoch,
            until,
            ..
        } => {
            let held = until.duration_since(now).as_secs();
            say((240..=300).contains(&held), "an order without an end");
            say(
                !owner && *epoch == journal.epoch,
                "throws the owner's data away",
            );
            let fresh = journal
                .owner
                .as_ref()
                .is_some_and(|o| observed.cluster(o).contact.is_fresh());
            let proven = fresh && claims.keys().all(|k| primary(observed, journal, k));
            say(proven, "no proof that the owner is primary");
        }
        Step::Capture { claims, .. } => say(
            owner && !claims.is_empty(),
            "captures nothing, or the wrong side",
        ),
        Step::Start { .. } => {
            let all = captured(observed);
            let ready = matches!(journal.phase, Phase::Starting { .. });
            say(
                owner && ready && !all.is_empty(),
                "starts who is not the owner",
            );
        }
        Step::Resume { .. } => say(owner, "starts who is not the owner"),
        Step::Release { claims, .. } => {
            let volumes = &observed.cluster(cluster).volumes;
            let anew = |k: &ClaimKey| {
                let x = volumes.get(k);
                let made = |x: &VolumeFacts| x.volume.as_ref().and_then(|p| p.created);
                let written = |x: &VolumeFacts| x.replication.as_ref().and_then(|r| r.created);
                x.is_some_and(|x| written(x).is_some() && made(x) > written(x))
            };
            let all_anew = claims.iter().all(anew);
            say(!owner || all_anew, "lets the owner's volume go");
        }
        Step::RemoveClaims { .. } | Step::RemoveWorkloads { .. } => {
            say(!owner, "removes from the owner");
        }
        Step::Unprotect { .. } => say(owner, "ends the protection of a copy"),
        Step::LetGo { .. } => say(
            owner && matches!(journal.phase, Phase::Removing),
            "lets go too early, or of a copy",
        ),
        Step::Forget { .. } => say(
            matches!(journal.phase, Phase::Removing),
            "forgets too early",
        ),
        Step::Restore { .. } => {
            let to = match &journal.phase {
                Phase::Relocating { to, .. } => Some(to),
                _ => journal.owner.as_ref(),
            };
            say(to == Some(cluster), "restores on a bystander");
        }
        Step::Retain { .. } | Step::Nudge { .. } | Step::Quiesce { .. } | Step::Finish => {}
    }
    found
}
