//! The newest complete capture of each placement, known without asking the archive again and again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lifeboat_capture::Capture;
use lifeboat_core::observed::{ArchiveFacts, CaptureFacts, CapturedVolume, Csi, Current};
use lifeboat_core::{ClaimKey, ClusterId, Epoch, WorkloadKey};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::archive::{Archive, ArchiveError, Manifest, Put, Stored};
use crate::resolve::Scope;

/// How many whole captures are kept in memory: a move reads its capture several times.
const KEPT: usize = 1024;
/// How long a failed read of the archive is left alone.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an archive that shows too little is left alone: somebody may put back what it lacks, and no watch tells.
const LACKING_AGAIN: Duration = Duration::from_secs(30);

/// What identifies the present state of a placement on a cluster; two equal texts mean that a capture would say the same.
pub type Fingerprints = Arc<dyn Fn(&Scope, &ClusterId) -> String + Send + Sync>;

/// The archive, with what is known of it.
pub struct ArchiveView {
    archive: Arc<dyn Archive>,
    fingerprints: Fingerprints,
    known: Mutex<Known>,
    /// Whose captures there are, by name, and when that was asked. One asks for all who wait.
    names: tokio::sync::Mutex<Option<(Instant, ByName)>>,
}

/// The newest capture of each uid, by `namespace/name` of the placement.
type ByName = BTreeMap<String, BTreeMap<String, Earlier>>;

/// A capture of another placement of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Earlier {
    /// The epoch it was taken in.
    pub epoch: u64,
    /// When.
    pub taken_at: jiff::Timestamp,
    /// The cluster that owned the application.
    pub source: String,
    /// uid of that placement.
    pub uid: String,
}

#[derive(Default)]
struct Known {
    entries: BTreeMap<String, Entry>,
    captures: BTreeMap<String, (u64, Arc<Capture>)>,
    order: VecDeque<String>,
}

#[derive(Clone)]
struct Entry {
    facts: ArchiveFacts,
    /// The version that the archive was last read for.
    asked_for: u64,
    /// When that was.
    asked: Instant,
    /// The version, and what its source looked like right before it was read.
    seen: Option<(u64, String)>,
}

impl Entry {
    /// How long until the archive is to be asked again; none: all is there that must be.
    fn again_after(&self, least: u64) -> Option<Duration> {
        let newest = self.facts.newest.as_ref().map_or(0, |n| n.version);
        let wait = if self.facts.unreadable.is_some() {
            AGAIN
        } else if newest < least && self.asked_for != least {
            // Another hub has stored a capture since, as far as the journal knows.
            Duration::ZERO
        } else if newest < least || !self.facts.broken.is_empty() {
            LACKING_AGAIN
        } else {
            return None;
        };
        Some(wait.saturating_sub(self.asked.elapsed()))
    }
}

impl Known {
    fn keep(&mut self, uid: &str, version: u64, capture: Arc<Capture>) {
        if self
            .captures
            .insert(uid.to_owned(), (version, capture))
            .is_none()
        {
            self.order.push_back(uid.to_owned());
        }
        while self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.captures.remove(&oldest);
            }
        }
    }
}

impl ArchiveView {
    /// A view of `archive`.
    pub fn new(archive: Arc<dyn Archive>, fingerprints: Fingerprints) -> Self {
        Self {
            archive,
            fingerprints,
            known: Mutex::new(Known::default()),
            names: tokio::sync::Mutex::default(),
        }
    }

    /// The newest capture of another placement of that name, as the archive is now.
    pub async fn earlier(&self, scope: &Scope) -> Result<Option<Earlier>, ArchiveError> {
        let now = Instant::now();
        let mut names = self.names.lock().await;
        let all = match names.take() {
            // Asked while this one waited for its turn.
            Some((asked, all)) if asked > now => names.insert((asked, all)),
            _ => {
                let asked = Instant::now();
                names.insert((asked, by_name(self.archive.manifests().await?)))
            }
        };
        let of_name = all.1.get(&scope.key.to_string()).into_iter().flatten();
        let others = of_name.filter(|(uid, _)| **uid != scope.uid);
        Ok(others.map(|(_, earlier)| earlier).max().cloned())
    }

