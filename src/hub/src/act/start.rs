//! Step `Start`: workloads and what they name, from a capture.

use futures::FutureExt;
use lifeboat_capture::{Mapping, Marks, export_supporting, import_supporting, import_workload};
use lifeboat_core::wait::Reason;
use lifeboat_core::{Epoch, Outcome};
use serde_json::{Value, json};

use super::At;
use super::kinds::Kind;
use super::object::{Whose, annotation, is_deleting, name, namespace, text, whose};
use super::parts::{Part, Pending, Trouble, gather, outcome, refuse};
use super::remote::Place;
use super::restore::{capture_of, mapping};
use lifeboat_api::names;

/// Makes the captured workloads and what they name, with their replicas.
pub(crate) async fn start(at: &At<'_>, capture: u64, epoch: Epoch) -> Outcome {
    outcome(start_all(at, capture, epoch).await)
}

async fn start_all(at: &At<'_>, version: u64, epoch: Epoch) -> Part {
    let capture = capture_of(at, version).await?;
    let mapping = mapping(at.scope, at.remote.cluster(), &capture);
    let marks = at.marks(epoch);
    let mut supporting: Vec<Pending<'_>> = Vec::new();
    for object in &capture.supporting {
        let wanted = import_supporting(object, &mapping, &marks);
        if let Some(kind) = text(&wanted, "/kind").and_then(Kind::supporting) {
            supporting.push((label(&wanted), support(at, kind, wanted, &marks).boxed()));
        }
    }
    gather(supporting).await?;
    let mut workloads: Vec<Pending<'_>> = Vec::new();
    for record in &capture.workloads {
        let wanted = import_workload(record, &mapping, &marks, None);
        if let Some(kind) = text(&wanted, "/kind").and_then(Kind::workload) {
            workloads.push((label(&wanted), run(at, kind, wanted).boxed()));
        }
    }
    gather(workloads).await.map(drop)
}

fn label(object: &Value) -> String {
    format!(
        "{} {}/{}",
        text(object, "/kind").unwrap_or("object"),
        namespace(object),
        name(object)
    )
}

async fn support(at: &At<'_>, kind: Kind, wanted: Value, marks: &Marks) -> Part {
    let place = Place::new(kind, namespace(&wanted), name(&wanted));
    if let Some(existing) = at.remote.get(place).await? {
        wait_for_deletion(at, &existing)?;
        match whose(&existing, &at.scope.uid) {
            Whose::Ours => {}
            // The same content under another owner serves as well, and stays his.
            Whose::Nobodys | Whose::Other(_) if says_the_same(&existing, &wanted, kind, marks) => {
                return Ok(());
            }
            Whose::Nobodys | Whose::Other(_) => return taken(at, &wanted),
        }
    }
    at.remote.apply(place, &wanted).await.map(drop)
}

fn says_the_same(existing: &Value, wanted: &Value, kind: Kind, marks: &Marks) -> bool {
    let mut existing = existing.clone();
    let resource = kind.resource();
    lifeboat_kit::apply::merge(
        &mut existing,
        json!({ "apiVersion": resource.api_version, "kind": resource.kind }),
    );
    let portable =
        |o: &Value| export_supporting(o).map(|o| import_supporting(&o, &Mapping::default(), marks));
    match (portable(&existing), portable(wanted)) {
        (Ok(existing), Ok(wanted)) => existing == wanted,
        _ => false,
    }
}

async fn run(at: &At<'_>, kind: Kind, wanted: Value) -> Part {
    let place = Place::new(kind, namespace(&wanted), name(&wanted));
    let existing = at.remote.get(place).await?;
    if let Some(existing) = &existing {
        wait_for_deletion(at, existing)?;
        if whose(existing, &at.scope.uid) != Whose::Ours {
            return taken(at, &wanted);
        }
    }
    at.remote.apply(place, &wanted).await?;
    if existing.is_some_and(|e| annotation(&e, names::REPLICAS).is_some()) {
        // It runs again: the count remembered when it was stopped means nothing any more.
        let body = json!({ "metadata": { "annotations": { names::REPLICAS: null } } });
        at.remote.patch(place, &body).await?;
    }
    Ok(())
}

fn wait_for_deletion(at: &At<'_>, existing: &Value) -> Part {
    if is_deleting(existing) {
        return Err(Trouble::Unknown(format!(
            "{} on {} is still being deleted",
            name(existing),
            at.remote.cluster()
        )));
    }
    Ok(())
}

fn taken(at: &At<'_>, wanted: &Value) -> Part {
    refuse(
        Reason::Collision,
        format!(
            "{} exists on {}, is not what was captured, and was not made by this placement",
            label(wanted),
            at.remote.cluster()
        ),
        "Delete it there if nobody needs it, or rename it; nothing of another owner is ever replaced.",
    )
}
