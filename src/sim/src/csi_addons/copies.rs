//! What the driver says of its copies, by our own contract.

use lifeboat_proto::copies::{
    DropCopyRequest, DropCopyResponse, GetCapabilitiesRequest, GetCapabilitiesResponse,
    GetCopyStateRequest, GetCopyStateResponse, GetDivergenceRequest, GetDivergenceResponse,
    KeepCopyRequest, KeepCopyResponse, copies_server::Copies,
};
use tonic::{Request, Response, Status};

use super::{
    calls::{Force, Rpc},
    service::Service,
};
use crate::storage::{Array, Arrival};

pub(super) use lifeboat_proto::copies::Capability;

/// All that a driver can offer for its copies.
pub(super) const ALL: [Capability; 3] = [
    Capability::CopyState,
    Capability::Divergence,
    Capability::Keep,
];

impl Service {
    fn offers(&self, capability: Capability) -> Result<(), Status> {
        if self.driver().copies.lock().contains(&capability) {
            return Ok(());
        }
        let words = format!("{} is not offered", capability.as_str_name());
        Err(Status::unimplemented(words))
    }
}

#[tonic::async_trait]
impl Copies for Service {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<GetCapabilitiesResponse>, Status> {
        let offered = self.driver().copies.lock().clone();
        if offered.is_empty() {
            return Err(Status::unimplemented("unknown service Copies"));
        }
        let capabilities = offered.into_iter().map(Into::into).collect();
        Ok(Response::new(GetCapabilitiesResponse { capabilities }))
    }

    async fn get_copy_state(
        &self,
        request: Request<GetCopyStateRequest>,
    ) -> Result<Response<GetCopyStateResponse>, Status> {
        self.offers(Capability::CopyState)?;
        let work = |a: &Array, h: &str| {
            a.arrival(h).map(|arrival| match arrival {
                Arrival::Whole { taken } => GetCopyStateResponse {
                    complete: true,
                    message: format!("the snapshot of {taken} is here"),
                },
                Arrival::Partial { taken } => GetCopyStateResponse {
                    complete: false,
                    message: format!("the snapshot of {taken} is half here"),
                },
                Arrival::Nothing => GetCopyStateResponse {
                    complete: false,
                    message: "no snapshot is here yet".to_owned(),
                },
            })
        };
        let handle = request.into_inner().volume_id;
        self.call(Rpc::CopyState, handle, Force::No, work).await
    }

    async fn get_divergence(
        &self,
        request: Request<GetDivergenceRequest>,
    ) -> Result<Response<GetDivergenceResponse>, Status> {
        self.offers(Capability::Divergence)?;
        let work = |a: &Array, h: &str| {
            let bytes = a.divergence(h)?;
            Ok(GetDivergenceResponse { bytes })
        };
        let handle = request.into_inner().volume_id;
        self.call(Rpc::Divergence, handle, Force::No, work).await
    }

    async fn keep_copy(
        &self,
        request: Request<KeepCopyRequest>,
    ) -> Result<Response<KeepCopyResponse>, Status> {
        self.offers(Capability::Keep)?;
        let r = request.into_inner();
        if r.name.is_empty() {
            return Err(Status::invalid_argument("empty name in request"));
        }
        let work = move |a: &Array, h: &str| {
            let (volume_id, bytes) = a.keep(h, &r.name)?;
            Ok(KeepCopyResponse { volume_id, bytes })
        };
        self.call(Rpc::Keep, r.volume_id, Force::No, work).await
    }

    async fn drop_copy(
        &self,
        request: Request<DropCopyRequest>,
    ) -> Result<Response<DropCopyResponse>, Status> {
        self.offers(Capability::Keep)?;
        let work = |a: &Array, h: &str| a.drop_kept(h).map(|()| DropCopyResponse {});
        let handle = request.into_inner().volume_id;
        self.call(Rpc::Drop, handle, Force::No, work).await
    }
}
