//! Objects of the cluster that owns an application, made portable.

use serde_json::Value;
use thiserror::Error;

use crate::names;
use crate::object::{TEMPLATE, annotation, describe, kind, name, namespace, set, text};
use crate::quantity::thousandths;
use crate::record::{VolumeRecord, WorkloadRecord};
use crate::scrub;

/// Why an object cannot be captured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportError {
    /// The claim has no volume yet, or has lost it.
    #[error("claim {claim} is not bound (phase {phase}): it has no volume to protect yet")]
    Unbound {
        /// `namespace/name` of the claim.
        claim: String,
        /// Its phase.
        phase: String,
    },
    /// The claim and the volume do not name each other.
    #[error("claim {claim} and volume {volume} do not name each other: {why}")]
    Mismatch {
        /// `namespace/name` of the claim.
        claim: String,
        /// The `PersistentVolume`.
        volume: String,
        /// The field that differs.
        why: &'static str,
    },
    /// The volume is not a CSI volume, so no driver can replicate it.
    #[error("volume {volume} of claim {claim} is not a CSI volume: no driver can replicate it")]
    NotCsi {
        /// `namespace/name` of the claim.
        claim: String,
        /// The `PersistentVolume`.
        volume: String,
    },
    /// The volume's CSI section lacks what names the image.
    #[error("volume {volume} of claim {claim} has no {field}")]
    Incomplete {
        /// `namespace/name` of the claim.
        claim: String,
        /// The `PersistentVolume`.
        volume: String,
        /// The missing field.
        field: &'static str,
    },
    /// The object has no kind or name, or is not of a kind that can be captured this way.
    #[error("{object} cannot be captured: {why}")]
    Unsupported {
        /// The object.
        object: String,
        /// Why not.
        why: &'static str,
    },
}

/// Makes a bound claim and its volume portable.
pub fn export_volume(pvc: &Value, pv: &Value) -> Result<VolumeRecord, ExportError> {
    let claim = format!("{}/{}", namespace(pvc), name(pvc));
    let volume = name(pv).to_owned();
    let phase = text(pvc, "/status/phase").unwrap_or("unknown");
    let Some(bound_to) = text(pvc, "/spec/volumeName").filter(|_| phase == "Bound") else {
        return Err(ExportError::Unbound {
            claim,
            phase: phase.to_owned(),
        });
    };
    if let Some(why) = mismatch(pvc, pv, bound_to) {
        return Err(ExportError::Mismatch { claim, volume, why });
    }
    if pv.pointer("/spec/csi").is_none_or(Value::is_null) {
        return Err(ExportError::NotCsi { claim, volume });
    }
    let field = |pointer: &'static str| match text(pv, pointer) {
        Some(value) => Ok(value.to_owned()),
        None => Err(ExportError::Incomplete {
            claim: claim.clone(),
            volume: volume.clone(),
            field: pointer,
        }),
    };
    let (driver, handle) = (field("/spec/csi/driver")?, field("/spec/csi/volumeHandle")?);
    Ok(VolumeRecord {
        namespace: namespace(pvc).to_owned(),
        claim: name(pvc).to_owned(),
        handle,
        driver,
        destination_handle: None,
        pvc: portable_pvc(pvc, pv),
        pv: portable_pv(pv),
    })
}

/// The field by which a claim and a volume turn out not to be a pair.
fn mismatch(pvc: &Value, pv: &Value, bound_to: &str) -> Option<&'static str> {
    if bound_to != name(pv) || name(pv).is_empty() {
        return Some("volumeName");
    }
    if text(pv, "/spec/claimRef/namespace") != text(pvc, "/metadata/namespace") {
        return Some("claimRef.namespace");
    }
    if text(pv, "/spec/claimRef/name") != text(pvc, "/metadata/name") {
        return Some("claimRef.name");
    }
    match (text(pv, "/spec/claimRef/uid"), text(pvc, "/metadata/uid")) {
        (Some(held), Some(claim)) if held != claim => Some("claimRef.uid"),
        _ => None,
    }
}

