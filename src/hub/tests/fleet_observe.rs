//! What is seen of one placement, and who is woken.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is how a failure is told"
)]

mod fleet_common;

use fleet_common::*;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::Api;
use lifeboat_api::{DROwnership, names};
use lifeboat_core::observed::{
    ClaimPhase, Csi, Managed, Mark, NamespaceFacts, Retained, Role, Selected, VrStatus,
};
use lifeboat_core::{ClaimKey, Epoch, Journal};
use lifeboat_hub::fleet::Wake;
use lifeboat_hub::observe::source_fingerprint;
use serde_json::{Value, json};

fn claim(ns: &str, name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": ns, "name": name, "labels": {"app": app}},
        "spec": {"storageClassName": "rbd-b", "volumeName": format!("pv-{name}"), "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn volume(ns: &str, name: &str, policy: &str, remembered: Option<&str>) -> Value {
    let annotations = remembered
        .map(|p| json!({names::RECLAIM_POLICY: p}))
        .unwrap_or(json!({}));
    json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": format!("pv-{name}"), "labels": {names::PLACEMENT_UID: UID}, "annotations": annotations},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "rbd-b",
            "persistentVolumeReclaimPolicy": policy, "claimRef": {"kind": "PersistentVolumeClaim", "namespace": ns, "name": name},
            "csi": {"driver": "d", "volumeHandle": format!("h-{name}")}}})
}

fn pod(ns: &str, name: &str, app: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": ns, "name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn deployment(ns: &str, replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": ns, "name": "db", "labels": {"app": "db"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn replication(ns: &str, name: &str) -> Value {
    json!({"apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplication",
        "metadata": {"namespace": ns, "name": name, "labels": {names::PLACEMENT_UID: UID}, "annotations": {names::EPOCH: "3"}},
        "spec": {"volumeReplicationClass": "v", "replicationState": "primary", "autoResync": false,
            "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": name}}})
}

/// A record that was written for this site.
async fn record(on: &Site, ns: &str, epoch: i64) -> Value {
    let namespaces: Api<Namespace> = Api::all(on.server.admin());
    let system = namespaces.get("kube-system").await.unwrap();
    json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership",
        "metadata": {"namespace": ns, "name": names::ownership_name("db", UID)},
        "spec": {"placementUID": UID, "placement": "shop/db", "cluster": "dr2", "clusterUID": system.metadata.uid,
            "owner": "dr2", "epoch": epoch}})
}

fn known(epoch: i64) -> Journal {
    Journal {
        epoch: Epoch(epoch),
        ..Journal::default()
    }
}

async fn shop() -> (World, Site) {
    let world = world();
    let dr2 = site(&world, "dr2");
    for object in [
        namespace("shop-dr"),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "rbd-b"}, "provisioner": "d"}),
        claim("shop-dr", "data", "db"),
        claim("shop-dr", "stranger", "web"),
        volume("shop-dr", "data", "Retain", Some("Delete")),
        deployment("shop-dr", 1),
        pod("shop-dr", "db-0", "db", "data"),
        pod("shop-dr", "debug", "shell", "data"),
        replication("shop-dr", "data"),
        record(&dr2, "shop-dr", 3).await,
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "va"},
            "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "pv-data"}}}),
    ] {
        put(&dr2, &object);
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(dr2.server.admin(), "shop-dr");
    let bound = kube::api::Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims
        .patch_status("data", &kube::api::PatchParams::default(), &bound)
        .await
        .unwrap();
    world.join("dr2");
    world.fresh("dr2").await;
    (world, dr2)
}

