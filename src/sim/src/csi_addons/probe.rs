//! Who the driver is and what it can do, by either identity service.

use lifeboat_proto::{csi, identity};
use tonic::{Request, Response, Status};

use super::service::Service;
use crate::storage::Handles;

use identity::capability::{self, Type};

fn capabilities(handles: Handles) -> Vec<identity::Capability> {
    let of = |kind| identity::Capability { r#type: Some(kind) };
    let replication = |kind: capability::volume_replication::Type| {
        of(Type::VolumeReplication(capability::VolumeReplication {
            r#type: kind.into(),
        }))
    };
    let controller = capability::service::Type::ControllerService;
    let mut all = vec![
        of(Type::Service(capability::Service {
            r#type: controller.into(),
        })),
        replication(capability::volume_replication::Type::VolumeReplication),
    ];
    match handles {
        Handles::Shared => {}
        Handles::PerSite => all.push(replication(
            capability::volume_replication::Type::GetReplicationDestinationInfo,
        )),
    }
    all
}

#[tonic::async_trait]
impl identity::identity_server::Identity for Service {
    async fn get_identity(
        &self,
        _: Request<identity::GetIdentityRequest>,
    ) -> Result<Response<identity::GetIdentityResponse>, Status> {
        let (name, vendor_version) = (self.driver().name.clone(), version());
        Ok(Response::new(identity::GetIdentityResponse {
            name,
            vendor_version,
            ..Default::default()
        }))
    }

    async fn get_capabilities(
        &self,
        _: Request<identity::GetCapabilitiesRequest>,
    ) -> Result<Response<identity::GetCapabilitiesResponse>, Status> {
        let capabilities = capabilities(self.driver().array.handles());
        Ok(Response::new(identity::GetCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(
        &self,
        _: Request<identity::ProbeRequest>,
    ) -> Result<Response<identity::ProbeResponse>, Status> {
        Ok(Response::new(identity::ProbeResponse {
            ready: self.driver().script.ready(),
        }))
    }
}

#[tonic::async_trait]
impl csi::identity_server::Identity for Service {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        let (name, vendor_version) = (self.driver().name.clone(), version());
        Ok(Response::new(csi::GetPluginInfoResponse {
            name,
            vendor_version,
            ..Default::default()
        }))
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse {
            ready: self.driver().script.ready(),
        }))
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
