//! The path between one client and one server, and what can go wrong on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody listens: the request was not sent.
    #[error("connection refused by the simulated network")]
    Refused,
    /// The connection broke: the request may or may not have been executed.
    #[error("connection reset by the simulated network")]
    Reset,
}

impl From<ConnectionError> for io::Error {
    fn from(e: ConnectionError) -> Self {
        let kind = match e {
            ConnectionError::Refused => io::ErrorKind::ConnectionRefused,
            ConnectionError::Reset => io::ErrorKind::ConnectionReset,
        };
        io::Error::new(kind, e)
    }
}

/// Whether requests get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They do.
    Open,
    /// Nothing arrives and nobody is told.
    Silent,
    /// They fail at once, and open watches end.
    Refused,
}

#[derive(Debug, Default)]
struct Faults {
    latency: Duration,
    lost_replies: u32,
    failures: u32,
    failure_code: u16,
}

#[derive(Debug)]
struct Inner {
    passage: watch::Sender<Passage>,
    /// Counts up; a change ends every open watch.
    drops: watch::Sender<u64>,
    faults: Mutex<Faults>,
}

/// A path between clients and a server. Clones share one state, so that a test breaks what a client was given.
#[derive(Debug, Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// A link that works until told otherwise.
    pub fn new() -> Self {
        let inner = Inner {
            passage: watch::Sender::new(Passage::Open),
            drops: watch::Sender::new(0),
            faults: Mutex::new(Faults::default()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A link nobody means to break.
    pub fn perfect() -> Self {
        Self::new()
    }

    /// Cuts the cable: requests hang until it is mended or the caller gives up; watches fall silent.
    pub fn cut(&self) {
        self.inner.passage.send_replace(Passage::Silent);
    }

    /// Mends whatever [`cut`](Self::cut) or [`refuse`](Self::refuse) did.
    pub fn heal(&self) {
        self.inner.passage.send_replace(Passage::Open);
    }

    /// Makes requests fail at once with a connection error, and ends open watches.
    pub fn refuse(&self) {
        self.inner.passage.send_replace(Passage::Refused);
    }

    /// How long a request and its reply take together on this link; watch events take half of it.
    pub fn set_latency(&self, round_trip: Duration) {
        self.inner.faults.lock().latency = round_trip;
    }

    /// The next `n` writes are executed, but instead of a reply the client gets a connection error.
    pub fn lose_next_replies(&self, n: u32) {
        self.inner.faults.lock().lost_replies = n;
    }

    /// The next `n` requests are answered with this HTTP status code and not executed.
    pub fn fail_next(&self, n: u32, code: u16) {
        let mut faults = self.inner.faults.lock();
        faults.failures = n;
        faults.failure_code = code;
    }

    /// Ends every watch that is open on this link.
    pub fn drop_watches(&self) {
        self.inner.drops.send_modify(|n| *n += 1);
    }

    pub(crate) fn passage(&self) -> watch::Receiver<Passage> {
        self.inner.passage.subscribe()
    }

    pub(crate) fn drops(&self) -> watch::Receiver<u64> {
        self.inner.drops.subscribe()
    }

    /// Half of the round trip.
    pub(crate) fn one_way(&self) -> Duration {
        self.inner.faults.lock().latency / 2
    }

    /// The failure the next request is to get, if any.
    pub(crate) fn take_failure(&self) -> Option<u16> {
        let mut faults = self.inner.faults.lock();
        faults.failures = faults.failures.checked_sub(1)?;
        Some(faults.failure_code)
    }

    /// Whether the reply to this write is to be lost.
    pub(crate) fn take_lost_reply(&self) -> bool {
        let mut faults = self.inner.faults.lock();
        let left = faults.lost_replies.checked_sub(1);
        faults.lost_replies = left.unwrap_or_default();
        left.is_some()
    }
}

/// Waits until a passage is open.
pub(crate) async fn pass(passage: &mut watch::Receiver<Passage>) -> Result<(), ConnectionError> {
    loop {
        let now = *passage.borrow_and_update();
        match now {
            Passage::Open => return Ok(()),
            Passage::Refused => return Err(ConnectionError::Refused),
            Passage::Silent => passage
                .changed()
                .await
                .map_err(|_| ConnectionError::Reset)?,
        }
    }
}
