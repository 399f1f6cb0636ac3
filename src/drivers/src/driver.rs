//! One driver: its connection, and the calls it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_proto::replication::{
    self as wire, controller_client::ControllerClient, replication_destination,
};
use lifeboat_proto::{csi, identity};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tracing::{debug, instrument};

use crate::capability::Capability;
use crate::endpoint::Endpoint;
use crate::error::{Delivery, DriverError, Rpc};
use crate::identity::{Flavour, Identity, Liveness};
use crate::volume::{Force, Info, Readiness, Secrets, Volume};

/// How much later than ours the deadline is that the driver is told, so that ours is the one that counts.
const MARGIN: Duration = Duration::from_millis(500);
/// Identity calls touch no storage and answer at once, or the driver is not well.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(5);

/// Sees every call: for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A call begins.
    fn begun(&self, driver: &str, rpc: Rpc);
    /// It ended with this code, after this long.
    fn ended(&self, driver: &str, rpc: Rpc, code: Code, took: Duration);
}

struct Nobody;

impl Observer for Nobody {
    fn begun(&self, _: &str, _: Rpc) {}
    fn ended(&self, _: &str, _: Rpc, _: Code, _: Duration) {}
}

/// How to reach a driver.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// The driver's name, as classes name it.
    pub name: String,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// How long one call may take.
    pub rpc_timeout: Duration,
}

/// What we ask of a driver that replicates. [`Driver`] is the one that speaks gRPC.
pub trait ReplicationDriver: Send + Sync {
    /// Starts to replicate a volume. Idempotent.
    fn enable(&self, volume: &Volume) -> impl Future<Output = Result<(), DriverError>> + Send;
    /// Stops replicating it. Idempotent.
    fn disable(&self, volume: &Volume) -> impl Future<Output = Result<(), DriverError>> + Send;
    /// Makes it writable here. By force: even if the peer may still be writable. Idempotent.
    fn promote(
        &self,
        volume: &Volume,
        force: Force,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;
    /// Makes it a copy of the peer. Never forced. Idempotent.
    fn demote(&self, volume: &Volume) -> impl Future<Output = Result<(), DriverError>> + Send;
    /// Asks whether it is in step; by force, may throw the local copy away to get there. Idempotent only unforced.
    fn resync(
        &self,
        volume: &Volume,
        force: Force,
    ) -> impl Future<Output = Result<Readiness, DriverError>> + Send;
    /// Asks how replication of a primary goes.
    fn info(&self, volume: &Volume) -> impl Future<Output = Result<Info, DriverError>> + Send;
    /// Asks what the volume is called at the peer; `None` while that is not known.
    fn destination_info(
        &self,
        volume: &Volume,
    ) -> impl Future<Output = Result<Option<String>, DriverError>> + Send;
}

/// A driver behind a socket. Clones share the connection and the one-call-per-handle rule.
#[derive(Clone)]
pub struct Driver {
    inner: Arc<Inner>,
}

struct Inner {
    config: DriverConfig,
    observer: Arc<dyn Observer>,
    channel: Mutex<Option<Channel>>,
    gates: parking_lot::Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Driver").field(&self.inner.config).finish()
    }
}

impl Driver {
    /// A driver. Nothing is dialled before the first call.
    pub fn new(config: DriverConfig) -> Self {
        Self::observed(config, Arc::new(Nobody))
    }

    /// A driver whose calls are seen by `observer`.
    pub fn observed(config: DriverConfig, observer: Arc<dyn Observer>) -> Self {
        let (channel, gates) = (Mutex::new(None), parking_lot::Mutex::default());
        Self {
            inner: Arc::new(Inner {
                config,
                observer,
                channel,
                gates,
            }),
        }
    }