#[tokio::test(start_paused = true)]
async fn a_volume_with_our_mark_whose_claim_has_another_is_seen_until_it_is_given_back() {
    let (world, dr2) = shop().await;
    let former = |world: &World| {
        let seen = world.observe(&scope(&known(3)));
        let names = seen.cluster(&id("dr2")).former.iter().cloned();
        names.collect::<Vec<String>>()
    };
    assert!(former(&world).is_empty());
    let mut before = volume("shop-dr", "data", "Retain", Some("Delete"));
    before["metadata"]["name"] = json!("pv-before");
    put(&dr2, &before);
    let seen = || former(&world) == ["pv-before"];
    world.until("the former volume is seen", seen).await;
    before["metadata"]["labels"] = json!({});
    put(&dr2, &before);
    let gone = || former(&world).is_empty();
    world.until("it is seen no more", gone).await;
}

#[tokio::test(start_paused = true)]
async fn facts_have_home_names() {
    let (world, _dr2) = shop().await;
    let seen = world.observe(&scope(&known(3)));
    let facts = seen.cluster(&id("dr2"));
    assert!(facts.contact.is_fresh());
    assert_eq!(facts.namespaces.get("shop"), Some(&NamespaceFacts::Active));
    assert_eq!(
        facts.storage_classes.get("rbd").map(String::as_str),
        Some("d")
    );
    let key = ClaimKey::new("shop", "data");
    assert_eq!(facts.volumes.keys().collect::<Vec<_>>(), [&key]);
    let data = &facts.volumes[&key];
    let claim = data.claim.as_ref().unwrap();
    assert_eq!(
        (claim.selected, &claim.mark, claim.phase),
        (Selected::Yes, &Mark::Unmarked, ClaimPhase::Bound)
    );
    assert_eq!(claim.storage_class.as_deref(), Some("rbd"));
    let pv = data.volume.as_ref().unwrap();
    assert_eq!((&pv.mark, pv.retained), (&Mark::Ours, Retained::Yes));
    assert_eq!(
        pv.csi,
        Some(Csi {
            driver: "d".into(),
            handle: "h-data".into()
        })
    );
    let vr = data.replication.as_ref().unwrap();
    assert_eq!(
        (&vr.mark, vr.desired, vr.epoch, &vr.status),
        (
            &Mark::Ours,
            Role::Primary,
            Some(Epoch(3)),
            &VrStatus::Pending
        )
    );
    let holders: Vec<_> = facts
        .holders
        .iter()
        .map(|h| (h.kind.as_str(), h.name.as_str(), h.managed))
        .collect();
    assert_eq!(
        holders,
        [
            ("Pod", "shop-dr/db-0", Managed::Yes),
            ("Pod", "shop-dr/debug", Managed::No),
            ("VolumeAttachment", "va", Managed::Yes)
        ]
    );
    assert_eq!(facts.workloads.len(), 1);
    assert_eq!(facts.record.as_ref().unwrap().epoch, Epoch(3));
}

