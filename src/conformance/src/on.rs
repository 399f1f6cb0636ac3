//! What one run of one row is given, and what is checked after it whatever it was about.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use lifeboat_api::VolumeReplication;
use parking_lot::Mutex;

use crate::consumer;
use crate::driver::Driver;
use crate::ground::Server;
use crate::leaks::Leaks;

/// One test.
pub struct Row {
    /// Its name; it starts with the rows it is for.
    pub name: &'static str,
    pub(crate) run: for<'a> fn(&'a On) -> LocalBoxFuture<'a, ()>,
}

/// Where a row runs.
pub struct On {
    server: Server,
    paused: bool,
    leaks: Leaks,
    trails: Mutex<Vec<Trail>>,
}

/// What a world leaves behind when its row is over.
pub(crate) struct Trail {
    pub(crate) ns: String,
    pub(crate) admin: Client,
    pub(crate) drivers: Arc<Mutex<Vec<Arc<Driver>>>>,
}

impl On {
    pub(crate) fn new(server: Server, paused: bool, leaks: Leaks) -> Self {
        Self {
            server,
            paused,
            leaks,
            trails: Mutex::default(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.server, Server::Simulated)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn follow(&self, trail: Trail) {
        self.trails.lock().push(trail);
    }

    /// What holds after every row.
    pub(crate) async fn finish(&self) {
        let trails = std::mem::take(&mut *self.trails.lock());
        for trail in trails {
            let volumes: Api<VolumeReplication> = Api::namespaced(trail.admin.clone(), &trail.ns);
            // The kind may be what the row is without.
            let volumes = volumes.list(&ListParams::default()).await;
            for volume in volumes.map(|list| list.items).unwrap_or_default() {
                // Of several drivers one was told of it.
                let drivers = trail.drivers.lock().clone();
                let wrong = drivers.iter().map(|d| consumer::disagreement(&volume, d));
                let wrong: Vec<_> = wrong.collect();
                assert!(wrong.contains(&None), "{}: {wrong:?}", volume.name_any());
            }
            // Of a real server all objects are looked at when all rows are over.
            if matches!(self.server, Server::Simulated) {
                self.leaks.sweep(&trail.admin).await;
            }
        }
        assert!(self.leaks.looked() > 0, "nothing was logged");
        let found = self.leaks.found();
        assert!(found.is_empty(), "a secret was seen: {found:#?}");
    }
}
