//! What is written for a group: marks, the content, the VolumeReplication.

use kube::api::DeleteParams;
use kube::{Api, Resource};
use lifeboat_api::group::{
    LocalRef, VolumeGroupReplicationContentStatus, VolumeGroupReplicationStatus, VolumeMapping,
};
use lifeboat_api::replication::{DataSource, VolumeReplicationSpec};
use lifeboat_api::{
    VolumeGroupReplication, VolumeGroupReplicationContent, VolumeReplication, names,
};
use lifeboat_drivers::Group;
use lifeboat_kit::{CallError, Conflicts, apply, deadline};
use serde_json::{Value, json};

use super::members::{Volume, counted};
use super::view::GroupView;
use crate::agent::Agent;
use crate::cache::{ClaimFacts, Work, content_name, selector, volume_name};
use crate::persist::{edit_finalizers, nulled, write_status};
use crate::view::{ClassFacts, Key};
use crate::writes::{OPTIONAL, add, edit_claim, edit_content, remove};

fn groups(agent: &Agent, key: &Key) -> Api<VolumeGroupReplication> {
    Api::namespaced(agent.client.clone(), &key.namespace)
}

fn contents(agent: &Agent) -> Api<VolumeGroupReplicationContent> {
    Api::all(agent.client.clone())
}

/// Puts our finalizer on the group, then the names of what belongs to it, then our annotation and finalizer on its
/// claims. Idempotent because each is only added when it is missing. Undo: [`release`]. If interrupted: nothing was asked
/// of a driver yet.
pub(super) async fn mark(agent: &Agent, v: &GroupView) -> Result<(), CallError> {
    let Some(group) = agent.caches.group(&v.key) else {
        return Ok(());
    };
    let api = groups(agent, &v.key);
    let written = edit_finalizers(&api, &group.metadata, |finalizers| {
        add(finalizers, names::VGR_FINALIZER)
    });
    if let Some(written) = written.await? {
        agent.wake(agent.caches.wrote_group(written));
    }
    if v.named == crate::view::Mark::Absent {
        let selector = selector(&group).map(|s| s.to_string()).unwrap_or_default();
        let (content, volume) = (content_name(&group), volume_name(&group));
        let body = json!({
            "apiVersion": VolumeGroupReplication::api_version(&()),
            "kind": VolumeGroupReplication::kind(&()),
            "metadata": {
                "name": v.key.name, "namespace": v.key.namespace, "uid": group.metadata.uid,
                "annotations": {
                    names::VGR_SELECTOR: selector, names::VR_OWNER: volume, names::VGR_CONTENT: content,
                },
            },
            "spec": { "volumeReplicationName": volume, "volumeGroupReplicationContentName": content },
        });
        let manager = names::AGENT_MANAGER;
        let written = apply(&api, &v.key.name, manager, &body, Conflicts::Force).await?;
        agent.wake(agent.caches.wrote_group(written));
    }
    for member in counted(v).into_iter().flatten() {
        take_claim(agent, &v.key, &member.claim).await?;
    }
    Ok(())
}

async fn take_claim(agent: &Agent, group: &Key, claim: &str) -> Result<(), CallError> {
    let at = Key::new(&group.namespace, claim);
    edit_claim(agent, &at, names::VGR_OWNER, |facts| {
        // Who was quicker keeps it, a VolumeReplication or another group; the next look at the claim says so.
        if is_anothers(agent, group, facts) {
            return (None, None);
        }
        let annotation = (facts.group.as_deref() != Some(&group.name)).then(|| json!(group.name));
        (add(&facts.finalizers, names::VGR_FINALIZER), annotation)
    })
    .await
}

/// Whether a claim carries the mark of a `VolumeReplication` or of another group that is there.
fn is_anothers(agent: &Agent, group: &Key, claim: &ClaimFacts) -> bool {
    let is_there = |key: Key| agent.caches.volume(&key).is_some();
    let plain = |name: &str| {
        name.rsplit_once('/')
            .map_or(name, |(_, name)| name)
            .to_owned()
    };
    let volume = claim.owner.as_deref().map(plain);
    let other = claim.group.as_deref().map(plain);
    volume.is_some_and(|name| is_there(Key::new(&group.namespace, &name)))
        || other.is_some_and(|name| {
            name != group.name
                && agent
                    .caches
                    .group(&Key::new(&group.namespace, &name))
                    .is_some()
        })
}

