//! What a driver's refusal means for us.

use std::fmt;

use tonic::Code;

/// The calls we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rpc {
    /// Start to replicate a volume.
    Enable,
    /// Stop it.
    Disable,
    /// Make a volume writable here.
    Promote,
    /// Make it a copy of the peer.
    Demote,
    /// Ask whether it is in step with the peer, or throw it away and take the peer's.
    Resync,
    /// Ask how replication goes.
    Info,
    /// Ask what the volume is called at the peer.
    DestinationInfo,
    /// Make a group of volumes.
    CreateGroup,
    /// Change which volumes are in it.
    ModifyGroup,
    /// Remove it.
    DeleteGroup,
    /// Cut networks off the storage.
    Fence,
    /// Let them reach it again.
    Unfence,
    /// Ask whether a copy has arrived whole.
    CopyState,
    /// Ask how much never reached the peer.
    Divergence,
    /// Make an independent copy.
    KeepCopy,
    /// Delete one.
    DropCopy,
    /// Ask who the driver is.
    Identify,
    /// Ask whether it is ready.
    Probe,
}

impl Rpc {
    /// The method's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "EnableVolumeReplication",
            Self::Disable => "DisableVolumeReplication",
            Self::Promote => "PromoteVolume",
            Self::Demote => "DemoteVolume",
            Self::Resync => "ResyncVolume",
            Self::Info => "GetVolumeReplicationInfo",
            Self::DestinationInfo => "GetReplicationDestinationInfo",
            Self::CreateGroup => "CreateVolumeGroup",
            Self::ModifyGroup => "ModifyVolumeGroupMembership",
            Self::DeleteGroup => "DeleteVolumeGroup",
            Self::Fence => "FenceClusterNetwork",
            Self::Unfence => "UnfenceClusterNetwork",
            Self::CopyState => "GetCopyState",
            Self::Divergence => "GetDivergence",
            Self::KeepCopy => "KeepCopy",
            Self::DropCopy => "DropCopy",
            Self::Identify => "GetIdentity",
            Self::Probe => "Probe",
        }
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rpc} of {handle}: {code:?}: {message}")]
pub struct DriverError {
    /// The call.
    pub rpc: Rpc,
    /// The volume, group or fence it was for; the driver's name for calls about the driver itself.
    pub handle: String,
    /// The gRPC code.
    pub code: Code,
    /// The driver's words.
    pub message: String,
    /// Whether the driver can have seen the call.
    pub delivery: Delivery,
}

/// Whether a driver can have seen a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nobody was there to hear it: it certainly had no effect.
    NotSent,
    /// It may have.
    Sent,
}

/// What to do after a [`DriverError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The trouble is likely to pass: again, with backoff.
    Soon,
    /// The driver is still busy with this volume: again, no faster than it can work. Not a new failure.
    Busy,
    /// No answer in time: it may have happened. Ask again; every call is idempotent.
    InDoubt,
    /// The request does not fit the volume's state or settings: again, slowly, and tell people.
    AfterChange,
    /// The driver wants other credentials: read the Secret again first.
    AfterCredentials,
    /// The driver does not offer this call.
    Never,
}

impl DriverError {
    /// What the caller does next.
    pub fn retry(&self) -> Retry {
        match self.code {
            Code::Aborted => Retry::Busy,
            Code::DeadlineExceeded | Code::Cancelled => Retry::InDoubt,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange => Retry::AfterChange,
            Code::Unauthenticated | Code::PermissionDenied => Retry::AfterCredentials,
            Code::Unimplemented => Retry::Never,
            Code::Ok
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Retry::Soon,
        }
    }

    /// The text that upstream puts into conditions.
    pub fn upstream_text(&self) -> String {
        format!(
            "rpc error: code = {} desc = {}",
            go_name(self.code),
            self.message
        )
    }
}

/// The code's name as Go programs print it.
fn go_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_to_do_next() {
        let retry = |code| {
            DriverError {
                rpc: Rpc::Promote,
                handle: "h".into(),
                code,
                message: String::new(),
                delivery: Delivery::Sent,
            }
            .retry()
        };
        assert_eq!(retry(Code::Aborted), Retry::Busy);
        assert_eq!(retry(Code::DeadlineExceeded), Retry::InDoubt);
        assert_eq!(retry(Code::InvalidArgument), Retry::AfterChange);
        assert_eq!(retry(Code::Unauthenticated), Retry::AfterCredentials);
        assert_eq!(retry(Code::Unimplemented), Retry::Never);
        assert_eq!(retry(Code::Internal), Retry::Soon);
    }

    #[test]
    fn conditions_carry_the_text_of_a_go_program() {
        let error = DriverError {
            rpc: Rpc::Demote,
            handle: "h".into(),
            code: Code::Internal,
            message: "no".into(),
            delivery: Delivery::Sent,
        };
        assert_eq!(
            error.upstream_text(),
            "rpc error: code = Internal desc = no"
        );
    }
}
