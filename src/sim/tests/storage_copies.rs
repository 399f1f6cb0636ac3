//! What the arrays say of their copies, and the copies that are kept: by the array itself, and over the driver's socket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use lifeboat_proto::copies::{
    DropCopyRequest, GetCapabilitiesRequest, GetCopyStateRequest, GetDivergenceRequest,
    KeepCopyRequest, copies_client::CopiesClient,
};
use lifeboat_sim::{
    clock::SimClock,
    csi_addons::{CopyCapability, DEFAULT_NAME, Driver},
    storage::{Array, Arrival, Fabric, FabricSpec, Loss, Promotion, Record, Resync},
};
use tokio::time::sleep;
use tonic::Code;

struct Pair {
    fabric: Arc<Fabric>,
    east: Array,
    west: Array,
}

/// An image with these many records on `east`, all of them on `west` too.
async fn pair(records: u64) -> Pair {
    let clock = SimClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let spec = FabricSpec::new(["east", "west"]);
    let fabric = Fabric::new(spec, Arc::new(move || clock.now()));
    let east = fabric.array("east").unwrap();
    let west = fabric.array("west").unwrap();
    east.create("v").unwrap();
    east.enable("v").unwrap();
    sleep(Duration::from_secs(4)).await;
    // Each in a snapshot of its own, on either side.
    for number in 1..=records {
        write(&east, number);
        sleep(Duration::from_millis(2_500)).await;
        assert_eq!(numbers(&west, "v").last(), Some(&number));
    }
    Pair { fabric, east, west }
}

fn write(array: &Array, number: u64) {
    let writer: Arc<str> = Arc::from("app");
    array.append("v", Record::new(&writer, number)).unwrap();
}