    /// What the source of a placement looks like now.
    pub fn fingerprint(&self, scope: &Scope, source: &ClusterId) -> String {
        (self.fingerprints)(scope, source)
    }

    /// What is known of the captures of a placement, of which there must be one of version `least` or later. Asks the archive
    /// once, and again when it must have more than is known; `again_after` tells when it is worth asking once more what could
    /// not be read, or was not there.
    pub async fn facts(&self, scope: &Scope, least: u64) -> ArchiveFacts {
        let known = self.known.lock().entries.get(&scope.uid).cloned();
        let enough = |entry: &Entry| entry.again_after(least).is_none_or(|wait| !wait.is_zero());
        let entry = match known.filter(enough) {
            Some(entry) => entry,
            None => self.load(scope, least).await,
        };
        self.judge(scope, entry)
    }

    /// Forgets all that is known: another hub may have written since.
    pub fn start_over(&self) {
        *self.known.lock() = Known::default();
    }

    /// When the archive is to be asked again for a capture of version `least` or later; none: it was read, and has it.
    pub fn again_after(&self, uid: &str, least: u64) -> Option<Duration> {
        let known = self.known.lock();
        known.entries.get(uid)?.again_after(least)
    }

    fn judge(&self, scope: &Scope, entry: Entry) -> ArchiveFacts {
        let mut facts = entry.facts;
        let current = match (&facts.newest, &entry.seen) {
            (Some(newest), Some((version, seen))) => {
                *version == newest.version && *seen == self.fingerprint(scope, &newest.source)
            }
            _ => false,
        };
        facts.current = if current { Current::Yes } else { Current::No };
        facts
    }

    async fn load(&self, scope: &Scope, least: u64) -> Entry {
        let read = self.archive.newest_complete(&scope.uid).await;
        let mut facts = ArchiveFacts::default();
        match read {
            Ok(found) => {
                facts.newest = Some(capture_facts(scope, &found.stored, &found.capture));
                facts.broken = found.broken.iter().map(ToString::to_string).collect();
                self.known
                    .lock()
                    .keep(&scope.uid, found.stored.version, Arc::new(found.capture));
            }
            Err(ArchiveError::Nothing { .. }) => {}
            Err(ArchiveError::NoneComplete { broken, .. }) => {
                facts.broken = broken.iter().map(ToString::to_string).collect();
            }
            Err(error) => {
                facts.unreadable = Some(lifeboat_kit::error::full(&error));
            }
        }
        let mut known = self.known.lock();
        let seen = known.entries.get(&scope.uid).and_then(|e| e.seen.clone());
        // A read that failed does not undo what was known: the captures are still there, only not readable now.
        if facts.unreadable.is_some()
            && let Some(before) = known.entries.get(&scope.uid)
        {
            facts.newest.clone_from(&before.facts.newest);
        }
        let entry = Entry {
            facts,
            asked_for: least,
            asked: Instant::now(),
            seen,
        };
        known.entries.insert(scope.uid.clone(), entry.clone());
        entry
    }

    /// Stores a capture. `seen` is the fingerprint of its source from before it was read.
    pub async fn put(
        &self,
        scope: &Scope,
        capture: Capture,
        seen: String,
    ) -> Result<Put, ArchiveError> {
        let put = self.archive.put(&capture).await?;
        let stored = put.stored().clone();
        let facts = ArchiveFacts {
            newest: Some(capture_facts(scope, &stored, &capture)),
            ..ArchiveFacts::default()
        };
        let mut known = self.known.lock();
        known.keep(&scope.uid, stored.version, Arc::new(capture));
        known.entries.insert(
            scope.uid.clone(),
            Entry {
                facts,
                asked_for: stored.version,
                asked: Instant::now(),
                seen: Some((stored.version, seen)),
            },
        );
        Ok(put)
    }

