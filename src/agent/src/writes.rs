//! Our marks on objects, and their status. Metadata and status only: nothing here moves a generation.

use std::sync::Arc;

use kube::Api;
use lifeboat_api::replication::VolumeReplicationStatus;
use lifeboat_api::{VolumeGroupReplicationContent, VolumeReplication, names};
use lifeboat_kit::apply::WRITE_DEADLINE;
use lifeboat_kit::{CallError, WatchEvent, deadline, patch_metadata, patch_status};
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::cache::ClaimFacts;
use crate::gather::{has_finalizer, owner};
use crate::persist::{edit_finalizers, nulled, persist};
use crate::view::{Key, Owner, SourceView};

/// Fields of a status that a later one may lack.
pub(crate) const OPTIONAL: [&str; 10] = [
    "state",
    "message",
    "conditions",
    "observedGeneration",
    "lastStartTime",
    "lastCompletionTime",
    "lastSyncTime",
    "lastSyncDuration",
    "lastSyncBytes",
    "destinationVolumeID",
];

/// Puts our finalizer on the VolumeReplication, then our marks on its claim, or our finalizer on its group's content.
/// Idempotent because each is only added when it is missing. Undo: [`release`]. If interrupted: nothing was asked of a
/// driver yet.
pub(crate) async fn claim(agent: &Agent, key: &Key, source: &SourceView) -> Result<(), CallError> {
    edit_volume(agent, key, |finalizers| {
        add(finalizers, names::VR_FINALIZER)
    })
    .await?;
    match source {
        SourceView::Claim(claim) => {
            let at = Key::new(&key.namespace, &claim.name);
            edit_claim(agent, &at, names::VR_OWNER, |facts| {
                // Who was quicker keeps it, a group or another volume; the next look at the claim says so.
                if facts.group.is_some() || is_anothers(agent, key, facts) {
                    return (None, None);
                }
                let finalizers = add(&facts.finalizers, names::PVC_FINALIZER);
                let annotation =
                    (facts.owner.as_deref() != Some(&key.name)).then(|| json!(key.name));
                (finalizers, annotation)
            })
            .await
        }
        SourceView::Group(group) => {
            edit_content(agent, &group.content, |finalizers| {
                add(finalizers, names::VR_FINALIZER)
            })
            .await
        }
        SourceView::UnsupportedKind
        | SourceView::Unread
        | SourceView::NoClaim { .. }
        | SourceView::NoGroup { .. } => Ok(()),
    }
}

/// Whether a claim carries the mark of another `VolumeReplication` that is there.
fn is_anothers(agent: &Agent, key: &Key, claim: &ClaimFacts) -> bool {
    match owner(&agent.caches, key, claim) {
        Owner::Us | Owner::Nobody => false,
        Owner::Other { .. } | Owner::Group { .. } => true,
    }
}

/// Removes our marks from the claim, or our finalizer from the group's content, if they are this volume's; then our
/// finalizer from the VolumeReplication.
/// Idempotent because each is only removed when it is there. If interrupted: the finalizer of the VolumeReplication goes
/// last, so deletion starts over.
pub(crate) async fn release(
    agent: &Agent,
    key: &Key,
    source: &SourceView,
) -> Result<(), CallError> {
    match source {
        SourceView::Claim(claim) if matches!(claim.owner, Owner::Us | Owner::Nobody) => {
            let at = Key::new(&key.namespace, &claim.name);
            edit_claim(agent, &at, names::VR_OWNER, |facts| {
                // Another took it meanwhile.
                if is_anothers(agent, key, facts) {
                    return (None, None);
                }
                let finalizers = remove(&facts.finalizers, names::PVC_FINALIZER);
                (finalizers, facts.owner.is_some().then_some(Value::Null))
            })
            .await?;
        }
        SourceView::Group(group) if group.owner == Owner::Us => {
            edit_content(agent, &group.content, |finalizers| {
                remove(finalizers, names::VR_FINALIZER)
            })
            .await?;
        }
        SourceView::Claim(_)
        | SourceView::Group(_)
        | SourceView::UnsupportedKind
        | SourceView::Unread
        | SourceView::NoClaim { .. }
        | SourceView::NoGroup { .. } => {}
    }
    edit_volume(agent, key, |finalizers| {
        remove(finalizers, names::VR_FINALIZER)
    })
    .await
}

/// Sets or removes one annotation of a VolumeReplication.
pub(crate) async fn annotate(
    agent: &Agent,
    key: &Key,
    name: &str,
    value: Option<&str>,
) -> Result<(), CallError> {
    let api = agent.volumes(&key.namespace);
    let metadata = json!({ "annotations": { name: value } });
    let written = patch_metadata(&api, &key.name, names::AGENT_MANAGER, metadata).await?;
    agent.wrote_volume(written);
    Ok(())
}

pub(crate) fn add(finalizers: &[String], name: &str) -> Option<Vec<String>> {
    if has_finalizer(Some(finalizers), name) {
        return None;
    }
    let mut all = finalizers.to_vec();
    all.push(name.to_owned());
    Some(all)
}

