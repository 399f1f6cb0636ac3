//! Who a driver is and what it can do, by either identity service.

use lifeboat_proto::{csi, identity};
use tonic::{Request, Response, Status};

use super::service::Service;
use crate::storage::Handles;

use identity::capability::{self, Type, volume_replication};

/// What a driver says of itself.
pub trait Who: Send + Sync + 'static {
    /// Its name, as in `provisioner`.
    fn name(&self) -> String;

    /// What it can do; only the service of CSI-Addons says it.
    fn capabilities(&self) -> Vec<Type>;

    /// What it answers to a probe: many are ready and say nothing.
    fn ready(&self) -> Option<bool>;
}

/// Both identity services of a driver; it offers one of them.
#[derive(Debug)]
pub struct Identities<W>(pub W);

/// The capability to replicate in one way.
pub fn replicates(kind: volume_replication::Type) -> Type {
    let r#type = kind.into();
    Type::VolumeReplication(capability::VolumeReplication { r#type })
}

#[tonic::async_trait]
impl<W: Who> identity::identity_server::Identity for Identities<W> {
    async fn get_identity(
        &self,
        _: Request<identity::GetIdentityRequest>,
    ) -> Result<Response<identity::GetIdentityResponse>, Status> {
        Ok(Response::new(identity::GetIdentityResponse {
            name: self.0.name(),
            vendor_version: version(),
            ..Default::default()
        }))
    }

    async fn get_capabilities(
        &self,
        _: Request<identity::GetCapabilitiesRequest>,
    ) -> Result<Response<identity::GetCapabilitiesResponse>, Status> {
        let of = |kind| identity::Capability { r#type: Some(kind) };
        let capabilities = self.0.capabilities().into_iter().map(of).collect();
        Ok(Response::new(identity::GetCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(
        &self,
        _: Request<identity::ProbeRequest>,
    ) -> Result<Response<identity::ProbeResponse>, Status> {
        let ready = self.0.ready();
        Ok(Response::new(identity::ProbeResponse { ready }))
    }
}

#[tonic::async_trait]
impl<W: Who> csi::identity_server::Identity for Identities<W> {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: self.0.name(),
            vendor_version: version(),
            ..Default::default()
        }))
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        let ready = self.0.ready();
        Ok(Response::new(csi::ProbeResponse { ready }))
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

impl Who for Service {
    fn name(&self) -> String {
        self.driver().name.clone()
    }

    fn capabilities(&self) -> Vec<Type> {
        let r#type = capability::service::Type::ControllerService.into();
        let mut all = vec![
            Type::Service(capability::Service { r#type }),
            replicates(volume_replication::Type::VolumeReplication),
        ];
        match self.driver().array.handles() {
            Handles::Shared => {}
            Handles::PerSite => all.push(replicates(
                volume_replication::Type::GetReplicationDestinationInfo,
            )),
        }
        all
    }

    fn ready(&self) -> Option<bool> {
        self.driver().script.ready()
    }
}
