//! Fences and their classes.

use std::sync::Arc;

use lifeboat_api::{NetworkFence, NetworkFenceClass};
use lifeboat_kit::WatchEvent;

use super::store::{name_of, take, wrote};
use super::{Caches, Inner, Kind, Work};

impl Caches {
    pub(crate) fn fence(&self, name: &str) -> Option<Arc<NetworkFence>> {
        self.inner.read().fences.get(&name.to_owned()).cloned()
    }

    pub(crate) fn fence_class(&self, name: &str) -> Option<Arc<NetworkFenceClass>> {
        let inner = self.inner.read();
        inner.fence_classes.get(&name.to_owned()).cloned()
    }

    /// Why the classes of fences could not be read yet: their kind may not be installed.
    pub(crate) fn no_fence_classes(&self) -> Option<String> {
        self.inner.read().no_fence_classes.clone()
    }

    /// Takes news of fences; answers what to work on.
    pub(crate) fn fences_changed(&self, event: WatchEvent<NetworkFence>) -> Vec<Work> {
        let mut inner = self.inner.write();
        inner.note_synced(Kind::Fences, &event);
        let changed = take(&mut inner.fences, event, name_of);
        changed.into_iter().map(Work::Fence).collect()
    }

    /// Takes news of fence classes; answers what to work on.
    pub(crate) fn fence_classes_changed(&self, event: WatchEvent<NetworkFenceClass>) -> Vec<Work> {
        let mut inner = self.inner.write();
        let mut first = inner.note_synced(Kind::FenceClasses, &event);
        if let WatchEvent::Lost(why) = &event
            && !inner.synced.contains(&Kind::FenceClasses)
        {
            // The client repeats the whole answer in its debug form; the words before it say it all.
            let why = why.split(" (Status {").next().unwrap_or(why).to_owned();
            first = inner.no_fence_classes.replace(why.clone()) != Some(why);
        }
        let changed = take(&mut inner.fence_classes, event, name_of);
        let concerned = |fence: &NetworkFence| {
            let class = fence.spec.network_fence_class_name.as_ref();
            first || class.is_some_and(|class| changed.contains(class))
        };
        let fences = inner.fences.items.iter();
        fences
            .filter(|(_, (_, fence))| concerned(fence))
            .map(|(name, _)| Work::Fence(name.clone()))
            .collect()
    }

    /// Takes what our own write returned; answers what it is news for.
    pub(crate) fn wrote_fence(&self, fence: NetworkFence) -> Option<Work> {
        let name = name_of(&fence.metadata);
        let more = wrote(&mut self.inner.write().fences, name.clone(), fence);
        more.then_some(Work::Fence(name))
    }
}

impl Inner {
    pub(super) fn fences_of_driver(&self, driver: &str) -> Vec<Work> {
        let of_driver = |fence: &NetworkFence| match &fence.spec.network_fence_class_name {
            Some(class) => self
                .fence_classes
                .get(class)
                .is_some_and(|class| class.spec.provisioner == driver),
            None => fence.spec.driver.as_deref() == Some(driver),
        };
        let fences = self.fences.items.iter();
        fences
            .filter(|(_, (_, fence))| of_driver(fence))
            .map(|(name, _)| Work::Fence(name.clone()))
            .collect()
    }
}
