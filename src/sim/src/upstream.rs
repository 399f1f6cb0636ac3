//! A stand-in for the controllers of VolumeReplications that the CSI-Addons project has, for whoever must live beside them, take
//! over from them or hand back to them: it does what those were seen to do, in their order and with their ways, good and bad.
//!
//! What it leaves out: groups, fences, and their limits of requests. Changes are found by looking every so often.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::clock::SimClock;

mod calls;
mod status;

use calls::Wire;
use status::{Aim, Told};

const GROUP: &str = "replication.storage.openshift.io";
/// On a VolumeReplication.
const FINALIZER: &str = "replication.storage.openshift.io";
/// On its claim.
const PROTECTION: &str = "replication.storage.openshift.io/pvc-protection";
/// On its claim, from the newer one.
const OWNER: &str = "replication.storage.openshift.io/volume-replication-name";
/// How often it looks for changes.
const LOOK: Duration = Duration::from_millis(500);
/// Of parameters that the driver is not told.
const RESERVED: &str = "replication.storage.openshift.io/";

/// Which of the two it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// volume-replication-operator, of 2022: enables and promotes at every look.
    Operator,
    /// kubernetes-csi-addons: acts on changes of role, and asks how replication goes.
    Addons,
}

/// One controller, serving one driver on one cluster.
pub struct Upstream {
    kind: Kind,
    driver: String,
    /// The only one it looks into, if it is not to look into all.
    namespace: Option<String>,
    client: Client,
    wire: Wire,
    clock: Arc<SimClock>,
}

/// When to look at an object again that did not change.
enum After {
    Change,
    Time(Duration),
}

/// The pass is over, and is tried again after a growing wait.
struct Failed;

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        tracing::debug!(%error, "a pass of the stand-in ended early");
        Self
    }
}

/// What is known of an object between two looks.
#[derive(Default)]
struct Known {
    generation: Option<i64>,
    due: Option<Instant>,
    failures: u32,
}

impl Upstream {
    /// A controller of this kind, for the driver of this name at the other end of `channel`.
    pub fn new(
        kind: Kind,
        driver: &str,
        client: Client,
        channel: Channel,
        clock: Arc<SimClock>,
    ) -> Self {
        Self {
            kind,
            driver: driver.to_owned(),
            namespace: None,
            client,
            wire: Wire::new(kind, channel),
            clock,
        }
    }

