//! `lifeboat explain`.

use lifeboat_kit::{Clock, SystemClock};
use serde_json::Value;

use crate::args::{OutputArgs, PlacementArgs};
use crate::failure::Failure;
use crate::output::{document, list, print, say};
use crate::placement::{Subject, clusters};
use crate::view::explain::{Known, explain};

/// Flags of an explanation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    placement: PlacementArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is known, as a list: the placement, its policy, the clusters.
fn objects(known: &Known<'_>) -> Result<Value, Failure> {
    let value = |object: Result<Value, serde_json::Error>| {
        object.map_err(|e| Failure::Refused(format!("could not write the objects: {e}")))
    };
    let mut all = vec![value(serde_json::to_value(known.placement))?];
    if let Some(policy) = known.policy {
        all.push(value(serde_json::to_value(policy))?);
    }
    for cluster in known.clusters.into_iter().flatten() {
        all.push(value(serde_json::to_value(cluster))?);
    }
    Ok(list(&all))
}

/// Explains one placement.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let subject = Subject::open(&args.placement).await?;
    let placement = subject.get().await?;
    let policy = subject.policy(&placement).await;
    let clusters = clusters(&subject.client).await;
    for error in [policy.as_ref().err(), clusters.as_ref().err()]
        .into_iter()
        .flatten()
    {
        say(&error.full());
    }
    let known = Known {
        placement: &placement,
        policy: policy.as_ref().ok(),
        clusters: clusters.as_deref().ok(),
    };
    match document(args.output.output, &objects(&known)?)? {
        Some(objects) => print(&objects),
        None => print(&explain(&known, SystemClock.now())),
    }
}
