//! The machine that pods of a cluster run on: each claim of a pod is mounted, and a program writes records there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all, try_join_all},
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;

use super::{
    Mount, Rbd,
    driver::Handle,
    mount::{Found, read},
    records::Records,
};
use crate::{Node, Program, Work};

/// How long a program may take to end that waits for nothing.
const STOP: Duration = Duration::from_secs(5);
/// The file of the records on a volume.
const FILE: &str = "records";

/// A machine that can be lost and started again. Dropped, it is lost.
pub struct Machine {
    work: Arc<Volumes>,
    node: Option<Node>,
}

/// What its pods do.
struct Volumes {
    site: String,
    client: Client,
    rbd: Rbd,
    folder: PathBuf,
    /// By the uid of the pod.
    used: tokio::sync::Mutex<BTreeMap<String, Vec<Used>>>,
    /// What was last found, by namespace and claim, before the volume was mounted.
    found: Mutex<BTreeMap<String, Found>>,
    /// Why something was not mounted or not unmounted in order, and the last words of writers, oldest first.
    notes: Mutex<Vec<String>>,
}

/// A volume in use.
struct Used {
    of: String,
    // First: it ends before its files go.
    writer: Program,
    mount: Mount,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Machine").field(&self.work.site).finish()
    }
}

impl Machine {
    /// A machine of a cluster, whose volumes are on this storage. In the folder is kept what writers were told to be safe.
    pub async fn start(site: &str, client: Client, rbd: Rbd, folder: &Path) -> Result<Self> {
        let work = Volumes {
            site: site.to_owned(),
            client,
            rbd,
            folder: folder.to_owned(),
            used: tokio::sync::Mutex::default(),
            found: Mutex::default(),
            notes: Mutex::default(),
        };
        let mut machine = Self {
            work: Arc::new(work),
            node: None,
        };
        machine.start_again().await?;
        Ok(machine)
    }

    /// Starts it after a loss. The pods that ran on it run again, for nobody has told it otherwise.
    pub async fn start_again(&mut self) -> Result<()> {
        let name = format!("{}-node", self.work.site);
        let work = self.work.clone();
        let node = Node::start_with(work.client.clone(), &name, work).await?;
        self.node = Some(node);
        Ok(())
    }

    /// The loss of the machine: programs end, nothing is written back. Done when nothing is left of it.
    pub async fn lose(&mut self) -> Result<()> {
        self.node = None;
        let used = std::mem::take(&mut *self.work.used.lock().await);
        let ended = used.into_values().flatten().map(Used::crash);
        join_all(ended).await.into_iter().collect()
    }

    /// What was on a volume when it was last mounted here, before anything was done to it.
    pub fn found(&self, of: &str) -> Option<Found> {
        self.work.found.lock().get(of).cloned()
    }

    /// What went not in order, and the last words of programs, oldest first.
    pub fn notes(&self) -> Vec<String> {
        self.work.notes.lock().clone()
    }

    /// Which volumes are mounted here, by namespace and claim.
    pub async fn mounted(&self) -> Vec<String> {
        let used = self.work.used.lock().await;
        let mut all: Vec<String> = used.values().flatten().map(|u| u.of.clone()).collect();
        all.sort();
        all
    }

    /// The records on a volume that is mounted here.
    pub async fn records(&self, of: &str) -> Result<Records> {
        let file = {
            let used = self.work.used.lock().await;
            let mut all = used.values().flatten();
            let this = all.find(|u| u.of == of);
            this.with_context(|| format!("{of} is not mounted on {}", self.work.site))?
                .mount
                .path()
                .join(FILE)
        };
        Ok(Records::read(&read(&file).await?))
    }

