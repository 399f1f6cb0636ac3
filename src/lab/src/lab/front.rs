//! The world at real sockets: what a person, or a program that is not in this process, reaches.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use lifeboat_sim::{
    apiserver::{Identity, ServeHandle, serve},
    csi_addons::Served,
    world::{HUB, World},
};
use tempfile::TempDir;

use super::{LabError, connect};

/// The API servers behind HTTPS and the drivers behind sockets.
pub(super) struct Front {
    handle: ServeHandle,
    sockets: BTreeMap<String, Served>,
    dir: TempDir,
}

impl Front {
    /// Opens it on a free port of the loopback interface.
    pub(super) async fn open(world: &World) -> Result<Self, LabError> {
        let places: Vec<String> = std::iter::once(HUB.to_owned())
            .chain(world.sites().map(|s| s.name.clone()))
            .collect();
        let mut servers = BTreeMap::new();
        for place in &places {
            servers.insert(place.clone(), Arc::clone(world.api(place)?));
        }
        let handle = serve(([127, 0, 0, 1], 0).into(), servers).await?;
        let dir = tempfile::Builder::new().prefix("lifeboat-lab-").tempdir();
        let dir = dir.map_err(|source| LabError::File {
            path: std::env::temp_dir().display().to_string(),
            source,
        })?;
        let mut sockets = BTreeMap::new();
        for site in world.sites() {
            handle.route(
                &from_hub(&site.name),
                Arc::clone(&site.api),
                world.link(HUB, &site.name)?.clone(),
            );
            let path = dir.path().join(format!("{}.sock", site.name));
            let failed = |source| LabError::File {
                path: path.display().to_string(),
                source,
            };
            sockets.insert(
                site.name.clone(),
                site.driver.serve_unix(&path).map_err(failed)?,
            );
        }
        Ok(Self {
            handle,
            sockets,
            dir,
        })
    }

    /// What the hub is given for a cluster: a token, over the link from the hub.
    pub(super) fn credentials(&self, world: &World, cluster: &str) -> Result<String, LabError> {
        world.site(cluster)?;
        Ok(self
            .handle
            .kubeconfig_with_token(&from_hub(cluster), &connect::token(cluster)))
    }

    /// For people: a context for each place.
    pub(super) fn kubeconfig(&self, world: &World) -> Result<String, LabError> {
        let mut whole: Option<Kubeconfig> = None;
        for place in std::iter::once(HUB).chain(world.sites().map(|s| s.name.as_str())) {
            let one = parse(place, &self.handle.kubeconfig(place, &Identity::admin())?)?;
            whole = Some(match whole {
                None => one,
                Some(all) => all.merge(one).map_err(|e| no_way(place, &e.to_string()))?,
            });
        }
        serde_saphyr::to_string(&whole.unwrap_or_default()).map_err(|e| no_way(HUB, &e.to_string()))
    }

    /// A client of a place, as somebody.
    pub(super) async fn client(&self, place: &str, who: &Identity) -> Result<Client, LabError> {
        let kubeconfig = parse(place, &self.handle.kubeconfig(place, who)?)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let config = config.map_err(|e| no_way(place, &e.to_string()))?;
        Client::try_from(config).map_err(|e| no_way(place, &e.to_string()))
    }

    /// The socket of a cluster's driver.
    pub(super) fn socket(&self, site: &str) -> Option<&Served> {
        self.sockets.get(site)
    }

    /// A directory that goes with the laboratory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn from_hub(site: &str) -> String {
    format!("hub-to-{site}")
}

fn parse(place: &str, yaml: &str) -> Result<Kubeconfig, LabError> {
    Kubeconfig::from_yaml(yaml).map_err(|e| no_way(place, &e.to_string()))
}

fn no_way(place: &str, why: &str) -> LabError {
    LabError::Connect {
        place: place.to_owned(),
        why: why.to_owned(),
    }
}
