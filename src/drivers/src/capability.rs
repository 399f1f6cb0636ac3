//! What a driver offers.

use lifeboat_proto::identity as wire;
use wire::capability::{Type, network_fence, service, volume_group, volume_replication};

/// One thing a driver offers. The order is that of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// It runs where volumes are managed.
    ControllerService,
    /// It runs where volumes are used.
    NodeService,
    /// It can cut clients off the storage.
    NetworkFence,
    /// It can name the clients to cut off.
    ClientsToFence,
    /// It gives a volume a role.
    VolumeReplication,
    /// It knows what a volume is called at the peer.
    ReplicationDestinationInfo,
    /// It groups volumes.
    VolumeGroup,
    /// A volume is in one group at most.
    LimitVolumeToOneGroup,
    /// Deleting a group keeps its volumes.
    GroupDeletionKeepsVolumes,
    /// Volumes join and leave groups.
    ModifyVolumeGroup,
    /// It describes one group.
    GetVolumeGroup,
    /// It lists groups.
    ListVolumeGroups,
    /// It says whether a copy has arrived whole.
    CopyState,
    /// It says how much of a volume never reached the peer.
    Divergence,
    /// It makes independent copies of what a resync would throw away.
    Salvage,
}

impl Capability {
    /// The name that is published: the one that CSI-Addons objects show, such as `volume_replication.VOLUME_REPLICATION`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControllerService => "service.CONTROLLER_SERVICE",
            Self::NodeService => "service.NODE_SERVICE",
            Self::NetworkFence => "network_fence.NETWORK_FENCE",
            Self::ClientsToFence => "network_fence.GET_CLIENTS_TO_FENCE",
            Self::VolumeReplication => "volume_replication.VOLUME_REPLICATION",
            Self::ReplicationDestinationInfo => {
                "volume_replication.GET_REPLICATION_DESTINATION_INFO"
            }
            Self::VolumeGroup => "volume_group.VOLUME_GROUP",
            Self::LimitVolumeToOneGroup => "volume_group.LIMIT_VOLUME_TO_ONE_VOLUME_GROUP",
            Self::GroupDeletionKeepsVolumes => "volume_group.DO_NOT_ALLOW_VG_TO_DELETE_VOLUMES",
            Self::ModifyVolumeGroup => "volume_group.MODIFY_VOLUME_GROUP",
            Self::GetVolumeGroup => "volume_group.GET_VOLUME_GROUP",
            Self::ListVolumeGroups => "volume_group.LIST_VOLUME_GROUPS",
            Self::CopyState => "CopyState",
            Self::Divergence => "Divergence",
            Self::Salvage => "Salvage",
        }
    }

    /// Reads one of our own contract from the wire.
    pub(crate) fn from_copies(capability: i32) -> Option<Self> {
        match lifeboat_proto::copies::Capability::try_from(capability).ok()? {
            lifeboat_proto::copies::Capability::CopyState => Some(Self::CopyState),
            lifeboat_proto::copies::Capability::Divergence => Some(Self::Divergence),
            lifeboat_proto::copies::Capability::Keep => Some(Self::Salvage),
            lifeboat_proto::copies::Capability::Unknown => None,
        }
    }

    /// Reads one from the wire. What we do not know is left out: newer drivers offer more than we use.
    pub(crate) fn from_wire(capability: wire::Capability) -> Option<Self> {
        match capability.r#type? {
            Type::Service(c) => match c.r#type() {
                service::Type::ControllerService => Some(Self::ControllerService),
                service::Type::NodeService => Some(Self::NodeService),
                service::Type::Unknown => None,
            },
            Type::NetworkFence(c) => match c.r#type() {
                network_fence::Type::NetworkFence => Some(Self::NetworkFence),
                network_fence::Type::GetClientsToFence => Some(Self::ClientsToFence),
                network_fence::Type::Unknown => None,
            },
            Type::VolumeReplication(c) => match c.r#type() {
                volume_replication::Type::VolumeReplication => Some(Self::VolumeReplication),
                volume_replication::Type::GetReplicationDestinationInfo => {
                    Some(Self::ReplicationDestinationInfo)
                }
                volume_replication::Type::Unknown => None,
            },
            Type::VolumeGroup(c) => match c.r#type() {
                volume_group::Type::VolumeGroup => Some(Self::VolumeGroup),
                volume_group::Type::LimitVolumeToOneVolumeGroup => {
                    Some(Self::LimitVolumeToOneGroup)
                }
                volume_group::Type::DoNotAllowVgToDeleteVolumes => {
                    Some(Self::GroupDeletionKeepsVolumes)
                }
                volume_group::Type::ModifyVolumeGroup => Some(Self::ModifyVolumeGroup),
                volume_group::Type::GetVolumeGroup => Some(Self::GetVolumeGroup),
                volume_group::Type::ListVolumeGroups => Some(Self::ListVolumeGroups),
                volume_group::Type::Unknown => None,
            },
        }
    }
}
