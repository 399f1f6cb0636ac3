//! What the tests stand on: one pair of clusters, and a driver on each side, made once.

use std::collections::HashMap;

use anyhow::{Context, Result};
use lifeboat_e2e::{
    Kept, Program, Story,
    ceph::{
        self, Cluster, Pair, copying,
        driver::{CLUSTER, USER_ID, USER_KEY, handle_of},
    },
};
use lifeboat_proto::copies::{
    DropCopyRequest, GetCopyStateRequest, GetDivergenceRequest, KeepCopyRequest,
    copies_client::CopiesClient,
};
use lifeboat_proto::replication::{
    DemoteVolumeRequest, DisableVolumeReplicationRequest, EnableVolumeReplicationRequest,
    GetVolumeReplicationInfoRequest, GetVolumeReplicationInfoResponse, PromoteVolumeRequest,
    ReplicationSource, ResyncVolumeRequest,
    controller_client::ControllerClient,
    replication_source::{Type, VolumeSource},
};
use tempfile::TempDir;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Runs a test on the ground, alone. It is made once for all tests, and anew after a test that failed.
pub(crate) fn on_ceph(test: impl for<'a> FnOnce(&'a Ground) -> Story<'a>) -> Result<()> {
    static GROUND: Kept<Ground> = Kept::new();
    GROUND.lend(Ground::start, |ground| test(ground))
}

/// Two clusters and their drivers.
pub(crate) struct Ground {
    pub(crate) pair: Pair,
    _drivers: [Program; 2],
    folder: TempDir,
}

impl Ground {
    async fn start() -> Result<Self> {
        let pair = Pair::start().await?;
        let folder = tempfile::Builder::new().prefix("lb-").tempdir()?;
        let at = |name: &str| folder.path().join(format!("{name}.sock"));
        let (one, two) = (at("dr1"), at("dr2"));
        let drivers = tokio::try_join!(
            ceph::start_driver(&pair, &pair.dr1, &one),
            ceph::start_driver(&pair, &pair.dr2, &two)
        )?;
        Ok(Self {
            pair,
            _drivers: drivers.into(),
            folder,
        })
    }

    /// A caller of the driver of a side, for an image.
    pub(crate) async fn caller(&self, side: &str, image: &str) -> Result<Caller> {
        let handle = handle_of(CLUSTER, self.pair.dr1.pool(), image).context("no handle")?;
        Ok(Caller {
            channel: self.channel(side).await?,
            handle: handle.to_string(),
            secrets: secrets(self.pair.site(side)),
            parameters: HashMap::new(),
        })
    }

    /// A connection to the driver of a side.
    pub(crate) async fn channel(&self, side: &str) -> Result<Channel> {
        let path = self.folder.path().join(format!("{side}.sock"));
        let endpoint = Endpoint::try_from(format!("unix://{}", path.display()))?;
        Ok(endpoint.connect().await?)
    }

    /// An image on dr1 that is mirrored; dr2 holds a complete copy of it. What the states tell of it comes up to 32 s later.
    pub(crate) async fn mirrored(&self) -> Result<String> {
        let image = self.pair.new_image()?;
        let rbd = self.pair.dr1.rbd();
        rbd.create(&image, "256M").await?;
        rbd.enable(&image, "snapshot").await?;
        copying::in_step(&self.pair.dr1, &self.pair.dr2, &image).await?;
        Ok(image)
    }

    /// Waits until dr2 says of itself that it follows, and dr1 has heard of it.
    pub(crate) async fn told(&self, image: &str) -> Result<()> {
        copying::follows(&self.pair.dr1, &self.pair.dr2, image).await
    }
}

/// Who a caller is to a cluster.
pub(crate) fn secrets(site: &Cluster) -> HashMap<String, String> {
    HashMap::from([
        (USER_ID.to_owned(), "admin".to_owned()),
        (USER_KEY.to_owned(), site.key().to_owned()),
    ])
}

