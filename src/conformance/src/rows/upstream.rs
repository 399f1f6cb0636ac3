//! Taking over from the controllers of the CSI-Addons project, and handing back to them.

use lifeboat_api::VolumeReplication;
use lifeboat_proto::replication::get_volume_replication_info_response::Status;
use lifeboat_sim::upstream::Kind;
use serde_json::json;

use crate::consumer::{Verdict, verdict};
use crate::driver::Answer;
use crate::on::On;
use crate::rows::group::asks::credentials;
use crate::rows::promote::info;
use crate::world::{DRIVER, MARK, World};

const PRIMARY: &str = "Primary | volume is marked primary | Completed=True/Promoted Degraded=False/Healthy Resyncing=False/NotResyncing";
const IN_STEP: &str = "Secondary | volume is marked secondary | Completed=True/Demoted Degraded=False/Healthy Resyncing=False/NotResyncing";
const BEHIND: &str = "Secondary | volume is degraded | Completed=True/Demoted Degraded=True/VolumeDegraded Resyncing=True/ResyncTriggered";

const PRIMARIES: [&str; 6] = [
    "old-primary",
    "old-unclassed",
    "new-primary",
    "new-unvalidated",
    "new-stale",
    "new-alone",
];
const COPIES: [&str; 3] = ["old-secondary", "new-secondary", "new-resynced"];

impl World {
    /// Whether a claim carries both marks of its VolumeReplication.
    async fn is_owned(&self, claim: &str) -> bool {
        let meta = self.claims().get(claim).await.unwrap().metadata;
        let owner = meta.annotations.unwrap_or_default();
        let owner = owner.get("replication.storage.openshift.io/volume-replication-name");
        let finalizer = "replication.storage.openshift.io/pvc-protection".to_owned();
        owner.is_some_and(|o| o.trim_start_matches(&format!("{}/", self.ns)) == claim)
            && meta.finalizers.unwrap_or_default().contains(&finalizer)
    }
}

/// Type, status and since when of each condition.
fn since(volume: &VolumeReplication) -> Vec<(String, String, String)> {
    let status = volume.status.clone().unwrap_or_default();
    let mut all: Vec<_> = (status.conditions.into_iter())
        .map(|c| (c.type_, c.status, c.last_transition_time.0.to_string()))
        .collect();
    all.sort();
    all
}

pub(crate) async fn what_either_controller_left_in_order_is_taken_over_without_a_call(on: &On) {
    let mut world = World::cold(on).await;
    let healthy = info(Status::Healthy, Some(1_760_000_000));
    world.driver.always("I", healthy);
    let all: Vec<&str> = PRIMARIES.into_iter().chain(COPIES).collect();
    world.recorded(&all).await;
    let mut before = Vec::new();
    for name in &all {
        before.push(world.volume(name).await);
    }
    world.start();
    for name in PRIMARIES {
        world.until_status(name, PRIMARY).await;
        world
            .until_status(name, "Replicating=True/Replicating")
            .await;
    }
    for name in &all {
        world
            .until("marked", async |w| w.is_owned(name).await)
            .await;
    }
    world.pass(120).await;
    assert_eq!(world.driver.story(), [""; 0]);
    assert_eq!(
        world.driver.seen().len(),
        PRIMARIES.len(),
        "each asked once"
    );
    for (name, before) in all.iter().zip(&before) {
        let after = world.volume(name).await;
        let wanted = if PRIMARIES.contains(name) {
            Verdict::Primary
        } else {
            Verdict::InSync
        };
        assert_eq!(verdict(&after), wanted, "{name}");
        assert_eq!(after.metadata.generation, before.metadata.generation);
        let told = since(&after);
        // What was true before is so since then.
        let kept = since(before).into_iter().filter(|(kind, status, _)| {
            let is = told.iter().find(|(k, ..)| k == kind);
            is.is_some_and(|(_, s, _)| s == status)
        });
        for condition in kept {
            assert!(
                told.contains(&condition),
                "{name}: {condition:?} in {told:?}"
            );
        }
    }
    let peer = world.volume("new-alone").await.status.unwrap();
    assert_eq!(peer.destination_volume_id.as_deref(), Some("elsewhere"));

    // They are served from then on.
    for (name, state) in [("old-secondary", "primary"), ("new-primary", "secondary")] {
        let role = json!({"spec": {"replicationState": state}});
        world.patch_volume(name, &role).await;
    }
    world.until_status("old-secondary", PRIMARY).await;
    world.until_status("new-primary", IN_STEP).await;
    assert_eq!(world.driver.trace("h-old-secondary"), "E P");
    assert_eq!(world.driver.trace("h-new-primary"), "M M R");
}