fn numbers(array: &Array, handle: &str) -> Vec<u64> {
    let content = array.content(handle);
    content.iter().map(|e| e.record.number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_forced_promotion_of_half_a_copy_gives_what_was_there_before_the_last_whole_one() {
    let Pair { fabric, east, west } = pair(3).await;
    assert!(matches!(west.arrival("v").unwrap(), Arrival::Whole { .. }));
    west.stop_copying("v").unwrap();
    write(&east, 4);
    sleep(Duration::from_secs(3)).await;
    assert!(matches!(
        west.arrival("v").unwrap(),
        Arrival::Partial { .. }
    ));
    assert_eq!(
        numbers(&west, "v"),
        [1, 2, 3],
        "the last whole one is there"
    );
    fabric.cut("east", "west").unwrap();
    west.promote("v", Promotion::Forced).unwrap();
    assert_eq!(numbers(&west, "v"), [1, 2], "and is gone by the promotion");
}

#[tokio::test(start_paused = true)]
async fn half_a_copy_is_completed_when_its_source_is_there_and_not_before() {
    let Pair { fabric, east, west } = pair(2).await;
    west.stop_copying("v").unwrap();
    write(&east, 3);
    sleep(Duration::from_secs(3)).await;
    fabric.cut("east", "west").unwrap();
    west.resume_copying("v").unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(matches!(
        west.arrival("v").unwrap(),
        Arrival::Partial { .. }
    ));
    fabric.heal("east", "west").unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(matches!(west.arrival("v").unwrap(), Arrival::Whole { .. }));
    fabric.cut("east", "west").unwrap();
    west.promote("v", Promotion::Forced).unwrap();
    assert_eq!(numbers(&west, "v"), [1, 2, 3]);
}

/// `west` takes over, and what `east` wrote since never reached it.
async fn taken_over(unshipped: u64) -> Pair {
    let pair = pair(2).await;
    pair.fabric.cut("east", "west").unwrap();
    for number in 3..3 + unshipped {
        write(&pair.east, number);
    }
    pair.west.promote("v", Promotion::Forced).unwrap();
    pair.east.demote("v").unwrap();
    pair
}

#[tokio::test(start_paused = true)]
async fn what_never_reached_the_other_side_is_counted_once_that_can_be_seen() {
    let Pair { fabric, east, .. } = taken_over(5).await;
    assert!(east.divergence("v").is_err(), "nobody can be seen");
    fabric.heal("east", "west").unwrap();
    assert_eq!(east.divergence("v"), Ok(5 * 4096));
    let pair = taken_over(0).await;
    pair.fabric.heal("east", "west").unwrap();
    assert_eq!(pair.east.divergence("v"), Ok(0));
    assert!(pair.west.divergence("v").is_err(), "it leads");
}

#[tokio::test(start_paused = true)]
async fn a_kept_copy_is_an_image_of_its_own_that_survives_the_resync() {
    let Pair { fabric, east, .. } = taken_over(2).await;
    fabric.heal("east", "west").unwrap();
    let driver = Driver::new(DEFAULT_NAME, east.clone());
    let mut client = CopiesClient::new(driver.channel());
    let keep = KeepCopyRequest {
        volume_id: "v".to_owned(),
        name: "uid-db-2-1".to_owned(),
        ..KeepCopyRequest::default()
    };
    let first = client.keep_copy(keep.clone()).await.unwrap().into_inner();
    assert_eq!(first.bytes, 4 * 4096);
    east.resync("v", Resync::Rebuild).unwrap_err();
    let again = client.keep_copy(keep).await.unwrap().into_inner();
    assert_eq!(again, first, "by its name, whatever the volume holds now");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(numbers(&east, "v"), [1, 2]);
    assert_eq!(numbers(&east, &first.volume_id), [1, 2, 3, 4]);
    assert!(
        !fabric
            .array("west")
            .unwrap()
            .images()
            .contains(&first.volume_id)
    );
    let drop = |volume_id: &str| DropCopyRequest {
        volume_id: volume_id.to_owned(),
        ..DropCopyRequest::default()
    };
    for _ in 0..2 {
        client.drop_copy(drop(&first.volume_id)).await.unwrap();
        assert_eq!(east.images(), ["v"]);
    }
    let other = client.drop_copy(drop("v")).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
    assert_eq!(east.images(), ["v"], "what was not kept is not dropped");
    let lost: Vec<Loss> = fabric.destroyed().iter().map(|d| d.how).collect();
    assert_eq!(lost, [], "nobody lost anything");
}

#[tokio::test(start_paused = true)]
async fn a_driver_says_what_it_offers_and_one_without_the_service_offers_nothing() {
    let Pair { east, west, .. } = pair(1).await;
    let driver = Driver::new(DEFAULT_NAME, west);
    let mut client = CopiesClient::new(driver.channel());
    let offered = client.get_capabilities(GetCapabilitiesRequest {}).await;
    let offered: Vec<_> = offered.unwrap().into_inner().capabilities().collect();
    let all = [
        CopyCapability::CopyState,
        CopyCapability::Divergence,
        CopyCapability::Keep,
    ];
    assert_eq!(offered, all);
    let state = GetCopyStateRequest {
        volume_id: "v".to_owned(),
        ..GetCopyStateRequest::default()
    };
    let whole = client.get_copy_state(state.clone()).await.unwrap();
    assert!(whole.into_inner().complete);
    let divergence = GetDivergenceRequest {
        volume_id: "v".to_owned(),
        ..GetDivergenceRequest::default()
    };
    let leading = CopiesClient::new(Driver::new(DEFAULT_NAME, east).channel())
        .get_divergence(divergence.clone())
        .await;
    assert_eq!(leading.unwrap_err().code(), Code::FailedPrecondition);
    driver.offer_copies(&[CopyCapability::CopyState]);
    client.get_copy_state(state.clone()).await.unwrap();
    let refused = client.get_divergence(divergence).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    driver.offer_copies(&[]);
    let unknown = client.get_capabilities(GetCapabilitiesRequest {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    let unknown = client.get_copy_state(state).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}
