//! From the caches to one view.

use std::collections::BTreeMap;

use kube::Resource;
use lifeboat_api::replication::VolumeReplicationClass;
use lifeboat_api::{VolumeReplication, names};
use lifeboat_drivers::{Force, Secrets};
use lifeboat_kit::hash::fnv;

use crate::agent::Agent;
use crate::cache::{Caches, ClaimFacts, Kind};
use crate::view::{
    Backing, ClaimView, Class, ClassFacts, DriverView, Grant, GrantFacts, HubRule, Key, Life, Mark,
    Owner, Rule, SecretView, SourceView, VolumeView,
};

/// Reserved keys that name a Secret for single volumes and for groups; the latter are accepted and not read.
const GROUP_SECRET_NAME: &str = "replication.storage.openshift.io/group-replication-secret-name";
const GROUP_SECRET_NAMESPACE: &str =
    "replication.storage.openshift.io/group-replication-secret-namespace";

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
        rule: rule(caches, key, &volume),
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
            "{}|{}|{}|{:?}",
            spec.owner, spec.cluster, spec.epoch, spec.force_epoch
        )
    });
    let class = caches.class(&volume.spec.volume_replication_class);
    let class = class.map(|c| format!("{:?}|{:?}", c.metadata.uid, c.spec));
    let claim = caches.claim(&Key::new(&key.namespace, &volume.spec.data_source.name));
    let pv = claim
        .and_then(|c| caches.pv(&c.volume))
        .map(|pv| format!("{:?}", pv.csi));
    Some(fnv(&format!(
        "{:?}|{:?}|{:?}|{}|{}|{}|{grant:?}|{class:?}|{pv:?}",
        volume.metadata.uid,
        volume.metadata.generation,
        volume.metadata.deletion_timestamp.is_some(),
        annotation(names::EPOCH),
        annotation(names::OWNERSHIP),
        annotation(names::DISABLE),
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

fn rule(caches: &Caches, key: &Key, volume: &VolumeReplication) -> Rule {
    let Some(epoch) = annotation(volume, names::EPOCH) else {
        return Rule::Upstream;
    };
    let number = |text: &str| text.trim().parse::<i64>().ok();
    Rule::Hub(HubRule {
        epoch: number(epoch),
        disable: Mark::of(annotation(volume, names::DISABLE) == Some("true")),
        resync_issued: annotation(volume, names::RESYNC_ISSUED).and_then(number),
        grant: grant(caches, key, ownership_name(volume).unwrap_or_default()),
    })
}

fn grant(caches: &Caches, key: &Key, name: &str) -> Grant {
    if !caches.is_synced(Kind::Ownerships) {
        return Grant::Unread;
    }
    let Some((record, highest)) = caches.ownership(&Key::new(&key.namespace, name)) else {
        return Grant::Missing {
            name: name.to_owned(),
        };
    };
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

/// Splits a class's parameters into those for the driver and those for us.
fn parameters(class: &VolumeReplicationClass) -> Result<ClassFacts, String> {
    let (mut rest, mut name, mut namespace) = (BTreeMap::new(), None, None);
    for (key, value) in class.spec.parameters.iter().flatten() {
        let slot = match key.as_str() {
            names::SECRET_NAME => Some(&mut name),
            names::SECRET_NAMESPACE => Some(&mut namespace),
            GROUP_SECRET_NAME | GROUP_SECRET_NAMESPACE => None,
            reserved if reserved.starts_with(names::RESERVED_PREFIX) => {
                return Err(format!(
                    "parameter {reserved:?} of the class is reserved and not known"
                ));
            }
            _ => {
                rest.insert(key.clone(), value.clone());
                continue;
            }
        };
        if value.is_empty() {
            let which = if key.ends_with("-namespace") {
                "namespace"
            } else {
                "name"
            };
            return Err(format!("secret {which} cannot be empty"));
        }
        if let Some(slot) = slot {
            *slot = Some(value.clone());
        }
    }
    // Half a pair names no Secret.
    let secret = namespace
        .zip(name)
        .map(|(namespace, name)| Key::new(&namespace, &name));
    Ok(ClassFacts {
        driver: class.spec.provisioner.clone(),
        parameters: rest,
        secret,
    })
}

fn source(caches: &Caches, key: &Key, volume: &VolumeReplication, class: &Class) -> SourceView {
    let data = &volume.spec.data_source;
    if data.kind != "PersistentVolumeClaim"
        || data
            .api_group
            .as_deref()
            .is_some_and(|group| !group.is_empty())
    {
        return SourceView::UnsupportedKind;
    }
    let Some(claim) = caches.claim(&Key::new(&key.namespace, &data.name)) else {
        return SourceView::NoClaim {
            name: data.name.clone(),
        };
    };
    SourceView::Claim(ClaimView {
        name: data.name.clone(),
        life: if claim.deleting {
            Life::Ending
        } else {
            Life::Living
        },
        finalizer: Mark::of(has_finalizer(Some(&claim.finalizers), names::PVC_FINALIZER)),
        owner: owner(caches, key, &claim),
        volume: backing(caches, &claim, class),
    })
}

fn owner(caches: &Caches, key: &Key, claim: &ClaimFacts) -> Owner {
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

fn backing(caches: &Caches, claim: &ClaimFacts, class: &Class) -> Backing {
    if !claim.bound || claim.volume.is_empty() {
        return Backing::NotBound;
    }
    let name = claim.volume.clone();
    let Some(pv) = caches.pv(&name) else {
        return Backing::NoVolume { name };
    };
    match (pv.csi, class) {
        (None, _) => Backing::NotCsi { name },
        (Some((driver, _)), Class::Ours(class)) if class.driver != driver => {
            Backing::Driver { name, driver }
        }
        (Some((_, handle)), _) => Backing::Handle(handle),
    }
}
