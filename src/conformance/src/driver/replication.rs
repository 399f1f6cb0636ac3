//! The scripted driver's service for replication.

use std::collections::{BTreeMap, HashMap};

use lifeboat_proto::replication::controller_server::Controller;
use lifeboat_proto::replication::{self as wire, replication_source};
use tonic::{Request, Response, Status};

use super::{Answer, Seen, Service};

macro_rules! seen {
    ($self:expr, $letter:expr, $request:expr, $parameters:expr) => {{
        let request = $request;
        let handle = match request.replication_source.clone().and_then(|s| s.r#type) {
            Some(replication_source::Type::Volume(v)) => v.volume_id,
            Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id,
            None => request.volume_id.clone(),
        };
        Seen {
            letter: $letter,
            handle,
            volume_id: request.volume_id.clone(),
            parameters: $parameters,
            secrets: request.secrets.clone().into_iter().collect(),
            replication_id: request.replication_id.clone(),
            members: Vec::new(),
            at: $self.0.start.elapsed(),
            said: None,
        }
    }};
}

macro_rules! plain {
    ($self:expr, $letter:expr, $request:expr, $response:expr) => {{
        let request = $request.into_inner();
        let parameters = request.parameters.clone().into_iter().collect();
        let seen = seen!($self, $letter, request, parameters);
        $self.0.called(seen).await.map(|_| Response::new($response))
    }};
}

#[tonic::async_trait]
impl Controller for Service {
    async fn enable_volume_replication(
        &self,
        request: Request<wire::EnableVolumeReplicationRequest>,
    ) -> Result<Response<wire::EnableVolumeReplicationResponse>, Status> {
        plain!(self, "E", request, wire::EnableVolumeReplicationResponse {})
    }

    async fn disable_volume_replication(
        &self,
        request: Request<wire::DisableVolumeReplicationRequest>,
    ) -> Result<Response<wire::DisableVolumeReplicationResponse>, Status> {
        plain!(
            self,
            "D",
            request,
            wire::DisableVolumeReplicationResponse {}
        )
    }

    async fn promote_volume(
        &self,
        request: Request<wire::PromoteVolumeRequest>,
    ) -> Result<Response<wire::PromoteVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Pf" } else { "P" };
        plain!(self, letter, request, wire::PromoteVolumeResponse {})
    }

    async fn demote_volume(
        &self,
        request: Request<wire::DemoteVolumeRequest>,
    ) -> Result<Response<wire::DemoteVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Mf" } else { "M" };
        plain!(self, letter, request, wire::DemoteVolumeResponse {})
    }

    async fn resync_volume(
        &self,
        request: Request<wire::ResyncVolumeRequest>,
    ) -> Result<Response<wire::ResyncVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Rf" } else { "R" };
        let request = request.into_inner();
        let parameters = request.parameters.clone().into_iter().collect();
        let answer = self
            .0
            .called(seen!(self, letter, request, parameters))
            .await?;
        Ok(Response::new(wire::ResyncVolumeResponse {
            ready: !matches!(answer, Answer::NotReady | Answer::NotReadyAfter(_)),
        }))
    }

    async fn get_volume_replication_info(
        &self,
        request: Request<wire::GetVolumeReplicationInfoRequest>,
    ) -> Result<Response<wire::GetVolumeReplicationInfoResponse>, Status> {
        let request = request.into_inner();
        match self
            .0
            .called(seen!(self, "I", request, BTreeMap::new()))
            .await?
        {
            Answer::Info(info) => Ok(Response::new(info)),
            _ => Err(Status::unimplemented("not offered")),
        }
    }

    async fn get_replication_destination_info(
        &self,
        request: Request<wire::GetReplicationDestinationInfoRequest>,
    ) -> Result<Response<wire::GetReplicationDestinationInfoResponse>, Status> {
        let request = request.into_inner();
        let handle = match request.replication_source.and_then(|s| s.r#type) {
            Some(replication_source::Type::Volume(v)) => v.volume_id,
            Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id,
            None => String::new(),
        };
        self.about("X", handle, request.secrets, HashMap::new(), Vec::new())
            .await?;
        let known = self.0.state.lock().destination.clone();
        let volume_id = match known {
            None => return Err(Status::unimplemented("not offered")),
            Some(Err(code)) => return Err(Status::new(code, "not known yet")),
            Some(Ok(handle)) => handle,
        };
        let volume = wire::replication_destination::VolumeDestination { volume_id };
        let destination = wire::ReplicationDestination {
            r#type: Some(wire::replication_destination::Type::Volume(volume)),
        };
        Ok(Response::new(wire::GetReplicationDestinationInfoResponse {
            replication_destination: Some(destination),
        }))
    }
}