    /// The records that were acknowledged here, to somebody who is elsewhere: the loss of the machine does not touch them.
    pub fn told(&self, of: &str) -> Result<Records> {
        match std::fs::read(self.work.told(of)) {
            Ok(bytes) => Ok(Records::read(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Records::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Forgets what was acknowledged here: it is lost, as everybody knows.
    pub fn forget(&self, of: &str) -> Result<()> {
        match std::fs::remove_file(self.work.told(of)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Has writers of a volume wait while this is done: the image holds what was written, and nothing else comes.
    pub async fn held<T>(&self, of: &str, what: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let mut used = self.work.used.lock().await;
        let mut all = used.values_mut().flatten();
        let this = all.find(|u| u.of == of).context("it is not mounted")?;
        this.mount.hold().await?;
        let done = what().await;
        this.mount.go().await?;
        done
    }
}

impl Used {
    /// In order: the program ends, the files are written back and let go.
    async fn end(self, volumes: &Volumes) {
        let Self {
            of,
            mut writer,
            mount,
        } = self;
        let ended = if let Ok(None) = writer.ended() {
            tokio::time::timeout(STOP, writer.stop()).await.is_ok()
        } else {
            volumes.note(&of, &writer.log().unwrap_or_default());
            true
        };
        writer.went_well();
        let let_go = if ended {
            drop(writer);
            mount.detach().await
        } else {
            // It waits for storage that does not answer.
            volumes.note(&of, "the writer does not end");
            mount.crash().await
        };
        if let Err(error) = let_go {
            volumes.note(&of, &format!("{error:#}"));
        }
    }

    async fn crash(self) -> Result<()> {
        let Self {
            of: _,
            mut writer,
            mount,
        } = self;
        writer.went_well();
        // Killed by its drop; it may end only when its files are gone.
        drop(writer);
        mount.crash().await
    }
}

impl Volumes {
    fn told(&self, of: &str) -> PathBuf {
        let of = of.replace('/', "-");
        self.folder.join(format!("told-{}-{of}", self.site))
    }

    fn note(&self, of: &str, what: &str) {
        let note = format!("{of} on {}: {}", self.site, what.trim());
        let mut notes = self.notes.lock();
        // A pod that cannot run says so again and again.
        if notes.last() != Some(&note) {
            notes.push(note);
        }
    }

    async fn mount_all(&self, pod: &Pod) -> Result<()> {
        let uid = pod.uid().context("a pod without uid")?;
        if self.used.lock().await.contains_key(&uid) {
            return Ok(());
        }
        let namespace = pod.namespace().unwrap_or_default();
        let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let claims = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
        let all = claims.map(|c| self.mount(&namespace, &c.claim_name));
        let used = try_join_all(all).await?;
        self.used.lock().await.insert(uid, used);
        Ok(())
    }

    async fn mount(&self, namespace: &str, claim: &str) -> Result<Used> {
        let of = format!("{namespace}/{claim}");
        let image = self.image(namespace, claim).await?;
        let mount = Mount::attach(&self.rbd, &image).await;
        let mount = mount.inspect_err(|e| self.note(&of, &format!("{e:#}")))?;
        self.found.lock().insert(of.clone(), mount.found().clone());
        let file = mount.path().join(FILE).display().to_string();
        let told = self.told(&of).display().to_string();
        let args = ["--file", &file, "--told", &told, "--of", &of];
        let args = [&args[..], &["--site", &self.site]].concat();
        let name = format!("record-writer-{}-{claim}", self.site);
        let writer = Program::beside("record-writer")?;
        let writer = Program::start_other(&writer, &name, &args, &[])?;
        Ok(Used { of, writer, mount })
    }

    /// The image of a claim, as a driver finds it: by the handle of its volume.
    async fn image(&self, namespace: &str, claim: &str) -> Result<String> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        let claim = claims.get(claim).await?;
        let volume = claim.spec.and_then(|s| s.volume_name);
        let volume = volume.context("a claim without volume")?;
        let volume = Api::<PersistentVolume>::all(self.client.clone())
            .get(&volume)
            .await?;
        let csi = volume.spec.and_then(|s| s.csi);
        let handle = csi.context("not a volume of a driver")?.volume_handle;
        let handle = Handle::parse(&handle).with_context(|| format!("not ours: {handle}"))?;
        Ok(handle.image())
    }
}

impl Work for Volumes {
    fn run<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>> {
        self.mount_all(pod).boxed()
    }

    fn end<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>> {
        async {
            let uid = pod.uid().unwrap_or_default();
            let used = self.used.lock().await.remove(&uid);
            join_all(used.into_iter().flatten().map(|u| u.end(self))).await;
            Ok(())
        }
        .boxed()
    }
}
