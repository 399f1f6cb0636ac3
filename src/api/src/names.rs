//! Names that more than one program must spell alike.

/// API group of the project's own kinds.
pub const GROUP: &str = "lifeboat.dev";
/// Namespace that hub and agent are installed into.
pub const SYSTEM_NAMESPACE: &str = "lifeboat-system";
/// Field manager of the hub's applies.
pub const HUB_MANAGER: &str = "lifeboat-hub";
/// Field manager of the agent's applies.
pub const AGENT_MANAGER: &str = "lifeboat-agent";
/// Field manager of the agent's applies of `status.divergence` of a DROwnership: an agent that knows no such field does not take
/// it away by an apply of its own.
pub const DIVERGENCE_MANAGER: &str = "lifeboat-agent-divergence";

/// Label: uid of the DRPlacement that an object was made for. The mark that makes an object ours.
pub const PLACEMENT_UID: &str = "lifeboat.dev/placement-uid";
/// Annotation: `namespace/name` of that DRPlacement, for people.
pub const PLACEMENT: &str = "lifeboat.dev/placement";
/// Annotation on a DRPlacement: uid of an earlier DRPlacement of the same name, which this one is, on the word of a person.
pub const IDENTITY: &str = "lifeboat.dev/identity";
/// Annotation on a VolumeReplication: the ownership epoch it was written at. Makes it hub-managed.
pub const EPOCH: &str = "lifeboat.dev/epoch";
/// Annotation on a VolumeReplication: name of the DROwnership in its namespace that grants the epoch.
pub const OWNERSHIP: &str = "lifeboat.dev/ownership";
/// Annotation on a hub-managed VolumeReplication, value `true`: on deletion switch replication off, which removes the
/// peer's image. Without it a deletion only lets the volume go: it may be an accident, or another cluster owns the volume.
pub const DISABLE: &str = "lifeboat.dev/disable";
/// Annotation that the agent writes on a VolumeReplication before it sends a forced resync: the request it is for, see
/// [`resync_request`]. One request never becomes two.
pub const RESYNC_ISSUED: &str = "lifeboat.dev/resync-issued";
/// Annotation that the agent writes on a VolumeReplication when the request of [`RESYNC_ISSUED`] did not bring the copy
/// about, or is not known to have reached the driver: the hub may ask again, with the next number.
pub const RESYNC_FAILED: &str = "lifeboat.dev/resync-failed";
/// Annotation on a hub-managed VolumeReplication that asks for a resync: the how manieth of its epoch. Absent: the first.
pub const RESYNC_REQUEST: &str = "lifeboat.dev/resync-request";
/// Annotation on a hub-managed VolumeReplication that asks for a resync: how long the order holds (RFC 3339). The agent
/// throws no copy away after that, nor without it; the hub renews it while it sees that the owner is primary.
pub const RESYNC_UNTIL: &str = "lifeboat.dev/resync-until";
/// Annotation on a hub-managed VolumeReplication that asks for a resync: how long an independent copy of what is thrown away
/// is kept, whole seconds as text. No resync is sent before that copy is made. Absent: none is made.
pub const SALVAGE: &str = "lifeboat.dev/salvage";
/// Annotation on a PersistentVolume: the reclaim policy it had before protection.
pub const RECLAIM_POLICY: &str = "lifeboat.dev/reclaim-policy";
/// Annotation on an object made from a capture: the epoch it was made at.
pub const RESTORED_EPOCH: &str = "lifeboat.dev/restored-epoch";
/// Annotation on a workload that was scaled to zero: the replica count to give back.
pub const REPLICAS: &str = "lifeboat.dev/replicas";
/// Annotation that wakes the volume binder; its value means nothing.
pub const NUDGE: &str = "lifeboat.dev/nudge";
/// Finalizer of the hub on DRPlacements.
pub const FINALIZER: &str = "lifeboat.dev/hub";
/// Label of the Leases in [`SYSTEM_NAMESPACE`] of a cluster by which its agents say that they live, one for each driver;
/// its value is [`DRIVER_LEASE`]. See [`driver_lease`].
pub const LEASE: &str = "lifeboat.dev/lease";
/// Value of [`LEASE`].
pub const DRIVER_LEASE: &str = "driver";
/// Annotation on such a Lease: how the driver does, as JSON, see `common::DriverState`.
pub const DRIVER: &str = "lifeboat.dev/driver";
/// Name of the Lease that the acting hub renews.
pub const HUB_LEASE: &str = "lifeboat-hub";
/// Key of a kubeconfig in a cluster's Secret.
pub const KUBECONFIG_KEY: &str = "kubeconfig";

/// Upstream's finalizer on a VolumeReplication, and prefix of its reserved parameters.
pub const VR_FINALIZER: &str = "replication.storage.openshift.io";
/// Upstream's finalizer on a claim that a VolumeReplication uses.
pub const PVC_FINALIZER: &str = "replication.storage.openshift.io/pvc-protection";
/// Upstream's annotation on a claim: name of the VolumeReplication that owns it.
pub const VR_OWNER: &str = "replication.storage.openshift.io/volume-replication-name";
/// Upstream's annotation on a claim: name of the VolumeGroupReplication that owns it.
pub const VGR_OWNER: &str = "replication.storage.openshift.io/volume-group-replication-name";
/// Upstream's finalizer of a group: on the VolumeGroupReplication, its content and its claims.
pub const VGR_FINALIZER: &str = "replication.storage.openshift.io/vgr-protection";
/// Upstream's annotation on a VolumeGroupReplication: its selector as text.
pub const VGR_SELECTOR: &str = "pvcSelector";
/// Upstream's annotation on a VolumeGroupReplication: name of its content.
pub const VGR_CONTENT: &str =
    "replication.storage.openshift.io/volume-group-replication-content-name";
