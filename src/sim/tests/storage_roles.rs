//! The arrays: what mirroring ships, and what each operation on a role does and refuses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lifeboat_sim::storage::{
    Array, Fabric, FabricSpec, Handles, Health, Loss, Promotion, Readiness, Record, Resync, Role,
    RoleChange, StorageError, WriteError,
};
use parking_lot::Mutex;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Two or three arrays and a clock that only the test moves.
struct Lab {
    time: Arc<Mutex<Timestamp>>,
    fabric: Arc<Fabric>,
}

impl Lab {
    fn new(sites: &[&str]) -> Self {
        Self::with(FabricSpec::new(sites.iter().copied()))
    }

    fn with(spec: FabricSpec) -> Self {
        let time = Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let read = Arc::clone(&time);
        Self {
            time,
            fabric: Fabric::new(spec, Arc::new(move || *read.lock())),
        }
    }

    fn pass(&self, by: Duration) {
        let mut time = self.time.lock();
        *time = time.checked_add(by).unwrap();
    }

    fn array(&self, site: &str) -> Array {
        self.fabric.array(site).unwrap()
    }

    fn destroyed(&self) -> Vec<Loss> {
        self.fabric.destroyed().iter().map(|d| d.how).collect()
    }
}

/// An image that is primary on `east`, mirrored, synced, with these many records.
fn mirrored(lab: &Lab, records: u64) -> Array {
    let east = lab.array("east");
    east.create("v").unwrap();
    east.enable("v").unwrap();
    lab.pass(MS(4000));
    write(&east, 1..=records);
    lab.pass(MS(1500));
    east
}

fn write(array: &Array, numbers: std::ops::RangeInclusive<u64>) {
    let writer: Arc<str> = array.site().into();
    for number in numbers {
        array.append("v", Record::new(&writer, number)).unwrap();
    }
}

fn numbers(array: &Array) -> Vec<u64> {
    array.content("v").iter().map(|e| e.record.number).collect()
}

#[test]
fn enabling_makes_secondaries_on_all_arrays_in_sight() {
    let lab = Lab::new(&["east", "west", "north"]);
    lab.fabric.cut("east", "north").unwrap();
    let east = lab.array("east");
    east.create("v").unwrap();
    assert_eq!(lab.array("west").role("v"), None);
    east.enable("v").unwrap();
    east.enable("v").unwrap();
    assert_eq!(lab.array("west").role("v"), Some(Role::Secondary));
    assert_eq!(lab.array("north").role("v"), None);
    lab.fabric.heal("east", "north").unwrap();
    assert_eq!(lab.array("north").role("v"), Some(Role::Secondary));
}

#[test]
fn only_complete_snapshots_count() {
    let lab = Lab::new(&["east", "west"]);
    let (east, west) = (lab.array("east"), lab.array("west"));
    east.create("v").unwrap();
    east.enable("v").unwrap();
    let enabled = lab.fabric.now();
    lab.pass(MS(2999));
    assert_eq!(west.synced_at("v"), None);
    assert!(matches!(
        east.info("v"),
        Err(StorageError::NotSyncedYet { .. })
    ));
    lab.pass(MS(1));
    assert_eq!(west.synced_at("v"), Some(enabled));

    lab.pass(MS(500));
    write(&east, 1..=5);
    lab.pass(MS(699)); // snapshot at 4.0 s, 200 ms on the way, now 4.199 s
    assert_eq!(numbers(&west), Vec::<u64>::new());
    lab.pass(MS(1));
    assert_eq!(numbers(&west), vec![1, 2, 3, 4, 5]);
    let info = east.info("v").unwrap();
    assert_eq!(
        info.slowest.last_sync.duration_since(enabled).as_millis(),
        4000
    );
    assert_eq!((info.slowest.took, info.slowest.bytes), (MS(200), 5 * 4096));
    assert_eq!(info.health, Health::Healthy);
}

