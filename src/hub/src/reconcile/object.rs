//! The DRPlacement as an object on the hub: read, written by compare-and-swap, held by a finalizer, refused.

use kube::{Api, Resource};
use lifeboat_api::{DRPlacement, DRPlacementStatus, names};
use lifeboat_core::Journal;
use lifeboat_kit::events::EventKind;
use lifeboat_kit::{CallError, Next, apply_status, deadline, patch_metadata};
use serde_json::json;
use tracing::warn;

use super::Turn;
use crate::context::Context;
use crate::resolve::{Invalid, PlacementKey};
use crate::status;

pub(super) fn unreadable(error: &status::JournalUnreadable) -> Invalid {
    Invalid {
        reason: "JournalUnreadable",
        message: lifeboat_kit::error::full(error),
        remedy: "Restore status.journal from a backup, or run the version of the hub that wrote it. Nothing is done until then.".to_owned(),
    }
}

/// A placement that was never decided on and is being deleted holds nothing: it may go whatever its policy says.
pub(super) async fn reject_or_let_go(
    context: &Context,
    placement: &DRPlacement,
    journal: &Journal,
    invalid: &Invalid,
) -> Turn {
    if placement.metadata.deletion_timestamp.is_some() && *journal == Journal::default() {
        let held = placement.metadata.finalizers.iter().flatten();
        let left: Vec<&String> = held.filter(|f| *f != names::FINALIZER).collect();
        return set_finalizers(context, placement, &left).await;
    }
    reject(context, placement, invalid).await
}

pub(super) async fn reject(context: &Context, placement: &DRPlacement, invalid: &Invalid) -> Turn {
    let before = placement.status.as_ref();
    let status = status::rejected(
        invalid,
        before,
        placement.metadata.generation,
        context.now(),
    );
    if before == Some(&status) {
        return Turn::Stop(Next::Wait);
    }
    match write(context, placement, &status).await {
        Ok(written) => {
            context.stores.placements.put(written);
            let note = format!("{}. {}", invalid.message, invalid.remedy);
            context.tell(
                placement.object_ref(&()),
                EventKind::Warning,
                invalid.reason,
                &note,
            );
            Turn::Stop(Next::Wait)
        }
        Err(error) => lost(context, placement, &error).await,
    }
}

/// Holds the placement before anything is done for it, so that a deletion is always seen.
pub(super) async fn hold(context: &Context, placement: &DRPlacement) -> Turn {
    let held: Vec<String> = placement
        .metadata
        .finalizers
        .iter()
        .flatten()
        .cloned()
        .chain([names::FINALIZER.to_owned()])
        .collect();
    set_finalizers(context, placement, &held.iter().collect::<Vec<_>>()).await
}

async fn set_finalizers(
    context: &Context,
    placement: &DRPlacement,
    finalizers: &[&String],
) -> Turn {
    let (api, name) = api(context, placement);
    let metadata =
        json!({ "finalizers": finalizers, "resourceVersion": placement.metadata.resource_version });
    match patch_metadata(&api, &name, names::HUB_MANAGER, metadata).await {
        Ok(written) if written.metadata.deletion_timestamp.is_some() => Turn::Stop(Next::Wait),
        Ok(written) => {
            context.stores.placements.put(written);
            Turn::Again
        }
        Err(error) => lost(context, placement, &error).await,
    }
}

fn api(context: &Context, placement: &DRPlacement) -> (Api<DRPlacement>, String) {
    let namespace = placement.metadata.namespace.as_deref().unwrap_or_default();
    (
        Api::namespaced(context.hub.clone(), namespace),
        placement.metadata.name.clone().unwrap_or_default(),
    )
}

/// Writes a status, only over the version that was planned on.
pub(super) async fn write(
    context: &Context,
    placement: &DRPlacement,
    status: &DRPlacementStatus,
) -> Result<DRPlacement, CallError> {
    let (api, name) = api(context, placement);
    let body =
        json!({ "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement", "status": status });
    context.metrics.wrote();
    // Without a version nothing is compared; an object from the API server always has one.
    let version = placement
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or("0");
    apply_status(&api, &name, names::HUB_MANAGER, body, Some(version)).await
}

pub(super) async fn fresh(
    context: &Context,
    key: &PlacementKey,
) -> Result<Option<DRPlacement>, CallError> {
    let api: Api<DRPlacement> = Api::namespaced(context.hub.clone(), &key.namespace);
    let found = deadline(
        format!("get DRPlacement {key}"),
        context.config.call_deadline,
        api.get_opt(&key.name),
    )
    .await?;
    Ok(found.map(|mut placement| {
        placement.metadata.managed_fields = None;
        placement
    }))
}

/// A write to the placement failed: what is there now decides what is next.
pub(super) async fn lost(context: &Context, placement: &DRPlacement, error: &CallError) -> Turn {
    let key = PlacementKey {
        namespace: placement.metadata.namespace.clone().unwrap_or_default(),
        name: placement.metadata.name.clone().unwrap_or_default(),
    };
    if !error.is_conflict() {
        warn!(placement = %key, error = %error.full(), "status not written");
        return Turn::Stop(Next::Failed);
    }
    context.metrics.conflicted();
    match fresh(context, &key).await {
        Ok(Some(now)) if now.metadata.uid == placement.metadata.uid => {
            context.stores.placements.put(now);
            Turn::Stop(Next::Now)
        }
        Ok(_) | Err(_) => Turn::Stop(Next::Failed),
    }
}
