//! Who the scripted driver is and what it can do.

use lifeboat_proto::identity::capability::{
    NetworkFence, Type, VolumeGroup, network_fence, volume_group, volume_replication,
};
use lifeboat_sim::csi_addons::{Who, replicates};

use super::{Identity, Service};

fn group(kind: volume_group::Type) -> Type {
    let r#type = kind.into();
    Type::VolumeGroup(VolumeGroup { r#type })
}

impl Who for Service {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn capabilities(&self) -> Vec<Type> {
        let fencing = NetworkFence {
            r#type: network_fence::Type::NetworkFence.into(),
        };
        let mut all = vec![
            (
                "VOLUME_REPLICATION",
                replicates(volume_replication::Type::VolumeReplication),
            ),
            ("VOLUME_GROUP", group(volume_group::Type::VolumeGroup)),
            (
                "MODIFY_VOLUME_GROUP",
                group(volume_group::Type::ModifyVolumeGroup),
            ),
            ("NETWORK_FENCE", Type::NetworkFence(fencing)),
        ];
        let state = self.0.state.lock();
        all.retain(|(name, _)| !state.lacks.contains(name));
        if state.destination.is_some() {
            let kind = volume_replication::Type::GetReplicationDestinationInfo;
            all.push(("", replicates(kind)));
        }
        all.into_iter().map(|(_, kind)| kind).collect()
    }

    fn ready(&self) -> Option<bool> {
        let ready = self.0.probed();
        match self.0.identity {
            // One that is ready need not say so.
            Identity::Addons => (!ready).then_some(false),
            Identity::Csi => Some(ready),
        }
    }
}
