//! What a copy is worth: one that is not whole, one of which nobody can say it, and one whose data is thrown away.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::placement::DivergenceStatus;
use lifeboat_api::{DRPlacement, DRPolicy};
use lifeboat_lab::lab::POLICY;
use lifeboat_lab::{Lab, LabSpec};
use lifeboat_sim::storage::{Array, Event, Record, RoleChange};
use serde_json::json;

use crate::support::{paused, play};

/// What a record of the simulated application counts for.
const RECORD_BYTES: usize = 4096;

async fn lab(clusters: &[&str]) -> Lab {
    let clusters = clusters.iter().map(|c| (*c).to_owned()).collect();
    let lab = Lab::start(LabSpec {
        clusters,
        ..LabSpec::paused(2)
    });
    let lab = lab.await.unwrap();
    play(&lab, "wait settled on east within 2m").await;
    lab
}

fn array<'a>(lab: &'a Lab, site: &str) -> &'a Array {
    &lab.world().site(site).unwrap().array
}

fn handles(lab: &Lab) -> Vec<String> {
    let status = lab.placement().unwrap().status.unwrap();
    let handles: Vec<String> = status
        .volumes
        .into_iter()
        .filter_map(|v| v.handle)
        .collect();
    assert_eq!(handles.len(), 2);
    handles
}

/// East is lost while snapshots that will never be whole arrive on west.
async fn lost_in_the_middle(lab: &Lab) {
    for handle in handles(lab) {
        array(lab, "west").stop_copying(&handle).unwrap();
    }
    play(
        lab,
        "pass 20s
        kill site east
        failover to west
        wait blocker Promoting naming complete within 60s
        pass 5m
        expect phase Promoting",
    )
    .await;
    let forced = lab.world().fabric().events();
    let is = |e: &Event| e.site == "west" && e.what == RoleChange::ForcePromoted;
    assert!(!forced.iter().any(is), "half a copy was promoted");
}

fn resume(lab: &Lab) {
    for handle in handles(lab) {
        array(lab, "west").resume_copying(&handle).unwrap();
    }
}

#[test]
fn half_a_copy_is_not_promoted_and_goes_on_by_itself_when_its_source_is_back() {
    paused(async {
        let lab = lab(&["east", "west"]).await;
        lost_in_the_middle(&lab).await;
        resume(&lab);
        play(
            &lab,
            "pass 5m
            expect phase Promoting
            revive site east
            wait settled on west within 10m
            expect primary only on west
            expect only data on east
            expect doubled 0",
        )
        .await;
    });
}

#[test]
fn half_a_copy_is_left_for_another_cluster_that_has_a_whole_one() {
    paused(async {
        let lab = lab(&["east", "west", "north"]).await;
        lost_in_the_middle(&lab).await;
        play(
            &lab,
            "failover to north
            wait running on north within 2m",
        )
        .await;
        resume(&lab);
        play(
            &lab,
            "revive site east
            wait settled on north within 10m
            expect primary only on north
            expect only data on west
            expect doubled 0",
        )
        .await;
    });
}

#[test]
fn a_failover_to_a_driver_that_cannot_say_whether_a_copy_is_whole_waits_for_a_word() {
    paused(async {
        let lab = lab(&["east", "west"]).await;
        lab.world().site("west").unwrap().driver.offer_copies(&[]);
        play(
            &lab,
            "kill site west
            pass 60s
            revive site west
            wait condition FailoverArmed False reason Disarmed within 2m
            wait settled on east within 2m
            kill site east
            failover to west
            wait blocker UnverifiedCopy naming complete within 2m
            pass 5m
            expect cluster east
            expect epoch 1",
        )
        .await;
        let accept = json!({"spec": {"acceptRisks": ["UnverifiedCopy"]}});
        lab.edit(accept).await.unwrap();
        play(
            &lab,
            "wait running on west within 60s
            revive site east
            wait settled on west within 5m",
        )
        .await;
    });
}

fn divergence(p: &DRPlacement) -> Vec<DivergenceStatus> {
    p.status.clone().unwrap_or_default().divergence
}

fn records(array: &Array, handle: &str) -> BTreeSet<Record> {
    let content = array.content(handle);
    content.into_iter().map(|e| e.record).collect()
}

#[test]
fn what_a_lost_cluster_never_sent_is_measured_and_kept_for_a_while_if_the_policy_says_so() {
    for keeps in [false, true] {
        paused(async {
            let lab = lab(&["east", "west"]).await;
            if keeps {
                let salvage = json!({"spec": {"failover": {"salvage": {"retention": "6m"}}}});
                let policies = Api::<DRPolicy>::all(lab.hub_client());
                policies
                    .patch(POLICY, &PatchParams::default(), &Patch::Merge(salvage))
                    .await
                    .unwrap();
            }
            play(
                &lab,
                "stop mirroring east west
                pass 30s
                kill site east
                resume mirroring east west
                failover to west
                wait running on west within 60s
                revive site east
                wait settled on west within 10m",
            )
            .await;
            let told = divergence(&lab.placement().unwrap());
            assert_eq!(told.len(), 2, "{told:#?}");
            for of in &told {
                assert_eq!((of.cluster.as_str(), of.epoch), ("east", 2));
                assert!(of.bytes > Some(0), "{of:#?}");
                assert_eq!(of.kept_as.is_some(), keeps, "{of:#?}");
            }
            if keeps {
                kept(&lab, &told).await;
            }
        });
    }
}

/// The lost records are read back from the copies, until those are dropped.
async fn kept(lab: &Lab, told: &[DivergenceStatus]) {
    let east = array(lab, "east");
    let mut live = BTreeSet::new();
    for handle in handles(lab) {
        live.extend(records(array(lab, "west"), &handle));
    }
    for of in told {
        let kept = records(east, of.kept_as.as_ref().unwrap());
        let lost = kept.difference(&live).count();
        let bytes = i64::try_from(lost * RECORD_BYTES).unwrap();
        assert_eq!(of.bytes, Some(bytes), "{lost} records: {of:#?}");
    }
    play(lab, "pass 3m").await;
    let there = |of: &&DivergenceStatus| !records(east, of.kept_as.as_ref().unwrap()).is_empty();
    assert_eq!(told.iter().filter(there).count(), 2, "too early");
    let dropped = |p: &DRPlacement| divergence(p).iter().all(|d| d.dropped_at.is_some());
    let within = Duration::from_secs(600);
    lab.until("they are dropped", within, dropped)
        .await
        .unwrap();
    assert_eq!(told.iter().filter(there).count(), 0, "still there");
}
