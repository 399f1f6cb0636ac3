//! The cluster as its controllers see it, what is dirty in it, and the loop that cleans up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::{StorageClass, VolumeAttachment},
};
use kube::{Api, Resource, ResourceExt};
use tokio::{sync::watch, time::Instant};

use super::{
    RETRY, Surroundings,
    cache::{Cache, Key, Step, key_of},
    feed::{Change, Feed, KINDS},
};

/// What can be dirty, in the order in which it is cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Namespace,
    Deployment,
    ReplicaSet,
    StatefulSet,
    Claim,
    Volume,
    Pod,
    Attachment,
}

type Item = (Kind, Key);

/// Everything the controllers of one cluster know.
pub(super) struct Cluster {
    pub(super) with: Surroundings,
    pub(super) namespaces: Cache<Namespace>,
    pub(super) deployments: Cache<Deployment>,
    pub(super) replica_sets: Cache<ReplicaSet>,
    pub(super) stateful_sets: Cache<StatefulSet>,
    pub(super) claims: Cache<PersistentVolumeClaim>,
    pub(super) volumes: Cache<PersistentVolume>,
    pub(super) classes: Cache<StorageClass>,
    pub(super) pods: Cache<Pod>,
    pub(super) attachments: Cache<VolumeAttachment>,
    /// `ReplicaSets` and pods by the uid of their controller.
    pub(super) owned: BTreeMap<String, BTreeSet<Key>>,
    /// Pods by the claims they use.
    pub(super) users: BTreeMap<Key, BTreeSet<Key>>,
    /// Volumes by the claim they are for, and under no claim those that are free.
    pub(super) for_claim: BTreeMap<Option<Key>, BTreeSet<Key>>,
    /// Volumes by handle: what to look at when an image changes its role.
    by_handle: BTreeMap<String, Key>,
    /// Pods that run here, by uid: only this process knows, as a kubelet does.
    pub(super) started: BTreeSet<String>,
    /// When pods that take their time to stop are gone, by uid.
    pub(super) stopping: BTreeMap<String, Instant>,
    dirty: BTreeSet<Item>,
    /// Kinds listed once. Nothing is decided before all are: a set whose pods are not known yet would make others.
    listed: BTreeSet<&'static str>,
    later: BTreeSet<(Instant, Item)>,
    /// Events of the arrays seen so far.
    roles_seen: usize,
}

impl Cluster {
    pub(super) fn new(with: Surroundings) -> Self {
        let roles_seen = with.array.fabric().events().len();
        Self {
            with,
            namespaces: Cache::default(),
            deployments: Cache::default(),
            replica_sets: Cache::default(),
            stateful_sets: Cache::default(),
            claims: Cache::default(),
            volumes: Cache::default(),
            classes: Cache::default(),
            pods: Cache::default(),
            attachments: Cache::default(),
            owned: BTreeMap::new(),
            users: BTreeMap::new(),
            for_claim: BTreeMap::new(),
            by_handle: BTreeMap::new(),
            started: BTreeSet::new(),
            stopping: BTreeMap::new(),
            dirty: BTreeSet::new(),
            listed: BTreeSet::new(),
            later: BTreeSet::new(),
            roles_seen,
        }
    }

    /// Takes in all there is to know, then cleans up, for ever.
    pub(super) async fn run(mut self, mut feed: Feed) {
        let mut roles = self.with.array.fabric().watch();
        loop {
            self.wait(&mut feed, &mut roles).await;
            while let Ok(change) = feed.news.try_recv() {
                self.absorb(change);
            }
            self.absorb_roles();
            self.absorb_time();
            if self.listed.len() < KINDS {
                continue;
            }
            while let Some((kind, key)) = self.dirty.pop_first() {
                if let Err(error) = self.clean(kind, &key).await {
                    tracing::debug!(?kind, ?key, %error, "to be tried again");
                    self.again(kind, key, RETRY);
                }
            }
        }
    }

