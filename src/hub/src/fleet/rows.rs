//! What is kept of each object: the facts that a decision may need, and nothing else. A hub holds 50,000 volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::Selector;
use lifeboat_api::{DROwnership, Divergence, VolumeReplication, VolumeReplicationClass, names};
use lifeboat_core::observed::{
    ClaimPhase, Csi, Deleting, Mark, NamespaceFacts, RecordFacts, Retained, VrFacts,
};
use lifeboat_core::{ClusterId, Epoch};

use super::print::{Print, print};
use super::replication;
use super::table::{Key, Row};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whose mark an object carries.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Tag {
    uid: Option<String>,
    placement: Option<String>,
}

impl Tag {
    pub(crate) fn read(meta: &ObjectMeta) -> Self {
        let uid = meta
            .labels
            .as_ref()
            .and_then(|all| all.get(names::PLACEMENT_UID));
        Self {
            uid: uid.filter(|uid| !uid.is_empty()).cloned(),
            placement: annotation(meta, names::PLACEMENT).map(str::to_owned),
        }
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The mark, as seen by the placement of that uid.
    pub(crate) fn mark(&self, ours: &str) -> Mark {
        match &self.uid {
            None => Mark::Unmarked,
            Some(uid) if uid == ours => Mark::Ours,
            Some(uid) => Mark::Other {
                placement: self.placement.clone().unwrap_or_else(|| uid.clone()),
                uid: uid.clone(),
            },
        }
    }
}

pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(crate) fn created(meta: &ObjectMeta) -> Option<jiff::Timestamp> {
    meta.creation_timestamp.as_ref().map(|t| t.0)
}

pub(crate) fn deleting(meta: &ObjectMeta) -> Deleting {
    if meta.deletion_timestamp.is_some() {
        Deleting::Yes
    } else {
        Deleting::No
    }
}

fn labels(meta: &ObjectMeta) -> Labels {
    meta.labels.clone().unwrap_or_default()
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClaimRow {
    pub(crate) labels: Labels,
    pub(crate) tag: Tag,
    pub(crate) phase: ClaimPhase,
    pub(crate) class: Option<String>,
    pub(crate) volume: Option<String>,
    pub(crate) deleting: Deleting,
    pub(crate) print: Print,
}

impl Row for ClaimRow {
    type Object = PersistentVolumeClaim;
    fn read(claim: &PersistentVolumeClaim) -> Option<Self> {
        let (meta, spec) = (&claim.metadata, claim.spec.as_ref());
        let old_class = annotation(meta, "volume.beta.kubernetes.io/storage-class");
        let class = spec.and_then(|s| s.storage_class_name.clone());
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        Some(Self {
            labels: labels(meta),
            tag: Tag::read(meta),
            phase: match phase {
                Some("Bound") => ClaimPhase::Bound,
                Some("Lost") => ClaimPhase::Lost,
                _ => ClaimPhase::Pending,
            },
            class: class
                .or_else(|| old_class.map(str::to_owned))
                .filter(|c| !c.is_empty()),
            volume: spec
                .and_then(|s| s.volume_name.clone())
                .filter(|v| !v.is_empty()),
            deleting: deleting(meta),
            print: print(meta, &spec),
        })
    }
    fn uid(&self) -> Option<&str> {
        self.tag.uid()
    }
    fn link(&self) -> Option<Key> {
        let volume = self.volume.clone()?;
        Some((String::new(), volume))
    }
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VolumeRow {
    pub(crate) tag: Tag,
    pub(crate) csi: Option<Csi>,
    pub(crate) claim: Option<Key>,
    pub(crate) retained: Retained,
    pub(crate) created: Option<jiff::Timestamp>,
    pub(crate) deleting: Deleting,
    pub(crate) print: Print,
}

impl Row for VolumeRow {
    type Object = PersistentVolume;
    fn read(pv: &PersistentVolume) -> Option<Self> {
        let meta = &pv.metadata;
        let mut spec = pv.spec.clone().unwrap_or_default();
        let remembered = annotation(meta, names::RECLAIM_POLICY);
        let policy = spec.persistent_volume_reclaim_policy.as_deref();
        let retained = match (policy, remembered) {
            (Some("Retain"), Some(_)) => Retained::Yes,
            _ => Retained::No,
        };
        // Protection itself and a new binding by name are no reason for a new capture.
        if let Some(earlier) = remembered {
            spec.persistent_volume_reclaim_policy = Some(earlier.to_owned());
        }
        let claim = spec.claim_ref.as_mut().map(|claim| {
            claim.uid = None;
            claim.resource_version = None;
            let (namespace, name) = (claim.namespace.clone(), claim.name.clone());
            (namespace.unwrap_or_default(), name.unwrap_or_default())
        });
        let csi = spec.csi.as_ref().map(|csi| Csi {
            driver: csi.driver.clone(),
            handle: csi.volume_handle.clone(),
        });
        Some(Self {
            tag: Tag::read(meta),
            csi,
            claim,
            retained,
            created: created(meta),
            deleting: deleting(meta),
            print: print(meta, &spec),
        })
    }
    fn uid(&self) -> Option<&str> {
        self.tag.uid()
    }
    fn link(&self) -> Option<Key> {
        self.claim.clone()
    }
}

/// A VolumeReplication.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplicationRow {
    pub(crate) tag: Tag,
    /// With a mark that [`Tag::mark`] replaces.
    pub(crate) facts: VrFacts,
}

impl Row for ReplicationRow {
    type Object = VolumeReplication;
    fn read(vr: &VolumeReplication) -> Option<Self> {
        Some(Self {
            tag: Tag::read(&vr.metadata),
            facts: replication::facts(vr),
        })
    }
    fn uid(&self) -> Option<&str> {
        self.tag.uid()
    }
}

/// A DROwnership.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnershipRow {
    pub(crate) uid: String,
    /// `namespace/name` of the DRPlacement.
    pub(crate) placement: String,
    /// The cluster that it says it was written to.
    pub(crate) cluster: String,
    /// uid of that cluster.
    pub(crate) cluster_uid: String,
    /// What the agent has found out about volumes that were to be thrown away.
    pub(crate) diverged: Vec<Divergence>,
    pub(crate) facts: RecordFacts,
}

impl Row for OwnershipRow {
    type Object = DROwnership;
    fn read(record: &DROwnership) -> Option<Self> {
        let spec = &record.spec;
        Some(Self {
            uid: spec.placement_uid.clone(),
            placement: spec.placement.clone(),
            cluster: spec.cluster.clone(),
            cluster_uid: spec.cluster_uid.clone(),
            diverged: record
                .status
                .as_ref()
                .map(|s| s.divergence.clone())
                .unwrap_or_default(),
            facts: RecordFacts {
                written_to: None,
                owner: ClusterId::new(&spec.owner),
                epoch: Epoch(spec.epoch),
                force: spec.force_epoch.map(Epoch),
                served: spec.served.clone(),
            },
        })
    }
    fn uid(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

/// A Deployment or a StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkloadRow {
    pub(crate) labels: Labels,
    pub(crate) tag: Tag,
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    pub(crate) remembered: Option<i32>,
    pub(crate) deleting: Deleting,
    /// Its pods; none: a selector that makes no sense.
    pub(crate) pods: Option<Selector>,
    pub(crate) print: Print,
}

/// What Deployment and StatefulSet have in common.
struct Scaled<'a> {
    meta: &'a ObjectMeta,
    replicas: Option<i32>,
    selector: &'a LabelSelector,
    observed: Option<i64>,
    ready: i32,
    running: i32,
}

impl WorkloadRow {
    fn new(parts: &Scaled<'_>, print: impl FnOnce(i32) -> Print) -> Self {
        let meta = parts.meta;
        let replicas = parts.replicas.unwrap_or(1);
        let remembered = annotation(meta, names::REPLICAS).and_then(|text| text.parse().ok());
        let current = parts.observed >= meta.generation;
        let ready = match (current, replicas) {
            // A stop is not over while any replica is left, ready or not.
            (_, 0) => parts.ready.max(parts.running),
            (true, _) => parts.ready,
            // Counts of an earlier spec say nothing of a start.
            (false, _) => 0,
        };
        Self {
            labels: labels(meta),
            tag: Tag::read(meta),
            replicas,
            ready,
            remembered,
            deleting: deleting(meta),
            pods: Selector::try_from(parts.selector.clone()).ok(),
            print: print(remembered.unwrap_or(replicas)),
        }
    }
}

/// A Deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeploymentRow(pub(crate) WorkloadRow);

impl Row for DeploymentRow {
    type Object = Deployment;
    fn read(workload: &Deployment) -> Option<Self> {
        let (spec, status) = (workload.spec.as_ref()?, workload.status.as_ref());
        let parts = Scaled {
            meta: &workload.metadata,
            replicas: spec.replicas,
            selector: &spec.selector,
            observed: status.and_then(|s| s.observed_generation),
            ready: status.and_then(|s| s.ready_replicas).unwrap_or(0),
            running: status.and_then(|s| s.replicas).unwrap_or(0),
        };
        let fingerprint = |replicas| {
            let replicas = Some(replicas);
            let spec = DeploymentSpec {
                replicas,
                ..spec.clone()
            };
            print(&workload.metadata, &spec)
        };
        Some(Self(WorkloadRow::new(&parts, fingerprint)))
    }
    fn uid(&self) -> Option<&str> {
        self.0.tag.uid()
    }
}

/// A StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatefulSetRow(pub(crate) WorkloadRow);

impl Row for StatefulSetRow {
    type Object = StatefulSet;
    fn read(workload: &StatefulSet) -> Option<Self> {
        let (spec, status) = (workload.spec.as_ref()?, workload.status.as_ref());
        let parts = Scaled {
            meta: &workload.metadata,
            replicas: spec.replicas,
            selector: &spec.selector,
            observed: status.and_then(|s| s.observed_generation),
            ready: status.and_then(|s| s.ready_replicas).unwrap_or(0),
            running: status.map_or(0, |s| s.replicas),
        };
        let fingerprint = |replicas| {
            let replicas = Some(replicas);
            let spec = StatefulSetSpec {
                replicas,
                ..spec.clone()
            };
            print(&workload.metadata, &spec)
        };
        Some(Self(WorkloadRow::new(&parts, fingerprint)))
    }
    fn uid(&self) -> Option<&str> {
        self.0.tag.uid()
    }
}

/// A Pod that uses claims and has not ended. Others are not kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodRow {
    pub(crate) labels: Labels,
    pub(crate) claims: Vec<String>,
}

