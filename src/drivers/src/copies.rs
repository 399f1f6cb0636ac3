//! Calls of the contract for copies, `lifeboat.copies.v1`: what a driver says of its copies beyond CSI-Addons, and the
//! independent copies it makes.

use std::collections::BTreeSet;

use lifeboat_proto::copies::{self as wire, copies_client::CopiesClient};
use tonic::{Code, Response};

use crate::capability::Capability;
use crate::driver::Driver;
use crate::error::{DriverError, Rpc};
use crate::volume::{Secrets, Volume};

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The newest content that began to arrive has arrived whole.
    Complete,
    /// Some of it is missing.
    Partial,
}

/// What a driver says of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyState {
    /// How far it has come.
    pub arrival: Arrival,
    /// The driver's words.
    pub message: String,
}

/// An independent copy that a driver made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the driver calls it.
    pub handle: String,
    /// What it takes at most, in bytes.
    pub bytes: u64,
}

impl Driver {
    /// Asks what of the contract the driver offers. One that has never heard of it offers nothing.
    pub(crate) async fn copies(&self) -> Result<BTreeSet<Capability>, DriverError> {
        let answer = self
            .about(Rpc::Identify, async |channel| {
                CopiesClient::new(channel)
                    .get_capabilities(wire::GetCapabilitiesRequest {})
                    .await
                    .map(Response::into_inner)
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer
                .capabilities
                .into_iter()
                .filter_map(Capability::from_copies)
                .collect()),
            Err(error) if error.code == Code::Unimplemented => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Asks of a side that is not primary whether its copy has arrived whole. Changes nothing.
    pub async fn copy_state(&self, volume: &Volume) -> Result<CopyState, DriverError> {
        let request = self.request(wire::GetCopyStateRequest {
            volume_id: volume.source.handle().to_owned(),
            secrets: volume.secrets.to_wire(),
            parameters: volume.parameters_to_wire(),
        });
        let handle = volume.source.handle();
        let answer = self
            .alone(Rpc::CopyState, handle, &volume.secrets, async |channel| {
                CopiesClient::new(channel).get_copy_state(request).await
            })
            .await?;
        Ok(CopyState {
            arrival: if answer.complete {
                Arrival::Complete
            } else {
                Arrival::Partial
            },
            message: volume.secrets.hide(&answer.message),
        })
    }

    /// Asks of a side that stepped down how many bytes it holds that never reached the one that took over. Changes nothing.
    pub async fn divergence(&self, volume: &Volume) -> Result<u64, DriverError> {
        let request = self.request(wire::GetDivergenceRequest {
            volume_id: volume.source.handle().to_owned(),
            secrets: volume.secrets.to_wire(),
            parameters: volume.parameters_to_wire(),
        });
        let handle = volume.source.handle();
        self.alone(Rpc::Divergence, handle, &volume.secrets, async |channel| {
            CopiesClient::new(channel).get_divergence(request).await
        })
        .await
        .map(|answer| answer.bytes)
    }

    /// Has an independent copy made of what a volume holds now. Idempotent by `name`.
    pub async fn keep_copy(&self, volume: &Volume, name: &str) -> Result<Kept, DriverError> {
        let request = self.request(wire::KeepCopyRequest {
            volume_id: volume.source.handle().to_owned(),
            name: name.to_owned(),
            secrets: volume.secrets.to_wire(),
            parameters: volume.parameters_to_wire(),
        });
        let handle = volume.source.handle();
        self.alone(Rpc::KeepCopy, handle, &volume.secrets, async |channel| {
            CopiesClient::new(channel).keep_copy(request).await
        })
        .await
        .map(|answer| Kept {
            handle: answer.volume_id,
            bytes: answer.bytes,
        })
    }

    /// Has such a copy deleted, by its own handle. Idempotent.
    pub async fn drop_copy(&self, handle: &str, secrets: &Secrets) -> Result<(), DriverError> {
        let request = self.request(wire::DropCopyRequest {
            volume_id: handle.to_owned(),
            secrets: secrets.to_wire(),
        });
        self.alone(Rpc::DropCopy, handle, secrets, async |channel| {
            CopiesClient::new(channel).drop_copy(request).await
        })
        .await
        .map(|_| ())
    }
}
