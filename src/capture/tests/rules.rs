//! One rule per test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;

use lifeboat_capture::{
    Capture, ClaimName, Collision, ExportError, Mapping, Marks, RecordError, RefKind, collides,
    export_supporting, export_volume, export_workload, import_pv, import_pvc, import_workload,
    references, service_selects, volume_differs,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn marks() -> Marks {
    Marks {
        placement: "ops/shop".to_owned(),
        placement_uid: "uid-1".to_owned(),
        epoch: 7,
    }
}

fn pvc(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": format!("c-{name}"), "resourceVersion": "1" },
        "spec": { "volumeName": format!("pv-{name}"), "storageClassName": "fast" },
        "status": { "phase": "Bound" },
    })
}

fn pv(name: &str) -> Value {
    json!({
        "metadata": { "name": format!("pv-{name}"), "uid": format!("v-{name}") },
        "spec": {
            "claimRef": { "namespace": "shop", "name": name, "uid": format!("c-{name}") },
            "csi": { "driver": "sim", "volumeHandle": format!("h-{name}") },
            "persistentVolumeReclaimPolicy": "Delete",
        },
    })
}

fn capture() -> Capture {
    let mut capture = Capture::new(&marks(), "east", "2026-01-01T00:00:00Z".parse().unwrap());
    capture.volumes = vec![
        export_volume(&pvc("a"), &pv("a")).unwrap(),
        export_volume(&pvc("b"), &pv("b")).unwrap(),
    ];
    capture
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    *object.pointer_mut(pointer).unwrap() = value;
    object
}

#[test]
fn says_why_a_volume_cannot_be_captured() {
    let unbound =
        export_volume(&with(pvc("a"), "/status/phase", json!("Pending")), &pv("a")).unwrap_err();
    assert!(
        matches!(&unbound, ExportError::Unbound { phase, .. } if phase == "Pending"),
        "{unbound}"
    );
    let lost =
        export_volume(&with(pvc("a"), "/status/phase", json!("Lost")), &pv("a")).unwrap_err();
    assert!(matches!(lost, ExportError::Unbound { .. }));
    let not_csi = export_volume(&pvc("a"), &with(pv("a"), "/spec/csi", Value::Null)).unwrap_err();
    assert!(matches!(not_csi, ExportError::NotCsi { .. }));
    let no_handle = export_volume(
        &pvc("a"),
        &with(pv("a"), "/spec/csi/volumeHandle", json!("")),
    )
    .unwrap_err();
    assert!(matches!(
        no_handle,
        ExportError::Incomplete {
            field: "/spec/csi/volumeHandle",
            ..
        }
    ));
    let no_driver =
        export_volume(&pvc("a"), &with(pv("a"), "/spec/csi/driver", Value::Null)).unwrap_err();
    assert!(matches!(
        no_driver,
        ExportError::Incomplete {
            field: "/spec/csi/driver",
            ..
        }
    ));
}

#[test]
fn refuses_a_volume_that_belongs_to_another_claim() {
    for (pointer, why) in [
        ("/spec/claimRef/name", "claimRef.name"),
        ("/spec/claimRef/uid", "claimRef.uid"),
        ("/metadata/name", "volumeName"),
    ] {
        let error = export_volume(&pvc("a"), &with(pv("a"), pointer, json!("other"))).unwrap_err();
        assert!(
            matches!(error, ExportError::Mismatch { why: w, .. } if w == why),
            "{error}"
        );
    }
}

#[test]
fn refuses_what_would_be_wrong_elsewhere() {
    for object in [
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": { "name": "t" } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt" } }),
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } }),
        json!({ "metadata": { "name": "untyped" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {} }),
    ] {
        assert!(
            matches!(
                export_supporting(&object),
                Err(ExportError::Unsupported { .. })
            ),
            "{object}"
        );
    }
    let bare =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": {} });
    assert!(export_workload(&bare).is_err());
}

