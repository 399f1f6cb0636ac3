//! Storage drivers that refuse, hang or are gone, as the placement and the VolumeReplication tell of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolume;
use lifeboat_api::VolumeReplication;
use lifeboat_sim::csi_addons::{CODES, Fault, Rpc};

use super::*;
use crate::support::paused;

/// Handles by claim.
async fn handles(lab: &Lab) -> BTreeMap<String, String> {
    let api: Api<PersistentVolume> = Api::all(lab.world().admin("east").unwrap());
    let all = api.list(&ListParams::default()).await.unwrap();
    let pair = |pv: PersistentVolume| {
        let spec = pv.spec?;
        let claim = spec
            .claim_ref
            .filter(|c| c.namespace.as_deref() == Some("shop"))?;
        Some((claim.name?, spec.csi?.volume_handle))
    };
    all.into_iter().filter_map(pair).collect()
}

/// A volume for each code, and one whose calls hang: a fault of one is not that of another.
async fn trouble(lab: &Lab, site: &str, rpc: Rpc) -> Vec<(String, String)> {
    let script = lab.world().site(site).unwrap().driver.script();
    let mut rows = Vec::new();
    for (n, (claim, handle)) in handles(lab).await.into_iter().enumerate() {
        let Some(code) = CODES.get(n) else {
            script.always_for(rpc, &handle, Fault::Hang);
            rows.push((claim, "no answer".to_owned()));
            continue;
        };
        let text = format!("the array says {code:?}");
        script.always_for(rpc, &handle, Fault::Refuse(*code, text.clone()));
        rows.push((claim, text));
    }
    rows
}

/// Waits until placement and VolumeReplication of each volume say what its driver says.
async fn until_told(lab: &Lab, rows: &[(String, String)], site: &str, reason: &str, vr: &str) {
    let says = |p: &DRPlacement| {
        let told = |(claim, text): &(String, String)| {
            let claim = format!("shop/{claim} on {site}");
            blocked(p, reason, &[&claim, text])
        };
        rows.iter().all(told)
    };
    let what = format!("{reason} for each volume");
    let told = lab.until(&what, Duration::from_secs(300), says).await;
    told.unwrap_or_else(|e| panic!("{}", e.full()));
    let api: Api<VolumeReplication> =
        Api::namespaced(lab.world().admin(site).unwrap(), &lab.app().namespace);
    for (claim, text) in rows {
        let status = api.get(claim).await.unwrap().status.unwrap();
        let completed = condition(&status.conditions, "Completed").unwrap();
        let seen = (completed.status.as_str(), completed.reason.as_str());
        assert_eq!(seen, ("False", vr), "{claim}: {completed:?}");
        assert!(completed.message.contains(text), "{claim}: {completed:?}");
    }
}

#[test]
fn every_code_and_a_call_that_hangs_is_told_volume_by_volume() {
    paused(async {
        let spec = LabSpec {
            app: App::new("shop").volumes(CODES.len() + 1),
            write_every: Duration::from_millis(500),
            ..spec()
        };
        let lab = Lab::start(spec).await.unwrap();
        lab.place(lab.app(), "east").unwrap();
        play(&lab, "wait settled on east within 2m").await;
        let demote = trouble(&lab, "east", Rpc::Demote).await;
        let promote = trouble(&lab, "west", Rpc::Promote).await;
        lab.relocate("west").await.unwrap();
        until_told(&lab, &demote, "east", "Demoting", "FailedToDemote").await;
        lab.neighbour_moves().await.unwrap();
        play(&lab, "expect epoch 1").await;
        lab.world().site("east").unwrap().driver.script().clear();
        until_told(&lab, &promote, "west", "Promoting", "FailedToPromote").await;
        lab.neighbour_moves().await.unwrap();
        lab.world().site("west").unwrap().driver.script().clear();
        let end = "wait settled on west within 10m\nexpect primary only on west\nexpect only data on east\nexpect lost 0";
        play(&lab, end).await;
    });
}

/// Waits until the hub knows.
async fn until_driver_missed(lab: &Lab, site: &str) {
    let clusters: Api<DRCluster> = Api::all(lab.hub_client());
    let missed = lab.poll("DriversReady is False", Duration::from_secs(60), || async {
        let status = clusters.get(site).await.unwrap().status.unwrap();
        Ok(condition(&status.conditions, "DriversReady").is_some_and(|c| c.status == "False"))
    });
    missed.await.unwrap();
}

/// On north, where the neighbour has nothing.
#[test]
fn a_socket_that_is_gone_is_told_by_target_and_source() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        lab.place(lab.app(), "east").unwrap();
        play(&lab, "wait settled on east within 2m").await;
        let driver = &lab.world().site("north").unwrap().driver;
        let says = ["north", driver.name()];

        driver.go_away();
        until_driver_missed(&lab, "north").await;
        lab.relocate("north").await.unwrap();
        until_blocked(&lab, "target", "DriverNotReady", &says).await;
        lab.neighbour_moves().await.unwrap();
        play(&lab, "expect stays 30s\nexpect workload only on east").await;
        driver.come_back();
        play(&lab, "wait settled on north within 5m\nexpect lost 0").await;

        driver.go_away();
        until_blocked(&lab, "source", "DriverNotReady", &says).await;
        lab.relocate("west").await.unwrap();
        lab.neighbour_moves().await.unwrap();
        play(&lab, "expect epoch 2").await;
        driver.come_back();
        play(
            &lab,
            "wait settled on west within 5m\nexpect only data on north\nexpect lost 0",
        )
        .await;
    });
}
