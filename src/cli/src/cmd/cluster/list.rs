//! `lifeboat cluster list`.

use lifeboat_kit::{Clock, SystemClock};

use crate::args::HubAccess;
use crate::client;
use crate::failure::Failure;
use crate::output::{Format, document, list, print};
use crate::placement::clusters;
use crate::view::fleet;

/// Flags of the list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListArgs {
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    hub: HubAccess,
}

/// Lists the clusters.
pub(super) async fn run(args: ListArgs) -> Result<(), Failure> {
    let config = client::kubeconfig(args.hub.kubeconfig.as_ref())?;
    let session = client::connect(config, args.hub.context.as_deref()).await?;
    let all = clusters(&session.client).await?;
    let text = document(args.output, &list(&all))?;
    print(&text.unwrap_or_else(|| fleet::clusters(&all, SystemClock.now())))
}
