//! One managed cluster, as a step writes to it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use lifeboat_api::names::HUB_MANAGER;
use lifeboat_core::ClusterId;
use lifeboat_kit::{CallError, Conflicts, deadline};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::object::{uid, version};
use super::parts::{Part, trouble};
use super::{Members, Written};

/// Objects per page of a list.
const PAGE: u32 = 250;

/// Where an object is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn new(kind: Kind, namespace: &'a str, name: &'a str) -> Self {
        Self {
            kind,
            namespace,
            name,
        }
    }

    fn describe(&self) -> String {
        match self.namespace {
            "" => format!("{} {}", self.kind.as_str(), self.name),
            namespace => format!("{} {namespace}/{}", self.kind.as_str(), self.name),
        }
    }
}

/// A managed cluster. Every call has a deadline, and every answer to a write enters the cache.
pub(crate) struct Remote {
    cluster: ClusterId,
    client: kube::Client,
    members: Arc<dyn Members>,
    limit: Duration,
}

impl Remote {
    pub(crate) fn new(
        cluster: ClusterId,
        client: kube::Client,
        members: Arc<dyn Members>,
        limit: Duration,
    ) -> Self {
        Self {
            cluster,
            client,
            members,
            limit,
        }
    }

    pub(crate) fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The uid of the cluster, if it was seen.
    pub(crate) fn uid(&self) -> Option<String> {
        self.members.uid(&self.cluster)
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = kind.resource();
        if kind.is_cluster_scoped() || namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// The object as it is now; none if it does not exist.
    pub(crate) async fn get(&self, at: Place<'_>) -> Part<Option<Value>> {
        let api = self.api(at.kind, at.namespace);
        match deadline(
            format!("get {}", at.describe()),
            self.limit,
            api.get_opt(at.name),
        )
        .await
        {
            Ok(object) => Ok(object.map(|o| to_value(&o))),
            Err(error) => Err(trouble(&self.cluster, &error)),
        }
    }

    /// Every object of a kind in a namespace that the label selector matches.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        selector: &str,
    ) -> Part<Vec<Value>> {
        let api = self.api(kind, namespace);
        let resource = kind.resource();
        let mut params = ListParams::default().limit(PAGE);
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let mut found = Vec::new();
        loop {
            let call = deadline(
                format!("list {} in {namespace}", resource.plural),
                self.limit,
                api.list(&params),
            );
            let page = call.await.map_err(|e| trouble(&self.cluster, &e))?;
            // Objects of a list carry no apiVersion and kind.
            found.extend(page.items.into_iter().map(|mut object| {
                object.types = Some(kube::core::TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                to_value(&object)
            }));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// Server-side apply. Gives the bare error, because some refusals mean more than that.
    pub(crate) async fn try_apply(&self, at: Place<'_>, body: &Value) -> Result<Value, CallError> {
        let api = self.api(at.kind, at.namespace);
        let call = lifeboat_kit::apply(&api, at.name, HUB_MANAGER, body, Conflicts::Force);
        let object = self
            .within(format!("apply {}", at.describe()), call)
            .await?;
        Ok(self.note(object))
    }

    /// Server-side apply.
    pub(crate) async fn apply(&self, at: Place<'_>, body: &Value) -> Part<Value> {
        self.try_apply(at, body)
            .await
            .map_err(|e| trouble(&self.cluster, &e))
    }

    /// Makes an object, with nothing but annotations, of a kind that the hub may create and never change. One that somebody made meanwhile is a conflict,
    /// which the next look settles.
    pub(crate) async fn create(
        &self,
        at: Place<'_>,
        annotations: impl IntoIterator<Item = (&'static str, String)> + Send,
    ) -> Part<Value> {
        let said = format!("create {}", at.describe());
        let mut object = DynamicObject::new(at.name, &at.kind.resource()).data(json!({}));
        for (key, value) in annotations {
            object.annotations_mut().insert(key.to_owned(), value);
        }
        let api = self.api(at.kind, at.namespace);
        let params = PostParams {
            field_manager: Some(HUB_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let call = deadline(said, self.limit, api.create(&params, &object));
        let object = call.await.map_err(|e| trouble(&self.cluster, &e))?;
        Ok(self.note(object))
    }

    /// Merge patch of the few fields that are ours on an object that is somebody else's.
    pub(crate) async fn patch(&self, at: Place<'_>, body: &Value) -> Part<Value> {
        let api = self.api(at.kind, at.namespace);
        let params = PatchParams {
            field_manager: Some(HUB_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(body);
        let call = deadline(
            format!("patch {}", at.describe()),
            self.limit,
            api.patch(at.name, &params, &patch),
        );
        let object = call.await.map_err(|e| trouble(&self.cluster, &e))?;
        Ok(self.note(object))
    }

    /// Deletes that very object, and only it; one that is gone already is fine.
    pub(crate) async fn delete(&self, at: Place<'_>, object: &Value) -> Part {
        self.delete_if(
            at,
            object,
            Preconditions {
                uid: Some(uid(object).to_owned()),
                resource_version: None,
            },
        )
        .await
    }

    /// Deletes that very object if it is still as it was read: whatever was checked on it holds.
    pub(crate) async fn delete_unchanged(&self, at: Place<'_>, object: &Value) -> Part {
        let version = Some(version(object).to_owned());
        self.delete_if(
            at,
            object,
            Preconditions {
                uid: Some(uid(object).to_owned()),
                resource_version: version,
            },
        )
        .await
    }

    async fn delete_if(&self, at: Place<'_>, object: &Value, preconditions: Preconditions) -> Part {
        let api = self.api(at.kind, at.namespace);
        let params = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match deadline(
            format!("delete {}", at.describe()),
            self.limit,
            api.delete(at.name, &params),
        )
        .await
        {
            Ok(answer) => match answer.left() {
                // A finalizer holds it: the API server shows it with the mark of its deletion. One without that mark is the last state.
                Some(left) if left.metadata.deletion_timestamp.is_some() && holds(&left) => {
                    drop(self.note(left));
                }
                _ => self.gone(at, object),
            },
            Err(error) if error.is_not_found() => self.gone(at, object),
            Err(error) => return Err(trouble(&self.cluster, &error)),
        }
        Ok(())
    }

    fn gone(&self, at: Place<'_>, object: &Value) {
        let mut object = object.clone();
        let resource = at.kind.resource();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".into(), resource.api_version.into());
            fields.insert("kind".into(), resource.kind.into());
        }
        if let Ok(object) = serde_json::from_value(object) {
            self.members
                .written(&self.cluster, Written::Deleted(Box::new(object)));
        }
    }

    fn note(&self, mut object: DynamicObject) -> Value {
        object.metadata.managed_fields = None;
        let value = to_value(&object);
        self.members
            .written(&self.cluster, Written::Applied(Box::new(object)));
        value
    }

    async fn within<T>(
        &self,
        what: String,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout {
                what,
                after: self.limit,
            }),
        }
    }
}

fn holds(object: &DynamicObject) -> bool {
    object
        .metadata
        .finalizers
        .as_ref()
        .is_some_and(|f| !f.is_empty())
        || object
            .metadata
            .deletion_grace_period_seconds
            .is_some_and(|s| s > 0)
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
