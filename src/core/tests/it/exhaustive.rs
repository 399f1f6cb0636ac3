//! Tens of thousands of combinations of facts, possible or not: the planner always answers, and keeps every rule.

use std::collections::BTreeMap;

use lifeboat_core::ids::{Epoch, ResyncRequest};
use lifeboat_core::intent::{Life, MoveKind, Request};
use lifeboat_core::journal::{Before, Journal, Phase, Synced};
use lifeboat_core::observed::{
    ArchiveFacts, CaptureFacts, CapturedVolume, ClaimPhase, ClusterFacts, Contact, Current,
    Deleting, Holder, Managed, Mark, Observed, RecordFacts, Role, SwitchOff, VrFacts, VrStatus,
};
use lifeboat_core::plan;
use lifeboat_core::testing::{
    VRC, beginning, claims, empty_cluster, id, intent, policy, request, running, volume, workload,
};

use crate::invariants;

const EPOCH: Epoch = Epoch(4);

fn phases() -> Vec<Phase> {
    let (from, to) = (|| id("a"), || id("b"));
    let mut all = vec![
        Phase::Undecided,
        Phase::Steady,
        Phase::Removing,
        Phase::Cancelling {
            from: from(),
            to: to(),
        },
    ];
    for kind in [MoveKind::Relocate, MoveKind::Failover] {
        for stage in [Before::Prepare, Before::Quiesce, Before::Demote] {
            all.push(Phase::Relocating {
                from: from(),
                to: to(),
                kind,
                stage,
            });
        }
        all.push(Phase::Promoting {
            from: from(),
            to: to(),
            kind,
        });
        all.push(Phase::Starting {
            from: from(),
            to: to(),
            kind,
        });
        for resync in [None, Some(beginning())] {
            all.push(Phase::CleaningUp {
                from: from(),
                to: to(),
                kind,
                resync,
            });
        }
    }
    all
}

/// The owner that a phase implies.
fn owner(phase: &Phase) -> &'static str {
    match phase {
        Phase::Promoting { .. } | Phase::Starting { .. } | Phase::CleaningUp { .. } => "b",
        Phase::Undecided
        | Phase::Steady
        | Phase::Relocating { .. }
        | Phase::Cancelling { .. }
        | Phase::Removing => "a",
    }
}

fn replications() -> Vec<Option<VrFacts>> {
    let of = |desired, epoch: i64, status| {
        Some(VrFacts {
            mark: Mark::Ours,
            desired,
            epoch: Some(Epoch(epoch)),
            class: VRC.into(),
            resync_asked: (desired == Role::Resync).then_some(ResyncRequest::first(Epoch(epoch))),
            resync_issued: (desired == Role::Resync).then_some(ResyncRequest::first(Epoch(epoch))),
            resync_failed: matches!(status, VrStatus::Failed { .. })
                .then_some(ResyncRequest::first(Epoch(epoch))),
            resync_until: None,
            status,
            last_sync: Some(beginning()),
            destination: None,
            switch_off: SwitchOff::Unsaid,
            created: None,
            deleting: Deleting::No,
        })
    };
    vec![
        None,
        of(Role::Primary, 4, VrStatus::Primary),
        of(Role::Primary, 3, VrStatus::Primary),
        of(
            Role::Primary,
            4,
            VrStatus::Failed {
                message: "no".into(),
            },
        ),
        of(Role::Secondary, 4, VrStatus::Drained),
        of(Role::Secondary, 4, VrStatus::Demoted),
        of(Role::Resync, 4, VrStatus::Resyncing),
        of(
            Role::Resync,
            4,
            VrStatus::Failed {
                message: "split-brain".into(),
            },
        ),
    ]
}

fn requests() -> Vec<Request> {
    vec![
        request("a", None, None),
        request("b", Some(MoveKind::Relocate), None),
        request("a", Some(MoveKind::Failover), Some("b")),
        request("b", Some(MoveKind::Failover), Some("a")),
        request("a", Some(MoveKind::Failover), None),
        request("c", Some(MoveKind::Failover), None),
    ]
}

fn captures() -> Vec<Option<CaptureFacts>> {
    let captured = |key: &lifeboat_core::ClaimKey| {
        let pv = volume(key, &Mark::Ours, ClaimPhase::Bound).volume.unwrap();
        CapturedVolume {
            csi: pv.csi.unwrap(),
            origin: None,
            volume: pv.name,
            storage_class: Some("rbd".into()),
        }
    };
    let of = |epoch, source| {
        Some(CaptureFacts {
            version: 3,
            epoch: Epoch(epoch),
            source: id(source),
            taken_at: beginning(),
            volumes: claims().iter().map(|k| (k.clone(), captured(k))).collect(),
            workloads: BTreeMap::from([(workload(), 2)]),
        })
    };
    vec![None, of(3, "a"), of(4, "a"), of(4, "b")]
}

