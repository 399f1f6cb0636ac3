//! From the caches to one view.

use kube::Resource;
use lifeboat_api::replication::VolumeReplicationClass;
use lifeboat_api::{VolumeReplication, names};
use lifeboat_drivers::{Force, Secrets};
use lifeboat_kit::hash::fnv;

use crate::agent::Agent;
use crate::cache::{Caches, ClaimFacts, Kind, SourceKind, content_name, volume_name};
use crate::ownership;
use crate::parameters;
use crate::view::{
    Backing, ClaimView, Class, ClassFacts, DriverView, Grant, GrantFacts, GroupHandle, GroupSource,
    HubRule, Key, Life, Mark, Owner, Rule, Salvage, SecretView, SourceView, VolumeView,
};

/// Everything that bears on one volume now; `None` if it does not exist.
pub(crate) async fn gather(agent: &Agent, key: &Key) -> Option<VolumeView> {
    let caches = &agent.caches;
    let volume = caches.volume(key)?;
    let class = class(agent, &volume.spec.volume_replication_class);
    let (driver, secret) = match &class {
        Class::Ours(facts) => {
            let secret = match &facts.secret {
                Some(secret) => agent.secrets.read(secret).await,
                None => SecretView::Present(Secrets::default()),
            };
            (agent.fleet.view(&facts.driver), secret)
        }
        Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => {
            (DriverView::Unknown, SecretView::Present(Secrets::default()))
        }
    };
    if matches!(class, Class::Foreign) {
        agent.leave(key);
    }
    let memory = agent.memory(key, fingerprint(caches, key)?);
    let status = memory
        .unwritten
        .clone()
        .or_else(|| volume.status.clone())
        .unwrap_or_default();
    Some(VolumeView {
        key: key.clone(),
        generation: volume.metadata.generation.unwrap_or_default(),
        wanted: volume.spec.replication_state,
        auto_resync: if volume.spec.auto_resync {
            Force::Yes
        } else {
            Force::No
        },
        replication_id: volume.spec.replication_handle.clone().unwrap_or_default(),
        life: if volume.metadata.deletion_timestamp.is_some() {
            Life::Ending
        } else {
            Life::Living
        },
        finalizer: Mark::of(has_finalizer(
            volume.meta().finalizers.as_deref(),
            names::VR_FINALIZER,
        )),
        status,
        rule: rule(agent, key, &volume),
        source: source(caches, key, &volume, &class),
        class,
        secret,
        driver,
        memory,
    })
}

/// A number that changes whenever something changes that waiting was based on: what is asked, what is granted, and what
/// it is asked of. Not status, and not what we write ourselves.
pub(crate) fn fingerprint(caches: &Caches, key: &Key) -> Option<u64> {
    let volume = caches.volume(key)?;
    let annotation = |name: &str| annotation(&volume, name).unwrap_or_default().to_owned();
    let grant =
        ownership_name(&volume).and_then(|name| caches.ownership(&Key::new(&key.namespace, name)));
    let grant = grant.map(|(record, _)| {
        let spec = &record.spec;
        format!(
            "{}|{}|{}|{}|{:?}",
            spec.owner, spec.cluster, spec.cluster_uid, spec.epoch, spec.force_epoch
        )
    });
    let class = caches.class(&volume.spec.volume_replication_class);
    let class = class.map(|c| format!("{:?}|{:?}", c.metadata.uid, c.spec));
    let claim = caches.claim(&Key::new(&key.namespace, &volume.spec.data_source.name));
    let pv = claim
        .and_then(|c| caches.pv(&c.volume))
        .map(|pv| format!("{:?}", pv.csi));
    let group = match SourceKind::of(&volume) {
        SourceKind::Group => caches.group(&Key::new(&key.namespace, &volume.spec.data_source.name)),
        SourceKind::Claim | SourceKind::Unsupported => None,
    };
    let group = group
        .and_then(|group| caches.content(&content_name(&group)))
        .map(|content| format!("{:?}", content.spec.volume_group_replication_handle));
    Some(fnv(&format!(
        "{:?}|{:?}|{:?}|{}|{}|{}|{}|{}|{}|{grant:?}|{class:?}|{pv:?}|{group:?}",
        volume.metadata.uid,
        volume.metadata.generation,
        volume.metadata.deletion_timestamp.is_some(),
        annotation(names::EPOCH),
        annotation(names::OWNERSHIP),
        annotation(names::DISABLE),
        annotation(names::RESYNC_UNTIL),
        annotation(names::RESYNC_REQUEST),
        annotation(names::SALVAGE),
    )))
}

