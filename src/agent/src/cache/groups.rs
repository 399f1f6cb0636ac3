//! Groups, their classes and contents, and which claims and volumes each bears on.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::core::{Selector, SelectorExt};
use lifeboat_api::{
    VolumeGroupReplication, VolumeGroupReplicationClass, VolumeGroupReplicationContent, names,
};
use lifeboat_kit::WatchEvent;

use super::store::{is_gone, key_of, name_of, take, wrote};
use super::{Caches, ClaimFacts, Inner, Kind, Work};
use crate::view::Key;

impl Caches {
    pub(crate) fn group(&self, key: &Key) -> Option<Arc<VolumeGroupReplication>> {
        self.inner.read().groups.get(key).cloned()
    }

    pub(crate) fn group_class(&self, name: &str) -> Option<Arc<VolumeGroupReplicationClass>> {
        let inner = self.inner.read();
        inner.group_classes.get(&name.to_owned()).cloned()
    }

    pub(crate) fn content(&self, name: &str) -> Option<Arc<VolumeGroupReplicationContent>> {
        let known = self.inner.read().contents.get(&name.to_owned()).cloned();
        known.filter(|content| !is_gone(&content.metadata))
    }

    /// Whether all kinds that make a group were read.
    pub(crate) fn groups_synced(&self) -> bool {
        let inner = self.inner.read();
        [Kind::Groups, Kind::GroupClasses, Kind::Contents]
            .iter()
            .all(|kind| inner.synced.contains(kind))
    }

    /// Every claim of a namespace, by name.
    pub(crate) fn claims_in(&self, namespace: &str) -> Vec<(String, ClaimFacts)> {
        let inner = self.inner.read();
        let from = Key::new(namespace, "");
        let here = inner.claims.items.range(from..);
        here.take_while(|(key, _)| key.namespace == namespace)
            .map(|(key, (_, facts))| (key.name.clone(), facts.clone()))
            .collect()
    }

    /// The volumes that use a claim.
    pub(crate) fn users_of_claim(&self, claim: &Key) -> Vec<Work> {
        self.inner.read().users_of(std::slice::from_ref(claim))
    }

    /// Takes news of groups; answers what to work on.
    pub(crate) fn groups_changed(&self, event: WatchEvent<VolumeGroupReplication>) -> Vec<Work> {
        let mut inner = self.inner.write();
        inner.note_synced(Kind::Groups, &event);
        let changed = take(&mut inner.groups, event, key_of);
        let mut work = BTreeSet::new();
        for key in changed {
            work.extend(inner.volumes_over(&key));
            work.insert(Work::Group(key));
        }
        work.into_iter().collect()
    }

    /// Takes news of group classes; answers what to work on.
    pub(crate) fn group_classes_changed(
        &self,
        event: WatchEvent<VolumeGroupReplicationClass>,
    ) -> Vec<Work> {
        let mut inner = self.inner.write();
        let first = inner.note_synced(Kind::GroupClasses, &event);
        let changed = take(&mut inner.group_classes, event, name_of);
        let groups = inner.groups.items.iter();
        groups
            .filter(|(_, (_, group))| {
                first || changed.contains(&group.spec.volume_group_replication_class_name)
            })
            .map(|(key, _)| Work::Group(key.clone()))
            .collect()
    }

    /// Takes news of contents; answers what to work on.
    pub(crate) fn contents_changed(
        &self,
        event: WatchEvent<VolumeGroupReplicationContent>,
    ) -> Vec<Work> {
        let mut inner = self.inner.write();
        let first = inner.note_synced(Kind::Contents, &event);
        let changed = take(&mut inner.contents, event, name_of);
        inner.users_of_contents(|name| first || changed.iter().any(|c| c == name))
    }

    /// Takes what our own write returned; answers what it is news for.
    pub(crate) fn wrote_group(&self, group: VolumeGroupReplication) -> Option<Work> {
        let key = key_of(&group.metadata);
        let more = wrote(&mut self.inner.write().groups, key.clone(), group);
        more.then_some(Work::Group(key))
    }

