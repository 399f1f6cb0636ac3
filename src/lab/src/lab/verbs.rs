//! What people and fate do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use lifeboat_api::{DRCluster, DRPlacement, names};
use serde_json::{Value, json};

use super::{Key, Lab, LabError, Look, POLICY, Topic, objects, programs::hub_name};

/// So long an undisturbed move takes at most, a copy after it included.
const NEIGHBOUR: Duration = Duration::from_secs(60);

impl Lab {
    /// Asks for a move without loss, as a user does: what a failover wrote into the spec stays there.
    pub async fn relocate(&self, to: &str) -> Result<(), LabError> {
        self.say(format!("relocate to {to}"));
        self.patch(json!({"spec": {"preferredCluster": to, "action": "Relocate"}}))
            .await
    }

    /// Asks for a failover, the loss accepted.
    pub async fn failover(&self, to: &str) -> Result<(), LabError> {
        self.say(format!("failover to {to}"));
        self.patch(json!({"spec": {"action": "Failover", "failoverCluster": to}}))
            .await
    }

    /// Changes the DRPlacement by a merge patch.
    pub async fn edit(&self, patch: Value) -> Result<(), LabError> {
        self.say(format!("edit {patch}"));
        self.patch(patch).await
    }

    async fn patch(&self, patch: Value) -> Result<(), LabError> {
        let name = self.app().name.clone();
        let call = self.placements();
        let done = call
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        done.map(drop)
            .map_err(LabError::call(format!("change placement {name}")))
    }

    /// Deletes the DRPlacement.
    pub async fn remove(&self) -> Result<(), LabError> {
        self.say("remove the placement");
        let name = self.app().name.clone();
        let done = self
            .placements()
            .delete(&name, &DeleteParams::default())
            .await;
        done.map(drop)
            .map_err(LabError::call(format!("delete placement {name}")))
    }

    /// Places the application with a selector that may miss it.
    pub fn place_selecting(&self, cluster: &str, label: &str) -> Result<(), LabError> {
        self.say(format!("place on {cluster}, selecting app={label}"));
        let yaml = objects::placement_under(POLICY, self.app(), cluster, label);
        Ok(self.world().install(lifeboat_sim::world::HUB, &yaml)?)
    }

    /// Moves the neighbour to the other cluster of its policy. It must get there in the time that an undisturbed move
    /// takes, whatever is wrong with everybody else.
    pub async fn neighbour_moves(&self) -> Result<(), LabError> {
        let Some(neighbour) = self.neighbour() else {
            return Err(LabError::Unmet {
                what: "there is no neighbour; say `lab neighbour`".to_owned(),
                dump: String::new(),
            });
        };
        let key = Key::of(neighbour);
        let rests = |on: Option<&str>| {
            let on_it = |p: &DRPlacement| p.settled_on(on.unwrap_or_else(|| p.cluster()));
            self.book().get(&key).filter(on_it)
        };
        let what = format!("the neighbour {key} protected");
        let before = self.wait(&what, NEIGHBOUR, || rests(None)).await?;
        let to = self.between.iter().find(|c| *c != before.cluster());
        let to = to.cloned().unwrap_or_default();
        self.say(format!("the neighbour goes to {to}"));
        let api: Api<DRPlacement> = Api::namespaced(self.hub_client(), &key.namespace);
        let wish = Patch::Merge(json!({"spec": {"preferredCluster": to}}));
        let done = api.patch(&key.name, &PatchParams::default(), &wish).await;
        done.map_err(LabError::call(format!("change placement {key}")))?;
        let what = format!("the neighbour {key} protected on {to}");
        self.wait(&what, NEIGHBOUR, || rests(Some(&to)))
            .await
            .map(drop)
    }

    /// The hub forgets a cluster.
    pub async fn unregister(&self, cluster: &str) -> Result<(), LabError> {
        self.say(format!("unregister {cluster}"));
        let api = Api::<DRCluster>::all(self.hub_client());
        let done = api.delete(cluster, &DeleteParams::default()).await;
        done.map(drop)
            .map_err(LabError::call(format!("delete cluster {cluster}")))
    }

    /// A site loses power: who calls it is refused.
    pub fn kill_site(&self, site: &str) -> Result<(), LabError> {
        self.say(format!("kill {site}"));
        Ok(self.world().kill_site(site)?)
    }

    /// A site loses power, and who calls it gets no answer.
    pub fn black_out(&self, site: &str) -> Result<(), LabError> {
        self.say(format!("black out {site}"));
        Ok(self.world().black_out(site)?)
    }

    /// A site comes back as it was.
    pub fn revive_site(&self, site: &str) -> Result<(), LabError> {
        self.say(format!("revive {site}"));
        Ok(self.world().revive_site(site)?)
    }

    /// All processes of the hub die at once.
    pub fn kill_hub(&self) {
        self.say("the hub dies");
        self.programs.lock().hubs.clear();
    }

    /// The hub's process that holds the Lease dies, and does not say so.
    pub async fn kill_leader(&self) -> Result<(), LabError> {
        let leases = Api::<Lease>::namespaced(self.hub_client(), names::SYSTEM_NAMESPACE);
        let lease = leases.get(names::HUB_LEASE).await;
        let lease = lease.map_err(LabError::call("read the Lease of the hub"))?;
        let holder = lease.spec.and_then(|s| s.holder_identity);
        let holder = holder.unwrap_or_default();
        self.say(format!("{holder} dies, which holds the Lease"));
        let mut programs = self.programs.lock();
        let before = programs.hubs.len();
        programs.hubs.retain(|n, _| hub_name(*n) != holder);
        if programs.hubs.len() + 1 == before {
            return Ok(());
        }
        Err(LabError::Unmet {
            what: format!("the Lease is held by `{holder}`, which is no hub that runs"),
            dump: String::new(),
        })
    }

    /// The hub's processes start, with empty memories.
    pub async fn start_hub(&self) -> Result<(), LabError> {
        let (context, replicas) = {
            let programs = self.programs.lock();
            (Arc::clone(&programs.context), programs.replicas)
        };
        self.tap().revive();
        let mut hubs = BTreeMap::new();
        for replica in 0..replicas {
            hubs.insert(replica, context.hub(replica).await?);
        }
        self.programs.lock().hubs = hubs;
        self.say("the hub starts");
        Ok(())
    }

    /// Writes what happens now into the log.
    pub fn say(&self, what: impl Into<String>) {
        self.chronicle().say(Topic::Verb, what);
    }

    /// The uid of the application's DRPlacement.
    pub fn uid(&self) -> String {
        self.placement().and_then(|p| p.uid()).unwrap_or_default()
    }
}
