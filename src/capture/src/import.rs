//! Records of a capture as objects for the target cluster.

use serde_json::{Value, json};

use crate::export::start_with;
use crate::mapping::{Mapping, Marks};
use crate::names;
use crate::object::{map_at, name, namespace, set, text};
use crate::record::{VolumeRecord, WorkloadRecord};
use crate::scrub;

/// The `PersistentVolume` for a record: bound by name to the record's claim, pointing at the replicated image, and kept
/// (`Retain`) whatever happens to the claim, with the user's own policy remembered.
pub fn import_pv(record: &VolumeRecord, mapping: &Mapping, marks: &Marks) -> Value {
    let mut pv = record.pv.clone();
    scrub::pv(&mut pv);
    let policy = text(&pv, "/spec/persistentVolumeReclaimPolicy")
        .unwrap_or("Retain")
        .to_owned();
    set(
        &mut pv,
        &["spec"],
        "persistentVolumeReclaimPolicy",
        "Retain",
    );
    // By name alone: with the old claim's uid the volume would count as Released and never bind again.
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": mapping.namespace(&record.namespace),
        "name": record.claim,
    });
    set(&mut pv, &["spec"], "claimRef", claim);
    let handle = record.destination_handle.as_ref().unwrap_or(&record.handle);
    set(&mut pv, &["spec", "csi"], "volumeHandle", handle.as_str());
    let class = map_class(&mut pv, mapping);
    mapping.apply_access(&class, &mut pv);
    marks.apply(&mut pv);
    set(
        &mut pv,
        &["metadata", "annotations"],
        names::RECLAIM_POLICY,
        policy,
    );
    pv
}

/// The claim for a record, bound by name to the record's volume.
pub fn import_pvc(record: &VolumeRecord, mapping: &Mapping, marks: &Marks) -> Value {
    let mut pvc = record.pvc.clone();
    scrub::pvc(&mut pvc);
    set(
        &mut pvc,
        &["metadata"],
        "namespace",
        mapping.namespace(&record.namespace),
    );
    // Without it a provisioner could fill the claim with a new, empty volume.
    set(&mut pvc, &["spec"], "volumeName", name(&record.pv));
    map_class(&mut pvc, mapping);
    marks.apply(&mut pvc);
    pvc
}

/// The workload for a record, with the given replicas (`Some(0)`: there, but not running) or those it ran with.
pub fn import_workload(
    record: &WorkloadRecord,
    mapping: &Mapping,
    marks: &Marks,
    replicas: Option<i32>,
) -> Value {
    let mut workload = record.object.clone();
    scrub::workload(&mut workload);
    map_namespace(&mut workload, mapping);
    start_with(&mut workload, replicas.unwrap_or(record.replicas).max(0));
    let templates = workload
        .pointer_mut("/spec/volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for claim in templates.into_iter().flatten() {
        map_class(claim, mapping);
    }
    marks.apply(&mut workload);
    workload
}

/// A `ConfigMap`, Secret, Service or `ServiceAccount` for the target.
pub fn import_supporting(object: &Value, mapping: &Mapping, marks: &Marks) -> Value {
    let mut out = object.clone();
    scrub::supporting(&mut out);
    map_namespace(&mut out, mapping);
    marks.apply(&mut out);
    out
}

fn map_namespace(object: &mut Value, mapping: &Mapping) {
    let captured = namespace(object).to_owned();
    if !captured.is_empty() {
        set(
            object,
            &["metadata"],
            "namespace",
            mapping.namespace(&captured),
        );
    }
}

/// Maps the storage class of a PV, PVC or claim template, and returns the class on the target ("" for none).
fn map_class(object: &mut Value, mapping: &Mapping) -> String {
    let Some(captured) = text(object, "/spec/storageClassName").map(str::to_owned) else {
        return String::new();
    };
    let class = mapping.storage_class(&captured).to_owned();
    if let Some(spec) = map_at(object, &["spec"]) {
        spec.insert("storageClassName".to_owned(), Value::String(class.clone()));
    }
    class
}
