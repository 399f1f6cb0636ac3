//! What a hand takes away on a site that is taking its copies anew: they count as copies when that is proven.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use lifeboat_api::{DRPlacement, VolumeReplication};
use lifeboat_lab::{Lab, LabSpec, script};
use lifeboat_sim::storage::RoleChange;

use crate::support::paused;

/// How often a copy on east was thrown away.
fn resynced(lab: &Lab) -> usize {
    let events = lab.world().fabric().events();
    let is = |e: &&lifeboat_sim::storage::Event| e.site == "east" && e.what == RoleChange::Resynced;
    events.iter().filter(is).count()
}

/// Somebody deletes claims and VolumeReplications on east, and waits until both are gone.
async fn delete_both(lab: &Lab) {
    let client = lab.world().admin("east").unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), "shop");
    let replications = Api::<VolumeReplication>::namespaced(client, "shop");
    let how = DeleteParams::default();
    for name in lab.app().claims() {
        claims.delete(&name, &how).await.unwrap();
        replications.delete(&name, &how).await.unwrap();
    }
    let all = ListParams::default();
    let gone = || async {
        let left = claims.list(&all).await.unwrap().items.len();
        Ok(left + replications.list(&all).await.unwrap().items.len() == 0)
    };
    let within = Duration::from_secs(60);
    lab.poll("both are gone", within, gone).await.unwrap();
}

#[test]
fn a_copy_whose_claim_and_replication_are_deleted_while_it_is_taken_anew_is_none_until_it_is_proven()
 {
    paused(async {
        let spec = LabSpec {
            clusters: ["east", "west"].map(str::to_owned).to_vec(),
            ..LabSpec::paused(2)
        };
        let lab = Lab::start(spec).await.unwrap();
        let play = async |lines: &str| {
            let lines = script::parse(lines).unwrap();
            let played = script::play_in(&lab, &lines).await;
            played.unwrap_or_else(|e| panic!("{e}"));
        };
        play(
            "wait settled on east within 2m
            kill site east
            failover to west
            wait running on west within 60s
            revive site east",
        )
        .await;
        let anew = || async { Ok(resynced(&lab) == lab.app().volumes) };
        let within = Duration::from_secs(180);
        lab.poll("copies are taken anew", within, anew)
            .await
            .unwrap();
        play("stop mirroring east west").await;
        delete_both(&lab).await;
        let says = |p: &DRPlacement| {
            let mut all = p.status.iter().flat_map(|s| &s.blockers);
            all.any(|b| b.reason == "NotSynced" && b.message.contains("it is no copy until west"))
        };
        let told = lab.until("the copies are to be proven", within, says).await;
        if let Err(error) = told {
            panic!("{}", error.full());
        }
        play(
            "wait condition Protected False within 10s
            expect phase CleaningUp
            expect stays 60s
            resume mirroring east west
            wait settled on west within 5m
            expect only data on east
            expect primary only on west",
        )
        .await;
        assert_eq!(resynced(&lab), lab.app().volumes, "once each");
        lab.check().await.unwrap();
    });
}
