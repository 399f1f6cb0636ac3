//! Policies.

use lifeboat_lab::lab::POLICY;

use super::*;
use crate::support::paused;

fn policy(clusters: &[&str], class: &str, replication: &str) -> Value {
    json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": POLICY},
        "spec": {"clusters": clusters,
            "classes": [{"storageClassName": class, "volumeReplicationClassName": replication}]}})
}

/// What is bad; reason and words of the policy's condition; reason and words of the placement's blocker.
type Row = (
    &'static str,
    Value,
    (&'static str, &'static [&'static str]),
    (&'static str, &'static [&'static str]),
);

fn rows() -> [Row; 4] {
    let all = ["east", "west", "north"];
    [
        (
            "an unknown cluster",
            policy(&["east", "west", "mars"], "fast", "fast-mirror"),
            (
                "UnknownCluster",
                &["DRCluster mars does not exist", "create it"],
            ),
            (
                "ClusterUnreachable",
                &["mars", "no DRCluster of that name exists"],
            ),
        ),
        (
            "a storage class that does not exist",
            policy(&all, "none", "fast-mirror"),
            (
                "ClassMissing",
                &["StorageClass none does not exist", "create it"],
            ),
            (
                "VolumeUnprotectable",
                &["shop-data-0", "storage class fast"],
            ),
        ),
        (
            "a replication class that does not exist",
            policy(&all, "fast", "none"),
            (
                "ClassMissing",
                &["VolumeReplicationClass none does not exist", "create it"],
            ),
            ("ClassMismatch", &["shop-data-0", "none does not exist"]),
        ),
        (
            "a class of another driver",
            policy(&all, "fast", "other-mirror"),
            (
                "ClassMismatch",
                &["other-mirror to other.example.org", "name one of the same"],
            ),
            (
                "ClassMismatch",
                &[
                    "shop-data-0",
                    "other-mirror belongs to the driver other.example.org",
                ],
            ),
        ),
    ]
}

async fn until_said(lab: &Lab, row: &str, reason: &str, says: &[&str]) {
    let api: Api<DRPolicy> = Api::all(lab.hub_client());
    let found = lab.poll(row, Duration::from_secs(60), || async {
        let policy = api.get(POLICY).await.unwrap();
        let found = policy.status.as_ref();
        let found = found.and_then(|s| condition(&s.conditions, "Valid"));
        Ok(found.is_some_and(|c| {
            c.status == "False" && c.reason == reason && says.iter().all(|w| c.message.contains(w))
        }))
    });
    found.await.unwrap_or_else(|e| panic!("{}", e.full()));
}

#[test]
fn a_policy_that_cannot_be_followed_is_named() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        let other = json!({"apiVersion": "replication.storage.openshift.io/v1alpha1",
            "kind": "VolumeReplicationClass", "metadata": {"name": "other-mirror"},
            "spec": {"provisioner": "other.example.org", "parameters": {}}});
        lab.world().install_on_sites(&other.to_string()).unwrap();
        for (n, (row, bad, (reason, says), (blocker, about))) in rows().into_iter().enumerate() {
            put(&lab, &bad);
            if n == 0 {
                lab.place(lab.app(), "east").unwrap();
            }
            until_said(&lab, row, reason, says).await;
            until_blocked(&lab, row, blocker, about).await;
            let moved = lab.neighbour_moves().await;
            moved.unwrap_or_else(|e| panic!("{row}: {}", e.full()));
        }
        put(
            &lab,
            &policy(&["east", "west", "north"], "fast", "fast-mirror"),
        );
        play(&lab, "wait settled on east within 2m\nrelocate to west\nwait settled on west within 2m\nexpect lost 0").await;
    });
}

#[test]
fn a_policy_with_a_cluster_twice_is_refused_by_the_api_and_the_old_one_stays() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        lab.place(lab.app(), "east").unwrap();
        let twice = policy(&["east", "west", "east"], "fast", "fast-mirror");
        let refused = lab.world().install(HUB, &twice.to_string()).unwrap_err();
        let refused = lifeboat_kit::error::full(&refused);
        assert!(refused.contains("a cluster is named twice"), "{refused}");
        lab.neighbour_moves().await.unwrap();
        play(&lab, "wait settled on east within 2m\nexpect lost 0").await;
    });
}