/// Upstream's annotation on what was made for a group: `namespace/name` of the VolumeGroupReplication.
pub const VGR_REF: &str = "replication.storage.openshift.io/volumegroupref";
/// Upstream's annotation on a content: name of the driver.
pub const PROVISIONED_BY: &str = "replication.storage.openshift.io/provisioned-by";
/// Upstream's finalizer on a NetworkFence.
pub const FENCE_FINALIZER: &str = "csiaddons.openshift.io/network-fence";
/// Prefix of parameters that a NetworkFenceClass reserves for the controller.
pub const FENCE_PREFIX: &str = "csiaddons.openshift.io/";
/// Parameter of a NetworkFenceClass: name of the Secret that is handed to the driver.
pub const FENCE_SECRET_NAME: &str = "csiaddons.openshift.io/networkfence-secret-name";
/// Parameter of a NetworkFenceClass: namespace of that Secret.
pub const FENCE_SECRET_NAMESPACE: &str = "csiaddons.openshift.io/networkfence-secret-namespace";
/// Parameter of a VolumeGroupReplicationClass: name of the Secret that is handed to the driver.
pub const GROUP_SECRET_NAME: &str =
    "replication.storage.openshift.io/group-replication-secret-name";
/// Parameter of a VolumeGroupReplicationClass: namespace of that Secret.
pub const GROUP_SECRET_NAMESPACE: &str =
    "replication.storage.openshift.io/group-replication-secret-namespace";
/// Prefix of parameters that a VolumeReplicationClass reserves for the controller.
pub const RESERVED_PREFIX: &str = "replication.storage.openshift.io/";
/// Parameter: name of the Secret that is handed to the driver.
pub const SECRET_NAME: &str = "replication.storage.openshift.io/replication-secret-name";
/// Parameter: namespace of that Secret.
pub const SECRET_NAMESPACE: &str = "replication.storage.openshift.io/replication-secret-namespace";

/// Name of the DROwnership of a placement, the same on every cluster: its name and the start of its uid, so that
/// two placements of one name in different namespaces of the hub never share one.
pub fn ownership_name(placement: &str, uid: &str) -> String {
    let head: String = placement.chars().take(200).collect();
    let tail: String = uid.chars().take(8).collect();
    format!("{head}-{tail}")
}

/// Name of the Lease that an agent holds while it serves a driver. A driver whose name no object can have, such as one with a
/// capital letter, has what is left of it and a number in its place: no two drivers share a Lease.
pub fn driver_lease(driver: &str) -> String {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let labels = |name: &str| {
        name.split('.')
            .all(|l| ends(l.chars().next()) && ends(l.chars().last()))
    };
    if driver.len() <= 63 && driver.chars().all(valid) && labels(driver) {
        return format!("lifeboat-agent-{driver}");
    }
    let lower = driver.to_ascii_lowercase();
    let left: String = lower
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(63)
        .collect();
    // FNV-1a, so that it is the same on every machine and in every version.
    let hash = driver
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("lifeboat-agent-{left}-{hash:016x}")
}

/// Name of the Lease that the CSI-Addons sidecars of a driver contend for, in the namespace of the driver's pods.
pub fn csi_addons_lease(driver: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = driver.chars().map(plain).collect();
    format!("{name}-csi-addons")
}

/// A request to resync as the agent notes it: its epoch, and after a dot its number unless it is the first.
pub fn resync_request(epoch: i64, number: u32) -> String {
    if number <= 1 {
        epoch.to_string()
    } else {
        format!("{epoch}.{number}")
    }
}

/// Reads what [`resync_request`] writes: epoch and number.
pub fn read_resync_request(text: &str) -> Option<(i64, u32)> {
    let (epoch, number) = text.trim().split_once('.').unwrap_or((text.trim(), "1"));
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_driver_has_a_lease_of_its_own_whose_name_an_object_can_have() {
        assert_eq!(
            driver_lease("rbd.csi.ceph.com"),
            "lifeboat-agent-rbd.csi.ceph.com"
        );
        let odd = [
            "RBD.csi",
            "rbd.csi.",
            "rbd_csi",
            "rbd..csi",
            "",
            &"x".repeat(300),
        ];
        let named: std::collections::BTreeSet<String> =
            odd.iter().map(|d| driver_lease(d)).collect();
        assert_eq!(named.len(), odd.len(), "{named:?}");
        for name in named {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.len() < 100 && name.chars().all(valid), "{name}");
        }
        assert_eq!(
            csi_addons_lease("rbd.csi.ceph.com"),
            "rbd-csi-ceph-com-csi-addons"
        );
    }

    #[test]
    fn a_request_is_read_as_it_is_written() {
        for request in [(7, 1), (7, 2), (12, 30)] {
            let text = resync_request(request.0, request.1);
            assert_eq!(read_resync_request(&text), Some(request));
        }
        assert_eq!(resync_request(7, 1), "7");
        assert_eq!(read_resync_request("7.x"), None);
    }
}