#[test]
fn a_cut_link_loses_what_is_on_the_way_and_keeps_the_last_known_values() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    let before = east.info("v").unwrap().slowest.last_sync;
    write(&east, 4..=6);
    lab.pass(MS(600)); // the next snapshot has left and not arrived
    lab.fabric.cut("east", "west").unwrap();
    lab.pass(MS(60_000));
    assert_eq!(numbers(&west), vec![1, 2, 3]);
    let info = east.info("v").unwrap();
    assert_eq!(
        (info.slowest.last_sync, info.health),
        (before, Health::Degraded)
    );
    lab.fabric.heal("east", "west").unwrap();
    assert_eq!(numbers(&west), vec![1, 2, 3]);
    lab.pass(MS(1200));
    assert_eq!(numbers(&west), vec![1, 2, 3, 4, 5, 6]);
    assert!(east.info("v").unwrap().slowest.last_sync > before);
}

#[test]
fn a_secondary_takes_no_writes() {
    let lab = Lab::new(&["east", "west"]);
    mirrored(&lab, 1);
    let (east, west) = (lab.array("east"), lab.array("west"));
    let record = Record::new(&"w".into(), 9);
    assert_eq!(west.append("v", record.clone()), Err(WriteError::Secondary));
    assert_eq!(
        west.append("none", record.clone()),
        Err(WriteError::NotFound)
    );
    east.power_off();
    assert_eq!(east.append("v", record), Err(WriteError::Down));
}

#[test]
fn a_planned_move_is_refused_until_the_final_snapshot_is_there_and_then_loses_nothing() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    assert!(matches!(
        west.promote("v", Promotion::Plain),
        Err(StorageError::PeerPrimary { .. })
    ));
    write(&east, 4..=9);
    east.demote("v").unwrap();
    east.demote("v").unwrap();
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    lab.pass(MS(199));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    assert!(matches!(
        west.promote("v", Promotion::Plain),
        Err(StorageError::PeerPrimary { .. })
    ));
    lab.pass(MS(1));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::Ready));
    assert_eq!(west.resync("v", Resync::Check), Ok(Readiness::Ready));
    assert!(matches!(
        east.info("v"),
        Err(StorageError::NotPrimary { .. })
    ));
    west.promote("v", Promotion::Plain).unwrap();
    west.promote("v", Promotion::Plain).unwrap();
    assert_eq!(numbers(&west), (1..=9).collect::<Vec<_>>());
    write(&west, 10..=12);
    lab.pass(MS(1500));
    assert_eq!(numbers(&east), (1..=12).collect::<Vec<_>>());
    assert_eq!(east.health("v"), Ok(Health::Healthy));
    // The copy that follows a live primary is never ready: that is how ceph has it.
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    assert!(lab.destroyed().is_empty());
}

#[test]
fn a_cancelled_move_lets_the_old_primary_go_on() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    east.demote("v").unwrap();
    lab.pass(MS(50));
    east.promote("v", Promotion::Plain).unwrap();
    write(&east, 4..=4);
    lab.pass(MS(2500));
    assert_eq!(numbers(&lab.array("west")), vec![1, 2, 3, 4]);
    assert_eq!(lab.array("west").health("v"), Ok(Health::Healthy));
}

#[test]
fn a_demotion_that_is_cut_off_arrives_after_the_link_heals() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    write(&east, 4..=4);
    lab.fabric.cut("east", "west").unwrap();
    east.demote("v").unwrap();
    lab.pass(MS(60_000));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    assert!(matches!(
        west.promote("v", Promotion::Plain),
        Err(StorageError::PeerPrimary { .. })
    ));
    lab.fabric.heal("east", "west").unwrap();
    lab.pass(MS(200));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::Ready));
    west.promote("v", Promotion::Plain).unwrap();
    assert_eq!(numbers(&west), vec![1, 2, 3, 4]);
}

