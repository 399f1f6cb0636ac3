//! A hub that is built anew from what is in Git: the same DRPlacement, with another uid.

use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lifeboat_api::{DRPlacement, names};
use lifeboat_lab::{Lab, LabSpec, script};
use lifeboat_sim::world::HUB;
use serde_json::json;

use crate::support::paused;

#[test]
fn a_placement_made_anew_takes_over_what_the_clusters_hold_once_a_person_says_who_it_is() {
    paused(async {
        let lab = Lab::start(LabSpec::paused(2)).await.unwrap();
        let play = async |lines: &str| {
            let lines = script::parse(lines).unwrap();
            let played = script::play_in(&lab, &lines).await;
            played.unwrap_or_else(|e| panic!("{e}"));
        };
        play("wait settled on east within 2m\nrelocate to west\nwait settled on west within 2m")
            .await;
        let (before, api) = (
            lab.uid(),
            Api::<DRPlacement>::namespaced(lab.hub_client(), "shop"),
        );
        lab.kill_hub();
        let mut anew = serde_json::to_value(lab.placement().unwrap()).unwrap();
        let released = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        api.patch(&lab.name(), &PatchParams::default(), &released)
            .await
            .unwrap();
        let gone = api.delete(&lab.name(), &DeleteParams::default()).await;
        gone.unwrap();
        anew["metadata"] = json!({"name": lab.name(), "namespace": "shop"});
        anew.as_object_mut().unwrap().remove("status");
        lab.world().install(HUB, &anew.to_string()).unwrap();
        lab.start_hub().await.unwrap();

        let says = |p: &DRPlacement| {
            let mut all = p.status.iter().flat_map(|s| &s.blockers);
            all.any(|b| {
                b.reason == "IdentityUnclear"
                    && ["owner west, epoch 2", &before]
                        .iter()
                        .all(|w| b.message.contains(w))
                    && b.remedy
                        .contains(&format!("lifeboat.dev/identity: {before}"))
            })
        };
        let told = lab.until("it is asked who it is", Duration::from_secs(60), says);
        told.await.unwrap_or_else(|e| panic!("{}", e.full()));
        play("expect stays 30s\nexpect primary only on west\nexpect workload only on west").await;

        let named = json!({"metadata": {"annotations": {names::IDENTITY: before}}});
        api.patch(&lab.name(), &PatchParams::default(), &Patch::Merge(named))
            .await
            .unwrap();
        play("wait settled on west within 2m\nexpect epoch 2\nrelocate to east\nwait settled on east within 2m\nexpect epoch 3\nexpect lost 0").await;

        // A second DRPlacement that claims to be the same is refused.
        let mut rival = anew.clone();
        rival["metadata"] =
            json!({"name": "rival", "namespace": "shop", "annotations": {names::IDENTITY: before}});
        lab.world().install(HUB, &rival.to_string()).unwrap();
        let refused = || async {
            let rival = api.get("rival").await.unwrap();
            let mut all = rival.status.iter().flat_map(|s| &s.conditions);
            Ok(all.any(|c| c.reason == "IdentityTaken"))
        };
        let seen = lab.poll("the rival is refused", Duration::from_secs(60), refused);
        seen.await.unwrap_or_else(|e| panic!("{}", e.full()));
        play("expect stays 10s\nexpect primary only on east").await;
    });
}