#[tokio::test(start_paused = true)]
async fn news_of_an_epoch_counts_at_once_and_a_missing_record_is_missed() {
    let (world, dr2) = shop().await;
    let client = dr2.server.admin();
    let epoch = |known_epoch| {
        let seen = world.observe(&scope(&known(known_epoch)));
        seen.cluster(&id("dr2")).record.as_ref().map(|r| r.epoch)
    };
    assert_eq!(epoch(0), Some(Epoch(3)));
    let api: Api<DROwnership> = Api::namespaced(client, "shop-dr");
    api.delete(
        &names::ownership_name("db", UID),
        &kube::api::DeleteParams::default(),
    )
    .await
    .unwrap();
    world
        .until("the record is gone", || epoch(3).is_none())
        .await;
    put(&dr2, &namespace("elsewhere"));
    put(&dr2, &record(&dr2, "elsewhere", 7).await);
    world
        .until("a record elsewhere is news", || epoch(3) == Some(Epoch(7)))
        .await;
    assert_eq!(epoch(7), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_whom_it_concerns() {
    let (world, dr2) = shop().await;
    put(&dr2, &namespace("other"));
    let told = Wake::Namespace(id("dr2"), "other".into());
    world
        .until("the namespace is seen", || {
            world.take_wakes().contains(&told)
        })
        .await;
    let place = |ns: &str| (id("dr2"), ns.to_owned());
    let labelled = |ns: &str, app: &str| {
        let labels = [("app".to_owned(), app.to_owned())];
        let (cluster, ns) = place(ns);
        Wake::Claim(cluster, ns, labels.into())
    };
    let woken = async |least: usize| {
        let enough = || world.wakes.lock().len() >= least;
        world.until("woken", enough).await;
        world.take_wakes()
    };
    put(&dr2, &claim("other", "c", "mq"));
    assert_eq!(woken(1).await, [labelled("other", "mq")]);
    // A pod concerns whoever looks at the claim that it uses, and nobody if there is none such.
    put(&dr2, &pod("other", "p", "x", "missing"));
    put(&dr2, &pod("shop-dr", "p", "x", "stranger"));
    assert_eq!(woken(1).await, [labelled("shop-dr", "web")]);
    let ours = || Wake::Placement(UID.into());
    put(&dr2, &volume("shop-dr", "data", "Delete", None));
    assert_eq!(woken(2).await, [labelled("shop-dr", "db"), ours()]);
    let mut scaled = deployment("shop-dr", 2);
    put(&dr2, &scaled);
    let labels = || [("app".to_owned(), "db".to_owned())].into();
    let (cluster, ns) = place("shop-dr");
    assert_eq!(woken(1).await, [Wake::Workload(cluster, ns, labels())]);
    // Whoever selected it must see that it is no longer selected; the volume and the replication still say whose it is.
    scaled["metadata"]["labels"] = json!({"app": "web"});
    put(&dr2, &scaled);
    assert_eq!(woken(2).await.len(), 2);
    put(&dr2, &claim("shop-dr", "data", "web"));
    assert_eq!(
        woken(3).await,
        [
            labelled("shop-dr", "db"),
            labelled("shop-dr", "web"),
            ours()
        ]
    );
    put(&dr2, &pod("shop-dr", "q", "x", "data"));
    assert_eq!(woken(2).await, [labelled("shop-dr", "web"), ours()]);
    put(&dr2, &record(&dr2, "shop-dr", 4).await);
    assert_eq!(woken(2).await, [ours(), Wake::Named("shop/db".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_capture_is_out_of_date_only_when_it_would_say_something_else() {
    let (world, dr2) = shop().await;
    let scope = scope(&known(3));
    let print = || source_fingerprint(&world.fleet, &scope, &id("dr2"));
    let before = print();
    // Protection and a stop say nothing new.
    put(&dr2, &volume("shop-dr", "data", "Delete", None));
    let mut stopped = deployment("shop-dr", 0);
    stopped["metadata"]["annotations"] = json!({names::REPLICAS: "1"});
    put(&dr2, &stopped);
    put(&dr2, &pod("shop-dr", "last", "x", "data"));
    world
        .until("seen", || {
            let seen = world.observe(&scope);
            seen.cluster(&id("dr2"))
                .holders
                .iter()
                .any(|h| h.name.ends_with("last"))
                && seen
                    .cluster(&id("dr2"))
                    .workloads
                    .values()
                    .all(|w| w.replicas == 0)
        })
        .await;
    assert_eq!(print(), before);
    put(&dr2, &claim("shop-dr", "more", "db"));
    world
        .until("a new claim is seen", || print() != before)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_write_is_seen_before_the_watch_tells() {
    let (world, dr2) = shop().await;
    let api: Api<DROwnership> = Api::namespaced(dr2.server.admin(), "shop-dr");
    dr2.link.cut();
    let name = names::ownership_name("db", UID);
    let patch = kube::api::Patch::Merge(json!({"spec": {"epoch": 4, "owner": "dr1"}}));
    let answer = api
        .patch(&name, &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();
    world.fleet.note(&id("dr2"), answer);
    let seen = world.observe(&scope(&known(4)));
    assert_eq!(
        seen.cluster(&id("dr2")).record.as_ref().unwrap().epoch,
        Epoch(4)
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_found_out_before_a_resync_is_seen_by_home_names() {
    let (world, dr2) = shop().await;
    let at = "2026-01-01T00:00:00Z";
    let told = json!({"status": {"divergence": [
        {"claim": "db", "epoch": 4, "measuredAt": at, "bytes": 4096, "kept": {"driver": "d", "volumeHandle": "k-1",
            "bytes": 1, "keptAt": at, "keepUntil": "2026-01-08T00:00:00Z"}},
        {"claim": "db", "epoch": 2, "measuredAt": at, "message": "the peer has no snapshot"},
    ]}});
    let records: Api<DROwnership> = Api::namespaced(dr2.server.admin(), "shop-dr");
    records
        .patch_status(
            &names::ownership_name("db", UID),
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(told),
        )
        .await
        .unwrap();
    let found = || {
        let seen = world.observe(&scope(&known(4)));
        seen.clusters[&id("dr2")].diverged.clone()
    };
    world.until("it is seen", || found().len() == 2).await;
    let found = found();
    let (old, new) = (&found[0], &found[1]);
    assert_eq!(new.claim.to_string(), "shop/db");
    assert_eq!((old.epoch, new.epoch), (Epoch(2), Epoch(4)));
    assert_eq!((old.bytes, new.bytes), (None, Some(4096)));
    assert_eq!(old.message.as_deref(), Some("the peer has no snapshot"));
    let kept = new.kept.as_ref().unwrap();
    assert_eq!((kept.csi.handle.as_str(), kept.dropped), ("k-1", None));
}

#[tokio::test(start_paused = true)]
async fn records_of_an_earlier_placement_of_the_name_are_seen_until_it_is_decided_on() {
    let (world, dr2) = shop().await;
    let here = record(&dr2, "shop-dr", 9).await;
    let left = |ns: &str, uid: &str, placement: &str| {
        let mut left = here.clone();
        left["metadata"]["namespace"] = json!(ns);
        left["metadata"]["name"] = json!(names::ownership_name("db", uid));
        left["spec"]["placementUID"] = json!(uid);
        left["spec"]["placement"] = json!(placement);
        put(&dr2, &left);
    };
    put(&dr2, &namespace("elsewhere"));
    left("elsewhere", "earlier0", "shop/db");
    left("shop-dr", "stranger", "other/db");
    let namesakes = |journal: &Journal| {
        let seen = world.observe(&scope(journal));
        seen.clusters[&id("dr2")].namesakes.clone()
    };
    world
        .until("the record is seen", || !namesakes(&known(0)).is_empty())
        .await;
    let found = namesakes(&known(0));
    let told: Vec<(&str, &str, Epoch)> = found
        .iter()
        .map(|n| (n.uid.as_str(), n.record.as_str(), n.epoch))
        .collect();
    assert_eq!(told, [("earlier0", "elsewhere/db-earlier0", Epoch(9))]);
    assert!(namesakes(&known(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_copied_from_another_cluster_says_so() {
    let (world, dr2) = shop().await;
    let written_to = || {
        let seen = world.observe(&scope(&known(3)));
        seen.clusters[&id("dr2")].record.clone().unwrap().written_to
    };
    assert_eq!(written_to(), None);
    let own = record(&dr2, "shop-dr", 3).await;
    for (field, value, from) in [("cluster", "dr1", "dr1"), ("clusterUID", "before", "dr2")] {
        let mut copied = own.clone();
        copied["spec"][field] = json!(value);
        put(&dr2, &copied);
        world
            .until("it is seen", || written_to() == Some(id(from)))
            .await;
        put(&dr2, &own);
        world
            .until("it is put right", || written_to().is_none())
            .await;
    }
}
