//! The watches that a cluster's controllers live on.

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::{StorageClass, VolumeAttachment},
};
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::JoinSet};

use super::RETRY;

/// News of one of the kinds.
pub(super) enum Change {
    Namespace(Event<Namespace>),
    Deployment(Event<Deployment>),
    ReplicaSet(Event<ReplicaSet>),
    StatefulSet(Event<StatefulSet>),
    Claim(Event<PersistentVolumeClaim>),
    Volume(Event<PersistentVolume>),
    Class(Event<StorageClass>),
    Pod(Event<Pod>),
    Attachment(Event<VolumeAttachment>),
}

/// How many kinds are watched.
pub(super) const KINDS: usize = 9;

impl Change {
    /// The kind, if all that is there of it has now been told.
    pub(super) fn listed(&self) -> Option<&'static str> {
        let (kind, done) = match self {
            Self::Namespace(e) => ("namespace", is_done(e)),
            Self::Deployment(e) => ("deployment", is_done(e)),
            Self::ReplicaSet(e) => ("replicaset", is_done(e)),
            Self::StatefulSet(e) => ("statefulset", is_done(e)),
            Self::Claim(e) => ("claim", is_done(e)),
            Self::Volume(e) => ("volume", is_done(e)),
            Self::Class(e) => ("class", is_done(e)),
            Self::Pod(e) => ("pod", is_done(e)),
            Self::Attachment(e) => ("attachment", is_done(e)),
        };
        done.then_some(kind)
    }
}

fn is_done<K>(event: &Event<K>) -> bool {
    matches!(event, Event::InitDone)
}

/// The news, and the tasks that bring it: they end with it.
pub(super) struct Feed {
    pub(super) news: mpsc::UnboundedReceiver<Change>,
    _tasks: JoinSet<()>,
}

/// Watches all kinds.
pub(super) fn start(client: &Client) -> Feed {
    let (tx, news) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(
        Api::all(client.clone()),
        tx.clone(),
        Change::Namespace,
    ));
    tasks.spawn(follow(
        Api::all(client.clone()),
        tx.clone(),
        Change::Deployment,
    ));
    tasks.spawn(follow(
        Api::all(client.clone()),
        tx.clone(),
        Change::ReplicaSet,
    ));
    tasks.spawn(follow(
        Api::all(client.clone()),
        tx.clone(),
        Change::StatefulSet,
    ));
    tasks.spawn(follow(Api::all(client.clone()), tx.clone(), Change::Claim));
    tasks.spawn(follow(Api::all(client.clone()), tx.clone(), Change::Volume));
    tasks.spawn(follow(Api::all(client.clone()), tx.clone(), Change::Class));
    tasks.spawn(follow(Api::all(client.clone()), tx.clone(), Change::Pod));
    tasks.spawn(follow(Api::all(client.clone()), tx, Change::Attachment));
    Feed {
        news,
        _tasks: tasks,
    }
}

async fn follow<K>(api: Api<K>, tx: mpsc::UnboundedSender<Change>, wrap: fn(Event<K>) -> Change)
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if tx.send(wrap(event)).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "watch of a simulated cluster broke");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
