//! Ownership records: the highest epoch seen is stored before anything is done at it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use lifeboat_api::common::{set_condition, to_time};
use lifeboat_api::{DROwnership, DROwnershipSpec, DROwnershipStatus, Divergence, names};
use lifeboat_kit::apply::WRITE_DEADLINE;
use lifeboat_kit::{CallError, apply_status, deadline};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::persist::persist;
use crate::view::Key;

/// Stores the epoch of a record in its status, or that it is refused.
/// Idempotent because nothing is written when status says it already. If interrupted: nothing was done at the epoch.
pub(crate) async fn store(agent: &Agent, key: &Key) -> Result<(), CallError> {
    let Some((record, highest)) = agent.caches.ownership(key) else {
        return Ok(());
    };
    let Some(here) = agent.cluster_uid.get() else {
        return Ok(());
    };
    let old = record.status.clone().unwrap_or_default();
    let new = judged(&record, highest, here, agent.clock.now());
    if old == new {
        return Ok(());
    }
    // The list has a field manager of its own.
    let mut own = new;
    own.divergence.clear();
    match write(agent, key, &record, names::AGENT_MANAGER, json!(own)).await {
        Ok(()) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes what one field manager has of a status, if the record is still as it is known.
async fn write(
    agent: &Agent,
    key: &Key,
    record: &DROwnership,
    manager: &str,
    status: Value,
) -> Result<(), CallError> {
    let body = json!({
        "apiVersion": DROwnership::api_version(&()),
        "kind": DROwnership::kind(&()),
        "metadata": { "name": key.name, "namespace": key.namespace },
        "status": status,
    });
    let api = agent.ownerships(&key.namespace);
    let version = record.metadata.resource_version.as_deref();
    let written = apply_status(&api, &key.name, manager, body, version).await?;
    agent.caches.wrote_ownership(written);
    Ok(())
}

/// Changes what a record says of data that never reached the owner, as it is now, and answers what the change does; `None` if
/// the record is gone. Idempotent because nothing is written when the change changes nothing.
pub(crate) async fn edit<T>(
    agent: &Agent,
    key: &Key,
    change: impl Fn(&mut Vec<Divergence>) -> T,
) -> Result<Option<T>, CallError> {
    let known = agent.caches.ownership(key).map(|(record, _)| record);
    let uid = known.as_ref().and_then(|known| known.metadata.uid.clone());
    let store = |record: Arc<DROwnership>| {
        let old = record.status.as_ref().map(|status| &status.divergence);
        let old = old.cloned().unwrap_or_default();
        let mut new = old.clone();
        let done = change(&mut new);
        async move {
            if old != new {
                let manager = names::DIVERGENCE_MANAGER;
                write(agent, key, &record, manager, json!({ "divergence": new })).await?;
            }
            Ok(Some(done))
        }
    };
    let read = || {
        let (api, uid) = (agent.ownerships(&key.namespace), uid.clone());
        async move {
            let what = format!("get drownership {key}");
            let read = deadline(what, WRITE_DEADLINE, api.get_opt(&key.name)).await?;
            let same = read.filter(|record| record.metadata.uid == uid);
            Ok(same.map(Arc::new))
        }
    };
    persist(known, store, read).await
}

/// Why a record that was written for another cluster than the one with the uid `here` grants nothing. Pure.
pub(crate) fn foreign(record: &DROwnershipSpec, here: &str) -> String {
    format!(
        "it was written for {} with the uid {}, and this cluster has the uid {here}; the hub writes it anew",
        record.cluster, record.cluster_uid
    )
}

/// The status of a record on the cluster with the uid `here`, given the highest epoch ever seen in it. Pure.
fn judged(
    record: &DROwnership,
    highest: i64,
    here: &str,
    now: jiff::Timestamp,
) -> DROwnershipStatus {
    let mut status = record.status.clone().unwrap_or_default();
    let (epoch, generation) = (record.spec.epoch, record.metadata.generation);
    let (accepted, reason, message) = if record.spec.cluster_uid != here {
        ("False", "ForeignCluster", foreign(&record.spec, here))
    } else if epoch >= highest {
        (
            "True",
            "EpochStored",
            format!("{} owns it since epoch {epoch}", record.spec.owner),
        )
    } else {
        let text = format!(
            "epoch {highest} was seen here before, {epoch} is lower; the hub must write a higher one"
        );
        ("False", "StaleEpoch", text)
    };
    status.observed_epoch = Some(highest.max(epoch));
    status.observed_generation = generation;
    let condition = Condition {
        type_: "Accepted".to_owned(),
        status: accepted.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: to_time(now),
    };
    set_condition(&mut status.conditions, condition);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(epoch: i64, highest: i64, written_for: &str) -> (Option<i64>, String, String) {
        let record = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "own", "generation": 4},
            "spec": {"placementUID": "1", "placement": "shop/db", "cluster": "east", "clusterUID": written_for,
                "owner": "east", "epoch": epoch},
        }));
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let status = judged(&record.unwrap(), highest, "here", now);
        assert_eq!(status.observed_generation, Some(4));
        let told = status.conditions.into_iter().next().unwrap();
        (status.observed_epoch, told.status, told.reason)
    }

    #[test]
    fn the_highest_epoch_is_stored_and_a_lower_or_foreign_one_is_not_accepted() {
        let said =
            |epoch, status: &str, reason: &str| (Some(epoch), status.to_owned(), reason.to_owned());
        assert_eq!(judge(7, 5, "here"), said(7, "True", "EpochStored"));
        assert_eq!(judge(7, 7, "here"), said(7, "True", "EpochStored"));
        assert_eq!(judge(6, 7, "here"), said(7, "False", "StaleEpoch"));
        assert_eq!(judge(7, 5, "there"), said(7, "False", "ForeignCluster"));
    }
}
