//! Captures that somebody puts back into the archive, of which no watch tells.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lifeboat_api::{DRPlacement, names};
use serde_json::json;

use crate::claims::{captured, claim};
use crate::world::World;

impl World {
    fn archive(&self) -> Api<Secret> {
        Api::namespaced(self.hub.admin(), "lifeboat-system")
    }

    async fn kept(&self) -> Vec<Secret> {
        let ours = ListParams::default().labels("lifeboat.dev/capture");
        self.archive().list(&ours).await.unwrap().items
    }

    async fn put_back(&self, kept: Vec<Secret>) {
        for mut secret in kept {
            secret.metadata.resource_version = None;
            secret.metadata.uid = None;
            let (archive, params) = (self.archive(), PostParams::default());
            archive.create(&params, &secret).await.unwrap();
        }
    }

    async fn web(&self) -> DRPlacement {
        let all: Api<DRPlacement> = Api::namespaced(self.hub.admin(), "default");
        all.get("web").await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn captures_that_are_put_back_while_the_owner_is_silent_are_found() {
    let world = captured().await;
    let gate = async |w: &World, state: &str| {
        let gates = w.web().await.status?.gates;
        let mut all = gates.into_iter();
        all.find(|g| g.name == "CaptureComplete" && g.state == state)
    };
    world
        .until("the capture is known", async |w| gate(w, "Pass").await)
        .await;
    let kept = world.kept().await;
    world.links["dr1"].cut();
    for secret in &kept {
        let name = secret.metadata.name.as_deref().unwrap();
        let gone = world.archive().delete(name, &DeleteParams::default()).await;
        drop(gone.unwrap());
    }
    // A hub that begins to act knows nothing of what there was.
    let leases: Api<Lease> = Api::namespaced(world.hub.admin(), "lifeboat-system");
    let another = Patch::Merge(json!({"spec": {"holderIdentity": "hub-1"}}));
    let params = PatchParams::default();
    leases
        .patch(names::HUB_LEASE, &params, &another)
        .await
        .unwrap();
    world
        .until("the capture is missed", async |w| gate(w, "Fail").await)
        .await;
    world.put_back(kept).await;
    world
        .until("the capture is found", async |w| gate(w, "Pass").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn captures_that_are_put_back_bear_out_an_identity_that_was_named_before() {
    let earlier = captured().await;
    let (uid, kept) = (earlier.web().await.metadata.uid, earlier.kept().await);
    drop(earlier);
    // Hub and clusters are built anew, and the person names the identity before the captures are there.
    let world = World::new();
    // So that uids are others than they were.
    world.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "first", "namespace": "default"}}));
    world.both_healthy().await;
    claim(&world, "dr1").await;
    world.policy();
    let placement = json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement",
        "metadata": {"name": "web", "namespace": "default", "annotations": {names::IDENTITY: uid}},
        "spec": {"policyRef": {"name": "gold"}, "preferredCluster": "dr1"}});
    world.apply(&placement);
    assert_ne!(world.web().await.metadata.uid, uid);
    let unclear = async |w: &World| {
        let mut told = w.web().await.status?.blockers.into_iter();
        told.find(|b| b.reason == "IdentityUnclear")
    };
    world.until("nothing bears it out", unclear).await;
    world.put_back(kept).await;
    let decided = async |w: &World| w.web().await.status?.cluster;
    let owner = world.until("it is decided on", decided).await;
    assert_eq!(owner, "dr1");
}
