//! The calls of the stand-in. The older controller names a volume by its id, the newer one by the source of replication.

use std::collections::HashMap;

use base64::Engine;
use lifeboat_proto::replication::{
    DemoteVolumeRequest, DisableVolumeReplicationRequest, EnableVolumeReplicationRequest,
    GetVolumeReplicationInfoRequest, GetVolumeReplicationInfoResponse, PromoteVolumeRequest,
    ReplicationSource, ResyncVolumeRequest, controller_client::ControllerClient,
    replication_source,
};
use tonic::{Code, Status, transport::Channel};

use super::{Kind, Volume};

pub(super) struct Wire {
    kind: Kind,
    driver: ControllerClient<Channel>,
}

impl Wire {
    pub(super) fn new(kind: Kind, channel: Channel) -> Self {
        let driver = ControllerClient::new(channel);
        Self { kind, driver }
    }

    fn named(&self, volume: &Volume) -> (String, Option<ReplicationSource>) {
        let volume_id = volume.handle.clone();
        match self.kind {
            Kind::Operator => (volume_id, None),
            Kind::Addons => {
                let source = replication_source::VolumeSource { volume_id };
                let r#type = Some(replication_source::Type::Volume(source));
                (String::new(), Some(ReplicationSource { r#type }))
            }
        }
    }

    pub(super) async fn enable(&mut self, volume: &Volume) -> Result<(), Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = EnableVolumeReplicationRequest {
            volume_id,
            replication_source,
            parameters: volume.parameters.clone(),
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        self.driver.enable_volume_replication(request).await?;
        Ok(())
    }

    /// What is not there counts as disabled.
    pub(super) async fn disable(&mut self, volume: &Volume) -> Result<(), Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = DisableVolumeReplicationRequest {
            volume_id,
            replication_source,
            parameters: volume.parameters.clone(),
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        match self.driver.disable_volume_replication(request).await {
            Err(why) if why.code() != Code::NotFound => Err(why),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn promote(&mut self, volume: &Volume, force: bool) -> Result<(), Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = PromoteVolumeRequest {
            volume_id,
            replication_source,
            force,
            parameters: volume.parameters.clone(),
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        self.driver.promote_volume(request).await?;
        Ok(())
    }

    pub(super) async fn demote(&mut self, volume: &Volume) -> Result<(), Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = DemoteVolumeRequest {
            volume_id,
            replication_source,
            force: false,
            parameters: volume.parameters.clone(),
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        self.driver.demote_volume(request).await?;
        Ok(())
    }

    pub(super) async fn resync(&mut self, volume: &Volume, force: bool) -> Result<bool, Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = ResyncVolumeRequest {
            volume_id,
            replication_source,
            force,
            parameters: volume.parameters.clone(),
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        let answer = self.driver.resync_volume(request).await?;
        Ok(answer.into_inner().ready)
    }

    pub(super) async fn info(
        &mut self,
        volume: &Volume,
    ) -> Result<GetVolumeReplicationInfoResponse, Status> {
        let (volume_id, replication_source) = self.named(volume);
        let request = GetVolumeReplicationInfoRequest {
            volume_id,
            replication_source,
            secrets: volume.secrets.clone(),
            replication_id: volume.replication_id.clone(),
        };
        let answer = self.driver.get_volume_replication_info(request).await?;
        Ok(answer.into_inner())
    }
}

/// The data of a Secret as the driver gets it.
pub(super) fn decoded(data: &HashMap<String, String>) -> HashMap<String, String> {
    let engine = base64::engine::general_purpose::STANDARD;
    let plain = |text: &String| String::from_utf8(engine.decode(text).ok()?).ok();
    data.iter()
        .filter_map(|(key, value)| Some((key.clone(), plain(value)?)))
        .collect()
}
