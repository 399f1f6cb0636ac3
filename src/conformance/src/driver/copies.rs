//! The scripted driver's service for copies, as much of it as a row has it offer.

use std::collections::HashMap;

use lifeboat_proto::copies::{self as wire, Capability, copies_server::Copies};
use tonic::{Request, Response, Status};

use super::{Answer, Driver, Service};

/// What never reached the other side, in bytes, whatever the volume.
pub(crate) const DIVERGED: i64 = 12_288;
/// What a copy takes, in bytes.
pub(crate) const SIZE: i64 = 1 << 30;

impl Driver {
    /// From now on it offers this for its copies.
    pub(crate) fn offers_copies(&self, all: &[Capability]) {
        self.state.lock().copies = all.to_vec();
    }
}

#[tonic::async_trait]
impl Copies for Service {
    async fn get_capabilities(
        &self,
        _: Request<wire::GetCapabilitiesRequest>,
    ) -> Result<Response<wire::GetCapabilitiesResponse>, Status> {
        let offered = self.0.state.lock().copies.clone();
        if offered.is_empty() {
            return Err(Status::unimplemented("unknown service"));
        }
        let capabilities = offered.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::GetCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn get_copy_state(
        &self,
        request: Request<wire::GetCopyStateRequest>,
    ) -> Result<Response<wire::GetCopyStateResponse>, Status> {
        let r = request.into_inner();
        let answer = self
            .about("C", r.volume_id, r.secrets, r.parameters, Vec::new())
            .await?;
        Ok(Response::new(wire::GetCopyStateResponse {
            complete: !matches!(answer, Answer::NotReady | Answer::NotReadyAfter(_)),
            message: "half of it is here".to_owned(),
        }))
    }

    async fn get_divergence(
        &self,
        request: Request<wire::GetDivergenceRequest>,
    ) -> Result<Response<wire::GetDivergenceResponse>, Status> {
        let r = request.into_inner();
        self.about("V", r.volume_id, r.secrets, r.parameters, Vec::new())
            .await?;
        Ok(Response::new(wire::GetDivergenceResponse {
            bytes: DIVERGED.unsigned_abs(),
        }))
    }

    async fn keep_copy(
        &self,
        request: Request<wire::KeepCopyRequest>,
    ) -> Result<Response<wire::KeepCopyResponse>, Status> {
        let r = request.into_inner();
        let name = vec![r.name.clone()];
        self.about("K", r.volume_id, r.secrets, r.parameters, name)
            .await?;
        Ok(Response::new(wire::KeepCopyResponse {
            volume_id: format!("kept-{}", r.name),
            bytes: SIZE.unsigned_abs(),
        }))
    }

    async fn drop_copy(
        &self,
        request: Request<wire::DropCopyRequest>,
    ) -> Result<Response<wire::DropCopyResponse>, Status> {
        let r = request.into_inner();
        self.about("F", r.volume_id, r.secrets, HashMap::new(), Vec::new())
            .await?;
        Ok(Response::new(wire::DropCopyResponse {}))
    }
}