    /// The newest complete capture; none if there is none, or if it is not the version asked for.
    pub async fn read(
        &self,
        scope: &Scope,
        version: Option<u64>,
    ) -> Result<Option<(u64, Arc<Capture>)>, ArchiveError> {
        let kept = self.known.lock().captures.get(&scope.uid).cloned();
        if let Some(kept) = kept.filter(|k| version.is_none_or(|v| v == k.0)) {
            return Ok(Some(kept));
        }
        let found = match self.archive.newest_complete(&scope.uid).await {
            Ok(found) => found,
            Err(ArchiveError::Nothing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (newest, capture) = (found.stored.version, Arc::new(found.capture));
        let mut known = self.known.lock();
        known.keep(&scope.uid, newest, capture.clone());
        if version.is_some_and(|v| v != newest) {
            // What was decided on is outdated: the next look reads the archive anew.
            known.entries.remove(&scope.uid);
            return Ok(None);
        }
        Ok(Some((newest, capture)))
    }

    /// Deletes every capture of a placement.
    pub async fn forget(&self, uid: &str) -> Result<(), ArchiveError> {
        self.archive.delete_all(uid).await?;
        let mut known = self.known.lock();
        known.entries.remove(uid);
        known.captures.remove(uid);
        known.order.retain(|u| u != uid);
        Ok(())
    }
}

fn by_name(manifests: Vec<Manifest>) -> ByName {
    let mut all = ByName::new();
    for manifest in manifests {
        let uids = all.entry(manifest.placement).or_default();
        let found = Earlier {
            epoch: manifest.epoch,
            taken_at: manifest.taken_at,
            source: manifest.source_cluster,
            uid: manifest.placement_uid.clone(),
        };
        match uids.get(&manifest.placement_uid) {
            Some(newest) if *newest >= found => {}
            _ => drop(uids.insert(manifest.placement_uid, found)),
        }
    }
    all
}

/// A capture in the words of the planner: home names, and handles on the target.
fn capture_facts(scope: &Scope, stored: &Stored, capture: &Capture) -> CaptureFacts {
    let source = ClusterId::new(capture.source_cluster.as_str());
    let home = |there: &str| {
        scope
            .home_namespace(&source, there)
            .unwrap_or_else(|| there.to_owned())
    };
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let volumes = capture.volumes.iter().map(|v| {
        let class = text(&v.pvc, "/spec/storageClassName");
        let class = Some(class)
            .filter(|c| !c.is_empty())
            .map(|c| scope.home_storage_class(&source, &c).unwrap_or(c));
        let handle = v.destination_handle.as_ref().unwrap_or(&v.handle).clone();
        let origin = (handle != v.handle).then(|| v.handle.clone());
        let csi = Csi {
            driver: v.driver.clone(),
            handle,
        };
        (
            ClaimKey::new(home(&v.namespace), v.claim.as_str()),
            CapturedVolume {
                csi,
                origin,
                volume: text(&v.pv, "/metadata/name"),
                storage_class: class,
            },
        )
    });
    let workloads = capture.workloads.iter().map(|w| {
        let (kind, namespace, name) = (
            text(&w.object, "/kind"),
            home(&text(&w.object, "/metadata/namespace")),
            text(&w.object, "/metadata/name"),
        );
        (
            WorkloadKey {
                kind,
                namespace,
                name,
            },
            w.replicas,
        )
    });
    CaptureFacts {
        version: stored.version,
        epoch: Epoch(i64::try_from(stored.epoch).unwrap_or(i64::MAX)),
        source: source.clone(),
        taken_at: stored.taken_at,
        volumes: volumes.collect(),
        workloads: workloads.collect(),
    }
}

#[cfg(test)]
mod tests;