    /// Takes what our own write returned; answers the volumes that it is news for, and the groups if it brings more than that.
    pub(crate) fn wrote_content(&self, content: VolumeGroupReplicationContent) -> Vec<Work> {
        let mut inner = self.inner.write();
        let name = name_of(&content.metadata);
        let more = wrote(&mut inner.contents, name.clone(), content);
        let users = inner.users_of_contents(|other| other == name);
        users
            .into_iter()
            .filter(|work| more || matches!(work, Work::Volume(_)))
            .collect()
    }
}

impl Inner {
    /// Whether this event is the first full reading of a kind.
    pub(super) fn note_synced<K>(&mut self, kind: Kind, event: &WatchEvent<K>) -> bool {
        matches!(event, WatchEvent::Synced(_)) && self.synced.insert(kind)
    }

    /// The groups that a claim is in, or could join.
    pub(super) fn groups_of_claim(&self, claim: &Key) -> Vec<Work> {
        let Some(facts) = self.claims.get(claim) else {
            return Vec::new();
        };
        let here = self.groups.items.range(Key::new(&claim.namespace, "")..);
        here.take_while(|(key, _)| key.namespace == claim.namespace)
            .filter(|(key, (_, group))| is_member(key, group, facts))
            .map(|(key, _)| Work::Group(key.clone()))
            .collect()
    }

    pub(super) fn groups_of_driver(&self, driver: &str) -> Vec<Work> {
        let of_driver = |group: &VolumeGroupReplication| {
            let class = &group.spec.volume_group_replication_class_name;
            self.group_classes
                .get(class)
                .is_some_and(|class| class.spec.provisioner == driver)
        };
        let groups = self.groups.items.iter();
        groups
            .filter(|(_, (_, group))| of_driver(group))
            .map(|(key, _)| Work::Group(key.clone()))
            .collect()
    }

    fn volumes_over(&self, group: &Key) -> Vec<Work> {
        let volumes = self.by_group.get(group).cloned().unwrap_or_default();
        volumes.into_iter().map(Work::Volume).collect()
    }

    fn users_of_contents(&self, wanted: impl Fn(&str) -> bool) -> Vec<Work> {
        let mut work = BTreeSet::new();
        for (key, (_, group)) in &self.groups.items {
            if wanted(&content_name(group)) {
                work.insert(Work::Group(key.clone()));
                work.extend(self.volumes_over(key));
            }
        }
        work.into_iter().collect()
    }
}

/// Whether a claim is selected by a group, or carries its mark.
fn is_member(key: &Key, group: &VolumeGroupReplication, facts: &ClaimFacts) -> bool {
    let marked = facts.group.as_deref().is_some_and(|g| names_it(g, key));
    marked || selects(group, facts) == Ok(true)
}

/// Whether a mark on a claim names this group. Some versions wrote the namespace too.
pub(crate) fn names_it(mark: &str, group: &Key) -> bool {
    mark.rsplit_once('/').map_or(mark, |(_, name)| name) == group.name
}

/// Whether a group's selector matches a claim; an error if the selector makes no sense.
pub(crate) fn selects(group: &VolumeGroupReplication, facts: &ClaimFacts) -> Result<bool, String> {
    Ok(selector(group)?.matches(&facts.labels))
}

/// The selector of a group.
pub(crate) fn selector(group: &VolumeGroupReplication) -> Result<Selector, String> {
    let selector = group.spec.source.selector.clone();
    selector
        .try_into()
        .map_err(|error| format!("spec.source.selector makes no sense: {error}"))
}

/// Name of the content of a group, whether it exists or not.
pub(crate) fn content_name(group: &VolumeGroupReplication) -> String {
    let named = group.spec.volume_group_replication_content_name.clone();
    named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("vgrcontent-{}", uid(group)))
}

/// Name of the VolumeReplication of a group, whether it exists or not.
pub(crate) fn volume_name(group: &VolumeGroupReplication) -> String {
    let named = group.spec.volume_replication_name.clone();
    named
        .filter(|name| !name.is_empty())
        .or_else(|| {
            let annotations = group.metadata.annotations.as_ref()?;
            annotations.get(names::VR_OWNER).cloned()
        })
        .unwrap_or_else(|| format!("vr-{}", uid(group)))
}

fn uid(group: &VolumeGroupReplication) -> &str {
    group.metadata.uid.as_deref().unwrap_or_default()
}