fn portable_pv(pv: &Value) -> Value {
    let mut out = pv.clone();
    typed(&mut out, "v1", "PersistentVolume");
    // Protection sets Retain and remembers the policy; the record carries the one the user chose.
    if let Some(policy) = annotation(pv, names::RECLAIM_POLICY) {
        set(&mut out, &["spec"], "persistentVolumeReclaimPolicy", policy);
    }
    scrub::pv(&mut out);
    out
}

fn portable_pvc(pvc: &Value, pv: &Value) -> Value {
    const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let mut out = pvc.clone();
    typed(&mut out, "v1", "PersistentVolumeClaim");
    if let Some(class) = annotation(pvc, OLD_CLASS)
        && text(pvc, "/spec/storageClassName").is_none()
    {
        set(&mut out, &["spec"], "storageClassName", class);
    }
    // While a volume is being expanded the claim asks for more than the volume has. Made anew like that, it would be
    // refused by the volume binder and never bind, so it asks for what is there.
    if let (Some(asked), Some(has)) = (
        text(pvc, "/spec/resources/requests/storage"),
        text(pv, "/spec/capacity/storage"),
    ) && let (Some(asked), Some(size)) = (thousandths(asked), thousandths(has))
        && asked > size
    {
        set(&mut out, &["spec", "resources", "requests"], "storage", has);
    }
    scrub::pvc(&mut out);
    out
}

/// Makes a workload portable. The replicas to start with are those remembered when it was scaled to zero, if it was.
pub fn export_workload(workload: &Value) -> Result<WorkloadRecord, ExportError> {
    named(workload)?;
    if workload.pointer(TEMPLATE).is_none_or(|t| !t.is_object()) {
        return Err(ExportError::Unsupported {
            object: describe(workload),
            why: "it has no pod template",
        });
    }
    let mut object = workload.clone();
    scrub::workload(&mut object);
    let replicas = replicas(workload);
    // Held down or not, the record says the same.
    start_with(&mut object, replicas);
    Ok(WorkloadRecord { object, replicas })
}

/// Sets how many replicas a workload runs with, if its kind has replicas.
pub(crate) fn start_with(workload: &mut Value, replicas: i32) {
    if workload.pointer("/spec/replicas").is_some()
        || matches!(kind(workload), "Deployment" | "StatefulSet")
    {
        set(workload, &["spec"], "replicas", replicas);
    }
}

/// The replicas a workload runs with when it is not held down by us.
pub(crate) fn replicas(workload: &Value) -> i32 {
    if let Some(remembered) =
        annotation(workload, names::REPLICAS).and_then(|r| r.parse::<i32>().ok())
    {
        return remembered.max(0);
    }
    let replicas = workload
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    i32::try_from(replicas.max(0)).unwrap_or(i32::MAX)
}

/// Makes a `ConfigMap`, Secret, Service or `ServiceAccount` portable.
pub fn export_supporting(object: &Value) -> Result<Value, ExportError> {
    named(object)?;
    let refuse = |why| {
        Err(ExportError::Unsupported {
            object: describe(object),
            why,
        })
    };
    match kind(object) {
        "Secret" if text(object, "/type") == Some("kubernetes.io/service-account-token") => {
            refuse("a service account token is worth nothing on another cluster")
        }
        "ConfigMap" if name(object) == "kube-root-ca.crt" => {
            refuse("each cluster publishes its own root certificate")
        }
        "ConfigMap" | "Secret" | "Service" | "ServiceAccount" => {
            let mut out = object.clone();
            scrub::supporting(&mut out);
            Ok(out)
        }
        _ => refuse("it is not a ConfigMap, Secret, Service or ServiceAccount"),
    }
}

fn named(object: &Value) -> Result<(), ExportError> {
    let why = if kind(object).is_empty() || text(object, "/apiVersion").is_none() {
        "it has no apiVersion and kind"
    } else if name(object).is_empty() {
        "it has no name"
    } else {
        return Ok(());
    };
    Err(ExportError::Unsupported {
        object: describe(object),
        why,
    })
}

/// Objects from a list carry no apiVersion and kind.
fn typed(object: &mut Value, api_version: &str, kind: &str) {
    set(object, &[], "apiVersion", api_version);
    set(object, &[], "kind", kind);
}
