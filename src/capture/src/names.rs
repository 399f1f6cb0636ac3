//! Labels and annotations that this crate reads and writes. They are part of the API; the hub's tests hold them to the
//! names there.

/// Format of a capture; a reader refuses any other.
pub const FORMAT: &str = "lifeboat.dev/capture/v1";
/// Prefix of our own annotations.
pub const PREFIX: &str = "lifeboat.dev/";
/// Label: uid of the placement that an object was made for. The mark that makes an object ours.
pub const PLACEMENT_UID: &str = "lifeboat.dev/placement-uid";
/// Annotation: `namespace/name` of that placement, for people.
pub const PLACEMENT: &str = "lifeboat.dev/placement";
/// Annotation: the epoch that an object was made at.
pub const RESTORED_EPOCH: &str = "lifeboat.dev/restored-epoch";
/// Annotation on a `PersistentVolume`: the reclaim policy it had before protection.
pub const RECLAIM_POLICY: &str = "lifeboat.dev/reclaim-policy";
/// Annotation on a workload that was scaled to zero: the replica count to give back.
pub const REPLICAS: &str = "lifeboat.dev/replicas";
