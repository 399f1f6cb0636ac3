//! The simulated API server beside a real one, each behind HTTPS, for tests that give both the same to do.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use lifeboat_e2e::{ControlPlane, StartOptions, objects};
use lifeboat_sim::{
    apiserver::{ApiServer, Identity, ServeHandle, serve},
    clock::SimClock,
};

pub(crate) mod lines;
pub(crate) mod story;
pub(crate) mod text;

/// The real server only has the controllers whose work the simulated one does within a request: nothing else moves.
const CONTROLLERS: &str =
    "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller";

/// Both servers, with the kinds of Lifeboat installed.
pub(crate) struct Twins {
    pub(crate) real: Side,
    pub(crate) simulated: Side,
    _served: ServeHandle,
}

/// One of the two.
pub(crate) struct Side {
    pub(crate) kubeconfig: String,
    pub(crate) client: Client,
}

impl Twins {
    /// The real one is shared by all tests of this process; the simulated one is the test's own.
    pub(crate) async fn start() -> Result<Self> {
        let options = StartOptions {
            controller_manager: vec![CONTROLLERS.to_owned()],
            // Lists as watches, which some versions have switched off and our clients may ask for.
            api_server: vec!["--feature-gates=WatchList=true".to_owned()],
        };
        let real = ControlPlane::shared_with("twin", options).await?;
        let server = ApiServer::new("twin", SimClock::system());
        let servers = BTreeMap::from([("twin".to_owned(), Arc::clone(&server))]);
        let front = serve("127.0.0.1:0".parse()?, servers).await?;
        let simulated = front.kubeconfig("twin", &Identity::admin())?;
        let twins = Self {
            real: Side::new(real.kubeconfig()).await?,
            simulated: Side::new(simulated).await?,
            _served: front,
        };
        let kinds = lifeboat_api::crds();
        for side in [&twins.real, &twins.simulated] {
            objects::install(&side.client, &kinds).await?;
        }
        Ok(twins)
    }
}

impl Side {
    async fn new(kubeconfig: String) -> Result<Self> {
        let parsed = Kubeconfig::from_yaml(&kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(parsed, &options).await?;
        // An answer that says "try again" is an answer.
        config.default_retry = false;
        let client = Client::try_from(config).context("no client")?;
        Ok(Self { kubeconfig, client })
    }
}
