//! Rows 79 and 80: networks that are cut off the storage.

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lifeboat_api::NetworkFence;
use serde_json::{Value, json};
use tonic::Code;

use crate::driver::Answer;
use crate::on::On;
use crate::world::{DRIVER, SECRET, World};

pub(crate) const FENCED: &str = "Succeeded | fencing operation successful";
const UNFENCED: &str = "Succeeded | unfencing operation successful";

impl World {
    pub(crate) async fn fence(&self, spec: &Value) {
        let mut whole = json!({"cidrs": ["10.0.0.1/32", "10.0.0.2/32"]});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        self.name_field(&mut whole, "networkFenceClassName");
        self.apply(&json!({
            "apiVersion": "csiaddons.openshift.io/v1alpha1", "kind": "NetworkFence",
            "metadata": {"name": self.named("east")}, "spec": whole,
        }))
        .await;
    }

    fn fences(&self) -> Api<NetworkFence> {
        Api::all(self.admin.clone())
    }

    async fn ask_fence(&self, state: &str) {
        let patch = json!({"spec": {"fenceState": state}});
        self.fences()
            .patch(
                &self.named("east"),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn until_fence(&self, text: &str) {
        self.until(text, async |w| {
            let fence = w.fences().get(&w.named("east")).await.unwrap();
            let status = fence.status.unwrap_or_default();
            let current = status
                .conditions
                .iter()
                .all(|c| c.observed_generation == fence.metadata.generation);
            let said = format!(
                "{} | {}",
                status.result.unwrap_or_default(),
                status.message.unwrap_or_default()
            );
            said.contains(text) && current
        })
        .await;
    }
}

pub(crate) fn direct(world: &World) -> Value {
    json!({
        "driver": DRIVER, "secret": {"name": "creds", "namespace": world.ns},
        "parameters": {"clusterID": "c1"},
    })
}

pub(crate) async fn row_79_a_network_is_fenced_and_let_back(on: &On) {
    let world = World::new(on).await;
    world.fence(&direct(&world)).await;
    world.until_fence(FENCED).await;
    let seen = world.driver.seen();
    assert_eq!(seen[0].letter, "Fence");
    assert_eq!(seen[0].members, ["10.0.0.1/32", "10.0.0.2/32"]);
    assert_eq!(seen[0].parameters["clusterID"], "c1");
    assert_eq!(seen[0].secrets["userKey"], SECRET);
    let fence = world.fences().get(&world.named("east")).await.unwrap();
    assert_eq!(
        fence.metadata.finalizers.unwrap(),
        ["csiaddons.openshift.io/network-fence"]
    );
    world.ask_fence("Unfenced").await;
    world.until_fence(UNFENCED).await;
    world.pass(600).await;
    assert_eq!(
        world.driver.story(),
        [
            "Fence  10.0.0.1/32,10.0.0.2/32",
            "Unfence  10.0.0.1/32,10.0.0.2/32"
        ]
    );
}

pub(crate) async fn row_79_a_class_wins_and_its_secret_keys_stay_here(on: &On) {
    let world = World::new(on).await;
    let mut spec = direct(&world);
    spec["networkFenceClassName"] = json!("cut");
    spec["parameters"] = json!({"clusterID": "c1", "own": "kept"});
    spec["secret"] = json!({"name": "none", "namespace": world.ns});
    world.fence(&spec).await;
    world
        .until_fence(&format!(
            "Failed | NetworkFenceClass {:?} does not exist; create it",
            world.named("cut")
        ))
        .await;
    assert!(world.driver.seen().is_empty());
    world.apply(&json!({
        "apiVersion": "csiaddons.openshift.io/v1alpha1", "kind": "NetworkFenceClass",
        "metadata": {"name": world.named("cut")}, "spec": {"provisioner": DRIVER, "parameters": {
            "csiaddons.openshift.io/networkfence-secret-name": "creds",
            "csiaddons.openshift.io/networkfence-secret-namespace": world.ns,
            "clusterID": "c2",
        }},
    })).await;
    world.until_fence(FENCED).await;
    let seen = world.driver.seen();
    let parameters: Vec<_> = seen[0].parameters.iter().collect();
    let (c2, kept) = ("c2".to_owned(), "kept".to_owned());
    assert_eq!(
        parameters,
        [(&"clusterID".to_owned(), &c2), (&"own".to_owned(), &kept)]
    );
    assert_eq!(seen[0].secrets["userKey"], SECRET);
}

pub(crate) async fn row_79_a_fence_that_fails_is_tried_again_and_said(on: &On) {
    let world = World::new(on).await;
    world
        .driver
        .always("Fence", Answer::Fail(Code::Internal, "no quorum"));
    world.fence(&direct(&world)).await;
    world.until_fence("Failed | no quorum").await;
    world.pass(60).await;
    let tries = world.driver.times("Fence").len();
    assert!((4..=12).contains(&tries), "{tries} tries in a minute");
    world.driver.always("Fence", Answer::Ok);
    world.until_fence(FENCED).await;

    let mut world = World::cold(on).await;
    world.driver.lacks("NETWORK_FENCE");
    world.start();
    world.fence(&direct(&world)).await;
    world.until_fence("does not offer network fencing").await;
    assert!(world.driver.seen().is_empty());
}

pub(crate) async fn row_79_a_restart_repeats_no_call_and_another_drivers_fence_is_left_alone(
    on: &On,
) {
    let mut world = World::new(on).await;
    world.fence(&direct(&world)).await;
    world.until_fence(FENCED).await;
    world.ask_fence("Unfenced").await;
    world.until_fence(UNFENCED).await;
    world.kill();
    world.start();
    world.pass(60).await;
    assert_eq!(
        world.driver.story().len(),
        2,
        "an old wish lifts no newer fence"
    );

    let world = World::new(on).await;
    let mut spec = direct(&world);
    spec["driver"] = json!("other.csi.example.com");
    world.fence(&spec).await;
    world.pass(60).await;
    let fence = world.fences().get(&world.named("east")).await.unwrap();
    assert_eq!((fence.metadata.finalizers, fence.status), (None, None));
}

pub(crate) async fn row_79_a_class_whose_kind_is_not_installed_is_said_and_waited_for(on: &On) {
    let mut world = World::without(on, "networkfenceclasses").await;
    world.start();
    let class = world.named("cut");
    world.fence(&json!({"networkFenceClassName": "cut"})).await;
    world
        .until_fence(&format!(
            "Failed | NetworkFenceClass {class:?} cannot be read, install its kind"
        ))
        .await;
    // Events about what has no namespace are in this one.
    world.until_told_in("default", "FailedToFence").await;
    world.pass(60).await;
    assert!(world.driver.seen().is_empty());
    world.install_all().await;
    world
        .until_fence(&format!("NetworkFenceClass {class:?} does not exist"))
        .await;
    world
        .apply(&json!({
            "apiVersion": "csiaddons.openshift.io/v1alpha1", "kind": "NetworkFenceClass",
            "metadata": {"name": class}, "spec": {"provisioner": DRIVER, "parameters": {
                "csiaddons.openshift.io/networkfence-secret-name": "creds",
                "csiaddons.openshift.io/networkfence-secret-namespace": world.ns,
            }},
        }))
        .await;
    world.until_fence(FENCED).await;
}

pub(crate) async fn row_80_deletion_does_not_let_anybody_back(on: &On) {
    let world = World::new(on).await;
    world.fence(&direct(&world)).await;
    world.until_fence(FENCED).await;
    world
        .fences()
        .delete(&world.named("east"), &DeleteParams::default())
        .await
        .unwrap();
    world
        .until("gone", async |w| {
            w.fences()
                .get_opt(&w.named("east"))
                .await
                .unwrap()
                .is_none()
        })
        .await;
    world.pass(60).await;
    assert_eq!(world.driver.story(), ["Fence  10.0.0.1/32,10.0.0.2/32"]);
}
