//! What clusters that lost an application had written and never sent: from the agents' records to the placement's status.

use lifeboat_api::common::to_time;
use lifeboat_api::placement::DivergenceStatus;
use lifeboat_api::{Divergence, KeptCopy};
use lifeboat_core::observed::{Csi, DivergedFacts, KeptFacts};
use lifeboat_core::report::DivergedReport;
use lifeboat_core::{ClaimKey, Epoch};

/// What a record says of one claim, in the namespace of that home name.
pub(crate) fn facts(home: &str, record: &Divergence) -> DivergedFacts {
    DivergedFacts {
        claim: ClaimKey::new(home, record.claim.as_str()),
        epoch: Epoch(record.epoch),
        measured_at: record.measured_at.0,
        bytes: record.bytes.and_then(|b| u64::try_from(b).ok()),
        message: record.message.clone(),
        kept: record.kept.as_ref().map(kept),
    }
}

fn kept(copy: &KeptCopy) -> KeptFacts {
    KeptFacts {
        csi: Csi {
            driver: copy.driver.clone(),
            handle: copy.volume_handle.clone(),
        },
        until: copy.keep_until.0,
        dropped: copy.dropped_at.as_ref().map(|t| t.0),
    }
}

/// The same for people.
pub(crate) fn status(report: &DivergedReport) -> DivergenceStatus {
    let DivergedReport { cluster, facts } = report;
    let DivergedFacts {
        claim,
        epoch,
        measured_at,
        bytes,
        message,
        kept,
    } = facts;
    DivergenceStatus {
        cluster: cluster.to_string(),
        namespace: claim.namespace.clone(),
        name: claim.name.clone(),
        epoch: epoch.0,
        measured_at: Some(to_time(*measured_at)),
        bytes: bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX)),
        message: message.clone(),
        kept_by: kept.as_ref().map(|k| k.csi.driver.clone()),
        kept_as: kept.as_ref().map(|k| k.csi.handle.clone()),
        kept_until: kept.as_ref().map(|k| to_time(k.until)),
        dropped_at: kept.as_ref().and_then(|k| k.dropped).map(to_time),
    }
}
