//! Playing a scenario.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use lifeboat_api::{DRPolicy, VolumeReplication, common::condition};
use lifeboat_hub::config::Leadership;
use lifeboat_sim::{
    storage::Handles,
    world::{App, Shape},
};
use serde_json::json;

use super::{Deed, Line, ParseError, Script, Setting, Sight, Verb, expect, parse, plant};
use crate::lab::{Lab, LabError, LabSpec, Look, POLICY, Start};

/// Why a scenario did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The laboratory could not be set up.
    #[error("the laboratory could not be set up: {}", .0.full())]
    Setup(Box<LabError>),
    /// A line failed.
    #[error("line {number}: `{text}`: {}", source.full())]
    Line {
        /// Its number.
        number: usize,
        /// Its text.
        text: String,
        /// What went wrong.
        #[source]
        source: Box<LabError>,
    },
}

/// Plays a scenario in a laboratory of its own, and hands that out.
pub async fn play(text: &str, mut spec: LabSpec) -> Result<Lab, ScriptError> {
    let script = parse(text)?;
    for setting in &script.setting {
        match setting {
            Setting::Unplaced => spec.start = Start::Unplaced,
            Setting::Unregistered(cluster) => drop(spec.unregistered.insert(cluster.clone())),
            Setting::Hubs(n) => spec.hubs = *n,
            Setting::ActingHubs(n) => {
                (spec.hubs, spec.leadership) = (*n, Leadership::Alone);
            }
            Setting::Clusters(all) => spec.clusters.clone_from(all),
            Setting::Stateful => spec.app = spec.app.shape(Shape::StatefulSet),
            Setting::HandlesDiffer => spec.handles = Handles::PerSite,
            Setting::Renamed(cluster) => spec.renamed = Some(cluster.clone()),
            Setting::Neighbour => spec.neighbour = Some(App::new("blog").volumes(1)),
        }
    }
    let lab = Lab::start(spec)
        .await
        .map_err(|e| ScriptError::Setup(Box::new(e)))?;
    play_in(&lab, &script).await?;
    Ok(lab)
}

/// Plays the lines of a scenario in a laboratory that runs. At the end no invariant may be broken.
pub async fn play_in(lab: &Lab, script: &Script) -> Result<(), ScriptError> {
    for line in &script.lines {
        let failed = |source| ScriptError::Line {
            number: line.number,
            text: line.text.clone(),
            source: Box::new(source),
        };
        play_line(lab, line).await.map_err(failed)?;
    }
    lab.check()
        .await
        .map_err(|e| ScriptError::Setup(Box::new(e)))
}

async fn play_line(lab: &Lab, line: &Line) -> Result<(), LabError> {
    match &line.verb {
        Verb::Do(deed) => act(lab, deed).await,
        Verb::Wait { what, within } => wait(lab, &line.text, what, *within).await,
        Verb::Expect(fact) => expect::expect(lab, fact).await,
    }
}

async fn act(lab: &Lab, deed: &Deed) -> Result<(), LabError> {
    let world = lab.world();
    match deed {
        Deed::Relocate(to) => lab.relocate(to).await,
        Deed::Failover(to) => lab.failover(to).await,
        Deed::Prefer(to) => lab.edit(json!({"spec": {"preferredCluster": to}})).await,
        Deed::Request(id) => lab.edit(json!({"spec": {"requestID": id}})).await,
        Deed::Remove => lab.remove().await,
        Deed::Place { cluster, label } => {
            let label = label.clone().unwrap_or_else(|| lab.app().name.clone());
            lab.place_selecting(cluster, &label)
        }
        Deed::Kill(site) => lab.kill_site(site),
        Deed::BlackOut(site) => lab.black_out(site),
        Deed::Revive(site) => lab.revive_site(site),
        Deed::StopHub => {
            lab.kill_hub();
            Ok(())
        }
        Deed::StartHub => lab.start_hub().await,
        Deed::CrashHub => {
            lab.kill_hub();
            lab.start_hub().await
        }
        Deed::KillLeader => lab.kill_leader().await,
        Deed::Partition(a, b) => Ok(world.partition(a, b)?),
        Deed::Heal(a, b) => Ok(world.heal(a, b)?),
        Deed::StopMirroring(a, b) => Ok(world.cut_replication(a, b)?),
        Deed::ResumeMirroring(a, b) => Ok(world.heal_replication(a, b)?),
        Deed::Register(cluster) => lab.register(cluster),
        Deed::Pass(time) => {
            tokio::time::sleep(*time).await;
            Ok(())
        }
        Deed::Policy(clusters) => lab.policy_over(clusters),
        Deed::DeletePolicy => {
            let api = Api::<DRPolicy>::all(lab.hub_client());
            let done = api.delete(POLICY, &DeleteParams::default()).await;
            done.map(drop).map_err(LabError::call("delete the policy"))
        }
        Deed::DeleteReplications(site) => {
            lab.say(format!("delete the replications on {site}"));
            let api = replications(lab, site)?;
            for claim in lab.app().claims() {
                let done = api.delete(&claim, &DeleteParams::default()).await;
                done.map_err(LabError::call(format!("delete replication {claim}")))?;
            }
            Ok(())
        }
        Deed::Plant(what, site) => plant::plant(lab, *what, site).await,
        Deed::Clear(what, site) => plant::clear(lab, *what, site).await,
    }
}