#[test]
fn a_forced_promotion_starts_from_the_last_complete_snapshot() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    write(&east, 4..=6);
    east.power_off();
    lab.pass(MS(60_000));
    assert!(matches!(
        west.promote("v", Promotion::Plain),
        Err(StorageError::PeerPrimary { .. })
    ));
    west.promote("v", Promotion::Forced).unwrap();
    assert_eq!(numbers(&west), vec![1, 2, 3]);
    assert_eq!(
        west.info("v"),
        Err(StorageError::NotSyncedYet { handle: "v".into() })
    );
    let what: Vec<RoleChange> = lab.fabric.events().iter().map(|e| e.what).collect();
    assert_eq!(
        what,
        [
            RoleChange::Created,
            RoleChange::Enabled,
            RoleChange::Created,
            RoleChange::PoweredOff,
            RoleChange::ForcePromoted
        ]
    );
}

#[test]
fn two_primaries_that_meet_are_a_split_brain_until_the_loser_is_rebuilt() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    write(&east, 4..=6);
    east.power_off();
    west.promote("v", Promotion::Forced).unwrap();
    write(&west, 4..=5);
    assert_eq!(lab.fabric.primaries("v"), ["east", "west"]);
    assert_ne!(west.health("v"), Ok(Health::SplitBrain));

    east.power_on();
    assert_eq!(
        (east.health("v"), west.health("v")),
        (Ok(Health::SplitBrain), Ok(Health::SplitBrain))
    );
    assert_eq!(east.info("v").unwrap().health, Health::SplitBrain);
    assert_eq!(numbers(&east), vec![1, 2, 3, 4, 5, 6]);
    assert!(matches!(
        east.resync("v", Resync::Rebuild),
        Err(StorageError::StillPrimary { .. })
    ));
    east.demote("v").unwrap();
    lab.pass(MS(60_000));
    assert_eq!(east.health("v"), Ok(Health::SplitBrain));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    assert_eq!(numbers(&east), vec![1, 2, 3, 4, 5, 6]);

    assert!(matches!(
        east.resync("v", Resync::Rebuild),
        Err(StorageError::Rebuilding { .. })
    ));
    assert_eq!(east.resync("v", Resync::Rebuild), Ok(Readiness::NotReady));
    assert!(matches!(
        east.promote("v", Promotion::Forced),
        Err(StorageError::Incomplete { .. })
    ));
    lab.pass(MS(2999));
    assert_eq!(east.synced_at("v"), None);
    lab.pass(MS(1));
    assert_eq!(numbers(&east), numbers(&west));
    assert_eq!(
        (east.health("v"), west.health("v")),
        (Ok(Health::Healthy), Ok(Health::Healthy))
    );
    assert_eq!(
        east.resync("v", Resync::Rebuild),
        Ok(Readiness::NotReady),
        "asked once is asked once"
    );
    assert_eq!(numbers(&east), numbers(&west));
    assert!(lab.destroyed().is_empty());
}

