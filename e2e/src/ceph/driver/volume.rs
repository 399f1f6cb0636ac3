//! The volume that a call means: who asks, which image, and that nobody else is at it.

use std::{collections::HashMap, future::Future};

use lifeboat_proto::replication::{ReplicationSource, replication_source};
use tonic::{Response, Status};

use super::{Driver, Handle, USER_ID, USER_KEY, refusal::refuse};
use crate::ceph::rbd::{Rbd, User};
use crate::ceph::status::Info;

/// An image, and who asks.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) rbd: Rbd,
    pub(super) image: String,
}

impl Volume {
    /// What the image is.
    pub(super) async fn info(&self) -> Result<Info, Status> {
        let info = self.rbd.info(&self.image).await;
        info.map_err(|e| refuse("could not read the image", &e))
    }

    /// What it is, if it is mirrored.
    pub(super) async fn mirrored(&self) -> Result<Info, Status> {
        let info = self.info().await?;
        if info.mirrored().is_none() {
            return Err(Status::invalid_argument(format!(
                "mirroring is not enabled on {}",
                self.image
            )));
        }
        Ok(info)
    }
}

/// A call as it came.
pub(super) struct Asked {
    pub(super) source: Option<ReplicationSource>,
    pub(super) volume_id: String,
    pub(super) secrets: HashMap<String, String>,
}

impl Asked {
    /// A call that names a volume and nothing else.
    pub(super) fn volume(volume_id: String, secrets: HashMap<String, String>) -> Self {
        Self {
            source: None,
            volume_id,
            secrets,
        }
    }

    /// Newer callers say what they mean in the source, older ones in the field that was there first. A group is taken for a volume
    /// and then not found, as ceph-csi does.
    fn handle(&self) -> String {
        match self.source.as_ref().and_then(|s| s.r#type.as_ref()) {
            Some(replication_source::Type::Volume(v)) => v.volume_id.clone(),
            Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id.clone(),
            None => self.volume_id.clone(),
        }
    }
}

impl Driver {
    /// Does what was asked in a task of its own: work goes on when the caller leaves, and the volume stays busy until it ends.
    pub(super) async fn call<T, F>(
        &self,
        asked: Asked,
        work: impl FnOnce(Volume) -> F + Send + 'static,
    ) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let me = self.clone();
        let task = tokio::spawn(async move {
            let handle = asked.handle();
            if handle.is_empty() {
                return Err(Status::invalid_argument("empty volume id in request"));
            }
            let _hold = me.busy.hold(&handle)?;
            let volume = me.find(&handle, &asked.secrets)?;
            let done = work(volume).await;
            if let Err(status) = &done {
                tracing::info!(handle, code = ?status.code(), words = status.message(), "refused");
            }
            done
        });
        let done = task.await;
        let done =
            done.unwrap_or_else(|e| Err(Status::internal(format!("the driver crashed: {e}"))));
        done.map(Response::new)
    }

    fn find(&self, handle: &str, secrets: &HashMap<String, String>) -> Result<Volume, Status> {
        let user = user(secrets)?;
        let not_ours = || Status::not_found(format!("no volume {handle} in this cluster"));
        let parsed = Handle::parse(handle).ok_or_else(not_ours)?;
        if parsed.cluster != self.config.cluster {
            return Err(not_ours());
        }
        let pool = self.config.pools.get(&parsed.pool).ok_or_else(not_ours)?;
        Ok(Volume {
            rbd: Rbd::new(&self.config.conf, pool).as_user(user),
            image: parsed.image(),
        })
    }
}

/// Who asks, as the Secret says.
pub(super) fn user(secrets: &HashMap<String, String>) -> Result<User, Status> {
    let part = |key: &str| {
        let found = secrets.get(key).filter(|value| !value.is_empty());
        found.ok_or_else(|| Status::internal(format!("missing {key} in secrets")))
    };
    User::new(part(USER_ID)?, part(USER_KEY)?)
        .map_err(|e| Status::internal(format!("the key could not be put down: {e}")))
}