impl Row for PodRow {
    type Object = Pod;
    fn read(pod: &Pod) -> Option<Self> {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let volumes = pod.spec.as_ref()?.volumes.iter().flatten();
        let claims: Vec<String> = volumes
            .filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
                (Some(claim), _) => Some(claim.claim_name.clone()),
                (None, Some(_)) => Some(format!("{name}-{}", v.name)),
                (None, None) => None,
            })
            .collect();
        (!claims.is_empty()).then(|| Self {
            labels: labels(&pod.metadata),
            claims,
        })
    }
}

/// A VolumeAttachment of a PersistentVolume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttachmentRow {
    pub(crate) volume: String,
}

impl Row for AttachmentRow {
    type Object = VolumeAttachment;
    fn read(attachment: &VolumeAttachment) -> Option<Self> {
        let volume = attachment.spec.source.persistent_volume_name.clone()?;
        Some(Self { volume })
    }
    fn link(&self) -> Option<Key> {
        Some((String::new(), self.volume.clone()))
    }
}

/// A StorageClass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StorageClassRow {
    pub(crate) provisioner: String,
}

impl Row for StorageClassRow {
    type Object = StorageClass;
    fn read(class: &StorageClass) -> Option<Self> {
        let provisioner = class.provisioner.clone();
        Some(Self { provisioner })
    }
}

/// A VolumeReplicationClass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplicationClassRow {
    pub(crate) provisioner: String,
}

impl Row for ReplicationClassRow {
    type Object = VolumeReplicationClass;
    fn read(class: &VolumeReplicationClass) -> Option<Self> {
        let provisioner = class.spec.provisioner.clone();
        Some(Self { provisioner })
    }
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamespaceRow {
    pub(crate) facts: NamespaceFacts,
    pub(crate) uid: Option<String>,
}

impl Row for NamespaceRow {
    type Object = Namespace;
    fn read(namespace: &Namespace) -> Option<Self> {
        let meta = &namespace.metadata;
        let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
        let going = meta.deletion_timestamp.is_some() || phase == Some("Terminating");
        Some(Self {
            facts: if going {
                NamespaceFacts::Terminating
            } else {
                NamespaceFacts::Active
            },
            uid: meta.uid.clone(),
        })
    }
}