#[test]
fn finds_every_object_a_workload_names() {
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "db", "namespace": "shop", "annotations": { "lifeboat.dev/replicas": "2" } },
        "spec": {
            "replicas": 0, "serviceName": "db-peers", "ordinals": { "start": 3 },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
            "template": { "metadata": { "labels": { "app": "db" } }, "spec": {
                "serviceAccountName": "db",
                "imagePullSecrets": [{ "name": "pull" }],
                "initContainers": [{ "envFrom": [{ "configMapRef": { "name": "init-conf" } }, { "secretRef": { "name": "init-secret" } }] }],
                "containers": [{ "env": [
                    { "name": "A", "valueFrom": { "secretKeyRef": { "name": "password", "key": "p" } } },
                    { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "s" } } },
                    { "name": "C", "value": "plain" },
                ] }],
                "volumes": [
                    { "name": "1", "configMap": { "name": "files" } },
                    { "name": "2", "secret": { "secretName": "certs" } },
                    { "name": "3", "persistentVolumeClaim": { "claimName": "shared" } },
                    { "name": "4", "projected": { "sources": [
                        { "configMap": { "name": "kube-root-ca.crt" } }, { "configMap": { "name": "p-conf" } },
                        { "secret": { "name": "p-secret" } } ] } },
                    { "name": "5", "csi": { "driver": "x", "nodePublishSecretRef": { "name": "publish" } } },
                    { "name": "6", "cephfs": { "secretRef": { "name": "ceph" } } },
                ],
            } },
        },
    });
    let found: Vec<String> = references(&set)
        .into_iter()
        .map(|r| format!("{} {}", r.kind.as_str(), r.name))
        .collect();
    assert_eq!(
        found,
        [
            "ConfigMap files",
            "ConfigMap init-conf",
            "ConfigMap p-conf",
            "ConfigMap settings",
            "Secret ceph",
            "Secret certs",
            "Secret init-secret",
            "Secret p-secret",
            "Secret password",
            "Secret publish",
            "Secret pull",
            "Service db-peers",
            "ServiceAccount db",
            "PersistentVolumeClaim data-db-3",
            "PersistentVolumeClaim data-db-4",
            "PersistentVolumeClaim shared",
        ]
    );
}

#[test]
fn finds_what_a_deployment_and_a_service_account_name() {
    let deployment = json!({ "kind": "Deployment", "spec": { "template": { "spec": {
        "serviceAccountName": "default", "volumes": [{ "secret": { "secretName": "s" } }] } } } });
    assert_eq!(
        references(&deployment)
            .iter()
            .map(|r| (r.kind, r.name.as_str()))
            .collect::<Vec<_>>(),
        [(RefKind::Secret, "s")]
    );
    let account = json!({ "kind": "ServiceAccount", "imagePullSecrets": [{ "name": "pull" }] });
    assert_eq!(
        references(&account)
            .iter()
            .map(|r| r.name.as_str())
            .collect::<Vec<_>>(),
        ["pull"]
    );
}

#[test]
fn a_service_belongs_to_a_workload_whose_pods_it_selects() {
    let workload = json!({ "kind": "Deployment", "metadata": { "namespace": "shop" },
        "spec": { "template": { "metadata": { "labels": { "app": "web", "tier": "front" } } } } });
    let service = |namespace: &str, selector: Value| json!({ "kind": "Service", "metadata": { "namespace": namespace }, "spec": { "selector": selector } });
    assert!(service_selects(
        &service("shop", json!({ "app": "web" })),
        &workload
    ));
    assert!(!service_selects(
        &service("shop", json!({ "app": "db" })),
        &workload
    ));
    assert!(!service_selects(
        &service("other", json!({ "app": "web" })),
        &workload
    ));
    assert!(
        !service_selects(&service("shop", json!({})), &workload),
        "a Service without a selector selects nothing"
    );
}

#[test]
fn only_the_mark_makes_an_object_ours() {
    let record = export_volume(&pvc("a"), &pv("a")).unwrap();
    let ours = import_pv(&record, &Mapping::default(), &marks());
    assert_eq!(collides(&Value::Null, "uid-1"), Collision::None);
    assert_eq!(collides(&ours, "uid-1"), Collision::Ours);
    assert!(
        matches!(collides(&ours, "uid-2"), Collision::Foreign { why } if why.contains("uid-1"))
    );
    assert!(
        matches!(collides(&record.pv, "uid-1"), Collision::Foreign { why } if why.contains("PersistentVolume pv-a"))
    );
    assert!(matches!(collides(&ours, ""), Collision::Foreign { .. }));
}