pub(crate) fn has_finalizer(finalizers: Option<&[String]>, name: &str) -> bool {
    finalizers.is_some_and(|all| all.iter().any(|f| f == name))
}

fn annotation<'a>(volume: &'a VolumeReplication, name: &str) -> Option<&'a str> {
    volume
        .metadata
        .annotations
        .as_ref()?
        .get(name)
        .map(String::as_str)
}

fn ownership_name(volume: &VolumeReplication) -> Option<&str> {
    annotation(volume, names::OWNERSHIP)
}

fn rule(agent: &Agent, key: &Key, volume: &VolumeReplication) -> Rule {
    let Some(epoch) = annotation(volume, names::EPOCH) else {
        return Rule::Upstream;
    };
    let number = |text: &str| text.trim().parse::<i64>().ok();
    Rule::Hub(HubRule {
        epoch: number(epoch),
        disable: Mark::of(annotation(volume, names::DISABLE) == Some("true")),
        resync_until: annotation(volume, names::RESYNC_UNTIL).and_then(|t| t.trim().parse().ok()),
        resync_number: annotation(volume, names::RESYNC_REQUEST)
            .and_then(|n| n.trim().parse().ok())
            .unwrap_or(1),
        resync_issued: annotation(volume, names::RESYNC_ISSUED)
            .and_then(names::read_resync_request),
        resync_failed: annotation(volume, names::RESYNC_FAILED)
            .and_then(names::read_resync_request),
        salvage: Salvage::read(annotation(volume, names::SALVAGE)),
        grant: grant(agent, key, ownership_name(volume).unwrap_or_default()),
    })
}

fn grant(agent: &Agent, key: &Key, name: &str) -> Grant {
    let caches = &agent.caches;
    let Some(here) = agent.cluster_uid.get() else {
        return Grant::Unread;
    };
    if !caches.is_synced(Kind::Ownerships) {
        return Grant::Unread;
    }
    let Some((record, highest)) = caches.ownership(&Key::new(&key.namespace, name)) else {
        return Grant::Missing {
            name: name.to_owned(),
        };
    };
    if record.spec.cluster_uid != *here {
        return Grant::Foreign {
            name: name.to_owned(),
            why: ownership::foreign(&record.spec, here),
        };
    }
    let stored = record.status.as_ref().and_then(|s| s.observed_epoch);
    Grant::Present(GrantFacts {
        name: name.to_owned(),
        cluster: record.spec.cluster.clone(),
        owner: record.spec.owner.clone(),
        epoch: record.spec.epoch,
        force_epoch: record.spec.force_epoch,
        observed: Some(highest),
        stored: Mark::of(stored.is_some_and(|stored| stored >= record.spec.epoch)),
    })
}

fn class(agent: &Agent, name: &str) -> Class {
    let Some(class) = agent.caches.class(name) else {
        return Class::Missing {
            name: name.to_owned(),
        };
    };
    if !agent.fleet.serves(&class.spec.provisioner) {
        return Class::Foreign;
    }
    match parameters(&class) {
        Ok(facts) => Class::Ours(facts),
        Err(why) => Class::Broken { why },
    }
}

fn parameters(class: &VolumeReplicationClass) -> Result<ClassFacts, String> {
    let split = parameters::split(class.spec.parameters.as_ref(), parameters::VOLUME)?;
    Ok(ClassFacts {
        driver: class.spec.provisioner.clone(),
        parameters: split.rest,
        secret: split.secret,
    })
}

