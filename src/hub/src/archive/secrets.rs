//! The archive as Secrets on the hub, as Helm keeps its releases: nothing else to run, and covered by the hub's own
//! RBAC and encryption at rest.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use lifeboat_capture::Capture;
use lifeboat_kit::{CallError, deadline};
use tracing::warn;

use super::manifest::{Manifest, pack, sha256};
use super::shelf::Shelf;
use super::slot::{CHUNK, EPOCH, LABEL, LABEL_VERSION, MANIFEST, SHA256, manifest_name, part_name};
use super::{Archive, ArchiveError, Found, Put, Version};

/// How long one call to the API server may take, unless said otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// A Secret may hold 1 MiB; this leaves room for what surrounds the data.
const CHUNK_SIZE: usize = 700 * 1024;
/// Complete versions kept: the newest, and two to fall back on.
const KEEP: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
/// Secrets per page of a list, so that one answer stays within the deadline.
const PAGE: u32 = 16;
/// Manifests per page: they are small.
const MANIFESTS: u32 = 500;
/// How often a write moves on to the next version when someone else took the one it wanted.
const ATTEMPTS: usize = 8;

/// Captures kept as Secrets in one namespace of the hub.
#[derive(Clone)]
pub struct SecretsArchive {
    client: kube::Client,
    namespace: String,
    deadline: Duration,
    chunk_size: usize,
}