/// Removes our marks from claims.
pub(super) async fn free(agent: &Agent, group: &Key, claims: &[String]) -> Result<(), CallError> {
    for claim in claims {
        let at = Key::new(&group.namespace, claim);
        edit_claim(agent, &at, names::VGR_OWNER, |facts| {
            // Another group took it meanwhile.
            if facts.group.as_ref().is_some_and(|name| *name != group.name) {
                return (None, None);
            }
            let annotation = facts.group.is_some().then_some(Value::Null);
            (remove(&facts.finalizers, names::VGR_FINALIZER), annotation)
        })
        .await?;
        // A VolumeReplication may have waited for it.
        agent.wake(agent.caches.users_of_claim(&at));
    }
    Ok(())
}

/// Removes our marks from every claim, then our finalizer from the group.
pub(super) async fn release(agent: &Agent, v: &GroupView) -> Result<(), CallError> {
    let members = v.members.iter().flatten();
    let ours = members.filter(|m| m.owner == crate::view::Owner::Us);
    let mut claims: Vec<String> = ours.map(|m| m.claim.clone()).collect();
    claims.extend(v.leavers.iter().cloned());
    free(agent, &v.key, &claims).await?;
    let Some(group) = agent.caches.group(&v.key) else {
        return Ok(());
    };
    let api = groups(agent, &v.key);
    let written = edit_finalizers(&api, &group.metadata, |finalizers| {
        remove(finalizers, names::VGR_FINALIZER)
    });
    if let Some(written) = written.await? {
        agent.wake(agent.caches.wrote_group(written));
    }
    Ok(())
}

/// Writes the content: which volumes shall be in the group and, once it is known, what the driver calls it.
/// Idempotent because it states the whole. It is written only to the version that was read, so that a handle that was
/// stored meanwhile is never lost.
pub(super) async fn record(
    agent: &Agent,
    v: &GroupView,
    class: &ClassFacts,
    volumes: &[Volume],
    made: Option<&Group>,
) -> Result<(), CallError> {
    let Some(group) = agent.caches.group(&v.key) else {
        return Ok(());
    };
    let old = v.content.facts.as_ref();
    let handles: Vec<&str> = volumes.iter().map(|m| m.handle.as_str()).collect();
    let mut body = json!({
        "apiVersion": VolumeGroupReplicationContent::api_version(&()),
        "kind": VolumeGroupReplicationContent::kind(&()),
        "metadata": {
            "name": v.content.name,
            "finalizers": [names::VGR_FINALIZER],
            "annotations": {
                names::VGR_REF: v.key.to_string(), names::PROVISIONED_BY: class.driver,
            },
        },
        "spec": {
            "provisioner": class.driver,
            "volumeGroupReplicationClassName": group.spec.volume_group_replication_class_name,
            "volumeGroupReplicationRef": {
                "apiVersion": VolumeGroupReplication::api_version(&()),
                "kind": VolumeGroupReplication::kind(&()),
                "name": v.key.name, "namespace": v.key.namespace, "uid": group.metadata.uid,
            },
            "source": { "volumeHandles": handles },
        },
    });
    if let Some(old) = old {
        body["metadata"]["resourceVersion"] = json!(old.version);
    }
    let handle = made.map(|group| &group.handle);
    if let Some(handle) = handle.or_else(|| old.and_then(|old| old.handle.as_ref())) {
        body["spec"]["volumeGroupReplicationHandle"] = json!(handle);
    }
    let attributes = old.and_then(|old| old.attributes.as_ref());
    let attributes = attributes.or_else(|| made.map(|group| &group.attributes));
    if let Some(attributes) = attributes.filter(|all| !all.is_empty()) {
        body["spec"]["volumeGroupAttributes"] = json!(attributes);
    }
    let (api, manager) = (contents(agent), names::AGENT_MANAGER);
    let written = apply(&api, &v.content.name, manager, &body, Conflicts::Force).await?;
    agent.wake(agent.caches.wrote_content(written));
    Ok(())
}

/// Notes who the driver was told to be in the group.
pub(super) async fn note_told(
    agent: &Agent,
    v: &GroupView,
    volumes: &[Volume],
) -> Result<(), CallError> {
    let Some(content) = agent.caches.content(&v.content.name) else {
        return Ok(());
    };
    let old = content.status.clone().unwrap_or_default();
    let mapping = volumes.iter().map(|m| VolumeMapping {
        name: m.pv.clone(),
        volume_handle: m.handle.clone(),
        destination_volume_handle: None,
    });
    let status = VolumeGroupReplicationContentStatus {
        persistent_volume_ref_list: volumes
            .iter()
            .map(|m| LocalRef { name: m.pv.clone() })
            .collect(),
        persistent_volume_mapping_list: mapping.collect(),
        destination_volume_group_id: old.destination_volume_group_id,
    };
    let lists = ["persistentVolumeRefList", "persistentVolumeMappingList"];
    let body = nulled(&status, &lists);
    if let Some(written) = write_status(&contents(agent), &content.metadata, &body).await? {
        agent.wake(agent.caches.wrote_content(written));
    }
    Ok(())
}