#[test]
fn a_volume_of_ours_with_another_image_is_not_the_same_volume() {
    let mut record = export_volume(&pvc("a"), &pv("a")).unwrap();
    let old = import_pv(&record, &Mapping::default(), &marks());
    assert_eq!(volume_differs(&old, &old), None);
    record.destination_handle = Some("elsewhere".to_owned());
    let difference =
        volume_differs(&old, &import_pv(&record, &Mapping::default(), &marks())).unwrap();
    assert_eq!(
        (difference.existing.as_str(), difference.wanted.as_str()),
        ("h-a", "elsewhere")
    );
}

#[test]
fn fingerprint_ignores_time_and_order_and_nothing_else() {
    let first = capture();
    let mut second = first.clone();
    second.taken_at = "2027-01-01T00:00:00Z".parse().unwrap();
    second.volumes.reverse();
    second.volumes[0].pvc["metadata"]["resourceVersion"] = json!("99");
    assert_eq!(first.fingerprint(), second.fingerprint());
    let mut changed = first.clone();
    changed.volumes[0].destination_handle = Some("x".to_owned());
    assert_ne!(first.fingerprint(), changed.fingerprint());
    let mut later = first.clone();
    later.epoch += 1;
    assert_ne!(first.fingerprint(), later.fingerprint());
    let mut less = first.clone();
    less.volumes.pop();
    assert_ne!(first.fingerprint(), less.fingerprint());
    assert_eq!(first.fingerprint().as_str().len(), 64);
}

#[test]
fn a_workload_held_down_has_the_same_fingerprint() {
    let running = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "w" }, "spec": { "replicas": 3, "template": {} } });
    let mut held = running.clone();
    held["spec"]["replicas"] = json!(0);
    held["metadata"]["annotations"] = json!({ "lifeboat.dev/replicas": "3" });
    assert_eq!(
        export_workload(&running).unwrap(),
        export_workload(&held).unwrap()
    );
}

#[test]
fn reads_back_what_it_wrote() {
    let capture = capture();
    assert_eq!(
        Capture::from_json(&capture.to_json().unwrap()).unwrap(),
        capture
    );
}

#[test]
fn refuses_another_format_before_reading_further() {
    let error = Capture::from_json(br#"{"format":"lifeboat.dev/capture/v9"}"#).unwrap_err();
    assert!(
        matches!(&error, RecordError::Format { found } if found.ends_with("v9")),
        "{error}"
    );
    assert!(matches!(
        Capture::from_json(b"{"),
        Err(RecordError::Unreadable(_))
    ));
}

#[test]
fn refuses_two_volumes_on_one_image_or_claim() {
    let mut same_handle = capture();
    same_handle.volumes[1].handle = "h-a".to_owned();
    assert!(matches!(
        same_handle.validate(),
        Err(RecordError::Twice {
            what: "volume handle",
            ..
        })
    ));
    let mut same_claim = capture();
    same_claim.volumes[1].claim = "a".to_owned();
    assert!(matches!(
        same_claim.validate(),
        Err(RecordError::Twice { what: "name", .. })
    ));
    assert!(capture().validate().is_ok());
}

#[test]
fn names_the_claims_it_lacks() {
    let claim = |name: &str| ClaimName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    let missing = capture().missing(&BTreeSet::from([claim("a"), claim("z")]));
    assert_eq!(missing, BTreeSet::from([claim("z")]));
}

#[test]
fn debug_never_shows_contents() {
    let mut capture = capture();
    capture.supporting.push(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "k": "aHVudGVyMg==" } }));
    let env = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "w" },
        "spec": { "template": { "spec": { "containers": [{ "env": [{ "name": "P", "value": "hunter2" }] }] } } } });
    capture.workloads.push(export_workload(&env).unwrap());
    let shown = format!("{capture:?} {capture:#?}");
    assert!(
        shown.contains("Secret s") && shown.contains("Deployment w"),
        "{shown}"
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
        "{shown}"
    );
}