fn records() -> Vec<Option<RecordFacts>> {
    let of = |owner, epoch, force: Option<i64>| {
        Some(RecordFacts {
            written_to: None,
            owner: id(owner),
            epoch: Epoch(epoch),
            force: force.map(Epoch),
            served: None,
        })
    };
    vec![
        None,
        of("a", 3, None),
        of("a", 4, None),
        of("b", 4, Some(4)),
        of("b", 5, None),
    ]
}

/// What one cluster may look like: nothing, or claims with or without a workload that runs.
fn cluster(
    replication: Option<&VrFacts>,
    record: Option<&RecordFacts>,
    holds: usize,
    contact: usize,
) -> ClusterFacts {
    let mut facts = empty_cluster();
    facts.record = record.cloned();
    let phase = if holds == 3 {
        ClaimPhase::Pending
    } else {
        ClaimPhase::Bound
    };
    if holds > 0 {
        for key in claims() {
            let mut x = volume(&key, &Mark::Ours, phase);
            x.replication = replication.cloned();
            facts.volumes.insert(key.clone(), x);
            if holds == 2 {
                let name = "shop/db-0".to_owned();
                facts.holders.push(Holder {
                    claim: key,
                    kind: "Pod".into(),
                    name,
                    managed: Managed::Yes,
                });
            }
        }
        facts
            .workloads
            .insert(workload(), running(&Mark::Ours, i32::from(holds == 2)));
    }
    facts.contact = match contact {
        0 => Contact::Fresh,
        1 => Contact::Stale {
            since: beginning(),
            why: "no route".into(),
        },
        2 => Contact::Behind {
            since: beginning() + jiff::SignedDuration::from_secs(57),
            why: "its Pods are being read".into(),
        },
        _ => Contact::Never {
            since: beginning(),
            why: "no route".into(),
        },
    };
    facts
}

/// Numbers with a fixed beginning: one run is like the other.
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let n = usize::try_from(self.0 >> 33).unwrap() % of.len();
        &of[n]
    }
}

#[test]
fn every_combination_is_answered_and_no_rule_is_broken() {
    let (phases, vrs, requests, captures, records) =
        (phases(), replications(), requests(), captures(), records());
    let mut dice = Dice(7);
    let policy = policy();
    let mut acted = 0;
    for phase in &phases {
        for a in &vrs {
            for b in &vrs {
                for request in &requests {
                    for _ in 0..12 {
                        let (record_a, record_b) = (dice.pick(&records), dice.pick(&records));
                        let contacts = [
                            *dice.pick(&[0, 0, 1, 2, 3]),
                            *dice.pick(&[0, 0, 1, 2, 3]),
                            *dice.pick(&[0, 1]),
                        ];
                        let holds = [*dice.pick(&[0, 1, 2, 3]), *dice.pick(&[0, 1, 2, 3])];
                        let clusters = BTreeMap::from([
                            (
                                id("a"),
                                cluster(a.as_ref(), record_a.as_ref(), holds[0], contacts[0]),
                            ),
                            (
                                id("b"),
                                cluster(b.as_ref(), record_b.as_ref(), holds[1], contacts[1]),
                            ),
                            (id("c"), cluster(None, None, 0, contacts[2])),
                        ]);
                        let newest = dice.pick(&captures).clone();
                        let unreadable = dice
                            .pick(&[None, None, None, Some("denied".to_owned())])
                            .clone();
                        let current = *dice.pick(&[Current::Yes, Current::No]);
                        let archive = ArchiveFacts {
                            newest,
                            broken: Vec::new(),
                            unreadable,
                            current,
                        };
                        let observed = Observed { clusters, archive };
                        let known =
                            beginning() + jiff::SignedDuration::from_secs(*dice.pick(&[0, 9]));
                        let undecided = *phase == Phase::Undecided;
                        let journal = Journal {
                            owner: (!undecided).then(|| id(owner(phase))),
                            epoch: if undecided { Epoch(0) } else { EPOCH },
                            phase: phase.clone(),
                            served: dice.pick(&[None, Some(request.clone())]).clone(),
                            synced: claims()
                                .into_iter()
                                .map(|k| {
                                    let handle = Some(format!("image-{}", k.name));
                                    (k, Synced { at: known, handle })
                                })
                                .collect(),
                            protected_since: Some(beginning()),
                            capture: *dice.pick(&[1, 3, 3]),
                            ..Journal::default()
                        };
                        let mut wish = intent(request.clone());
                        wish.life = *dice.pick(&[Life::Wanted, Life::Wanted, Life::Leaving]);
                        if *phase == Phase::Removing {
                            wish.life = Life::Leaving;
                        }
                        let now = beginning() + jiff::SignedDuration::from_secs(60);
                        let plan = plan::plan(now, &policy, &wish, &observed, &journal);
                        let broken =
                            invariants::broken(now, &policy, &wish, &observed, &journal, &plan);
                        assert!(
                            broken.is_empty(),
                            "{broken:#?}\n{journal:#?}\n{wish:#?}\n{observed:#?}\n{plan:#?}"
                        );
                        acted += usize::from(!plan.steps.is_empty() || plan.journal.is_some());
                    }
                }
            }
        }
    }
    assert!(
        acted > 10_000,
        "only {acted} of the combinations lead to anything"
    );
}
