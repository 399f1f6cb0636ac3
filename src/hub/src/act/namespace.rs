//! Namespaces, which everything else needs.

use lifeboat_api::names;
use lifeboat_core::wait::Reason;

use super::At;
use super::kinds::Kind;
use super::object::{is_deleting, text};
use super::parts::{Part, refuse};
use super::remote::Place;

/// Makes a namespace that is missing; one that is going cannot be used.
pub(crate) async fn ensure(at: &At<'_>, namespace: &str) -> Part {
    let place = Place::new(Kind::Namespace, "", namespace);
    match at.remote.get(place).await? {
        Some(found)
            if is_deleting(&found) || text(&found, "/status/phase") == Some("Terminating") =>
        {
            refuse(
                Reason::NamespaceTerminating,
                format!(
                    "namespace {namespace} on {} is being deleted",
                    at.remote.cluster()
                ),
                "Wait until it is gone, or find what keeps it; it is made anew then.",
            )
        }
        Some(_) => Ok(()),
        None => {
            // Never an apply: that needs the right to patch, and with it every namespace could be relabelled.
            let ours = [(names::PLACEMENT, at.scope.key.to_string())];
            at.remote.create(place, ours).await.map(drop)
        }
    }
}