/// Every field of an object whose name says that it belongs to the source cluster.
fn leftovers(object: &Value) -> Vec<String> {
    const BANNED: [&str; 6] = [
        "uid",
        "resourceVersion",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "nodeAffinity",
    ];
    match object {
        Value::Object(map) => map
            .iter()
            .flat_map(|(k, v)| {
                let own = BANNED.contains(&k.as_str()).then(|| k.clone());
                own.into_iter().chain(leftovers(v))
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(leftovers).collect(),
        _ => Vec::new(),
    }
}

fn dirt() -> impl Strategy<Value = Value> {
    (any::<bool>(), "[a-z0-9]{1,8}", prop::collection::btree_map("(pv.kubernetes.io|volume.kubernetes.io|lifeboat.dev|example.com)/[a-z]{1,6}", "[a-z]{0,4}", 0..5))
        .prop_map(|(deleting, uid, annotations)| {
            let mut metadata = json!({
                "uid": uid, "resourceVersion": "12", "generation": 3, "managedFields": [{ "manager": "m" }],
                "ownerReferences": [{ "uid": "o" }], "finalizers": ["f"], "creationTimestamp": null, "annotations": annotations,
            });
            if deleting {
                metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            metadata
        })
}

fn dirty(mut object: Value, metadata: &Value) -> Value {
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was restored, seen by the target as a live object and captured there, is the same record again.
    #[test]
    fn a_move_there_and_back_changes_nothing(
        on_claim in dirt(), on_volume in dirt(), policy in "(Delete|Retain|Recycle)", class in "[a-z]{0,5}", handle in "[a-z0-9-]{1,20}"
    ) {
        let mut volume = dirty(pv("a"), &on_volume);
        volume["spec"]["persistentVolumeReclaimPolicy"] = json!(policy);
        volume["spec"]["storageClassName"] = json!(class);
        volume["spec"]["csi"]["volumeHandle"] = json!(handle);
        volume["spec"]["nodeAffinity"] = json!({ "required": {} });
        let mut claim = dirty(pvc("a"), &on_claim);
        volume["spec"]["claimRef"]["uid"] = claim["metadata"]["uid"].clone();
        claim["spec"]["storageClassName"] = json!(class);

        let there = Mapping { storage_class: [(class.clone(), "west".to_owned())].into(), namespace: [("shop".to_owned(), "dr".to_owned())].into(), ..Mapping::default() };
        let back = Mapping { storage_class: [("west".to_owned(), class.clone())].into(), namespace: [("dr".to_owned(), "shop".to_owned())].into(), ..Mapping::default() };

        let first = export_volume(&claim, &volume).unwrap();
        let (made_claim, made_volume) = (import_pvc(&first, &there, &marks()), import_pv(&first, &there, &marks()));
        prop_assert_eq!(leftovers(&made_claim), Vec::<String>::new());
        prop_assert_eq!(leftovers(&made_volume), Vec::<String>::new());
        prop_assert_eq!(&made_volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");

        let live = |object: &Value| {
            let mut live = object.clone();
            live["metadata"]["uid"] = json!("new");
            live["metadata"]["resourceVersion"] = json!("7");
            live["status"] = json!({ "phase": "Bound" });
            live
        };
        let mut live_volume = live(&made_volume);
        live_volume["spec"]["claimRef"]["uid"] = json!("new");
        let again = export_volume(&live(&made_claim), &live_volume).unwrap();
        prop_assert_eq!(&import_pvc(&again, &back, &marks()), &import_pvc(&first, &Mapping::default(), &marks()));
        prop_assert_eq!(&import_pv(&again, &back, &marks()), &import_pv(&first, &Mapping::default(), &marks()));
    }

    /// The same for a workload, through a scale to zero.
    #[test]
    fn a_workload_keeps_its_replicas_through_every_move(on in dirt(), replicas in 0..50_i32) {
        let workload = dirty(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "w", "namespace": "shop" },
            "spec": { "replicas": replicas, "template": { "metadata": { "creationTimestamp": null } } } }), &on);
        let first = export_workload(&workload).unwrap();
        let mut made = import_workload(&first, &Mapping::default(), &marks(), None);
        prop_assert_eq!(leftovers(&made), Vec::<String>::new());
        made["spec"]["replicas"] = json!(0);
        made["metadata"]["annotations"]["lifeboat.dev/replicas"] = json!(replicas.to_string());
        prop_assert_eq!(export_workload(&made).unwrap(), first);
    }
}