/// Makes calls for one volume.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    pub(crate) handle: String,
    pub(crate) secrets: HashMap<String, String>,
    pub(crate) parameters: HashMap<String, String>,
}

impl Caller {
    fn client(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    fn source(&self) -> ReplicationSource {
        let volume_id = self.handle.clone();
        let r#type = Some(Type::Volume(VolumeSource { volume_id }));
        ReplicationSource { r#type }
    }

    pub(crate) async fn enable(&self) -> Result<(), Status> {
        let request = EnableVolumeReplicationRequest {
            parameters: self.parameters.clone(),
            secrets: self.secrets.clone(),
            replication_source: Some(self.source()),
            ..Default::default()
        };
        let done = self.client().enable_volume_replication(request).await;
        done.map(drop)
    }

    pub(crate) async fn disable(&self) -> Result<(), Status> {
        let request = DisableVolumeReplicationRequest {
            secrets: self.secrets.clone(),
            replication_source: Some(self.source()),
            ..Default::default()
        };
        let done = self.client().disable_volume_replication(request).await;
        done.map(drop)
    }

    pub(crate) async fn promote(&self, force: bool) -> Result<(), Status> {
        let request = PromoteVolumeRequest {
            force,
            parameters: self.parameters.clone(),
            secrets: self.secrets.clone(),
            replication_source: Some(self.source()),
            ..Default::default()
        };
        self.client().promote_volume(request).await.map(drop)
    }

    pub(crate) async fn demote(&self) -> Result<(), Status> {
        // As older callers say it: only the field that was there first.
        let request = DemoteVolumeRequest {
            volume_id: self.handle.clone(),
            secrets: self.secrets.clone(),
            ..Default::default()
        };
        self.client().demote_volume(request).await.map(drop)
    }

    pub(crate) async fn resync(&self, force: bool) -> Result<bool, Status> {
        let request = ResyncVolumeRequest {
            force,
            secrets: self.secrets.clone(),
            replication_source: Some(self.source()),
            ..Default::default()
        };
        let done = self.client().resync_volume(request).await;
        done.map(|r| r.into_inner().ready)
    }

    fn copies(&self) -> CopiesClient<Channel> {
        CopiesClient::new(self.channel.clone())
    }

    pub(crate) async fn copy_state(&self) -> Result<bool, Status> {
        let request = GetCopyStateRequest {
            volume_id: self.handle.clone(),
            secrets: self.secrets.clone(),
            ..Default::default()
        };
        let done = self.copies().get_copy_state(request).await;
        done.map(|r| r.into_inner().complete)
    }

    pub(crate) async fn divergence(&self) -> Result<u64, Status> {
        let request = GetDivergenceRequest {
            volume_id: self.handle.clone(),
            secrets: self.secrets.clone(),
            ..Default::default()
        };
        let done = self.copies().get_divergence(request).await;
        done.map(|r| r.into_inner().bytes)
    }

    /// Returns the handle of the copy.
    pub(crate) async fn keep(&self, name: &str) -> Result<String, Status> {
        let request = KeepCopyRequest {
            volume_id: self.handle.clone(),
            name: name.to_owned(),
            secrets: self.secrets.clone(),
            ..Default::default()
        };
        let done = self.copies().keep_copy(request).await;
        done.map(|r| r.into_inner().volume_id)
    }

    pub(crate) async fn drop_copy(&self, handle: &str) -> Result<(), Status> {
        let request = DropCopyRequest {
            volume_id: handle.to_owned(),
            secrets: self.secrets.clone(),
        };
        self.copies().drop_copy(request).await.map(drop)
    }

    pub(crate) async fn info(&self) -> Result<GetVolumeReplicationInfoResponse, Status> {
        let request = GetVolumeReplicationInfoRequest {
            secrets: self.secrets.clone(),
            replication_source: Some(self.source()),
            ..Default::default()
        };
        let done = self.client().get_volume_replication_info(request).await;
        done.map(tonic::Response::into_inner)
    }
}
