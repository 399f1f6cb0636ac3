//! Volumes, claims, and what belongs to them.

use serde_json::{Value, json};

use super::super::super::tree::{strings_at, text, text_at};
use super::cell::{AGE, Column, column, flag, or_none, or_unset, phase, wide};

pub(super) static CLAIMS: [Column; 8] = [
    column("Status", |o, _| phase(o)),
    column("Volume", |o, _| text_at(o, "/spec/volumeName").into()),
    column("Capacity", |o, _| {
        text_at(o, "/status/capacity/storage").into()
    }),
    column("Access Modes", |o, _| {
        modes(&strings_at(o, "/status/accessModes"))
    }),
    column("StorageClass", |o, _| {
        text_at(o, "/spec/storageClassName").into()
    }),
    column("VolumeAttributesClass", |o, _| {
        or_unset(text_at(o, "/spec/volumeAttributesClassName"))
    }),
    AGE,
    wide("VolumeMode", |o, _| text_at(o, "/spec/volumeMode").into()),
];

pub(super) static VOLUMES: [Column; 10] = [
    column("Capacity", |o, _| {
        text_at(o, "/spec/capacity/storage").into()
    }),
    column("Access Modes", |o, _| {
        modes(&strings_at(o, "/spec/accessModes"))
    }),
    column("Reclaim Policy", |o, _| {
        text_at(o, "/spec/persistentVolumeReclaimPolicy").into()
    }),
    column("Status", |o, _| phase(o)),
    column("Claim", |o, _| {
        let (ns, name) = (
            text_at(o, "/spec/claimRef/namespace"),
            text_at(o, "/spec/claimRef/name"),
        );
        if name.is_empty() {
            "".into()
        } else {
            format!("{ns}/{name}").into()
        }
    }),
    column("StorageClass", |o, _| {
        text_at(o, "/spec/storageClassName").into()
    }),
    column("VolumeAttributesClass", |o, _| {
        or_unset(text_at(o, "/spec/volumeAttributesClassName"))
    }),
    column("Reason", |o, _| text_at(o, "/status/reason").into()),
    AGE,
    wide("VolumeMode", |o, _| text_at(o, "/spec/volumeMode").into()),
];

pub(super) static STORAGE_CLASSES: [Column; 5] = [
    column("Provisioner", |o, _| text(o, "provisioner").into()),
    column("ReclaimPolicy", |o, _| text(o, "reclaimPolicy").into()),
    column("VolumeBindingMode", |o, _| {
        text(o, "volumeBindingMode").into()
    }),
    column("AllowVolumeExpansion", |o, _| {
        (o["allowVolumeExpansion"] == json!(true)).into()
    }),
    AGE,
];

pub(super) static ATTACHMENTS: [Column; 5] = [
    Column {
        format: "name",
        ..column("Attacher", |o, _| text_at(o, "/spec/attacher").into())
    },
    column("PV", |o, _| {
        text_at(o, "/spec/source/persistentVolumeName").into()
    }),
    column("Node", |o, _| text_at(o, "/spec/nodeName").into()),
    flag("Attached", |o, _| {
        (o.pointer("/status/attached") == Some(&json!(true))).into()
    }),
    AGE,
];

pub(super) static DRIVERS: [Column; 7] = [
    flag("AttachRequired", |o, _| o["spec"]["attachRequired"].clone()),
    flag("PodInfoOnMount", |o, _| o["spec"]["podInfoOnMount"].clone()),
    flag("StorageCapacity", |o, _| {
        o["spec"]["storageCapacity"].clone()
    }),
    column("TokenRequests", |_, _| "<unset>".into()),
    flag("RequiresRepublish", |o, _| {
        o["spec"]["requiresRepublish"].clone()
    }),
    column("Modes", |o, _| {
        or_none(&strings_at(o, "/spec/volumeLifecycleModes").join(","))
    }),
    AGE,
];

fn modes(all: &[String]) -> Value {
    let short = all.iter().map(|m| match m.as_str() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",").into()
}