async fn wait(lab: &Lab, text: &str, what: &Sight, within: Duration) -> Result<(), LabError> {
    match what {
        Sight::Phase { phase, cluster } => {
            let on = |c: &str| cluster.as_ref().is_none_or(|want| want == c);
            lab.until(text, within, |p| p.phase() == phase && on(p.cluster()))
                .await
                .map(drop)
        }
        Sight::Settled(cluster) => lab.settled_on(cluster, within).await.map(drop),
        Sight::Running(cluster) => {
            let ok = |p: &lifeboat_api::DRPlacement| {
                p.is_current() && p.cluster() == cluster && p.condition("Available") == "True"
            };
            lab.until(text, within, ok).await.map(drop)
        }
        Sight::Condition {
            kind,
            status,
            reason,
        } => {
            let ok = |p: &lifeboat_api::DRPlacement| {
                let found = p
                    .status
                    .as_ref()
                    .and_then(|s| condition(&s.conditions, kind));
                found.is_some_and(|c| {
                    c.status == *status && reason.as_ref().is_none_or(|r| c.reason == *r)
                })
            };
            lab.until(text, within, ok).await.map(drop)
        }
        Sight::Blocker { reason, naming } => {
            let ok = |p: &lifeboat_api::DRPlacement| {
                let mut all = p.status.iter().flat_map(|s| &s.blockers);
                let names = |m: &str| naming.as_ref().is_none_or(|n| m.contains(n));
                all.any(|b| b.reason == *reason && names(&b.message) && !b.remedy.is_empty())
            };
            lab.until(text, within, ok).await.map(drop)
        }
        Sight::Event { reason, naming } => {
            let names = |m: &str| naming.as_ref().is_none_or(|n| m.contains(n));
            lab.poll(text, within, || async {
                let all = Api::<Event>::namespaced(lab.hub_client(), &lab.app().namespace);
                let all = all.list(&ListParams::default()).await;
                let all = all.map_err(LabError::call("list events"))?;
                Ok(all.iter().any(|e| {
                    e.reason.as_ref() == Some(reason)
                        && names(e.note.as_deref().unwrap_or_default())
                }))
            })
            .await
        }
        Sight::Replications(site) => {
            let api = replications(lab, site)?;
            lab.poll(text, within, || async {
                let all = api.list(&ListParams::default()).await;
                let all = all.map_err(LabError::call("list replications"))?;
                let stay = |c: &String| {
                    all.iter()
                        .any(|r| r.name_any() == *c && r.metadata.deletion_timestamp.is_none())
                };
                Ok(lab.app().claims().iter().all(stay))
            })
            .await
        }
        Sight::Gone => {
            lab.wait(text, within, || lab.placement().is_none().then_some(()))
                .await
        }
        Sight::Records(n) => {
            lab.poll(text, within, || async {
                Ok(lab.world().ledger().count() >= *n)
            })
            .await
        }
    }
}

fn replications(lab: &Lab, site: &str) -> Result<Api<VolumeReplication>, LabError> {
    let client = lab.world().admin(site)?;
    Ok(Api::namespaced(client, &lab.namespace_on(site, lab.app())))
}

/// The application's DRPlacement in a few words, for comparison.
pub(super) fn face(lab: &Lab) -> String {
    let p = lab.placement();
    p.map_or_else(
        || "gone".to_owned(),
        |p| {
            format!(
                "{} {} on {} at {}",
                p.name_any(),
                p.phase(),
                p.cluster(),
                p.epoch()
            )
        },
    )
}