    /// It leaves the objects of other namespaces alone, which somebody else may be trying things with.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..self
        }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        let mut known = BTreeMap::<String, Known>::new();
        loop {
            let all = match &self.namespace {
                Some(namespace) => self.at(namespace, GROUP, "VolumeReplication"),
                None => self.all(GROUP, "VolumeReplication"),
            };
            // Without an API server there is nothing to do but to ask again.
            let all = all.list(&ListParams::default()).await;
            for vr in all.map(|list| list.items).unwrap_or_default() {
                let generation = vr.metadata.generation;
                let known = known
                    .entry(vr.metadata.uid.clone().unwrap_or_default())
                    .or_default();
                let due = known.due.is_some_and(|due| due <= Instant::now());
                if known.generation == generation && !due {
                    continue;
                }
                known.generation = generation;
                (known.failures, known.due) = match self.pass(vr).await {
                    Ok(After::Change) => (0, None),
                    Ok(After::Time(time)) => (0, Some(Instant::now() + time)),
                    Err(Failed) => {
                        let wait = Duration::from_millis(5 << known.failures.min(17));
                        (
                            known.failures.saturating_add(1),
                            Some(Instant::now() + wait),
                        )
                    }
                };
            }
            sleep(LOOK).await;
        }
    }

    fn all(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(group, kind))
    }

    fn at(&self, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, kind))
    }

    async fn pass(&mut self, vr: DynamicObject) -> Result<After, Failed> {
        let mut told = Told::new(self.kind, &vr, self.clock.now());
        let found = match self.find(&vr).await? {
            Found::Another => return Ok(After::Change),
            Found::Silent => return Err(Failed),
            Found::Wrong(text) => {
                told.failed(told.aim(), &text);
                self.write(&vr, told).await?;
                return Err(Failed);
            }
            Found::Volume(found) => found,
        };
        if vr.metadata.deletion_timestamp.is_some() {
            return self.end(&vr, &found).await;
        }
        let vr = self.claim(vr, &found).await?;
        // The older one keeps the first time for ever, the newer one never stores it.
        let after = self.act(&vr, &found, &mut told).await;
        self.write(&vr, told).await?;
        after
    }

    /// Steps 2 to 7: class, parameters, credentials, claim, volume.
    async fn find(&self, vr: &DynamicObject) -> Result<Found, Failed> {
        let spec = &vr.data["spec"];
        let namespace = vr.metadata.namespace.clone().unwrap_or_default();
        let name = text(spec, "/volumeReplicationClass");
        let classes = self.all(GROUP, "VolumeReplicationClass");
        let Some(class) = classes.get_opt(&name).await? else {
            return Ok(Found::Wrong(format!(
                "VolumeReplicationClass {name:?} not found"
            )));
        };
        if class.data.pointer("/spec/provisioner") != Some(&json!(self.driver)) {
            return Ok(match self.kind {
                Kind::Operator => Found::Another,
                Kind::Addons => Found::Silent,
            });
        }
        let parameters = strings(class.data.pointer("/spec/parameters"));
        let (reserved, parameters): (HashMap<_, _>, HashMap<_, _>) = parameters
            .into_iter()
            .partition(|(key, _)| key.starts_with(RESERVED));
        let secret = |part: &str| reserved.get(&format!("{RESERVED}replication-secret-{part}"));
        let secrets = match (secret("name"), secret("namespace")) {
            (Some(name), Some(namespace)) => {
                let found = self.at(namespace, "", "Secret").get_opt(name).await?;
                let Some(found) = found else {
                    return Ok(Found::Wrong(format!("secrets {name:?} not found")));
                };
                calls::decoded(&strings(found.data.get("data")))
            }
            _ => HashMap::new(),
        };
        if text(spec, "/dataSource/kind") != "PersistentVolumeClaim" {
            return Ok(Found::Silent);
        }
        let claim = text(spec, "/dataSource/name");
        let claims = self.at(&namespace, "", "PersistentVolumeClaim");
        let Some(claim) = claims.get_opt(&claim).await? else {
            return Ok(Found::Wrong(format!(
                "persistentvolumeclaims {claim:?} not found"
            )));
        };
        let volume = text(&claim.data, "/spec/volumeName");
        if text(&claim.data, "/status/phase") != "Bound" {
            return Ok(Found::Wrong("PVC is not bound to any PV".to_owned()));
        }
        let volume = self.all("", "PersistentVolume").get_opt(&volume).await?;
        let handle = volume.map(|v| text(&v.data, "/spec/csi/volumeHandle"));
        let Some(handle) = handle.filter(|handle| !handle.is_empty()) else {
            return Ok(Found::Wrong("PV not found".to_owned()));
        };
        Ok(Found::Volume(Box::new(Volume {
            claim,
            handle,
            parameters,
            secrets,
            replication_id: text(spec, "/replicationHandle"),
        })))
    }

    /// Step 9: its marks, each with a whole update. That of the object adds an empty field, and with it a generation.
    async fn claim(&self, mut vr: DynamicObject, found: &Volume) -> Result<DynamicObject, Failed> {
        let namespace = vr.metadata.namespace.clone().unwrap_or_default();
        let name = vr.metadata.name.clone().unwrap_or_default();
        if add(vr.metadata.finalizers.get_or_insert_default(), FINALIZER) {
            if let Some(spec) = vr.data.pointer_mut("/spec").and_then(Value::as_object_mut) {
                spec.entry("replicationHandle").or_insert(json!(""));
            }
            let api = self.at(&namespace, GROUP, "VolumeReplication");
            vr = api.replace(&name, &PostParams::default(), &vr).await?;
        }
        let mut claim = found.claim.clone();
        let mut changed = false;
        if self.kind == Kind::Addons {
            let all = claim.metadata.annotations.get_or_insert_default();
            match all.get(OWNER).filter(|owner| !owner.is_empty()) {
                None => {
                    all.insert(OWNER.to_owned(), name);
                    changed = true;
                }
                Some(owner) if *owner == name || *owner == format!("{namespace}/{name}") => {}
                // Told to the log alone, and the finalizer stays.
                Some(_) => return Err(Failed),
            }
        }
        changed |= add(
            claim.metadata.finalizers.get_or_insert_default(),
            PROTECTION,
        );
        if changed {
            self.replace_claim(&claim).await?;
        }
        Ok(vr)
    }

    async fn replace_claim(&self, claim: &DynamicObject) -> Result<(), Failed> {
        let namespace = claim.metadata.namespace.clone().unwrap_or_default();
        let name = claim.metadata.name.clone().unwrap_or_default();
        let api = self.at(&namespace, "", "PersistentVolumeClaim");
        api.replace(&name, &PostParams::default(), claim).await?;
        Ok(())
    }

    /// Deletion: Disable, then the marks in the order of their making, backwards. Status is not touched.
    async fn end(&mut self, vr: &DynamicObject, found: &Volume) -> Result<After, Failed> {
        let mut vr = vr.clone();
        if !remove(&mut vr, FINALIZER) {
            return Ok(After::Change);
        }
        if self.wire.disable(found).await.is_err() {
            return Err(Failed);
        }
        let mut claim = found.claim.clone();
        let mut changed = remove(&mut claim, PROTECTION);
        if self.kind == Kind::Addons
            && let Some(all) = &mut claim.metadata.annotations
        {
            changed |= all.remove(OWNER).is_some();
        }
        if changed {
            self.replace_claim(&claim).await?;
        }
        let namespace = vr.metadata.namespace.clone().unwrap_or_default();
        let name = vr.metadata.name.clone().unwrap_or_default();
        let api = self.at(&namespace, GROUP, "VolumeReplication");
        api.replace(&name, &PostParams::default(), &vr).await?;
        Ok(After::Change)
    }

    /// Step 11: what the role that is wanted takes.
    async fn act(
        &mut self,
        vr: &DynamicObject,
        found: &Volume,
        told: &mut Told,
    ) -> Result<After, Failed> {
        let force = vr.data.pointer("/spec/autoResync") == Some(&json!(true));
        match (told.aim(), told.state()) {
            (Aim::Promote, state) => self.promote(found, told, &state).await,
            (Aim::Demote, state) => self.demote(found, told, (&state, force)).await,
            (Aim::Resync, _) => {
                if self.kind == Kind::Operator
                    && let Err(why) = self.wire.enable(found).await
                {
                    told.failed(Aim::Resync, why.message());
                    return Err(Failed);
                }
                self.resync(found, told, true).await
            }
        }
    }

    async fn promote(
        &mut self,
        found: &Volume,
        told: &mut Told,
        state: &str,
    ) -> Result<After, Failed> {
        if self.kind == Kind::Operator || state != "Primary" {
            if let Err(why) = self.wire.enable(found).await {
                told.not_enabled(&why);
                return Err(Failed);
            }
            let mut promoted = self.wire.promote(found, false).await;
            if matches!(&promoted, Err(why) if why.code() == tonic::Code::FailedPrecondition) {
                promoted = self.wire.promote(found, true).await;
            }
            if let Err(why) = promoted {
                told.failed(Aim::Promote, why.message());
                return Err(Failed);
            }
        }
        told.promoted();
        if self.kind == Kind::Operator {
            return Ok(After::Change);
        }
        match self.wire.info(found).await {
            Ok(info) => told.informed(&info),
            Err(why) if why.code() == tonic::Code::NotFound => {}
            Err(why) if why.code() == tonic::Code::Unimplemented => return Ok(After::Change),
            Err(why) => {
                told.uninformed(why.message());
                return Err(Failed);
            }
        }
        let interval = found.parameters.get("schedulingInterval");
        Ok(After::Time(status::refresh(interval.map(String::as_str))))
    }

    async fn demote(
        &mut self,
        found: &Volume,
        told: &mut Told,
        (state, force): (&str, bool),
    ) -> Result<After, Failed> {
        if self.kind == Kind::Operator
            && let Err(why) = self.wire.enable(found).await
        {
            told.failed(Aim::Demote, why.message());
            return Err(Failed);
        }
        if let Err(why) = self.wire.demote(found).await {
            told.failed(Aim::Demote, why.message());
            return if state == "Secondary" {
                Ok(After::Time(status::AFTER_DEMOTE))
            } else {
                Err(Failed)
            };
        }
        if state != "Secondary" {
            told.demoted();
            return Ok(After::Time(status::AFTER_DEMOTE));
        }
        self.resync(found, told, force).await
    }

    async fn resync(
        &mut self,
        found: &Volume,
        told: &mut Told,
        force: bool,
    ) -> Result<After, Failed> {
        match self.wire.resync(found, force).await {
            Ok(true) => {
                told.in_step();
                Ok(After::Change)
            }
            Ok(false) => {
                told.not_in_step();
                Ok(After::Time(status::RESYNC))
            }
            Err(why) => {
                told.failed(Aim::Resync, why.message());
                if told.state() == "Secondary" {
                    Ok(After::Time(status::AFTER_DEMOTE))
                } else {
                    Err(Failed)
                }
            }
        }
    }

    async fn write(&self, vr: &DynamicObject, told: Told) -> Result<(), Failed> {
        let mut vr = vr.clone();
        let status = told.status(vr.metadata.generation);
        if vr.data.get("status") == Some(&status) {
            return Ok(());
        }
        vr.data["status"] = status;
        let namespace = vr.metadata.namespace.clone().unwrap_or_default();
        let name = vr.metadata.name.clone().unwrap_or_default();
        let api = self.at(&namespace, GROUP, "VolumeReplication");
        api.replace_status(&name, &PostParams::default(), &vr)
            .await?;
        Ok(())
    }
}

/// What an object is about.
struct Volume {
    claim: DynamicObject,
    handle: String,
    parameters: HashMap<String, String>,
    secrets: HashMap<String, String>,
    replication_id: String,
}

enum Found {
    Volume(Box<Volume>),
    /// Of another driver.
    Another,
    /// What is wrong stands in the log alone.
    Silent,
    /// What is wrong goes into the status.
    Wrong(String),
}

fn resource(group: &str, kind: &str) -> ApiResource {
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn text(value: &Value, at: &str) -> String {
    let text = value.pointer(at).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn strings(value: Option<&Value>) -> HashMap<String, String> {
    let all = value.and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn add(finalizers: &mut Vec<String>, name: &str) -> bool {
    let missing = !finalizers.iter().any(|f| f == name);
    if missing {
        finalizers.push(name.to_owned());
    }
    missing
}

fn remove(object: &mut DynamicObject, name: &str) -> bool {
    let finalizers = object.metadata.finalizers.get_or_insert_default();
    let before = finalizers.len();
    finalizers.retain(|f| f != name);
    finalizers.len() != before
}
