//! Who the scripted driver is and what it can do, by either identity service.

use lifeboat_proto::{csi, identity};
use tonic::{Request, Response, Status};

use super::Service;

#[tonic::async_trait]
impl identity::identity_server::Identity for Service {
    async fn get_identity(
        &self,
        _: Request<identity::GetIdentityRequest>,
    ) -> Result<Response<identity::GetIdentityResponse>, Status> {
        let name = self.0.name.clone();
        Ok(Response::new(identity::GetIdentityResponse {
            name,
            ..Default::default()
        }))
    }

    async fn get_capabilities(
        &self,
        _: Request<identity::GetCapabilitiesRequest>,
    ) -> Result<Response<identity::GetCapabilitiesResponse>, Status> {
        use identity::capability::{
            NetworkFence, Type, VolumeGroup, VolumeReplication, network_fence, volume_group,
            volume_replication,
        };
        let replication = |kind: volume_replication::Type| {
            let r#type = kind.into();
            Type::VolumeReplication(VolumeReplication { r#type })
        };
        let group = |kind: volume_group::Type| {
            let r#type = kind.into();
            Type::VolumeGroup(VolumeGroup { r#type })
        };
        let fencing = NetworkFence {
            r#type: network_fence::Type::NetworkFence.into(),
        };
        let mut all = vec![
            (
                "VOLUME_REPLICATION",
                replication(volume_replication::Type::VolumeReplication),
            ),
            ("VOLUME_GROUP", group(volume_group::Type::VolumeGroup)),
            (
                "MODIFY_VOLUME_GROUP",
                group(volume_group::Type::ModifyVolumeGroup),
            ),
            ("NETWORK_FENCE", Type::NetworkFence(fencing)),
        ];
        let state = self.0.state.lock();
        all.retain(|(name, _)| !state.lacks.contains(name));
        if state.destination.is_some() {
            let kind = volume_replication::Type::GetReplicationDestinationInfo;
            all.push(("", replication(kind)));
        }
        let capabilities = all
            .into_iter()
            .map(|(_, kind)| identity::Capability { r#type: Some(kind) });
        Ok(Response::new(identity::GetCapabilitiesResponse {
            capabilities: capabilities.collect(),
        }))
    }

    async fn probe(
        &self,
        _: Request<identity::ProbeRequest>,
    ) -> Result<Response<identity::ProbeResponse>, Status> {
        // One that is ready need not say so.
        let ready = (!self.0.probed()).then_some(false);
        Ok(Response::new(identity::ProbeResponse { ready }))
    }
}

#[tonic::async_trait]
impl csi::identity_server::Identity for Service {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        let name = self.0.name.clone();
        Ok(Response::new(csi::GetPluginInfoResponse {
            name,
            ..Default::default()
        }))
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        let ready = Some(self.0.probed());
        Ok(Response::new(csi::ProbeResponse { ready }))
    }
}