    async fn wait(&mut self, feed: &mut Feed, roles: &mut watch::Receiver<usize>) {
        let next = self.later.first().map(|(at, _)| *at);
        let alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = feed.news.recv() => match change {
                Some(change) => self.absorb(change),
                None => std::future::pending().await,
            },
            _ = roles.changed() => {}
            () = alarm => {}
        }
    }

    async fn clean(&mut self, kind: Kind, key: &Key) -> kube::Result<()> {
        match kind {
            Kind::Namespace => self.clean_namespace(key).await,
            Kind::Deployment => self.clean_deployment(key).await,
            Kind::ReplicaSet => self.clean_replica_set(key).await,
            Kind::StatefulSet => self.clean_stateful_set(key).await,
            Kind::Claim => self.clean_claim(key).await,
            Kind::Volume => self.clean_volume(key).await,
            Kind::Pod => self.clean_pod(key).await,
            Kind::Attachment => self.clean_attachment(key).await,
        }
    }

    /// Has something looked at.
    pub(super) fn mark(&mut self, kind: Kind, key: Key) {
        self.dirty.insert((kind, key));
    }

    /// Has something looked at after a while.
    pub(super) fn again(&mut self, kind: Kind, key: Key, after: Duration) {
        self.later.insert((Instant::now() + after, (kind, key)));
    }

    fn absorb_time(&mut self) {
        let now = Instant::now();
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, item)) = self.later.pop_first() {
                self.dirty.insert(item);
            }
        }
    }

    /// An image that came, went or changed its role concerns the pods that use it.
    fn absorb_roles(&mut self) {
        let news = self.with.array.fabric().events_since(self.roles_seen);
        self.roles_seen += news.len();
        for event in news {
            if event.site != self.with.array.site() {
                continue;
            }
            let volume = self
                .by_handle
                .get(&event.handle)
                .and_then(|key| self.volumes.get(key));
            if let Some(claim) = volume.as_deref().and_then(claim_of) {
                self.mark_users(&claim);
            }
        }
    }

    fn absorb(&mut self, change: Change) {
        self.listed.extend(change.listed());
        match change {
            Change::Namespace(e) => {
                for step in self.namespaces.take(e) {
                    self.mark(Kind::Namespace, step.key);
                }
            }
            Change::Deployment(e) => {
                for step in self.deployments.take(e) {
                    self.mark(Kind::Deployment, step.key);
                }
            }
            Change::ReplicaSet(e) => {
                for step in self.replica_sets.take(e) {
                    self.saw_replica_set(&step);
                }
            }
            Change::StatefulSet(e) => {
                for step in self.stateful_sets.take(e) {
                    self.mark(Kind::StatefulSet, step.key);
                }
            }
            Change::Claim(e) => {
                for step in self.claims.take(e) {
                    self.saw_claim(&step);
                }
            }
            Change::Volume(e) => {
                for step in self.volumes.take(e) {
                    self.saw_volume(&step);
                }
            }
            Change::Class(e) => {
                if !self.classes.take(e).is_empty() {
                    self.mark_pending_claims();
                }
            }
            Change::Pod(e) => {
                for step in self.pods.take(e) {
                    self.saw_pod(&step);
                }
            }
            Change::Attachment(e) => {
                for step in self.attachments.take(e) {
                    self.mark(Kind::Attachment, step.key);
                }
            }
        }
    }

    fn saw_replica_set(&mut self, step: &Step<ReplicaSet>) {
        self.mark(Kind::ReplicaSet, step.key.clone());
        self.track_owner(step);
        if let Some(owner) = either(step)
            .and_then(owner_of)
            .filter(|o| o.0 == "Deployment")
        {
            self.mark(Kind::Deployment, (step.key.0.clone(), owner.1));
        }
    }

    fn saw_claim(&mut self, step: &Step<PersistentVolumeClaim>) {
        self.mark(Kind::Claim, step.key.clone());
        self.mark_users(&step.key.clone());
        let volume = either(step).and_then(|c| c.spec.as_ref()?.volume_name.clone());
        if let Some(volume) = volume {
            self.mark(Kind::Volume, (String::new(), volume));
        }
    }

    fn saw_volume(&mut self, step: &Step<PersistentVolume>) {
        self.mark(Kind::Volume, step.key.clone());
        if let Some(gone) = step.before.as_ref().and_then(|v| self.handle(v)) {
            self.by_handle.remove(&gone);
        }
        if let Some(here) = step.after.as_ref().and_then(|v| self.handle(v)) {
            self.by_handle.insert(here, step.key.clone());
        }
        if let Some(before) = &step.before
            && let Some(keys) = self.for_claim.get_mut(&claim_of(before))
        {
            keys.remove(&step.key);
        }
        if let Some(after) = &step.after {
            let keys = self.for_claim.entry(claim_of(after)).or_default();
            keys.insert(step.key.clone());
        }
        match either(step).and_then(claim_of) {
            Some(claim) => self.mark(Kind::Claim, claim),
            None => self.mark_pending_claims(),
        }
    }

    fn saw_pod(&mut self, step: &Step<Pod>) {
        self.mark(Kind::Pod, step.key.clone());
        self.track_owner(step);
        if let Some((kind, name)) = either(step).and_then(owner_of) {
            let owner = (step.key.0.clone(), name);
            match kind.as_str() {
                "ReplicaSet" => self.mark(Kind::ReplicaSet, owner),
                "StatefulSet" => self.mark(Kind::StatefulSet, owner),
                _ => {}
            }
        }
        for claim in either(step).map(claims_used).unwrap_or_default() {
            let users = self.users.entry(claim.clone()).or_default();
            if step.after.is_some() {
                users.insert(step.key.clone());
            } else {
                users.remove(&step.key);
            }
            self.mark_attachment_of(&claim);
            self.mark(Kind::Claim, claim);
        }
        let replaced = step
            .before
            .as_ref()
            .filter(|old| step.after.as_ref().is_none_or(|new| new.uid() != old.uid()));
        if let Some(uid) = replaced.and_then(|old| old.uid()) {
            self.started.remove(&uid);
            self.with.workload.stop(&uid);
        }
    }

    fn track_owner<K: Resource>(&mut self, step: &Step<K>) {
        for uid in step.before.iter().filter_map(|o| owner_uid(o.as_ref())) {
            if let Some(all) = self.owned.get_mut(&uid) {
                all.remove(&step.key);
            }
        }
        for uid in step.after.iter().filter_map(|o| owner_uid(o.as_ref())) {
            self.owned.entry(uid).or_default().insert(step.key.clone());
        }
    }

    pub(super) fn mark_users(&mut self, claim: &Key) {
        for pod in self.users.get(claim).cloned().unwrap_or_default() {
            self.mark(Kind::Pod, pod);
        }
    }

    fn mark_pending_claims(&mut self) {
        let pending = |c: &PersistentVolumeClaim| {
            c.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound")
        };
        let keys: Vec<Key> = self
            .claims
            .iter()
            .filter(|(_, c)| pending(c))
            .map(|(k, _)| k.clone())
            .collect();
        for key in keys {
            self.mark(Kind::Claim, key);
        }
    }

    /// The handle of a volume, if our driver serves it.
    pub(super) fn handle(&self, volume: &PersistentVolume) -> Option<String> {
        let csi = volume
            .spec
            .as_ref()?
            .csi
            .as_ref()
            .filter(|csi| csi.driver == self.with.driver)?;
        Some(csi.volume_handle.clone())
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.with.client.clone(), namespace)
    }

    pub(super) fn global<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.with.client.clone())
    }

    /// Takes in the answer to an own write, as if the watch had told it already.
    pub(super) fn wrote_pod(&mut self, pod: Pod) {
        if let Some(step) = self.pods.put(pod) {
            self.saw_pod(&step);
        }
    }

    /// As [`wrote_pod`](Self::wrote_pod).
    pub(super) fn wrote_replica_set(&mut self, set: ReplicaSet) {
        if let Some(step) = self.replica_sets.put(set) {
            self.saw_replica_set(&step);
        }
    }

    /// As [`wrote_pod`](Self::wrote_pod).
    pub(super) fn wrote_claim(&mut self, claim: PersistentVolumeClaim) {
        if let Some(step) = self.claims.put(claim) {
            self.saw_claim(&step);
        }
    }

    /// As [`wrote_pod`](Self::wrote_pod).
    pub(super) fn wrote_volume(&mut self, volume: PersistentVolume) {
        if let Some(step) = self.volumes.put(volume) {
            self.saw_volume(&step);
        }
    }

    /// As [`wrote_pod`](Self::wrote_pod).
    pub(super) fn wrote_attachment(&mut self, attachment: VolumeAttachment) {
        if let Some(step) = self.attachments.put(attachment) {
            self.mark(Kind::Attachment, step.key);
        }
    }
}

fn either<K>(step: &Step<K>) -> Option<&K> {
    step.after
        .as_ref()
        .or(step.before.as_ref())
        .map(Arc::as_ref)
}

/// Kind and name of an object's controller.
fn owner_of<K: Resource>(object: &K) -> Option<(String, String)> {
    let owners = object.meta().owner_references.as_ref()?;
    owners
        .iter()
        .find(|o| o.controller == Some(true))
        .map(|o| (o.kind.clone(), o.name.clone()))
}

fn owner_uid<K: Resource>(object: &K) -> Option<String> {
    let owners = object.meta().owner_references.as_ref()?;
    owners
        .iter()
        .find(|o| o.controller == Some(true))
        .map(|o| o.uid.clone())
}

/// The claim that a volume is for.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((claim.namespace.clone()?, claim.name.clone()?))
}

/// The claims that a pod uses.
pub(super) fn claims_used(pod: &Pod) -> Vec<Key> {
    let (namespace, _) = key_of(pod);
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let claims = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
    claims
        .map(|c| (namespace.clone(), c.claim_name.clone()))
        .collect()
}