#[test]
fn promoting_the_winner_again_after_both_were_demoted_lets_the_loser_be_rebuilt() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    east.power_off();
    west.promote("v", Promotion::Forced).unwrap();
    write(&west, 4..=7);
    east.power_on();
    east.demote("v").unwrap();
    west.demote("v").unwrap();
    lab.pass(MS(10_000));
    assert_eq!(east.resync("v", Resync::Check), Ok(Readiness::NotReady));
    west.promote("v", Promotion::Plain).unwrap();
    assert!(matches!(
        east.resync("v", Resync::Rebuild),
        Err(StorageError::Rebuilding { .. })
    ));
    lab.pass(MS(10_000));
    assert_eq!(numbers(&east), vec![1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_forced_resync_with_no_primary_destroys_the_data() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    east.demote("v").unwrap();
    lab.pass(MS(1000));
    assert!(matches!(
        west.resync("v", Resync::Rebuild),
        Err(StorageError::Rebuilding { .. })
    ));
    assert!(matches!(
        east.resync("v", Resync::Rebuild),
        Err(StorageError::Rebuilding { .. })
    ));
    lab.pass(MS(60_000));
    assert_eq!((numbers(&east), numbers(&west)), (vec![], vec![]));
    assert_eq!(
        lab.destroyed(),
        [Loss::ResyncWithoutPrimary, Loss::ResyncWithoutPrimary]
    );
    assert_eq!(lab.fabric.destroyed()[0].records, 3);
    assert!(lab.fabric.current("v").is_empty());
}

#[test]
fn a_third_copy_that_was_ahead_is_copied_anew_by_the_array_itself() {
    let lab = Lab::new(&["east", "west", "north"]);
    let east = mirrored(&lab, 3);
    let (west, north) = (lab.array("west"), lab.array("north"));
    lab.fabric.cut("east", "west").unwrap();
    write(&east, 4..=6);
    lab.pass(MS(2000));
    assert_eq!((numbers(&west).len(), numbers(&north).len()), (3, 6));
    east.power_off();
    west.promote("v", Promotion::Forced).unwrap();
    lab.pass(MS(2999));
    assert_eq!(numbers(&north).len(), 6);
    lab.pass(MS(1));
    assert_eq!(numbers(&north), vec![1, 2, 3]);
    assert_ne!(north.health("v"), Ok(Health::SplitBrain));
    assert_eq!(
        west.info("v").unwrap().peers.keys().collect::<Vec<_>>(),
        ["north"]
    );
}

#[test]
fn disabling_on_the_primary_removes_the_copies_and_on_a_follower_does_nothing() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    let west = lab.array("west");
    west.disable("v").unwrap();
    assert_eq!(west.role("v"), Some(Role::Secondary));
    east.disable("v").unwrap();
    assert_eq!(
        (east.role("v"), west.role("v")),
        (Some(Role::Primary), None)
    );
    assert!(matches!(
        east.promote("v", Promotion::Plain),
        Err(StorageError::NotEnabled { .. })
    ));
    assert!(matches!(
        east.info("v"),
        Err(StorageError::NotEnabled { .. })
    ));
    east.disable("v").unwrap();
}

#[test]
fn a_secondary_with_no_primary_in_sight_cannot_be_disabled() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    east.demote("v").unwrap();
    lab.pass(MS(1000));
    assert!(matches!(
        east.disable("v"),
        Err(StorageError::SecondaryNotReplaying { .. })
    ));
    assert!(matches!(
        lab.array("west").disable("v"),
        Err(StorageError::SecondaryNotReplaying { .. })
    ));
}

#[test]
fn deleting_an_image_is_for_real() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    east.delete("v").unwrap();
    east.delete("v").unwrap();
    assert_eq!((east.role("v"), lab.array("west").role("v")), (None, None));
    assert_eq!(lab.destroyed(), [Loss::Deleted]);
}

#[test]
fn handles_are_translated_when_each_site_has_its_own() {
    let lab = Lab::with(FabricSpec {
        handles: Handles::PerSite,
        ..FabricSpec::new(["east", "west"])
    });
    let (east, west) = (lab.array("east"), lab.array("west"));
    assert_eq!(east.create("vol1").unwrap(), "east-vol1");
    east.enable("east-vol1").unwrap();
    assert_eq!(east.destination("east-vol1").unwrap(), "west-vol1");
    assert_eq!(west.role("west-vol1"), Some(Role::Secondary));
    assert_eq!(west.role("east-vol1"), None);
}

#[test]
fn a_day_of_silence_costs_nothing_and_changes_nothing() {
    let lab = Lab::new(&["east", "west"]);
    let east = mirrored(&lab, 3);
    lab.pass(Duration::from_secs(86_400));
    assert_eq!(numbers(&lab.array("west")), vec![1, 2, 3]);
    let age = lab
        .fabric
        .now()
        .duration_since(east.info("v").unwrap().slowest.last_sync);
    assert!(age.as_millis() <= 1200, "{age:?}");
}