impl SecretsArchive {
    /// An archive in a namespace of the hub.
    pub fn new(client: kube::Client, namespace: impl Into<String>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            deadline: DEADLINE,
            chunk_size: CHUNK_SIZE,
        }
    }

    /// Sets how long one call to the API server may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many bytes one Secret holds at most.
    #[must_use]
    pub fn with_chunk_size(mut self, bytes: NonZeroUsize) -> Self {
        self.chunk_size = bytes.get().min(CHUNK_SIZE);
        self
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reads every Secret of a placement. A page that fails fails the whole: half a shelf would look like lost versions.
    async fn shelf<'a>(&self, uid: &'a str) -> Result<Shelf<'a>, ArchiveError> {
        check_uid(uid)?;
        let ours = ListParams::default()
            .labels(&format!("{LABEL}={uid}"))
            .limit(PAGE);
        let mut secrets = Vec::new();
        self.pages(ours, |page| secrets.extend(page)).await?;
        Ok(Shelf::new(uid, secrets))
    }

    /// Lists page by page.
    async fn pages(
        &self,
        mut params: ListParams,
        mut take: impl FnMut(Vec<Secret>),
    ) -> Result<(), CallError> {
        loop {
            let api = self.api();
            let page = deadline("list captures", self.deadline, api.list(&params)).await?;
            take(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    async fn read_manifests(&self) -> Result<Vec<Manifest>, ArchiveError> {
        let (kind, key) = MANIFEST;
        let every = ListParams::default()
            .labels(LABEL)
            .fields(&format!("type={kind}"))
            .limit(MANIFESTS);
        let mut all = Vec::new();
        let read = |secret: &Secret| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            serde_json::from_slice::<Manifest>(bytes).ok()
        };
        let take = |page: Vec<Secret>| all.extend(page.iter().filter_map(read));
        self.pages(every, take).await?;
        Ok(all)
    }

    async fn put_capture(&self, capture: &Capture) -> Result<Put, ArchiveError> {
        let record = |source| ArchiveError::Record {
            placement: capture.placement.clone(),
            source: Box::new(source),
        };
        capture.validate().map_err(record)?;
        let uid = capture.placement_uid.as_str();
        let fingerprint = capture.fingerprint();
        let mut at_least = 1;
        let mut taken = String::new();
        for _ in 0..ATTEMPTS {
            let mut kept = self.shelf(uid).await?;
            if let Some(archived) = kept
                .highest_epoch()
                .filter(|archived| *archived > capture.epoch)
            {
                return Err(ArchiveError::StaleEpoch {
                    archived,
                    ours: capture.epoch,
                });
            }
            // With a broken version on top, write again: the new one heals the archive.
            if let Ok(found) = kept.newest_complete()
                && found.stored.fingerprint == fingerprint
                && found.broken.is_empty()
            {
                return Ok(Put::AlreadyCurrent(found.stored));
            }
            let version = kept.highest_version().saturating_add(1).max(at_least);
            match self.write(capture, version).await {
                Ok(written) => {
                    kept.add(written);
                    return self.read_back(capture, version, &kept).await;
                }
                // Someone else has this number. Look again before the next: they may be of a newer epoch.
                Err(ArchiveError::Contended { name }) => taken = name,
                Err(error) => return Err(error),
            }
            at_least = version.saturating_add(1);
        }
        Err(ArchiveError::Contended { name: taken })
    }

    /// Writes the parts, then the manifest; answers with what the API server has stored.
    ///
    /// *If interrupted*: the version has no manifest, is incomplete, and a later prune removes it.
    async fn write(&self, capture: &Capture, version: u64) -> Result<Vec<Secret>, ArchiveError> {
        let uid = capture.placement_uid.as_str();
        let packed = pack(capture, version, self.chunk_size, |index| {
            part_name(uid, version, index)
        })?;
        let mut written = Vec::new();
        for (part, bytes) in packed.manifest.chunks.iter().zip(packed.parts) {
            let part = secret(capture, version, &part.name, CHUNK, bytes);
            written.push(self.create(part).await?);
        }
        let manifest = serde_json::to_vec(&packed.manifest).map_err(|e| ArchiveError::Pack {
            placement: capture.placement.clone(),
            source: e.into(),
        })?;
        let name = manifest_name(uid, version);
        let manifest = secret(capture, version, &name, MANIFEST, manifest);
        written.push(self.create(manifest).await?);
        Ok(written)
    }

    /// Creates a Secret, and answers with it as it is stored; one of that name that exists is never touched.
    async fn create(&self, secret: Secret) -> Result<Secret, ArchiveError> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let (api, params) = (self.api(), PostParams::default());
        match deadline(
            format!("create Secret {name}"),
            self.deadline,
            api.create(&params, &secret),
        )
        .await
        {
            Ok(stored) => Ok(stored),
            Err(error) if error.is_conflict() => Err(ArchiveError::Contended { name }),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what was stored as a restore would, and then removes what it makes worthless. What the API server answered
    /// to the writes is what is stored, and needs no list, which would cost as much as there are placements.
    async fn read_back(
        &self,
        capture: &Capture,
        version: u64,
        kept: &Shelf<'_>,
    ) -> Result<Put, ArchiveError> {
        let found = match kept.newest_complete() {
            Ok(found) => found,
            Err(error) => {
                return Err(ArchiveError::ReadBack {
                    version,
                    why: error.to_string(),
                });
            }
        };
        if found.stored.epoch > capture.epoch {
            return Err(ArchiveError::StaleEpoch {
                archived: found.stored.epoch,
                ours: capture.epoch,
            });
        }
        if found.stored.version != version || found.stored.fingerprint != capture.fingerprint() {
            let broken = found.broken.iter().find(|b| b.version == version);
            let why = broken.map_or_else(
                || format!("version {}", found.stored.version),
                |b| b.why.to_string(),
            );
            return Err(ArchiveError::ReadBack { version, why });
        }
        // The capture is safe already; what cannot be removed now is removed after the next write.
        if let Err(error) = self.remove(kept, KEEP).await {
            let error = lifeboat_kit::error::full(&error);
            warn!(placement = %capture.placement, version, %error, "could not remove old captures");
        }
        Ok(Put::Stored(found.stored))
    }

    async fn remove(&self, kept: &Shelf<'_>, keep: NonZeroUsize) -> Result<Vec<u64>, ArchiveError> {
        let doomed = kept.worthless(keep);
        self.delete(kept.names(&doomed)).await?;
        Ok(doomed.into_iter().collect())
    }

    async fn delete(&self, names: Vec<String>) -> Result<(), CallError> {
        let (api, params) = (self.api(), DeleteParams::default());
        for name in names {
            match deadline(
                format!("delete Secret {name}"),
                self.deadline,
                api.delete(&name, &params),
            )
            .await
            {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Archive for SecretsArchive {
    fn put<'a>(&'a self, capture: &'a Capture) -> BoxFuture<'a, Result<Put, ArchiveError>> {
        self.put_capture(capture).boxed()
    }

    fn newest_complete<'a>(
        &'a self,
        placement_uid: &'a str,
    ) -> BoxFuture<'a, Result<Found, ArchiveError>> {
        async move { self.shelf(placement_uid).await?.newest_complete() }.boxed()
    }

    fn list<'a>(
        &'a self,
        placement_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Version>, ArchiveError>> {
        async move { Ok(self.shelf(placement_uid).await?.versions()) }.boxed()
    }

    fn manifests(&self) -> BoxFuture<'_, Result<Vec<Manifest>, ArchiveError>> {
        self.read_manifests().boxed()
    }

    fn prune<'a>(
        &'a self,
        placement_uid: &'a str,
        keep: NonZeroUsize,
    ) -> BoxFuture<'a, Result<Vec<u64>, ArchiveError>> {
        async move {
            let kept = self.shelf(placement_uid).await?;
            self.remove(&kept, keep).await
        }
        .boxed()
    }

    fn delete_all<'a>(&'a self, placement_uid: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>> {
        async move {
            let kept = self.shelf(placement_uid).await?;
            Ok(self.delete(kept.names(&kept.all())).await?)
        }
        .boxed()
    }
}

/// A uid becomes a label value and part of a selector: nothing else than a uid may get there.
fn check_uid(uid: &str) -> Result<(), ArchiveError> {
    let inner = uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let ends = uid.starts_with(|c: char| c.is_ascii_alphanumeric())
        && uid.ends_with(|c: char| c.is_ascii_alphanumeric());
    if inner && ends && uid.len() <= 63 {
        Ok(())
    } else {
        Err(ArchiveError::BadUid {
            uid: uid.to_owned(),
        })
    }
}

fn secret(
    capture: &Capture,
    version: u64,
    name: &str,
    (kind, key): (&str, &str),
    bytes: Vec<u8>,
) -> Secret {
    let labels = [
        (LABEL, capture.placement_uid.clone()),
        (LABEL_VERSION, version.to_string()),
    ];
    let annotations = [(EPOCH, capture.epoch.to_string()), (SHA256, sha256(&bytes))];
    let owned =
        |pairs: [(&str, String); 2]| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(owned(labels)),
            annotations: Some(owned(annotations)),
            ..ObjectMeta::default()
        },
        // Nothing ever changes a version; the API server sees to it.
        immutable: Some(true),
        type_: Some(kind.to_owned()),
        data: Some(BTreeMap::from([(key.to_owned(), ByteString(bytes))])),
        ..Secret::default()
    }
}
