//! The kinds that the executor reads and writes on managed clusters.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::ApiResource;
use lifeboat_api::{DROwnership, VolumeReplication};
use lifeboat_capture::RefKind;

/// A kind that the executor reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespace,
    Volume,
    Claim,
    Replication,
    Ownership,
    Deployment,
    StatefulSet,
    ConfigMap,
    Secret,
    Service,
    ServiceAccount,
    StorageClass,
}

impl Kind {
    /// Workloads that can be moved.
    pub(crate) const WORKLOADS: [Self; 2] = [Self::Deployment, Self::StatefulSet];
    /// What workloads name.
    pub(crate) const SUPPORTING: [Self; 4] = [
        Self::ConfigMap,
        Self::Secret,
        Self::Service,
        Self::ServiceAccount,
    ];

    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::Volume => ApiResource::erase::<PersistentVolume>(&()),
            Self::Claim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::Replication => ApiResource::erase::<VolumeReplication>(&()),
            Self::Ownership => ApiResource::erase::<DROwnership>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::StorageClass => ApiResource::erase::<StorageClass>(&()),
        }
    }

    /// The name of the kind, for messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Volume => "PersistentVolume",
            Self::Claim => "PersistentVolumeClaim",
            Self::Replication => "VolumeReplication",
            Self::Ownership => "DROwnership",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
            Self::StorageClass => "StorageClass",
        }
    }

    pub(crate) fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::Namespace | Self::Volume | Self::StorageClass)
    }

    /// The workload kind of that name.
    pub(crate) fn workload(name: &str) -> Option<Self> {
        Self::WORKLOADS.into_iter().find(|k| k.as_str() == name)
    }

    /// The supporting kind of that name.
    pub(crate) fn supporting(name: &str) -> Option<Self> {
        Self::SUPPORTING.into_iter().find(|k| k.as_str() == name)
    }

    /// The supporting kind of a reference; a claim is no supporting object.
    pub(crate) fn referenced(kind: RefKind) -> Option<Self> {
        match kind {
            RefKind::ConfigMap => Some(Self::ConfigMap),
            RefKind::Secret => Some(Self::Secret),
            RefKind::Service => Some(Self::Service),
            RefKind::ServiceAccount => Some(Self::ServiceAccount),
            RefKind::PersistentVolumeClaim => None,
        }
    }
}
