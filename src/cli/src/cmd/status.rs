//! `lifeboat status`.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use lifeboat_api::{DRCluster, DRPlacement};
use lifeboat_kit::task::{Task, spawn};
use lifeboat_kit::{CallError, Clock, SystemClock, deadline, watch_into};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::HubAccess;
use crate::client::{self, READ_DEADLINE, WATCH_SECONDS};
use crate::failure::Failure;
use crate::output::{Format, document, list, print, say};
use crate::placement::clusters;
use crate::view::detail::detail;
use crate::view::fleet::{self, Namespaces};

/// Changes that come within this time are shown together.
const GATHER: Duration = Duration::from_millis(200);
/// How often a terminal is redrawn when nothing changes: ages grow.
const REDRAW: Duration = Duration::from_secs(5);

/// Flags of status.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatusArgs {
    /// Name of one DRPlacement, to see it in full.
    name: Option<String>,
    /// The namespace [default: that of the context].
    #[arg(short, long, conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace.
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Go on showing it whenever it changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    hub: HubAccess,
}

struct Scene {
    client: Client,
    api: Api<DRPlacement>,
    name: Option<String>,
    namespaces: Namespaces,
    format: Format,
}

/// Shows placements once, or again at each change.
pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let config = client::kubeconfig(args.hub.kubeconfig.as_ref())?;
    let session = client::connect(config, args.hub.context.as_deref()).await?;
    let client = session.client;
    let (api, namespaces) = if args.all_namespaces {
        (Api::all(client.clone()), Namespaces::All)
    } else {
        let namespace = args.namespace.unwrap_or(session.namespace);
        (Api::namespaced(client.clone(), &namespace), Namespaces::One)
    };
    let scene = Scene {
        client,
        api,
        name: args.name,
        namespaces,
        format: args.output,
    };
    if args.watch {
        scene.watch().await
    } else {
        print(&scene.draw().await?)
    }
}

impl Scene {
    async fn draw(&self) -> Result<String, Failure> {
        match &self.name {
            Some(name) => self.one(name).await,
            None => self.all().await,
        }
    }

    async fn one(&self, name: &str) -> Result<String, Failure> {
        let placement = deadline(
            format!("get DRPlacement {name}"),
            READ_DEADLINE,
            self.api.get(name),
        )
        .await?;
        if let Some(text) = document(self.format, &placement)? {
            return Ok(text);
        }
        let clusters = readable(clusters(&self.client).await);
        Ok(detail(&placement, clusters.as_deref(), SystemClock.now()))
    }

    async fn all(&self) -> Result<String, Failure> {
        let listed = deadline(
            "list DRPlacements",
            READ_DEADLINE,
            self.api.list(&ListParams::default()),
        )
        .await?;
        let mut placements = listed.items;
        placements.sort_by(|a, b| {
            (&a.metadata.namespace, &a.metadata.name)
                .cmp(&(&b.metadata.namespace, &b.metadata.name))
        });
        if let Some(text) = document(self.format, &list(&placements))? {
            return Ok(text);
        }
        let now = SystemClock.now();
        let mut text = fleet::placements(&placements, self.namespaces, now);
        if let Some(clusters) = readable(clusters(&self.client).await) {
            text.push('\n');
            text.push_str(&fleet::clusters(&clusters, now));
        }
        Ok(text)
    }

    async fn watch(&self) -> Result<(), Failure> {
        use std::io::IsTerminal;
        let screen = std::io::stdout().is_terminal() && self.format == Format::Table;
        let (bell, mut changes) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let _watches = self.bells(&bell, &stop);
        let _stops = stop.drop_guard();
        let mut last = String::new();
        loop {
            match self.draw().await {
                Ok(text) if screen => print(&format!("\x1b[H\x1b[2J{text}"))?,
                Ok(text) if text != last => {
                    print(&text)?;
                    last = text;
                }
                Ok(_) => {}
                // A hub that is away for a while is what one watches for.
                Err(Failure::Call(error)) => say(&error.full()),
                Err(error) => return Err(error),
            }
            if screen {
                drop(tokio::time::timeout(REDRAW, changes.recv()).await);
            } else {
                changes.recv().await;
            }
            tokio::time::sleep(GATHER).await;
            while changes.try_recv().is_ok() {}
        }
    }

    /// Rings at every change of what is shown.
    fn bells(&self, bell: &mpsc::UnboundedSender<()>, stop: &CancellationToken) -> [Task<()>; 2] {
        let config = kube::runtime::watcher::Config::default().timeout(WATCH_SECONDS);
        let (one, two) = (bell.clone(), bell.clone());
        let clusters: Api<DRCluster> = Api::all(self.client.clone());
        [
            spawn(
                "placements",
                watch_into(
                    self.api.clone(),
                    config.clone(),
                    move |_| ring(&one),
                    stop.clone(),
                ),
            ),
            spawn(
                "clusters",
                watch_into(clusters, config, move |_| ring(&two), stop.clone()),
            ),
        ]
    }
}

/// Rings; when nobody listens any more there is nothing to do.
fn ring(bell: &mpsc::UnboundedSender<()>) {
    let _ = bell.send(());
}

/// Clusters, if they can be read: one who may see placements need not be allowed to see clusters.
fn readable(clusters: Result<Vec<DRCluster>, CallError>) -> Option<Vec<DRCluster>> {
    clusters
        .inspect_err(|error| say(&format!("clusters are not shown: {}", error.full())))
        .ok()
}
