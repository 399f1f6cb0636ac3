//! A hub that is built anew from what is in Git: the same DRPlacement, with another uid.

use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, ListParams};
use lifeboat_api::{DROwnership, DRPlacement, names};
use lifeboat_lab::{Lab, LabSpec};
use lifeboat_sim::world::HUB;
use serde_json::{Value, json};

use crate::support::{paused, play};

/// The DRPlacement as Git has it, in place of the one that the hub has lost; the archive is still there.
async fn made_anew(lab: &Lab) -> Value {
    let mut anew = serde_json::to_value(lab.placement().unwrap()).unwrap();
    let released = json!({"metadata": {"finalizers": null}});
    lab.edit(released).await.unwrap();
    lab.remove().await.unwrap();
    anew["metadata"] = json!({"name": lab.name(), "namespace": "shop"});
    anew.as_object_mut().unwrap().remove("status");
    lab.world().install(HUB, &anew.to_string()).unwrap();
    anew
}

/// A lab whose application was moved to west, with a hub that does not run; and who the placement was.
async fn moved_to_west() -> (Lab, String) {
    let lab = Lab::start(LabSpec::paused(2)).await.unwrap();
    play(
        &lab,
        "wait settled on east within 2m\nrelocate to west\nwait settled on west within 2m",
    )
    .await;
    let before = lab.uid();
    lab.kill_hub();
    (lab, before)
}

/// The hub asks whether the placement is the one that was there before, tells where it found that one, and does nothing.
async fn asks_who_it_is(lab: &Lab, before: &str, found: &[&str]) {
    let says = |p: &DRPlacement| {
        let mut all = p.status.iter().flat_map(|s| &s.blockers);
        all.any(|b| {
            b.reason == "IdentityUnclear"
                && found.iter().all(|w| b.message.contains(w))
                && b.message.contains(before)
                && b.remedy
                    .contains(&format!("lifeboat.dev/identity: {before}"))
        })
    };
    let told = lab.until("it is asked who it is", Duration::from_secs(60), says);
    told.await.unwrap_or_else(|e| panic!("{}", e.full()));
    play(
        lab,
        "expect stays 30s\nexpect primary only on west\nexpect workload only on west",
    )
    .await;
}

/// A person says that it is.
async fn answer(lab: &Lab, before: &str) {
    let named = json!({"metadata": {"annotations": {names::IDENTITY: before}}});
    lab.edit(named).await.unwrap();
}

#[test]
fn a_placement_made_anew_takes_over_what_the_clusters_hold_once_a_person_says_who_it_is() {
    paused(async {
        let (lab, before) = moved_to_west().await;
        let anew = made_anew(&lab).await;
        lab.start_hub().await.unwrap();
        asks_who_it_is(&lab, &before, &["owner west, epoch 2"]).await;
        answer(&lab, &before).await;
        play(&lab, "wait settled on west within 2m\nexpect epoch 2\nrelocate to east\nwait settled on east within 2m\nexpect epoch 3\nexpect lost 0").await;

        // A second DRPlacement that claims to be the same is refused.
        let mut rival = anew.clone();
        rival["metadata"] =
            json!({"name": "rival", "namespace": "shop", "annotations": {names::IDENTITY: before}});
        lab.world().install(HUB, &rival.to_string()).unwrap();
        let api = Api::<DRPlacement>::namespaced(lab.hub_client(), "shop");
        let refused = || async {
            let rival = api.get("rival").await.unwrap();
            let mut all = rival.status.iter().flat_map(|s| &s.conditions);
            Ok(all.any(|c| c.reason == "IdentityTaken"))
        };
        let seen = lab.poll("the rival is refused", Duration::from_secs(60), refused);
        seen.await.unwrap_or_else(|e| panic!("{}", e.full()));
        play(&lab, "expect stays 10s\nexpect primary only on east").await;
    });
}

#[test]
fn an_earlier_placement_is_found_in_the_archive_where_the_clusters_have_lost_its_records() {
    paused(async {
        let (lab, before) = moved_to_west().await;
        for site in ["east", "west"] {
            let records = Api::<DROwnership>::namespaced(lab.world().admin(site).unwrap(), "shop");
            records
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await
                .unwrap();
        }
        made_anew(&lab).await;
        lab.start_hub().await.unwrap();
        let found = ["the archive holds", "of west, epoch 2"];
        asks_who_it_is(&lab, &before, &found).await;
        let status = lab.placement().unwrap().status.unwrap();
        assert!(status.journal.is_none_or(|j| j["owner"].is_null()));
        answer(&lab, &before).await;
        play(&lab, "wait settled on west within 2m\nexpect epoch 3\nrelocate to east\nwait settled on east within 2m\nexpect lost 0").await;
    });
}
