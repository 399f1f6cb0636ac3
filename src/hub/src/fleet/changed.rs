//! Answers to writes, of the kinds that are kept.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::DynamicObject;
use lifeboat_api::{DROwnership, VolumeReplication};
use serde::de::DeserializeOwned;

use super::kept::Touch;
use super::rows::{
    ClaimRow, DeploymentRow, NamespaceRow, OwnershipRow, ReplicationRow, StatefulSetRow, VolumeRow,
};
use super::view::View;

/// What an API server answered to a write.
#[derive(Debug, Clone)]
pub enum Changed {
    /// A PersistentVolumeClaim.
    Claim(Box<PersistentVolumeClaim>),
    /// A PersistentVolume.
    Volume(Box<PersistentVolume>),
    /// A VolumeReplication.
    Replication(Box<VolumeReplication>),
    /// A DROwnership.
    Ownership(Box<DROwnership>),
    /// A Deployment.
    Deployment(Box<Deployment>),
    /// A StatefulSet.
    StatefulSet(Box<StatefulSet>),
    /// A Namespace.
    Namespace(Box<Namespace>),
    /// A kind of which nothing is kept.
    Other,
}

impl Changed {
    pub(crate) fn note(&self, view: &mut View) -> BTreeSet<Touch> {
        match self {
            Self::Claim(object) => view.note::<ClaimRow>(object),
            Self::Volume(object) => view.note::<VolumeRow>(object),
            Self::Replication(object) => view.note::<ReplicationRow>(object),
            Self::Ownership(object) => view.note::<OwnershipRow>(object),
            Self::Deployment(object) => view.note::<DeploymentRow>(object),
            Self::StatefulSet(object) => view.note::<StatefulSetRow>(object),
            Self::Namespace(object) => view.note::<NamespaceRow>(object),
            Self::Other => BTreeSet::new(),
        }
    }
}

macro_rules! changed {
    ($($kind:ident => $variant:ident),+) => {
        $(impl From<$kind> for Changed {
            fn from(object: $kind) -> Self {
                Self::$variant(Box::new(object))
            }
        })+
    };
}
changed!(
    PersistentVolumeClaim => Claim,
    PersistentVolume => Volume,
    VolumeReplication => Replication,
    DROwnership => Ownership,
    Deployment => Deployment,
    StatefulSet => StatefulSet,
    Namespace => Namespace
);

impl From<DynamicObject> for Changed {
    fn from(object: DynamicObject) -> Self {
        fn read<K: kube::Resource + DeserializeOwned + Into<Changed>>(
            object: DynamicObject,
        ) -> Changed {
            object.try_parse::<K>().map_or(Changed::Other, Into::into)
        }
        let kind = object.types.as_ref().map(|types| types.kind.clone());
        match kind.as_deref() {
            Some("PersistentVolumeClaim") => read::<PersistentVolumeClaim>(object),
            Some("PersistentVolume") => read::<PersistentVolume>(object),
            Some("VolumeReplication") => read::<VolumeReplication>(object),
            Some("DROwnership") => read::<DROwnership>(object),
            Some("Deployment") => read::<Deployment>(object),
            Some("StatefulSet") => read::<StatefulSet>(object),
            Some("Namespace") => read::<Namespace>(object),
            _ => Self::Other,
        }
    }
}
