//! The scripted driver's services for groups and fences.

use std::collections::HashMap;

use lifeboat_proto::{fence, volumegroup};
use tonic::{Request, Response, Status};

use super::Service;

#[tonic::async_trait]
impl volumegroup::controller_server::Controller for Service {
    async fn create_volume_group(
        &self,
        request: Request<volumegroup::CreateVolumeGroupRequest>,
    ) -> Result<Response<volumegroup::CreateVolumeGroupResponse>, Status> {
        let r = request.into_inner();
        self.about("Create", r.name, r.secrets, r.parameters, r.volume_ids)
            .await?;
        let volume_group = Some(volumegroup::VolumeGroup {
            volume_group_id: "g-1".to_owned(),
            volume_group_context: HashMap::from([("pool".to_owned(), "fast".to_owned())]),
            volumes: Vec::new(),
        });
        Ok(Response::new(volumegroup::CreateVolumeGroupResponse {
            volume_group,
        }))
    }

    async fn modify_volume_group_membership(
        &self,
        request: Request<volumegroup::ModifyVolumeGroupMembershipRequest>,
    ) -> Result<Response<volumegroup::ModifyVolumeGroupMembershipResponse>, Status> {
        let r = request.into_inner();
        let handle = r.volume_group_id;
        self.about("Modify", handle, r.secrets, r.parameters, r.volume_ids)
            .await?;
        let volume_group = None;
        Ok(Response::new(
            volumegroup::ModifyVolumeGroupMembershipResponse { volume_group },
        ))
    }

    async fn delete_volume_group(
        &self,
        request: Request<volumegroup::DeleteVolumeGroupRequest>,
    ) -> Result<Response<volumegroup::DeleteVolumeGroupResponse>, Status> {
        let r = request.into_inner();
        let none = HashMap::new();
        self.about("Delete", r.volume_group_id, r.secrets, none, Vec::new())
            .await?;
        Ok(Response::new(volumegroup::DeleteVolumeGroupResponse {}))
    }

    async fn list_volume_groups(
        &self,
        _: Request<volumegroup::ListVolumeGroupsRequest>,
    ) -> Result<Response<volumegroup::ListVolumeGroupsResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn controller_get_volume_group(
        &self,
        _: Request<volumegroup::ControllerGetVolumeGroupRequest>,
    ) -> Result<Response<volumegroup::ControllerGetVolumeGroupResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}

fn texts(cidrs: Vec<fence::Cidr>) -> Vec<String> {
    cidrs.into_iter().map(|c| c.cidr).collect()
}

#[tonic::async_trait]
impl fence::fence_controller_server::FenceController for Service {
    async fn fence_cluster_network(
        &self,
        request: Request<fence::FenceClusterNetworkRequest>,
    ) -> Result<Response<fence::FenceClusterNetworkResponse>, Status> {
        let r = request.into_inner();
        let who = String::new();
        self.about("Fence", who, r.secrets, r.parameters, texts(r.cidrs))
            .await?;
        Ok(Response::new(fence::FenceClusterNetworkResponse {}))
    }

    async fn unfence_cluster_network(
        &self,
        request: Request<fence::UnfenceClusterNetworkRequest>,
    ) -> Result<Response<fence::UnfenceClusterNetworkResponse>, Status> {
        let r = request.into_inner();
        let who = String::new();
        self.about("Unfence", who, r.secrets, r.parameters, texts(r.cidrs))
            .await?;
        Ok(Response::new(fence::UnfenceClusterNetworkResponse {}))
    }

    async fn list_cluster_fence(
        &self,
        _: Request<fence::ListClusterFenceRequest>,
    ) -> Result<Response<fence::ListClusterFenceResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_fence_clients(
        &self,
        _: Request<fence::GetFenceClientsRequest>,
    ) -> Result<Response<fence::GetFenceClientsResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