pub(crate) async fn a_copy_that_either_controller_left_behind_is_looked_after_as_before(on: &On) {
    let mut world = World::cold(on).await;
    let copies = [
        "old-degraded",
        "old-resyncing",
        "new-degraded",
        "new-resyncing",
    ];
    world.recorded(&copies).await;
    for letter in ["R", "Rf"] {
        world.driver.always(letter, Answer::NotReady);
    }
    world.start();
    world.pass(100).await;
    for name in copies {
        world.until_status(name, BEHIND).await;
        let check = if name.ends_with("resyncing") {
            "M Rf"
        } else {
            "M R"
        };
        let handle = format!("h-{name}");
        assert_eq!(
            world.driver.trace(&handle),
            [check; 4].join(" "),
            "every 30 s"
        );
    }
    for letter in ["R", "Rf"] {
        world.driver.always(letter, Answer::Ok);
    }
    for name in copies {
        world.until_status(name, IN_STEP).await;
        assert_eq!(
            world.volume(name).await.status.unwrap().last_sync_bytes,
            None
        );
    }
}

pub(crate) async fn what_either_controller_was_deleting_is_let_go_and_no_owner_loses_its_volume(
    on: &On,
) {
    let mut world = World::cold(on).await;
    let going = [
        "old-deleting",
        "new-deleting",
        "new-half-gone",
        "old-second",
        "new-second",
    ];
    let staying = ["old-primary", "new-primary"];
    world.recorded(&going).await;
    world.recorded(&staying).await;
    world.start();
    world
        .until("gone", async |w| {
            let all = w.volumes().list(&kube::api::ListParams::default()).await;
            all.unwrap().items.len() == staying.len()
        })
        .await;
    for name in ["old-deleting", "new-deleting", "new-half-gone"] {
        assert_eq!(world.driver.trace(&format!("h-{name}")), "D");
        let meta = world.claims().get(name).await.unwrap().metadata;
        let left = format!("{:?}{:?}", meta.annotations, meta.finalizers);
        assert!(!left.contains("replication.storage.openshift.io"), "{left}");
    }
    for name in staying {
        world.until_status(name, PRIMARY).await;
        world
            .until("marked", async |w| w.is_owned(name).await)
            .await;
        assert_eq!(world.driver.trace(&format!("h-{name}")), "");
    }
}

pub(crate) async fn a_group_that_the_newer_controller_left_is_taken_over_without_a_call(on: &On) {
    let mut world = World::cold(on).await;
    let healthy = info(Status::Healthy, Some(1_760_000_000));
    world.driver.always("I", healthy);
    let parameters = credentials(&world);
    world.group_class("together", DRIVER, &parameters).await;
    world.recorded_group().await;
    let before = world.group().await;
    world.start();
    world.until_group("Replicating=True/Replicating").await;
    world.pass(120).await;
    assert_eq!(world.driver.story(), [""; 0]);
    let after = world.group().await;
    assert_eq!(after.metadata.generation, before.metadata.generation);
    assert_eq!(world.members().await, ["a", "b"]);
    assert!(world.is_marked("a").await);

    // Who leaves is taken out, and a deletion takes all of it apart.
    world
        .patch_claim("b", &json!({"labels": {"app": null}}))
        .await;
    world
        .until("left", async |w| w.members().await == ["a"])
        .await;
    let params = kube::api::DeleteParams::default();
    world.groups().delete("all", &params).await.unwrap();
    world
        .until("gone", async |w| {
            w.groups().get_opt("all").await.unwrap().is_none()
        })
        .await;
    let story = world.driver.story().join("; ");
    assert_eq!(story, "Modify g-1 h-a; D g-1; Modify g-1; Delete g-1");
    for claim in ["a", "b"] {
        assert!(!world.is_marked(claim).await, "{claim}");
    }
}

