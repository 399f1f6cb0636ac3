//! From the caches to the view of one group.

use lifeboat_api::{VolumeGroupReplication, VolumeGroupReplicationClass, VolumeReplication, names};
use lifeboat_drivers::Secrets;
use lifeboat_kit::hash::fnv;

use super::view::{
    ContentFacts, ContentView, GroupView, Member, Server, VolumeFacts, VolumeOfGroup,
};
use super::writes::{mirrored, spec_of_volume};
use crate::agent::Agent;
use crate::cache::{
    Caches, ClaimFacts, Work, content_name, names_it, selector, selects, volume_name,
};
use crate::gather::{backing, has_finalizer};
use crate::parameters;
use crate::view::{Class, ClassFacts, DriverView, Key, Life, Mark, Owner, SecretView};

/// Everything that bears on one group now; `None` if it does not exist.
pub(super) async fn gather(agent: &Agent, key: &Key) -> Option<GroupView> {
    let caches = &agent.caches;
    let group = caches.group(key)?;
    let class = class(agent, &group.spec.volume_group_replication_class_name);
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
    let (members, leavers) = claims(caches, key, &group, &class);
    let content = content(caches, key, &group);
    let fingerprint = fnv(&format!(
        "{:?}|{:?}|{:?}|{class:?}|{members:?}|{:?}",
        group.metadata.uid,
        group.metadata.generation,
        group.metadata.deletion_timestamp.is_some(),
        content.facts.as_ref().map(|facts| &facts.handle),
    ));
    Some(GroupView {
        key: key.clone(),
        generation: group.metadata.generation.unwrap_or_default(),
        server: if group.spec.external {
            Server::Another
        } else {
            Server::Us
        },
        life: life(group.metadata.deletion_timestamp.is_some()),
        wanted: group.spec.replication_state,
        finalizer: Mark::of(has_finalizer(
            group.metadata.finalizers.as_deref(),
            names::VGR_FINALIZER,
        )),
        named: Mark::of(is_named(&group)),
        status: group.status.clone().unwrap_or_default(),
        class,
        volume_class: group
            .spec
            .volume_replication_class_name
            .clone()
            .filter(|name| !name.is_empty()),
        secret,
        driver,
        members,
        leavers,
        most: agent.config.max_group_claims,
        content,
        volume: volume(caches, key, &group),
        tries: agent.tries(&Work::Group(key.clone()), fingerprint),
    })
}

fn life(ending: bool) -> Life {
    if ending { Life::Ending } else { Life::Living }
}

fn is_named(group: &VolumeGroupReplication) -> bool {
    let spec = &group.spec;
    let annotation = |name: &str| {
        let all = group.metadata.annotations.as_ref();
        all.and_then(|all| all.get(name)).map(String::as_str)
    };
    let selector = selector(group).map(|selector| selector.to_string());
    spec.volume_group_replication_content_name.as_deref() == Some(&content_name(group))
        && spec.volume_replication_name.as_deref() == Some(&volume_name(group))
        && annotation(names::VGR_SELECTOR) == selector.ok().as_deref()
        && annotation(names::VR_OWNER) == Some(&volume_name(group))
        && annotation(names::VGR_CONTENT) == Some(&content_name(group))
}

fn class(agent: &Agent, name: &str) -> Class {
    let Some(class) = agent.caches.group_class(name) else {
        return Class::Missing {
            name: name.to_owned(),
        };
    };
    if !agent.fleet.serves(&class.spec.provisioner) {
        return Class::Foreign;
    }
    match facts(&class) {
        Ok(facts) => Class::Ours(facts),
        Err(why) => Class::Broken { why },
    }
}

fn facts(class: &VolumeGroupReplicationClass) -> Result<ClassFacts, String> {
    let split = parameters::split(class.spec.parameters.as_ref(), parameters::GROUP)?;
    // Accepted in silence it would end in a driver that complains about credentials.
    if let Some(key) = split.misplaced {
        return Err(format!(
            "parameter {key:?} of the class is for a VolumeReplicationClass; a VolumeGroupReplicationClass names its Secret by {:?} and {:?}",
            names::GROUP_SECRET_NAME,
            names::GROUP_SECRET_NAMESPACE
        ));
    }
    Ok(ClassFacts {
        driver: class.spec.provisioner.clone(),
        parameters: split.rest,
        secret: split.secret,
    })
}

