//! Calls that cut networks off the storage, and let them back.

use std::collections::BTreeMap;

use lifeboat_proto::fence::{self as wire, fence_controller_client::FenceControllerClient};

use crate::driver::Driver;
use crate::error::{DriverError, Rpc};
use crate::volume::Secrets;

/// What to cut off, or to let back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// Who asks: calls of one name never overlap.
    pub name: String,
    /// The networks.
    pub cidrs: Vec<String>,
    /// Parameters for the driver.
    pub parameters: BTreeMap<String, String>,
    /// Credentials.
    pub secrets: Secrets,
}

impl Networks {
    fn to_wire(&self) -> Vec<wire::Cidr> {
        let all = self.cidrs.iter();
        all.map(|cidr| wire::Cidr { cidr: cidr.clone() }).collect()
    }
}

impl Driver {
    /// Cuts networks off the storage. Idempotent.
    pub async fn fence(&self, networks: &Networks) -> Result<(), DriverError> {
        let request = self.request(wire::FenceClusterNetworkRequest {
            parameters: networks.parameters.clone().into_iter().collect(),
            secrets: networks.secrets.to_wire(),
            cidrs: networks.to_wire(),
        });
        self.alone(
            Rpc::Fence,
            &networks.name,
            &networks.secrets,
            async |channel| {
                FenceControllerClient::new(channel)
                    .fence_cluster_network(request)
                    .await
            },
        )
        .await
        .map(|_| ())
    }

    /// Lets networks reach the storage again. Idempotent.
    pub async fn unfence(&self, networks: &Networks) -> Result<(), DriverError> {
        let request = self.request(wire::UnfenceClusterNetworkRequest {
            parameters: networks.parameters.clone().into_iter().collect(),
            secrets: networks.secrets.to_wire(),
            cidrs: networks.to_wire(),
        });
        self.alone(
            Rpc::Unfence,
            &networks.name,
            &networks.secrets,
            async |channel| {
                FenceControllerClient::new(channel)
                    .unfence_cluster_network(request)
                    .await
            },
        )
        .await
        .map(|_| ())
    }
}
