//! A capture that is damaged at the very moment it is needed: the source is dead.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{DeleteParams, PostParams};
use lifeboat_api::names::SYSTEM_NAMESPACE;

use super::*;
use crate::support::paused;

#[derive(Debug, Clone, Copy)]
enum Damage {
    ChunkMissing,
    ChunkTruncated,
    ChunkAltered,
    ManifestMissing,
}

/// The Secrets of one version of the application's captures.
async fn parts(lab: &Lab, version: u64) -> Vec<Secret> {
    let stem = format!("lifeboat-capture-{}-{version:08}-", lab.uid());
    let all: Api<Secret> = Api::namespaced(lab.hub_client(), SYSTEM_NAMESPACE);
    let mut all = all.list(&ListParams::default()).await.unwrap().items;
    all.retain(|s| s.name_any().starts_with(&stem));
    all
}

async fn harm(lab: &Lab, version: u64, damage: Damage) {
    let api: Api<Secret> = Api::namespaced(lab.hub_client(), SYSTEM_NAMESPACE);
    let manifest = matches!(damage, Damage::ManifestMissing);
    let all = parts(lab, version).await;
    let mut found = all.into_iter();
    let mut part = found
        .find(|s| s.name_any().ends_with("manifest") == manifest)
        .unwrap();
    let name = part.name_any();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    for ByteString(bytes) in part.data.iter_mut().flat_map(|d| d.values_mut()) {
        match damage {
            Damage::ChunkMissing | Damage::ManifestMissing => return,
            Damage::ChunkTruncated => bytes.truncate(bytes.len() / 2),
            Damage::ChunkAltered => bytes.iter_mut().skip(40).take(1).for_each(|b| *b ^= 1),
        }
    }
    part.metadata.resource_version = None;
    part.metadata.uid = None;
    api.create(&PostParams::default(), &part).await.unwrap();
}

/// Two captures: of the application as it was installed, and with another image.
async fn captured_twice() -> Lab {
    let lab = Lab::start(spec()).await.unwrap();
    lab.place(lab.app(), "east").unwrap();
    play(&lab, "wait settled on east within 2m").await;
    let newer = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "writer", "image": "example.org/writer:2"}]}}}});
    let api: Api<Deployment> = Api::namespaced(lab.world().admin("east").unwrap(), "shop");
    let patch = Patch::Strategic(newer);
    api.patch("shop", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let second = lab.poll("a second capture", Duration::from_secs(60), || async {
        Ok(parts(&lab, 2)
            .await
            .iter()
            .any(|s| s.name_any().ends_with("manifest")))
    });
    second.await.unwrap_or_else(|e| panic!("{}", e.full()));
    play(&lab, "wait settled on east within 2m").await;
    lab.neighbour_moves().await.unwrap();
    lab
}

async fn image_on_west(lab: &Lab) -> String {
    let api: Api<Deployment> = Api::namespaced(lab.world().admin("west").unwrap(), "shop");
    let there = api.get("shop").await.unwrap();
    let pod = there.spec.unwrap().template.spec.unwrap();
    pod.containers[0].image.clone().unwrap()
}

#[test]
fn a_failover_restores_the_newest_readable_version_and_says_so() {
    use Damage::*;
    for damage in [ChunkMissing, ChunkTruncated, ChunkAltered, ManifestMissing] {
        paused(async {
            println!("{damage:?}");
            let lab = captured_twice().await;
            play(&lab, "kill site east\nstop hub").await;
            harm(&lab, 2, damage).await;
            play(&lab, "start hub\nfailover to west\nwait event OlderCapture naming 00000002 within 60s\nwait running on west within 60s").await;
            assert_eq!(image_on_west(&lab).await, "example.org/writer:1");
            play(&lab, "revive site east\nwait settled on west within 5m\nexpect primary only on west\nexpect only data on east").await;
        });
    }
}

#[test]
fn with_no_readable_version_a_failover_waits_and_names_what_is_missing() {
    paused(async {
        let lab = captured_twice().await;
        play(&lab, "kill site east\nstop hub").await;
        harm(&lab, 2, Damage::ChunkAltered).await;
        harm(&lab, 1, Damage::ManifestMissing).await;
        play(&lab, "start hub\nfailover to west").await;
        until_blocked(
            &lab,
            "no capture",
            "NoCapture",
            &["version 2", "00000002-0000"],
        )
        .await;
        play(
            &lab,
            "expect stays 30s\nexpect epoch 1\nrevive site east\nrelocate to east",
        )
        .await;
        play(&lab, "wait settled on east within 2m\nexpect lost 0\nrelocate to west\nwait settled on west within 2m\nexpect lost 0").await;
        assert_eq!(image_on_west(&lab).await, "example.org/writer:2");
    });
}