fn source(caches: &Caches, key: &Key, volume: &VolumeReplication, class: &Class) -> SourceView {
    let data = &volume.spec.data_source;
    match SourceKind::of(volume) {
        SourceKind::Unsupported => return SourceView::UnsupportedKind,
        SourceKind::Group => return group_source(caches, key, &data.name, class),
        SourceKind::Claim => {}
    }
    let at = Key::new(&key.namespace, &data.name);
    let Some(claim) = caches.claim(&at) else {
        return SourceView::NoClaim {
            name: data.name.clone(),
        };
    };
    let mut owner = owner(caches, key, &claim);
    // The older controller upstream lets two in and marks the claim for neither: who goes leaves it to who stays.
    if owner == Owner::Nobody
        && volume.metadata.deletion_timestamp.is_some()
        && let Some(name) = caches.heir(key, &at)
    {
        owner = Owner::Other { name };
    }
    SourceView::Claim(ClaimView {
        name: data.name.clone(),
        life: if claim.deleting {
            Life::Ending
        } else {
            Life::Living
        },
        finalizer: Mark::of(has_finalizer(Some(&claim.finalizers), names::PVC_FINALIZER)),
        owner,
        volume: backing(caches, &claim, driver_of(class)),
    })
}

/// The group that a VolumeReplication is for.
fn group_source(caches: &Caches, key: &Key, name: &str, class: &Class) -> SourceView {
    if !caches.groups_synced() {
        return SourceView::Unread;
    }
    let Some(group) = caches.group(&Key::new(&key.namespace, name)) else {
        return SourceView::NoGroup {
            name: name.to_owned(),
        };
    };
    let wanted = volume_name(&group);
    let content = content_name(&group);
    let known = caches.content(&content);
    let handle = match &known {
        None => GroupHandle::NoContent,
        Some(content) => match &content.spec.volume_group_replication_handle {
            _ if driver_of(class).is_some_and(|driver| driver != content.spec.provisioner) => {
                GroupHandle::Driver(content.spec.provisioner.clone())
            }
            Some(handle) if !handle.is_empty() => GroupHandle::Known(handle.clone()),
            Some(_) | None => GroupHandle::Pending,
        },
    };
    SourceView::Group(GroupSource {
        name: name.to_owned(),
        marked: Mark::of(known.as_ref().is_some_and(|content| {
            has_finalizer(content.meta().finalizers.as_deref(), names::VR_FINALIZER)
        })),
        content,
        owner: if wanted == key.name {
            Owner::Us
        } else {
            Owner::Other { name: wanted }
        },
        handle,
    })
}

fn driver_of(class: &Class) -> Option<&str> {
    match class {
        Class::Ours(class) => Some(&class.driver),
        Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => None,
    }
}

/// Whose mark a claim carries.
pub(crate) fn owner(caches: &Caches, key: &Key, claim: &ClaimFacts) -> Owner {
    if let Some(name) = claim.group.clone() {
        return Owner::Group { name };
    }
    let Some(owner) = claim.owner.as_deref() else {
        return Owner::Nobody;
    };
    // Some versions wrote the namespace too.
    let name = owner.rsplit_once('/').map_or(owner, |(_, name)| name);
    if name == key.name {
        return Owner::Us;
    }
    // A mark of a VolumeReplication that is gone holds nobody back.
    match caches.volume(&Key::new(&key.namespace, name)) {
        Some(_) => Owner::Other {
            name: name.to_owned(),
        },
        None => Owner::Nobody,
    }
}

pub(crate) fn backing(caches: &Caches, claim: &ClaimFacts, driver: Option<&str>) -> Backing {
    if !claim.bound || claim.volume.is_empty() {
        return Backing::NotBound;
    }
    let name = claim.volume.clone();
    let Some(pv) = caches.pv(&name) else {
        return Backing::NoVolume { name };
    };
    match (pv.csi, driver) {
        (None, _) => Backing::NotCsi { name },
        (Some((driver, _)), Some(wanted)) if wanted != driver => Backing::Driver { name, driver },
        (Some((_, handle)), _) => Backing::Handle(handle),
    }
}
