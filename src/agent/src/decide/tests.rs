//! Each rule of the decision, as a row of a table.

use super::*;
use crate::view::{ClassFacts, GrantFacts, Key, Memory, Salvage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lifeboat_api::common::to_time;
use lifeboat_api::replication::VolumeReplicationStatus;
use lifeboat_drivers::Secrets;
use std::collections::{BTreeMap, BTreeSet};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// A marked volume whose driver is ready, asked to be `wanted`, in `state`.
fn view(wanted: ReplicationState, state: &str) -> VolumeView {
    VolumeView {
        key: Key::new("shop", "db"),
        generation: 1,
        wanted,
        auto_resync: Force::No,
        replication_id: String::new(),
        life: Life::Living,
        finalizer: Mark::There,
        status: VolumeReplicationStatus {
            state: Some(state.into()),
            ..Default::default()
        },
        rule: Rule::Upstream,
        class: Class::Ours(ClassFacts {
            driver: "d".into(),
            parameters: BTreeMap::new(),
            secret: None,
        }),
        secret: SecretView::Present(Secrets::default()),
        source: SourceView::Claim(ClaimView {
            name: "db".into(),
            life: Life::Living,
            finalizer: Mark::There,
            owner: Owner::Us,
            volume: Backing::Handle("h".into()),
        }),
        driver: DriverView::Ready(BTreeSet::from([Capability::VolumeReplication])),
        memory: Memory::default(),
    }
}

fn with_conditions(
    mut v: VolumeView,
    completed: &str,
    degraded: &str,
    resyncing: &str,
) -> VolumeView {
    let set = |kind: &str, status: &str| Condition {
        type_: kind.into(),
        status: status.into(),
        reason: "R".into(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: to_time(now()),
    };
    v.status.observed_generation = Some(1);
    v.status.conditions = vec![
        set("Completed", completed),
        set("Degraded", degraded),
        set("Resyncing", resyncing),
    ];
    v
}

/// `owner` and `epoch` are the record's, `asked` is the object's.
fn by_hub(
    mut v: VolumeView,
    asked: i64,
    owner: &str,
    epoch: i64,
    force: Option<i64>,
) -> VolumeView {
    v.rule = Rule::Hub(HubRule {
        epoch: Some(asked),
        disable: Mark::Absent,
        resync_until: Some(Timestamp::MAX),
        resync_number: 1,
        resync_issued: None,
        resync_failed: None,
        salvage: Salvage::Nothing,
        grant: Grant::Present(GrantFacts {
            name: "own".into(),
            cluster: "east".into(),
            owner: owner.into(),
            epoch,
            force_epoch: force,
            observed: Some(epoch),
            stored: Mark::There,
        }),
    });
    v
}

fn change(mut v: VolumeView, edit: impl FnOnce(&mut VolumeView)) -> VolumeView {
    edit(&mut v);
    v
}

fn claim(v: &mut VolumeView) -> &mut ClaimView {
    match &mut v.source {
        SourceView::Claim(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn hub(v: &mut VolumeView) -> &mut HubRule {
    match &mut v.rule {
        Rule::Hub(hub) => hub,
        Rule::Upstream => panic!("not hub-managed"),
    }
}

fn grant(v: &mut VolumeView) -> &mut GrantFacts {
    match &mut hub(v).grant {
        Grant::Present(grant) => grant,
        other => panic!("{other:?}"),
    }
}

use ReplicationState::{Primary, Resync, Secondary};

mod ending;
mod hub;
mod roles;