pub(crate) fn remove(finalizers: &[String], name: &str) -> Option<Vec<String>> {
    has_finalizer(Some(finalizers), name)
        .then(|| finalizers.iter().filter(|f| *f != name).cloned().collect())
}

async fn edit_volume(
    agent: &Agent,
    key: &Key,
    edit: impl Fn(&[String]) -> Option<Vec<String>>,
) -> Result<(), CallError> {
    let api = &agent.volumes(&key.namespace);
    let known = agent.caches.volume(key);
    let uid = known.as_ref().and_then(|known| known.metadata.uid.clone());
    let write = |volume: Arc<VolumeReplication>| {
        let finalizers = edit(volume.metadata.finalizers.as_deref().unwrap_or_default());
        async move {
            let Some(finalizers) = finalizers else {
                return Ok(None);
            };
            let metadata = json!({ "resourceVersion": volume.metadata.resource_version, "finalizers": finalizers });
            let written = patch_metadata(api, &key.name, names::AGENT_MANAGER, metadata).await?;
            agent.wrote_volume(written);
            Ok(Some(()))
        }
    };
    let read = || reread(agent, key, uid.as_deref());
    persist(known, write, read).await.map(drop)
}

/// Changes finalizers and one annotation of a claim.
pub(crate) async fn edit_claim(
    agent: &Agent,
    key: &Key,
    annotation: &str,
    edit: impl Fn(&ClaimFacts) -> (Option<Vec<String>>, Option<Value>),
) -> Result<(), CallError> {
    let api = &agent.claims(&key.namespace);
    let write = |facts: ClaimFacts| {
        let (finalizers, owner) = edit(&facts);
        let mut metadata = Map::new();
        if let Some(owner) = owner {
            metadata.insert("annotations".to_owned(), json!({ annotation: owner }));
        }
        if let Some(finalizers) = finalizers {
            metadata.insert("finalizers".to_owned(), json!(finalizers));
        }
        async move {
            if metadata.is_empty() {
                return Ok(None);
            }
            metadata.insert("resourceVersion".to_owned(), json!(facts.version));
            let metadata = Value::Object(metadata);
            let written = patch_metadata(api, &key.name, names::AGENT_MANAGER, metadata).await?;
            agent.caches.wrote_claim(&written);
            Ok(Some(()))
        }
    };
    let read = || async move {
        let what = format!("get claim {key}");
        let read = deadline(what, WRITE_DEADLINE, api.get_opt(&key.name)).await?;
        if let Some(claim) = &read {
            agent.wake(
                agent
                    .caches
                    .claims_changed(WatchEvent::Apply(claim.clone())),
            );
        }
        Ok(read.as_ref().map(ClaimFacts::of))
    };
    let known = agent.caches.claim(key);
    persist(known, write, read).await.map(drop)
}

/// Changes the finalizers of a content.
pub(crate) async fn edit_content(
    agent: &Agent,
    name: &str,
    edit: impl Fn(&[String]) -> Option<Vec<String>>,
) -> Result<(), CallError> {
    let Some(content) = agent.caches.content(name) else {
        return Ok(());
    };
    let api: Api<VolumeGroupReplicationContent> = Api::all(agent.client.clone());
    if let Some(written) = edit_finalizers(&api, &content.metadata, edit).await? {
        agent.wake(agent.caches.wrote_content(written));
    }
    Ok(())
}

/// Writes a status if it differs from what is there. On a conflict the object is read again and the same status written
/// again: what was done on the driver is not done twice for it.
pub(crate) async fn status(
    agent: &Agent,
    key: &Key,
    status: &VolumeReplicationStatus,
) -> Result<Wrote, CallError> {
    let api = &agent.volumes(&key.namespace);
    let body = &nulled(status, &OPTIONAL);
    let write = |volume: Arc<VolumeReplication>| async move {
        if volume.status.as_ref() == Some(status) {
            return Ok(None);
        }
        let version = volume.metadata.resource_version.clone().unwrap_or_default();
        let manager = names::AGENT_MANAGER;
        let written = patch_status(api, &key.name, manager, body.clone(), &version).await?;
        agent.metrics.status_written();
        agent.wrote_volume(written);
        Ok(Some(()))
    };
    let known = agent.caches.volume(key);
    let uid = known.as_ref().and_then(|known| known.metadata.uid.clone());
    let read = || reread(agent, key, uid.as_deref());
    let written = persist(known, write, read).await?;
    Ok(written.map_or(Wrote::Nothing, |()| Wrote::Something))
}

/// Whether a write was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    Something,
    Nothing,
}

/// The object as it is now, if it is still the same one.
async fn reread(
    agent: &Agent,
    key: &Key,
    uid: Option<&str>,
) -> Result<Option<Arc<VolumeReplication>>, CallError> {
    let api = agent.volumes(&key.namespace);
    let what = format!("get volumereplication {key}");
    let read = deadline(what, WRITE_DEADLINE, api.get_opt(&key.name)).await?;
    let same = read.filter(|volume| volume.metadata.uid.as_deref() == uid);
    if let Some(volume) = &same {
        agent.wrote_volume(volume.clone());
    }
    Ok(same.map(Arc::new))
}
