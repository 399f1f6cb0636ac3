//! `lifeboat explain`.

use lifeboat_kit::{Clock, SystemClock};

use crate::args::PlacementArgs;
use crate::failure::Failure;
use crate::output::{print, say};
use crate::placement::{Subject, clusters};
use crate::view::explain::{Known, explain};

/// Flags of an explanation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    placement: PlacementArgs,
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
    print(&explain(&known, SystemClock.now()))
}
