//! A storage driver that does what it is told and notes what it was asked.
//! Virtual time: the clock is paused in every test that uses this.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lifeboat_proto::replication::GetVolumeReplicationInfoResponse;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

mod connection;
mod copies;
mod groups;
mod identities;
mod replication;
mod seen;

pub(crate) use copies::{DIVERGED, SIZE};
pub(crate) use seen::{Said, Seen};

/// What the driver does when called.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Ok,
    NotReady,
    NotReadyAfter(Duration),
    Fail(Code, &'static str),
    Slow(Duration),
    Info(GetVolumeReplicationInfoResponse),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    Addons,
    Csi,
}

#[derive(Default)]
struct State {
    /// Calls from before the row, which nobody counts.
    earlier: Vec<Seen>,
    seen: Vec<Seen>,
    once: BTreeMap<&'static str, VecDeque<Answer>>,
    always: BTreeMap<&'static str, Answer>,
    /// By handle and letter.
    once_for: BTreeMap<(String, &'static str), Answer>,
    busy: BTreeMap<String, usize>,
    overlaps: Vec<String>,
    open: Option<CancellationToken>,
    probes: usize,
    unready: bool,
    lacks: Vec<&'static str>,
    copies: Vec<lifeboat_proto::copies::Capability>,
    destination: Option<Result<String, Code>>,
}

pub(crate) struct Driver {
    name: String,
    identity: Identity,
    start: Instant,
    state: parking_lot::Mutex<State>,
    /// Called at each replication call, before it is answered.
    pub(crate) before: Mutex<Option<Before>>,
    /// Called after each call.
    after: parking_lot::Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

pub(crate) type Before =
    Box<dyn Fn(&'static str) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

impl Driver {
    pub(crate) fn new(name: &str, identity: Identity) -> Arc<Self> {
        let state = State {
            open: Some(CancellationToken::new()),
            ..State::default()
        };
        Arc::new(Self {
            name: name.to_owned(),
            identity,
            start: Instant::now(),
            state: parking_lot::Mutex::new(state),
            before: Mutex::new(None),
            after: parking_lot::Mutex::new(None),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// From now on it says at a probe that it is ready, or not.
    pub(crate) fn says_ready(&self, ready: bool) {
        self.state.lock().unready = !ready;
    }

    /// Tells somebody of each call, once it is noted.
    pub(crate) fn on_call(&self, tell: impl Fn() + Send + Sync + 'static) {
        *self.after.lock() = Some(Box::new(tell));
    }

    /// The next calls of this letter are answered like this, in order.
    pub(crate) fn next(&self, letter: &'static str, answer: Answer) {
        self.state
            .lock()
            .once
            .entry(letter)
            .or_default()
            .push_back(answer);
    }

    /// The next call of this letter for this handle is answered like this.
    pub(crate) fn once_for(&self, handle: &str, letter: &'static str, answer: Answer) {
        let key = (handle.to_owned(), letter);
        self.state.lock().once_for.insert(key, answer);
    }

    pub(crate) fn always(&self, letter: &'static str, answer: Answer) {
        self.state.lock().always.insert(letter, answer);
    }

    /// It does not offer this, by the name that [`Capability`](lifeboat_drivers::Capability) has for it.
    pub(crate) fn lacks(&self, capability: &'static str) {
        self.state.lock().lacks.push(capability);
    }

    /// It knows what volumes are called at the peer, or fails to say.
    pub(crate) fn destination(&self, answer: Result<&str, Code>) {
        self.state.lock().destination = Some(answer.map(str::to_owned));
    }

    /// Counts a probe; answers whether it says that it is ready.
    fn probed(&self) -> bool {
        let mut state = self.state.lock();
        state.probes += 1;
        !state.unready
    }

    pub(crate) fn go_away(&self) {
        if let Some(open) = self.state.lock().open.take() {
            open.cancel();
        }
    }

    pub(crate) fn come_back(&self) {
        self.state.lock().open = Some(CancellationToken::new());
    }

    async fn called(&self, seen: Seen) -> Result<Answer, Status> {
        let (letter, handle) = (seen.letter, seen.handle.clone());
        if let Some(before) = &*self.before.lock().await {
            before(letter).await;
        }
        let (answer, index) = {
            let mut state = self.state.lock();
            let busy = state.busy.entry(handle.clone()).or_default();
            *busy += 1;
            if *busy > 1 {
                state.overlaps.push(handle.clone());
            }
            state.seen.push(seen);
            let once = state.once_for.remove(&(handle.clone(), letter));
            let once = once.or_else(|| state.once.get_mut(letter).and_then(VecDeque::pop_front));
            let answer = once.or_else(|| state.always.get(letter).cloned());
            (answer.unwrap_or(Answer::Ok), state.seen.len() - 1)
        };
        if let Some(tell) = &*self.after.lock() {
            tell();
        }
        let busy = Busy {
            driver: self,
            handle,
        };
        if let Answer::Slow(time) | Answer::NotReadyAfter(time) = &answer {
            tokio::time::sleep(*time).await;
        }
        drop(busy);
        let said = match &answer {
            Answer::Fail(..) => Said::No,
            Answer::NotReady | Answer::NotReadyAfter(_) => Said::NotReady,
            Answer::Ok | Answer::Slow(_) | Answer::Info(_) => Said::Yes,
        };
        self.state.lock().seen[index].said = Some(said);
        match answer {
            Answer::Fail(code, text) => Err(Status::new(code, text)),
            other => Ok(other),
        }
    }
}

struct Busy<'a> {
    driver: &'a Driver,
    handle: String,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(busy) = self.driver.state.lock().busy.get_mut(&self.handle) {
            *busy -= 1;
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Driver>);

impl Service {
    async fn about(
        &self,
        letter: &'static str,
        handle: String,
        secrets: HashMap<String, String>,
        parameters: HashMap<String, String>,
        members: Vec<String>,
    ) -> Result<Answer, Status> {
        let seen = Seen {
            letter,
            handle,
            volume_id: String::new(),
            parameters: parameters.into_iter().collect(),
            secrets: secrets.into_iter().collect(),
            replication_id: String::new(),
            members,
            at: self.0.start.elapsed(),
            said: None,
        };
        self.0.called(seen).await
    }
}
