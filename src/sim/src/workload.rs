//! What running pods do to their volumes, and the ledger that shows what became of it.
//!
//! A pod reads the last record on each of its images and goes on counting from there, one record each tick. The ledger
//! keeps what was acknowledged, so that afterwards every lost, doubled or contradicted record can be named.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::storage::{Array, Fabric, Record};

/// A record that an application was told is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// On which site.
    pub site: String,
    /// What.
    pub record: Record,
    /// When.
    pub at: Timestamp,
}

/// What became of the acknowledged records of one volume, or of several summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Records acknowledged.
    pub acked: usize,
    /// Of these, how many an application would find now.
    pub present: usize,
    /// Of these, how many it would not.
    pub lost: usize,
    /// Records on the image beyond the first of their number: two writers at once.
    pub doubled: usize,
    /// Numbers acknowledged with different content on different sites: two histories.
    pub forked: usize,
}

/// All records acknowledged anywhere, by volume.
#[derive(Debug)]
pub struct Ledger {
    fabric: Arc<Fabric>,
    acked: Mutex<BTreeMap<String, Vec<Acknowledged>>>,
}

impl Ledger {
    /// An empty ledger over these arrays.
    pub fn new(fabric: Arc<Fabric>) -> Arc<Self> {
        Arc::new(Self {
            fabric,
            acked: Mutex::default(),
        })
    }

    /// Notes an acknowledged record of a volume (by its name, which is its handle where handles are shared).
    pub fn note(&self, volume: &str, site: &str, record: Record) {
        let line = Acknowledged {
            site: site.to_owned(),
            record,
            at: self.fabric.now(),
        };
        self.acked
            .lock()
            .entry(volume.to_owned())
            .or_default()
            .push(line);
    }

    /// Everything acknowledged for a volume, oldest first.
    pub fn acknowledged(&self, volume: &str) -> Vec<Acknowledged> {
        self.acked.lock().get(volume).cloned().unwrap_or_default()
    }

    /// How many records were acknowledged so far, over all volumes.
    pub fn count(&self) -> usize {
        self.acked.lock().values().map(Vec::len).sum()
    }

    /// The volumes that anything was acknowledged for.
    pub fn volumes(&self) -> Vec<String> {
        self.acked.lock().keys().cloned().collect()
    }

    /// What became of a volume's records, as an application would find them now.
    pub fn report(&self, volume: &str) -> Report {
        // Before the content: what is written in between is there, and not acknowledged yet.
        let lines = self.acknowledged(volume);
        let content = self.fabric.current(volume);
        let found: BTreeSet<&Record> = content.iter().map(|e| &e.record).collect();
        let numbers: BTreeSet<u64> = content.iter().map(|e| e.record.number).collect();
        let present = lines.iter().filter(|l| found.contains(&l.record)).count();
        Report {
            acked: lines.len(),
            present,
            lost: lines.len() - present,
            doubled: content.len() - numbers.len(),
            forked: forked(&lines),
        }
    }

    /// The acknowledged records of a volume that an application would not find now.
    pub fn lost(&self, volume: &str) -> Vec<Acknowledged> {
        let mut lines = self.acknowledged(volume);
        let content = self.fabric.current(volume);
        let found: BTreeSet<&Record> = content.iter().map(|e| &e.record).collect();
        lines.retain(|l| !found.contains(&l.record));
        lines
    }

    /// All volumes summed up.
    pub fn total(&self) -> Report {
        self.volumes()
            .iter()
            .map(|v| self.report(v))
            .fold(Report::default(), |sum, r| Report {
                acked: sum.acked + r.acked,
                present: sum.present + r.present,
                lost: sum.lost + r.lost,
                doubled: sum.doubled + r.doubled,
                forked: sum.forked + r.forked,
            })
    }
}

fn forked(lines: &[Acknowledged]) -> usize {
    let mut by_number: BTreeMap<u64, Vec<&Acknowledged>> = BTreeMap::new();
    for line in lines {
        by_number.entry(line.record.number).or_default().push(line);
    }
    let differ = |a: &Acknowledged, b: &Acknowledged| a.site != b.site && a.record != b.record;
    let forks = by_number
        .values()
        .filter(|all| all.iter().any(|a| all.iter().any(|b| differ(a, b))));
    forks.count()
}