pub(crate) async fn volumes_go_from_volume_replication_operator_to_the_agent_and_back(on: &On) {
    there_and_back(on, Kind::Operator, ["E P", "E M R"]).await;
}

pub(crate) async fn volumes_go_from_kubernetes_csi_addons_to_the_agent_and_back(on: &On) {
    there_and_back(on, Kind::Addons, ["", "M R"]).await;
}

/// `looks`: what this controller calls for a primary and for a copy whenever it starts.
async fn there_and_back(on: &On, kind: Kind, looks: [&str; 2]) {
    let mut world = World::cold(on).await;
    let healthy = info(Status::Healthy, Some(1_760_000_000));
    world.driver.always("I", healthy);
    for name in ["stays", "copy", "moves", "late"] {
        world.claim(name).await;
    }
    let theirs = world.upstream(kind).await;
    for (name, state) in [
        ("stays", "primary"),
        ("copy", "secondary"),
        ("moves", "primary"),
    ] {
        world.ask(name, state).await;
    }
    for (name, told) in [("stays", PRIMARY), ("copy", IN_STEP), ("moves", PRIMARY)] {
        world.until_status(name, told).await;
    }
    drop(theirs);

    let calls = world.driver.story().len();
    world.start();
    for name in ["stays", "copy", "moves"] {
        world
            .until("marked", async |w| w.is_owned(name).await)
            .await;
    }
    world.pass(60).await;
    assert_eq!(
        world.driver.story().len(),
        calls,
        "{:?}",
        world.driver.story()
    );
    world.ask("moves", "secondary").await;
    world.ask("late", "primary").await;
    world.until_status("moves", IN_STEP).await;
    world.until_status("late", PRIMARY).await;
    world.stop().await;
    assert_eq!(world.lease_holder().await, None);
    let all = ["stays", "copy", "moves", "late"];
    for name in all {
        world.assert_nothing_of_ours(name).await;
    }

    let calls: Vec<usize> = all
        .iter()
        .map(|n| world.driver.trace(&format!("h-{n}")).len())
        .collect();
    let theirs = world.upstream(kind).await;
    world.pass(10).await;
    for (name, calls) in all.iter().zip(calls) {
        let look = if ["stays", "late"].contains(name) {
            looks[0]
        } else {
            looks[1]
        };
        let trace = world.driver.trace(&format!("h-{name}"));
        assert_eq!(trace[calls..].trim(), look, "{name}");
    }
    for (name, told) in [
        ("stays", PRIMARY),
        ("late", PRIMARY),
        ("copy", IN_STEP),
        ("moves", IN_STEP),
    ] {
        world.until_status(name, told).await;
    }
    // What the agent began they can end.
    for name in all {
        world.delete_volume(name).await;
    }
    world
        .until("gone", async |w| {
            let all = w.volumes().list(&kube::api::ListParams::default()).await;
            all.unwrap().items.is_empty()
        })
        .await;
    for name in all {
        let meta = world.claims().get(name).await.unwrap().metadata;
        let left = format!("{:?}", meta.finalizers);
        assert!(!left.contains("replication.storage.openshift.io"), "{left}");
        assert!(world.driver.trace(&format!("h-{name}")).ends_with('D'));
    }
    assert!(world.driver.overlaps().is_empty());
    drop(theirs);
}

impl World {
    /// Finalizers, annotations and labels of ours that no other controller knows.
    async fn assert_nothing_of_ours(&self, name: &str) {
        let volume = self.volume(name).await.metadata;
        let claim = self.claims().get(name).await.unwrap().metadata;
        assert_eq!(
            volume.finalizers.as_deref(),
            Some(&["replication.storage.openshift.io".to_owned()][..])
        );
        for meta in [&volume, &claim] {
            let marks = format!(
                "{:?}{:?}{:?}",
                meta.annotations, meta.labels, meta.finalizers
            );
            assert!(!marks.contains("lifeboat"), "{marks}");
            assert!(!marks.contains(MARK), "{marks}");
        }
        let finalizers = claim.finalizers.unwrap_or_default();
        let known = |f: &String| {
            f.starts_with("kubernetes.io/") || f.ends_with("openshift.io/pvc-protection")
        };
        assert!(finalizers.iter().all(known), "{finalizers:?}");
    }
}
