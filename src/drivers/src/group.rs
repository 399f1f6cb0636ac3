//! Calls that make, change and remove groups of volumes.

use std::collections::BTreeMap;

use lifeboat_proto::volumegroup::{self as wire, controller_client::ControllerClient};
use tonic::Code;

use crate::driver::Driver;
use crate::error::{Delivery, DriverError, Rpc};
use crate::volume::Secrets;

/// What every call about a group carries besides the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupContext {
    /// The class's parameters, without those reserved for the controller.
    pub parameters: BTreeMap<String, String>,
    /// Credentials.
    pub secrets: Secrets,
}

/// A group as the driver made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its handle.
    pub handle: String,
    /// What the driver wants to be remembered of it.
    pub attributes: BTreeMap<String, String>,
}

impl Driver {
    /// Makes a group of these volumes. Idempotent: the same name makes the same group.
    pub async fn create_group(
        &self,
        name: &str,
        members: &[String],
        context: &GroupContext,
    ) -> Result<Group, DriverError> {
        let request = self.request(wire::CreateVolumeGroupRequest {
            name: name.to_owned(),
            parameters: context.parameters.clone().into_iter().collect(),
            secrets: context.secrets.to_wire(),
            volume_ids: members.to_vec(),
        });
        let rpc = Rpc::CreateGroup;
        let answer = self
            .alone(rpc, name, &context.secrets, async |channel| {
                ControllerClient::new(channel)
                    .create_volume_group(request)
                    .await
            })
            .await?;
        match answer.volume_group {
            Some(group) if !group.volume_group_id.is_empty() => Ok(Group {
                handle: group.volume_group_id,
                attributes: group.volume_group_context.into_iter().collect(),
            }),
            // Without a handle nothing can be asked of the group: that is no success.
            Some(_) | None => Err(DriverError {
                rpc,
                handle: name.to_owned(),
                code: Code::Internal,
                message: "the driver made a group and did not name it".to_owned(),
                delivery: Delivery::Sent,
            }),
        }
    }

    /// Makes these volumes, and no others, the members of a group. Idempotent.
    pub async fn modify_group(
        &self,
        handle: &str,
        members: &[String],
        context: &GroupContext,
    ) -> Result<(), DriverError> {
        let request = self.request(wire::ModifyVolumeGroupMembershipRequest {
            volume_group_id: handle.to_owned(),
            volume_ids: members.to_vec(),
            secrets: context.secrets.to_wire(),
            parameters: context.parameters.clone().into_iter().collect(),
        });
        self.alone(
            Rpc::ModifyGroup,
            handle,
            &context.secrets,
            async |channel| {
                ControllerClient::new(channel)
                    .modify_volume_group_membership(request)
                    .await
            },
        )
        .await
        .map(|_| ())
    }

    /// Removes a group. Idempotent.
    pub async fn delete_group(
        &self,
        handle: &str,
        context: &GroupContext,
    ) -> Result<(), DriverError> {
        let request = self.request(wire::DeleteVolumeGroupRequest {
            volume_group_id: handle.to_owned(),
            secrets: context.secrets.to_wire(),
        });
        self.alone(
            Rpc::DeleteGroup,
            handle,
            &context.secrets,
            async |channel| {
                ControllerClient::new(channel)
                    .delete_volume_group(request)
                    .await
            },
        )
        .await
        .map(|_| ())
    }
}
