//! What an answer to an own write brings, beyond what was written, wakes whom a watch would have woken.

use lifeboat_kit::WatchEvent;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn read<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn volume(version: u32, change: &Value) -> VolumeReplication {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "data", "uid": "1", "generation": 1},
        "spec": {"volumeReplicationClass": "gold", "replicationState": "primary", "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "data"}},
    });
    lifeboat_kit::apply::merge(&mut object, change.clone());
    let version = json!({"metadata": {"resourceVersion": version.to_string()}});
    lifeboat_kit::apply::merge(&mut object, version);
    read(object)
}

fn known() -> Caches {
    let caches = Caches::new();
    caches.volumes_changed(WatchEvent::Synced(vec![volume(1, &json!({}))]));
    caches
}

#[test]
fn what_somebody_else_changed_wakes_though_our_own_write_told_it_first() {
    let own = vec![Work::Volume(Key::new("shop", "data"))];
    for foreign in [
        json!({"metadata": {"generation": 2}, "spec": {"replicationState": "secondary"}}),
        json!({"metadata": {"annotations": {"lifeboat.dev/epoch": "3"}}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"metadata": {"uid": "2"}}),
    ] {
        let caches = known();
        assert_eq!(caches.wrote_volume(volume(3, &foreign)), own, "{foreign}");
        for late in [2, 3] {
            let echo = WatchEvent::Apply(volume(late, &foreign));
            assert_eq!(caches.volumes_changed(echo), [], "{foreign} at {late}");
        }
    }
}

#[test]
fn our_own_status_and_finalizer_wake_nobody() {
    let caches = known();
    let marks = json!({
        "metadata": {"finalizers": ["replication.storage.openshift.io"]},
        "status": {"message": "volume is marked primary"},
    });
    assert_eq!(caches.wrote_volume(volume(2, &marks)), []);
    assert_eq!(
        caches.volumes_changed(WatchEvent::Apply(volume(2, &marks))),
        []
    );
}

#[test]
fn an_answer_that_is_older_than_what_is_known_brings_nothing() {
    let caches = known();
    let later = json!({"metadata": {"generation": 2}, "spec": {"replicationState": "secondary"}});
    caches.volumes_changed(WatchEvent::Apply(volume(3, &later)));
    assert_eq!(caches.wrote_volume(volume(2, &json!({}))), []);
    let kept = caches.volume(&Key::new("shop", "data")).unwrap();
    assert_eq!(kept.metadata.generation, Some(2));
}

#[test]
fn a_fence_and_a_group_are_looked_at_again_too() {
    let caches = Caches::new();
    let fence = |version: &str, generation: u32| {
        read::<NetworkFence>(json!({
            "metadata": {"name": "cut", "resourceVersion": version, "generation": generation},
            "spec": {"fenceState": "Fenced", "cidrs": ["10.0.0.1/32"]},
        }))
    };
    caches.fences_changed(WatchEvent::Synced(vec![fence("1", 1)]));
    assert_eq!(caches.wrote_fence(fence("2", 1)), None);
    assert_eq!(
        caches.wrote_fence(fence("4", 2)),
        Some(Work::Fence("cut".to_owned()))
    );
    let group = |version: &str, generation: u32| {
        read::<VolumeGroupReplication>(json!({
            "metadata": {"namespace": "shop", "name": "all", "resourceVersion": version, "generation": generation},
            "spec": {"volumeGroupReplicationClassName": "g", "volumeReplicationClassName": "v",
                "replicationState": "primary", "source": {"selector": {}}},
        }))
    };
    caches.groups_changed(WatchEvent::Synced(vec![group("1", 1)]));
    assert_eq!(caches.wrote_group(group("2", 1)), None);
    assert_eq!(
        caches.wrote_group(group("4", 2)),
        Some(Work::Group(Key::new("shop", "all")))
    );
}

fn record(version: u32, epoch: i64, stored: Option<i64>) -> DROwnership {
    read(json!({
        "metadata": {"namespace": "shop", "name": "own", "resourceVersion": version.to_string()},
        "spec": {"placementUID": "1", "placement": "shop/db", "cluster": "east", "clusterUID": "here", "owner": "east",
            "epoch": epoch},
        "status": {"observedEpoch": stored},
    }))
}

#[test]
fn the_highest_epoch_is_remembered_though_the_record_goes_and_comes_back_lower() {
    let caches = Caches::new();
    let own = Key::new("shop", "own");
    let highest = || caches.ownership(&own).map(|(_, highest)| highest);
    caches.ownerships_changed(WatchEvent::Synced(vec![record(1, 5, None)]));
    assert_eq!(highest(), Some(5));
    caches.ownerships_changed(WatchEvent::Delete(record(2, 5, None)));
    assert_eq!(highest(), None);
    caches.ownerships_changed(WatchEvent::Apply(record(3, 3, None)));
    assert_eq!(highest(), Some(5));
    // What was stored before this agent ran counts too.
    caches.ownerships_changed(WatchEvent::Apply(record(4, 6, Some(9))));
    assert_eq!(highest(), Some(9));
}

#[test]
fn a_volume_whose_record_does_not_exist_learns_that_records_are_known() {
    let caches = Caches::new();
    let by_hub = json!({"metadata": {"annotations": {"lifeboat.dev/epoch": "3", "lifeboat.dev/ownership": "own"}}});
    caches.volumes_changed(WatchEvent::Synced(vec![volume(1, &by_hub)]));
    let work = caches.ownerships_changed(WatchEvent::Synced(Vec::new()));
    assert!(
        work.contains(&Work::Volume(Key::new("shop", "data"))),
        "{work:?}"
    );
}