    /// The name it was configured with.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.config.endpoint
    }

    /// Asks who the driver is: the CSI-Addons identity first, then, if it has none, the CSI one; and what it offers for its
    /// copies.
    pub async fn identify(&self) -> Result<Identity, DriverError> {
        let mut identity = self.who().await?;
        identity.capabilities.extend(self.copies().await?);
        Ok(identity)
    }

    async fn who(&self) -> Result<Identity, DriverError> {
        let rpc = Rpc::Identify;
        let addons = self
            .about(rpc, async |channel| {
                let mut client = identity::identity_client::IdentityClient::new(channel);
                let who = client
                    .get_identity(identity::GetIdentityRequest {})
                    .await?
                    .into_inner();
                let what = client
                    .get_capabilities(identity::GetCapabilitiesRequest {})
                    .await?
                    .into_inner();
                Ok((who, what))
            })
            .await;
        match addons {
            Ok((who, what)) => Ok(Identity {
                name: who.name,
                version: who.vendor_version,
                flavour: Flavour::CsiAddons,
                capabilities: what
                    .capabilities
                    .into_iter()
                    .filter_map(Capability::from_wire)
                    .collect(),
            }),
            Err(error) if error.code == Code::Unimplemented => {
                let who = self
                    .about(rpc, async |channel| {
                        let mut client = csi::identity_client::IdentityClient::new(channel);
                        client
                            .get_plugin_info(csi::GetPluginInfoRequest {})
                            .await
                            .map(Response::into_inner)
                    })
                    .await?;
                Ok(Identity {
                    name: who.name,
                    version: who.vendor_version,
                    flavour: Flavour::Csi,
                    capabilities: BTreeSet::from([
                        Capability::ControllerService,
                        Capability::VolumeReplication,
                    ]),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Asks whether the driver is ready, by the identity service it has.
    pub async fn probe(&self) -> Result<Liveness, DriverError> {
        let rpc = Rpc::Probe;
        let addons = self
            .about(rpc, async |channel| {
                let mut client = identity::identity_client::IdentityClient::new(channel);
                client
                    .probe(identity::ProbeRequest {})
                    .await
                    .map(|r| r.into_inner().ready)
            })
            .await;
        let ready = match addons {
            Err(error) if error.code == Code::Unimplemented => {
                self.about(rpc, async |channel| {
                    let mut client = csi::identity_client::IdentityClient::new(channel);
                    client
                        .probe(csi::ProbeRequest {})
                        .await
                        .map(|r| r.into_inner().ready)
                })
                .await?
            }
            other => other?,
        };
        // Absent means ready.
        Ok(if ready.unwrap_or(true) {
            Liveness::Ready
        } else {
            Liveness::Starting
        })
    }

    pub(crate) async fn about<T>(
        &self,
        rpc: Rpc,
        call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
    ) -> Result<T, DriverError> {
        self.timed(rpc, self.name(), IDENTITY_DEADLINE, call).await
    }

    /// A call about the role of a volume or group.
    async fn on<T>(
        &self,
        rpc: Rpc,
        volume: &Volume,
        call: impl AsyncFnOnce(ControllerClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, DriverError> {
        self.alone(
            rpc,
            volume.source.handle(),
            &volume.secrets,
            async |channel| call(ControllerClient::new(channel)).await,
        )
        .await
    }

    /// A call about a volume, group or fence: alone for its handle, under the deadline.
    #[instrument(name = "rpc", skip_all, fields(%rpc, driver = self.name(), handle))]
    pub(crate) async fn alone<T>(
        &self,
        rpc: Rpc,
        handle: &str,
        secrets: &Secrets,
        call: impl AsyncFnOnce(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, DriverError> {
        let gate = self
            .inner
            .gates
            .lock()
            .entry(handle.to_owned())
            .or_default()
            .clone();
        let turn = gate.lock().await;
        let after = self.inner.config.rpc_timeout;
        let answer = self
            .timed(rpc, handle, after, async |channel| {
                call(channel).await.map(Response::into_inner)
            })
            .await;
        drop(turn);
        let mut gates = self.inner.gates.lock();
        // The map's and ours: nobody else waits for this handle.
        if Arc::strong_count(&gate) <= 2 {
            gates.remove(handle);
        }
        answer.map_err(|error| DriverError {
            message: secrets.hide(&error.message),
            ..error
        })
    }

    async fn timed<T>(
        &self,
        rpc: Rpc,
        handle: &str,
        after: Duration,
        call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
    ) -> Result<T, DriverError> {
        let (name, started) = (self.name(), Instant::now());
        self.inner.observer.begun(name, rpc);
        let timed = tokio::time::timeout(after, self.dialled(call)).await;
        let answer = timed.unwrap_or_else(|_| {
            let words = format!("no answer within {}s", after.as_secs_f32());
            Err((Status::deadline_exceeded(words), Delivery::Sent))
        });
        let code = answer
            .as_ref()
            .err()
            .map_or(Code::Ok, |(status, _)| status.code());
        self.inner
            .observer
            .ended(name, rpc, code, started.elapsed());
        debug!(driver = name, %rpc, handle, ?code, "driver call");
        answer.map_err(|(status, delivery)| DriverError {
            rpc,
            handle: handle.to_owned(),
            code: status.code(),
            message: status.message().to_owned(),
            delivery,
        })
    }

    async fn dialled<T>(
        &self,
        call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
    ) -> Result<T, (Status, Delivery)> {
        let channel = self
            .channel()
            .await
            .map_err(|status| (status, Delivery::NotSent))?;
        let answer = call(channel).await;
        // A status of the driver has no source; one of the transport has. After that the socket may have been replaced.
        if let Err(status) = &answer
            && status.source().is_some()
        {
            *self.inner.channel.lock().await = None;
        }
        answer.map_err(|status| (status, Delivery::Sent))
    }

    async fn channel(&self) -> Result<Channel, Status> {
        let mut slot = self.inner.channel.lock().await;
        if let Some(channel) = slot.as_ref() {
            return Ok(channel.clone());
        }
        let dialled = self.inner.config.endpoint.connect().await;
        let channel = dialled
            .map_err(|e| Status::unavailable(format!("driver {} is away: {e}", self.name())))?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.inner.config.rpc_timeout + MARGIN);
        request
    }
}

impl ReplicationDriver for Driver {
    async fn enable(&self, volume: &Volume) -> Result<(), DriverError> {
        let request = self.request(wire::EnableVolumeReplicationRequest {
            volume_id: volume.source.volume_id(),
            parameters: volume.parameters_to_wire(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        self.on(Rpc::Enable, volume, async |mut c| {
            c.enable_volume_replication(request).await
        })
        .await
        .map(|_| ())
    }

    async fn disable(&self, volume: &Volume) -> Result<(), DriverError> {
        let request = self.request(wire::DisableVolumeReplicationRequest {
            volume_id: volume.source.volume_id(),
            parameters: volume.parameters_to_wire(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        self.on(Rpc::Disable, volume, async |mut c| {
            c.disable_volume_replication(request).await
        })
        .await
        .map(|_| ())
    }

    async fn promote(&self, volume: &Volume, force: Force) -> Result<(), DriverError> {
        let request = self.request(wire::PromoteVolumeRequest {
            volume_id: volume.source.volume_id(),
            force: force.to_wire(),
            parameters: volume.parameters_to_wire(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        self.on(Rpc::Promote, volume, async |mut c| {
            c.promote_volume(request).await
        })
        .await
        .map(|_| ())
    }

    async fn demote(&self, volume: &Volume) -> Result<(), DriverError> {
        let request = self.request(wire::DemoteVolumeRequest {
            volume_id: volume.source.volume_id(),
            force: Force::No.to_wire(),
            parameters: volume.parameters_to_wire(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        self.on(Rpc::Demote, volume, async |mut c| {
            c.demote_volume(request).await
        })
        .await
        .map(|_| ())
    }

    async fn resync(&self, volume: &Volume, force: Force) -> Result<Readiness, DriverError> {
        let request = self.request(wire::ResyncVolumeRequest {
            volume_id: volume.source.volume_id(),
            force: force.to_wire(),
            parameters: volume.parameters_to_wire(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        let answer = self
            .on(Rpc::Resync, volume, async |mut c| {
                c.resync_volume(request).await
            })
            .await?;
        Ok(if answer.ready {
            Readiness::Ready
        } else {
            Readiness::NotReady
        })
    }

    async fn info(&self, volume: &Volume) -> Result<Info, DriverError> {
        let request = self.request(wire::GetVolumeReplicationInfoRequest {
            volume_id: volume.source.volume_id(),
            secrets: volume.secrets.to_wire(),
            replication_id: volume.replication_id.clone(),
            replication_source: Some(volume.source.to_wire()),
        });
        let answer = self
            .on(Rpc::Info, volume, async |mut c| {
                c.get_volume_replication_info(request).await
            })
            .await?;
        let info = Info::from_wire(answer);
        Ok(Info {
            message: volume.secrets.hide(&info.message),
            ..info
        })
    }

    async fn destination_info(&self, volume: &Volume) -> Result<Option<String>, DriverError> {
        let request = self.request(wire::GetReplicationDestinationInfoRequest {
            secrets: volume.secrets.to_wire(),
            replication_source: Some(volume.source.to_wire()),
        });
        let rpc = Rpc::DestinationInfo;
        let answer = self
            .on(rpc, volume, async |mut c| {
                c.get_replication_destination_info(request).await
            })
            .await?;
        let name = answer
            .replication_destination
            .and_then(|d| d.r#type)
            .map(|kind| match kind {
                replication_destination::Type::Volume(v) => v.volume_id,
                replication_destination::Type::Volumegroup(g) => g.volume_group_id,
            });
        Ok(name.filter(|name| !name.is_empty()))
    }
}