fn claims(
    caches: &Caches,
    key: &Key,
    group: &VolumeGroupReplication,
    class: &Class,
) -> (Result<Vec<Member>, String>, Vec<String>) {
    let driver = match class {
        Class::Ours(class) => Some(class.driver.as_str()),
        Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => None,
    };
    let (mut members, mut leavers) = (Vec::new(), Vec::new());
    for (name, claim) in caches.claims_in(&key.namespace) {
        match selects(group, &claim) {
            Err(why) => return (Err(why), Vec::new()),
            Ok(true) => members.push(member(caches, key, name, &claim, driver)),
            Ok(false) if is_ours(key, &claim) => leavers.push(name),
            Ok(false) => {}
        }
    }
    (Ok(members), leavers)
}

fn is_ours(key: &Key, claim: &ClaimFacts) -> bool {
    claim
        .group
        .as_deref()
        .is_some_and(|mark| names_it(mark, key))
}

fn member(
    caches: &Caches,
    key: &Key,
    name: String,
    claim: &ClaimFacts,
    driver: Option<&str>,
) -> Member {
    Member {
        claim: name,
        life: life(claim.deleting),
        finalizer: Mark::of(has_finalizer(Some(&claim.finalizers), names::VGR_FINALIZER)),
        owner: owner(caches, key, claim),
        pv: claim.volume.clone(),
        volume: backing(caches, claim, driver),
    }
}

/// Who replicates a claim. A mark of something that is gone holds nobody back.
fn owner(caches: &Caches, key: &Key, claim: &ClaimFacts) -> Owner {
    if is_ours(key, claim) {
        return Owner::Us;
    }
    let plain = |mark: &str| {
        mark.rsplit_once('/')
            .map_or(mark, |(_, name)| name)
            .to_owned()
    };
    let at = |name: &str| Key::new(&key.namespace, name);
    if let Some(name) = claim.group.as_deref().map(plain)
        && caches.group(&at(&name)).is_some()
    {
        return Owner::Group { name };
    }
    match claim.owner.as_deref().map(plain) {
        Some(name) if caches.volume(&at(&name)).is_some() => Owner::Other { name },
        Some(_) | None => Owner::Nobody,
    }
}

fn content(caches: &Caches, key: &Key, group: &VolumeGroupReplication) -> ContentView {
    let name = content_name(group);
    let facts = caches.content(&name).map(|content| {
        let spec = &content.spec;
        let status = content.status.clone().unwrap_or_default();
        let mut told: Vec<String> = status
            .persistent_volume_mapping_list
            .into_iter()
            .map(|m| m.volume_handle)
            .collect();
        told.sort();
        let mut recorded = spec.source.volume_handles.clone();
        recorded.sort();
        let of_another = spec.volume_group_replication_ref.as_ref().filter(|r| {
            r.uid != group.metadata.uid || r.name.as_deref() != Some(key.name.as_str())
        });
        ContentFacts {
            version: content
                .metadata
                .resource_version
                .clone()
                .unwrap_or_default(),
            of_another: of_another.map(|r| {
                format!(
                    "VolumeGroupReplication {}/{}",
                    r.namespace.as_deref().unwrap_or_default(),
                    r.name.as_deref().unwrap_or_default()
                )
            }),
            ending: content.metadata.deletion_timestamp.is_some(),
            marked: has_finalizer(content.metadata.finalizers.as_deref(), names::VGR_FINALIZER)
                && spec.volume_group_replication_ref.is_some(),
            recorded,
            told,
            handle: spec
                .volume_group_replication_handle
                .clone()
                .filter(|handle| !handle.is_empty()),
            attributes: spec.volume_group_attributes.clone(),
        }
    });
    ContentView { name, facts }
}

fn volume(caches: &Caches, key: &Key, group: &VolumeGroupReplication) -> VolumeOfGroup {
    let name = volume_name(group);
    let facts = caches
        .volume(&Key::new(&key.namespace, &name))
        .map(|volume| {
            let follows = follows(group, &volume);
            let status = volume.status.clone().unwrap_or_default();
            VolumeFacts {
                life: life(volume.metadata.deletion_timestamp.is_some()),
                follows: Mark::of(follows),
                trouble: status.message.as_deref().and_then(|text| {
                    let why = text.strip_prefix("not deleted yet: ")?;
                    Some(why.to_owned())
                }),
                current: Some(status).filter(|status| {
                    follows && status.observed_generation == volume.metadata.generation
                }),
            }
        });
    VolumeOfGroup { name, facts }
}

fn follows(group: &VolumeGroupReplication, volume: &VolumeReplication) -> bool {
    let has = volume.metadata.annotations.clone().unwrap_or_default();
    let wanted = mirrored(group);
    let spec = spec_of_volume(group);
    wanted
        .iter()
        .all(|(name, value)| has.get(*name) == value.as_ref())
        && volume.spec.replication_state == spec.replication_state
        && volume.spec.auto_resync == spec.auto_resync
}