struct Writer {
    name: Arc<str>,
    volume: String,
    /// None: the image is to be read first.
    next: Option<u64>,
}

/// The applications of one site.
#[derive(Debug)]
pub struct Workload {
    array: Array,
    ledger: Arc<Ledger>,
    every: Duration,
    /// By pod, then by handle.
    writers: Mutex<BTreeMap<(String, String), Writer>>,
    started: Notify,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Workload {
    /// Applications that write one record per volume each `every`; with zero they write nothing.
    pub fn new(array: Array, ledger: Arc<Ledger>, every: Duration) -> Arc<Self> {
        Arc::new(Self {
            array,
            ledger,
            every,
            writers: Mutex::default(),
            started: Notify::new(),
        })
    }

    /// A pod runs from now on and writes on these images.
    pub fn start(&self, pod: &str, handles: impl IntoIterator<Item = String>) {
        let name: Arc<str> = format!("{}/{pod}", self.array.site()).into();
        let mut writers = self.writers.lock();
        for handle in handles {
            let volume = self
                .array
                .volume_name(&handle)
                .unwrap_or_else(|| handle.clone());
            writers.insert(
                (pod.to_owned(), handle),
                Writer {
                    name: Arc::clone(&name),
                    volume,
                    next: None,
                },
            );
        }
        self.started.notify_one();
    }

    /// A pod runs no more.
    pub fn stop(&self, pod: &str) {
        self.writers.lock().retain(|(of, _), _| of != pod);
    }

    /// No pod runs any more.
    pub fn stop_all(&self) {
        self.writers.lock().clear();
    }

    /// Pods that run and have volumes.
    pub fn running(&self) -> BTreeSet<String> {
        self.writers
            .lock()
            .keys()
            .map(|(pod, _)| pod.clone())
            .collect()
    }

    /// Names of the volumes that running pods have.
    pub fn in_use(&self) -> BTreeSet<String> {
        self.writers
            .lock()
            .values()
            .map(|w| w.volume.clone())
            .collect()
    }

    /// Each running pod writes one record on each of its images, if it can.
    pub fn tick(&self) {
        for ((_, handle), writer) in self.writers.lock().iter_mut() {
            let after = || self.array.last(handle).map_or(1, |r| r.number + 1);
            let number = writer.next.unwrap_or_else(after);
            let record = Record::new(&writer.name, number);
            // What cannot write reads again before it goes on: others may have written meanwhile.
            writer.next = self
                .array
                .append(handle, record.clone())
                .is_ok()
                .then_some(number + 1);
            if writer.next.is_some() {
                self.ledger.note(&writer.volume, self.array.site(), record);
            }
        }
    }

    /// Ticks until dropped; while no pod runs it sleeps, so that a paused clock can leap.
    pub async fn run(&self) {
        if self.every.is_zero() {
            std::future::pending::<()>().await;
        }
        loop {
            if self.writers.lock().is_empty() {
                self.started.notified().await;
            }
            tokio::time::sleep(self.every).await;
            self.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FabricSpec;

    #[test]
    fn a_record_that_is_written_while_somebody_counts_is_not_lost() {
        let fabric = Fabric::new(
            FabricSpec::new(["east"]),
            Arc::new(|| Timestamp::UNIX_EPOCH),
        );
        let array = fabric.array("east").unwrap();
        array.create("v").unwrap();
        let ledger = Ledger::new(fabric);
        let pods = Workload::new(array, ledger.clone(), Duration::from_secs(1));
        pods.start("db-0", ["v".to_owned()]);
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| (0..30_000).for_each(|_| pods.tick()));
            while !writes.is_finished() {
                assert_eq!(ledger.total().lost, 0);
                assert_eq!(ledger.lost("v"), []);
            }
        });
        assert_eq!(ledger.count(), 30_000);
    }
}
