//! Hashes of what a capture of an object would hold, to tell whether it has changed since.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Hash of one object.
pub(crate) type Print = [u8; 16];

/// Hash of labels, annotations and spec, less what controllers and we ourselves write.
pub(crate) fn print(meta: &ObjectMeta, spec: &impl Serialize) -> Print {
    let theirs = |all: &Option<BTreeMap<String, String>>| -> BTreeMap<String, String> {
        let kept = all.iter().flatten().filter(|(key, _)| !is_noise(key));
        kept.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let said = (theirs(&meta.labels), theirs(&meta.annotations), spec);
    // Through a Value, whose maps are sorted.
    let text = serde_json::to_value(&said).map(|value| value.to_string());
    digest([text.unwrap_or_default().as_bytes()])
}

/// Hash of several parts in order.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Print {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let mut short = Print::default();
    for (to, from) in short.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    short
}

fn is_noise(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    domain == "lifeboat.dev"
        || domain == "replication.storage.openshift.io"
        || matches!(
            domain,
            "pv.kubernetes.io"
                | "volume.kubernetes.io"
                | "volume.beta.kubernetes.io"
                | "deployment.kubernetes.io"
                | "kubectl.kubernetes.io"
        )
}