/// What the group's VolumeReplication shall ask for.
pub(super) fn spec_of_volume(group: &VolumeGroupReplication) -> VolumeReplicationSpec {
    VolumeReplicationSpec {
        volume_replication_class: group
            .spec
            .volume_replication_class_name
            .clone()
            .unwrap_or_default(),
        replication_state: group.spec.replication_state,
        data_source: DataSource {
            api_group: Some(VolumeGroupReplication::group(&()).into_owned()),
            kind: VolumeGroupReplication::kind(&()).into_owned(),
            name: group.metadata.name.clone().unwrap_or_default(),
        },
        auto_resync: group.spec.auto_resync,
        replication_handle: None,
    }
}

/// What a hub says on a group holds for its VolumeReplication too: who may promote is checked there.
pub(super) fn mirrored(group: &VolumeGroupReplication) -> [(&'static str, Option<String>); 3] {
    let annotations = group.metadata.annotations.as_ref();
    [names::EPOCH, names::OWNERSHIP, names::DISABLE]
        .map(|name| (name, annotations.and_then(|all| all.get(name)).cloned()))
}

/// Writes the VolumeReplication of the group. Idempotent because it states the whole.
pub(super) async fn follow(agent: &Agent, v: &GroupView) -> Result<(), CallError> {
    let Some(group) = agent.caches.group(&v.key) else {
        return Ok(());
    };
    let mut annotations = json!({ names::VGR_REF: v.key.to_string() });
    for (name, value) in mirrored(&group) {
        if let Some(value) = value {
            annotations[name] = json!(value);
        }
    }
    let body = json!({
        "apiVersion": VolumeReplication::api_version(&()),
        "kind": VolumeReplication::kind(&()),
        "metadata": {
            "name": v.volume.name, "namespace": v.key.namespace, "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": VolumeGroupReplication::api_version(&()),
                "kind": VolumeGroupReplication::kind(&()),
                "name": v.key.name, "uid": group.metadata.uid, "controller": true,
            }],
        },
        "spec": spec_of_volume(&group),
    });
    let (api, manager) = (agent.volumes(&v.key.namespace), names::AGENT_MANAGER);
    let written = apply(&api, &v.volume.name, manager, &body, Conflicts::Force).await?;
    agent.wrote_volume(written);
    // What we wrote is no news when its watch tells it.
    agent.wake([Work::Volume(Key::new(&v.key.namespace, &v.volume.name))]);
    Ok(())
}

/// Deletes the VolumeReplication of the group. Idempotent because what is gone stays gone.
pub(super) async fn stop(agent: &Agent, v: &GroupView) -> Result<(), CallError> {
    let api = agent.volumes(&v.key.namespace);
    delete(&api, &v.volume.name).await
}

/// Deletes the content and lets it go. Idempotent because what is gone stays gone.
pub(super) async fn discard(agent: &Agent, v: &GroupView) -> Result<(), CallError> {
    delete(&contents(agent), &v.content.name).await?;
    edit_content(agent, &v.content.name, |finalizers| {
        // A VolumeReplication that could still need it is gone, or this would not have been decided.
        let rest = remove(finalizers, names::VR_FINALIZER);
        let finalizers = rest.as_deref().unwrap_or(finalizers);
        remove(finalizers, names::VGR_FINALIZER).or(rest.clone())
    })
    .await
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), CallError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams::default();
    let call = api.delete(name, &params);
    let after = lifeboat_kit::apply::WRITE_DEADLINE;
    match deadline(format!("delete {name}"), after, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a status had to be written.
pub(super) async fn status(
    agent: &Agent,
    key: &Key,
    status: &VolumeGroupReplicationStatus,
) -> Result<crate::writes::Wrote, CallError> {
    use crate::writes::Wrote;
    let Some(group) = agent.caches.group(key) else {
        return Ok(Wrote::Nothing);
    };
    if group.status.as_ref() == Some(status) {
        return Ok(Wrote::Nothing);
    }
    let mut optional = OPTIONAL.to_vec();
    optional.push("persistentVolumeClaimsRefList");
    let body = nulled(status, &optional);
    let Some(written) = write_status(&groups(agent, key), &group.metadata, &body).await? else {
        return Ok(Wrote::Nothing);
    };
    agent.wake(agent.caches.wrote_group(written));
    Ok(Wrote::Something)
}
