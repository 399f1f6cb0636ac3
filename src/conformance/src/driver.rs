//! A storage driver that does what it is told and notes what it was asked.
//! Virtual time: the clock is paused in every test that uses this.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lifeboat_drivers::{ConnectError, Endpoint, connector};
use lifeboat_proto::replication::controller_server::{Controller, ControllerServer};
use lifeboat_proto::replication::{self as wire, replication_source};
use lifeboat_proto::{csi, fence, identity, volumegroup};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};

mod identities;
mod more;

/// What the driver does when called.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Ok,
    NotReady,
    Fail(Code, &'static str),
    Slow(Duration),
    Info(wire::GetVolumeReplicationInfoResponse),
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) letter: &'static str,
    pub(crate) handle: String,
    pub(crate) volume_id: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) replication_id: String,
    /// Volumes of a group, or networks of a fence.
    pub(crate) members: Vec<String>,
    pub(crate) at: Duration,
    /// What was answered; not known while it runs.
    pub(crate) said: Option<Said>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    NotReady,
    No,
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

    /// Everything that was asked, with its handle, but for questions about replication.
    pub(crate) fn story(&self) -> Vec<String> {
        let seen = self.seen();
        let acts = seen.iter().filter(|s| s.letter != "I");
        acts.map(|s| format!("{} {} {}", s.letter, s.handle, s.members.join(",")))
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Listens on a unix socket.
    pub(crate) fn listen(self: &Arc<Self>, path: &std::path::Path) -> Endpoint {
        drop(self.listen_until(path));
        Endpoint::Unix(path.to_owned())
    }

    /// The same, until the answer is cancelled: then nobody accepts there, and open connections break.
    pub(crate) fn listen_until(self: &Arc<Self>, path: &std::path::Path) -> CancellationToken {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let (me, over) = (self.clone(), CancellationToken::new());
        let ended = over.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = ended.run_until_cancelled(listener.accept()).await {
                let (ours, mut far) = tokio::io::duplex(64 * 1024);
                me.serve(ours);
                let (mut near, ended) = (stream, ended.clone());
                tokio::spawn(async move {
                    let copy = tokio::io::copy_bidirectional(&mut near, &mut far);
                    drop(ended.run_until_cancelled(copy).await);
                });
            }
        });
        over
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// Before the row began it was asked this, and answered so.
    pub(crate) fn did_before(&self, handle: &str, letters: &[&'static str], said: Said) {
        let seen = letters.iter().map(|letter| Seen {
            letter,
            handle: handle.to_owned(),
            volume_id: handle.to_owned(),
            parameters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            replication_id: String::new(),
            members: Vec::new(),
            at: Duration::ZERO,
            said: Some(said),
        });
        self.state.lock().earlier.extend(seen);
    }

    /// Everything that it was ever asked about a handle.
    pub(crate) fn history(&self, handle: &str) -> Vec<Seen> {
        let state = self.state.lock();
        let all = state.earlier.iter().chain(&state.seen);
        all.filter(|s| s.handle == handle).cloned().collect()
    }

    /// The letters of all calls for a handle, but for questions about replication.
    pub(crate) fn trace(&self, handle: &str) -> String {
        let seen = self.seen();
        let acts = seen
            .iter()
            .filter(|s| s.handle == handle && s.letter != "I");
        acts.map(|s| s.letter).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn full_trace(&self, handle: &str) -> String {
        let seen = self.seen();
        seen.iter()
            .filter(|s| s.handle == handle)
            .map(|s| s.letter)
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(crate) fn times(&self, letter: &str) -> Vec<Duration> {
        self.seen()
            .iter()
            .filter(|s| s.letter == letter)
            .map(|s| s.at)
            .collect()
    }

    /// How often this was asked.
    pub(crate) fn count(&self, letter: &str) -> usize {
        let state = self.state.lock();
        state.seen.iter().filter(|s| s.letter == letter).count()
    }

    /// When this was asked about one handle.
    pub(crate) fn times_of(&self, letter: &str, handle: &str) -> Vec<Duration> {
        let seen = self.seen();
        let of = seen
            .iter()
            .filter(|s| s.letter == letter && s.handle == handle);
        of.map(|s| s.at).collect()
    }

    pub(crate) fn overlaps(&self) -> Vec<String> {
        self.state.lock().overlaps.clone()
    }

    /// The time by which it notes calls.
    pub(crate) fn clock(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn probes(&self) -> usize {
        self.state.lock().probes
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

    pub(crate) fn endpoint(self: &Arc<Self>) -> Endpoint {
        let me = self.clone();
        connector(move || {
            let me = me.clone();
            async move { me.dial().await }
        })
    }

    async fn dial(self: &Arc<Self>) -> Result<Channel, ConnectError> {
        let Some(open) = self.state.lock().open.clone() else {
            return Err(ConnectError::Injected("the socket is gone".to_owned()));
        };
        let (ours, mut near) = tokio::io::duplex(64 * 1024);
        let (mut far, theirs) = tokio::io::duplex(64 * 1024);
        self.serve(ours);
        // A cable between the two that breaks when the driver goes away.
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = open.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            }
        });
        let slot = Arc::new(parking_lot::Mutex::new(Some(theirs)));
        let connect = tower::service_fn(move |_: tonic::transport::Uri| {
            let end = slot.lock().take();
            async move {
                end.map(TokioIo::new)
                    .ok_or_else(|| std::io::Error::other("the connection is used up"))
            }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://driver");
        endpoint
            .connect_with_connector(connect)
            .await
            .map_err(|e| ConnectError::Injected(e.to_string()))
    }

    fn serve<S>(self: &Arc<Self>, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Send + Unpin + 'static,
    {
        let service = Service(self.clone());
        let mut server = Server::builder();
        let router = server
            .add_service(ControllerServer::new(service.clone()))
            .add_service(volumegroup::controller_server::ControllerServer::new(
                service.clone(),
            ))
            .add_service(fence::fence_controller_server::FenceControllerServer::new(
                service.clone(),
            ));
        let router = match self.identity {
            Identity::Addons => {
                router.add_service(identity::identity_server::IdentityServer::new(service))
            }
            Identity::Csi => router.add_service(csi::identity_server::IdentityServer::new(service)),
        };
        tokio::spawn(async move {
            let incoming = futures::stream::iter([Ok::<_, std::io::Error>(stream)]);
            let incoming = futures::StreamExt::chain(incoming, futures::stream::pending());
            drop(router.serve_with_incoming(incoming).await);
        });
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
        if let Answer::Slow(time) = &answer {
            tokio::time::sleep(*time).await;
        }
        drop(busy);
        let said = match &answer {
            Answer::Fail(..) => Said::No,
            Answer::NotReady => Said::NotReady,
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

macro_rules! seen {
    ($self:expr, $letter:expr, $request:expr, $parameters:expr) => {{
        let request = $request;
        let handle = match request.replication_source.clone().and_then(|s| s.r#type) {
            Some(replication_source::Type::Volume(v)) => v.volume_id,
            Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id,
            None => request.volume_id.clone(),
        };
        Seen {
            letter: $letter,
            handle,
            volume_id: request.volume_id.clone(),
            parameters: $parameters,
            secrets: request.secrets.clone().into_iter().collect(),
            replication_id: request.replication_id.clone(),
            members: Vec::new(),
            at: $self.0.start.elapsed(),
            said: None,
        }
    }};
}

macro_rules! plain {
    ($self:expr, $letter:expr, $request:expr, $response:expr) => {{
        let request = $request.into_inner();
        let parameters = request.parameters.clone().into_iter().collect();
        let seen = seen!($self, $letter, request, parameters);
        $self.0.called(seen).await.map(|_| Response::new($response))
    }};
}

#[tonic::async_trait]
impl Controller for Service {
    async fn enable_volume_replication(
        &self,
        request: Request<wire::EnableVolumeReplicationRequest>,
    ) -> Result<Response<wire::EnableVolumeReplicationResponse>, Status> {
        plain!(self, "E", request, wire::EnableVolumeReplicationResponse {})
    }

    async fn disable_volume_replication(
        &self,
        request: Request<wire::DisableVolumeReplicationRequest>,
    ) -> Result<Response<wire::DisableVolumeReplicationResponse>, Status> {
        plain!(
            self,
            "D",
            request,
            wire::DisableVolumeReplicationResponse {}
        )
    }

    async fn promote_volume(
        &self,
        request: Request<wire::PromoteVolumeRequest>,
    ) -> Result<Response<wire::PromoteVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Pf" } else { "P" };
        plain!(self, letter, request, wire::PromoteVolumeResponse {})
    }

    async fn demote_volume(
        &self,
        request: Request<wire::DemoteVolumeRequest>,
    ) -> Result<Response<wire::DemoteVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Mf" } else { "M" };
        plain!(self, letter, request, wire::DemoteVolumeResponse {})
    }

    async fn resync_volume(
        &self,
        request: Request<wire::ResyncVolumeRequest>,
    ) -> Result<Response<wire::ResyncVolumeResponse>, Status> {
        let letter = if request.get_ref().force { "Rf" } else { "R" };
        let request = request.into_inner();
        let parameters = request.parameters.clone().into_iter().collect();
        let answer = self
            .0
            .called(seen!(self, letter, request, parameters))
            .await?;
        Ok(Response::new(wire::ResyncVolumeResponse {
            ready: !matches!(answer, Answer::NotReady),
        }))
    }

    async fn get_volume_replication_info(
        &self,
        request: Request<wire::GetVolumeReplicationInfoRequest>,
    ) -> Result<Response<wire::GetVolumeReplicationInfoResponse>, Status> {
        let request = request.into_inner();
        match self
            .0
            .called(seen!(self, "I", request, BTreeMap::new()))
            .await?
        {
            Answer::Info(info) => Ok(Response::new(info)),
            _ => Err(Status::unimplemented("not offered")),
        }
    }

    async fn get_replication_destination_info(
        &self,
        request: Request<wire::GetReplicationDestinationInfoRequest>,
    ) -> Result<Response<wire::GetReplicationDestinationInfoResponse>, Status> {
        let request = request.into_inner();
        let handle = match request.replication_source.and_then(|s| s.r#type) {
            Some(replication_source::Type::Volume(v)) => v.volume_id,
            Some(replication_source::Type::Volumegroup(g)) => g.volume_group_id,
            None => String::new(),
        };
        self.about("X", handle, request.secrets, HashMap::new(), Vec::new())
            .await?;
        let known = self.0.state.lock().destination.clone();
        let volume_id = match known {
            None => return Err(Status::unimplemented("not offered")),
            Some(Err(code)) => return Err(Status::new(code, "not known yet")),
            Some(Ok(handle)) => handle,
        };
        let volume = wire::replication_destination::VolumeDestination { volume_id };
        let destination = wire::ReplicationDestination {
            r#type: Some(wire::replication_destination::Type::Volume(volume)),
        };
        Ok(Response::new(wire::GetReplicationDestinationInfoResponse {
            replication_destination: Some(destination),
        }))
    }
}

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
