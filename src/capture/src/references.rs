//! What else a workload needs to start: the objects it names.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::export::replicas;
use crate::object::{TEMPLATE, items, kind, name, namespace, text};

/// Kind of an object that a workload names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefKind {
    /// `ConfigMap`.
    ConfigMap,
    /// `Secret`.
    Secret,
    /// `Service`.
    Service,
    /// `ServiceAccount`.
    ServiceAccount,
    /// `PersistentVolumeClaim`.
    PersistentVolumeClaim,
}

impl RefKind {
    /// The kind as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
    }
}

/// An object in the workload's own namespace, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: RefKind,
    /// Its name.
    pub name: String,
}

/// Every object that a workload names: `ConfigMaps`, Secrets, its `ServiceAccount`, its governing Service and its claims.
/// Given a `ServiceAccount`, the Secrets it pulls images with. What every cluster makes itself (the default
/// `ServiceAccount`, the root certificate) is left out.
pub fn references(workload: &Value) -> BTreeSet<ObjectRef> {
    let mut found = Found::default();
    pull_secrets(workload, &mut found);
    if kind(workload) == "StatefulSet" {
        found.add(RefKind::Service, text(workload, "/spec/serviceName"));
        claims_of_templates(workload, &mut found);
    }
    if let Some(spec) = workload.pointer(&format!("{TEMPLATE}/spec")) {
        pod(spec, &mut found);
    }
    found.0
}

/// Whether a Service sends traffic to the pods of a workload.
pub fn service_selects(service: &Value, workload: &Value) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else {
        return false;
    };
    let labels = workload.pointer(&format!("{TEMPLATE}/metadata/labels"));
    kind(service) == "Service"
        && namespace(service) == namespace(workload)
        && !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

#[derive(Default)]
struct Found(BTreeSet<ObjectRef>);

impl Found {
    fn add(&mut self, kind: RefKind, name: Option<&str>) {
        match (kind, name) {
            (_, None)
            | (RefKind::ServiceAccount, Some("default"))
            | (RefKind::ConfigMap, Some("kube-root-ca.crt")) => {}
            (kind, Some(name)) => {
                self.0.insert(ObjectRef {
                    kind,
                    name: name.to_owned(),
                });
            }
        }
    }
}

fn pod(spec: &Value, found: &mut Found) {
    for list in ["/initContainers", "/containers"] {
        for container in items(spec, list) {
            environment(container, found);
        }
    }
    for volume in items(spec, "/volumes") {
        volume_sources(volume, found);
    }
    pull_secrets(spec, found);
    let account = text(spec, "/serviceAccountName").or_else(|| text(spec, "/serviceAccount"));
    found.add(RefKind::ServiceAccount, account);
}

fn pull_secrets(object: &Value, found: &mut Found) {
    for secret in items(object, "/imagePullSecrets") {
        found.add(RefKind::Secret, text(secret, "/name"));
    }
}

fn environment(container: &Value, found: &mut Found) {
    for variable in items(container, "/env") {
        found.add(
            RefKind::ConfigMap,
            text(variable, "/valueFrom/configMapKeyRef/name"),
        );
        found.add(
            RefKind::Secret,
            text(variable, "/valueFrom/secretKeyRef/name"),
        );
    }
    for source in items(container, "/envFrom") {
        found.add(RefKind::ConfigMap, text(source, "/configMapRef/name"));
        found.add(RefKind::Secret, text(source, "/secretRef/name"));
    }
}

fn volume_sources(volume: &Value, found: &mut Found) {
    found.add(RefKind::ConfigMap, text(volume, "/configMap/name"));
    found.add(RefKind::Secret, text(volume, "/secret/secretName"));
    found.add(
        RefKind::PersistentVolumeClaim,
        text(volume, "/persistentVolumeClaim/claimName"),
    );
    for source in items(volume, "/projected/sources") {
        found.add(RefKind::ConfigMap, text(source, "/configMap/name"));
        found.add(RefKind::Secret, text(source, "/secret/name"));
    }
    found.add(
        RefKind::Secret,
        text(volume, "/csi/nodePublishSecretRef/name"),
    );
    found.add(RefKind::Secret, text(volume, "/azureFile/secretName"));
    // The in-tree network volumes all call it secretRef.
    for source in volume.as_object().into_iter().flat_map(|v| v.values()) {
        found.add(RefKind::Secret, text(source, "/secretRef/name"));
    }
}

/// A `StatefulSet`'s claims are `<template>-<set>-<ordinal>`.
fn claims_of_templates(set: &Value, found: &mut Found) {
    let start = set
        .pointer("/spec/ordinals/start")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    for template in items(set, "/spec/volumeClaimTemplates") {
        for ordinal in start..start.saturating_add(i64::from(replicas(set))) {
            let claim = format!("{}-{}-{ordinal}", name(template), name(set));
            found.add(RefKind::PersistentVolumeClaim, Some(&claim));
        }
    }
}
