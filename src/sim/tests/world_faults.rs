//! What happens to a world, and what the ledger shows of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod world_common;

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::{Api, api::ListParams};
use lifeboat_sim::until::until;
use lifeboat_sim::{
    apiserver::Identity,
    storage::{Power, Promotion, Readiness, Resync, Role},
    world::{App, HUB, World, WorldSpec},
};
use world_common::{Shop, import, world, world_of};

const SECOND: Duration = Duration::from_secs(1);

/// An application on east, mirrored to west, with its first snapshots there.
async fn protected(world: &World) -> (Shop, String) {
    let east = Shop::install(world, "east", App::new("shop").volumes(1));
    east.wait_ready(1).await;
    let handle = east.handle(0).await;
    let array = &world.site("east").unwrap().array;
    array.enable(&handle).unwrap();
    until("the first sync", || async {
        array.info(&handle).ok().map(drop)
    })
    .await;
    (east, handle)
}

/// Brings the application up on west, by hand, with its image as it is there.
async fn start_on_west(world: &World, east: &Shop) -> Shop {
    import(world, east, "west", 0).await;
    Shop::install(world, "west", east.app.clone())
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_loses_doubles_and_forks_nothing() {
    let world = world();
    let (east, handle) = protected(&world).await;
    let west = start_on_west(&world, &east).await;
    let (from, to) = (
        &world.site("east").unwrap().array,
        &world.site("west").unwrap().array,
    );
    east.scale(0).await;
    east.wait_no_pods().await;
    from.demote(&handle).unwrap();
    let drained =
        || async { (from.resync(&handle, Resync::Check) == Ok(Readiness::Ready)).then_some(()) };
    until("the drain", drained).await;
    to.promote(&handle, Promotion::Plain).unwrap();
    west.wait_ready(1).await;
    let before = world.ledger().report(&handle).acked;
    until("records on west", || async {
        (world.ledger().report(&handle).acked > before).then_some(())
    })
    .await;
    let report = world.ledger().report(&handle);
    assert_eq!((report.lost, report.doubled, report.forked), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_killed_site_stops_and_comes_back_with_its_old_pods_and_role() {
    let world = world();
    let (east, handle) = protected(&world).await;
    let site = world.site("east").unwrap();
    let power = site.power();
    let pods = east
        .pods()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .len();
    world.kill_site("east").unwrap();
    assert_eq!(*power.borrow(), Power::Off);
    assert!(east.pods().list(&ListParams::default()).await.is_err());
    tokio::time::sleep(SECOND).await;
    let dead = world.ledger().acknowledged(&handle).len();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.ledger().acknowledged(&handle).len(), dead);

    world.revive_site("east").unwrap();
    until("the pods to write again", || async {
        (world.ledger().acknowledged(&handle).len() > dead).then_some(())
    })
    .await;
    assert_eq!(site.array.role(&handle), Some(Role::Primary));
    assert_eq!(
        east.pods()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        pods
    );
    let report = world.ledger().report(&handle);
    assert_eq!((report.lost, report.doubled, report.forked), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failover_loses_what_was_not_shipped_and_the_return_forks() {
    let world = world();
    let (east, handle) = protected(&world).await;
    let west = start_on_west(&world, &east).await;
    tokio::time::sleep(SECOND).await;
    world.kill_site("east").unwrap();
    let to = &world.site("west").unwrap().array;
    to.promote(&handle, Promotion::Forced).unwrap();
    west.wait_ready(1).await;
    let report = world.ledger().report(&handle);
    // One interval and the way there, at ten records a second.
    assert!((1..=13).contains(&report.lost), "{report:?}");
    let lost = world.ledger().lost(&handle);
    assert!(lost.iter().all(|l| l.site == "east"));
    assert_eq!(report.doubled, 0);

    // Nobody tells the old site: its pods write on, on an image that is still primary there.
    world.revive_site("east").unwrap();
    until("a fork", || async {
        (world.ledger().report(&handle).forked > 5).then_some(())
    })
    .await;
    assert_eq!(world.fabric().primaries(&handle), ["east", "west"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_silences_calls_and_replication_until_it_heals() {
    let world = world();
    let (_, handle) = protected(&world).await;
    let array = &world.site("east").unwrap().array;
    let client = world.client(HUB, "west", Identity::admin()).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    world.partition(HUB, "west").unwrap();
    let silent = tokio::time::timeout(10 * SECOND, maps.list(&ListParams::default())).await;
    assert!(silent.is_err() || silent.unwrap().is_err());
    let synced = array.info(&handle).unwrap().slowest.last_sync;
    // The hub is not on the way of replication.
    until("replication", || async {
        (array.info(&handle).unwrap().slowest.last_sync > synced).then_some(())
    })
    .await;
    world.heal(HUB, "west").unwrap();
    maps.list(&ListParams::default()).await.unwrap();

    world.partition("east", "west").unwrap();
    let synced = array.info(&handle).unwrap().slowest.last_sync;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(array.info(&handle).unwrap().slowest.last_sync, synced);
    world.heal_all().unwrap();
    until("replication", || async {
        (array.info(&handle).unwrap().slowest.last_sync > synced).then_some(())
    })
    .await;
    assert!(world.partition("east", "nowhere").is_err());
}

/// A failover told in full: what happened to roles, and what became of the records.
async fn story() -> String {
    let world = world_of(|spec| WorldSpec {
        mirror_interval: 2 * SECOND,
        ..spec
    });
    let (east, handle) = protected(&world).await;
    let west = start_on_west(&world, &east).await;
    tokio::time::sleep(3 * SECOND).await;
    world.kill_site("east").unwrap();
    world
        .site("west")
        .unwrap()
        .array
        .promote(&handle, Promotion::Forced)
        .unwrap();
    west.wait_ready(1).await;
    world.revive_site("east").unwrap();
    tokio::time::sleep(10 * SECOND).await;
    let claims: Api<PersistentVolumeClaim> = west.claims();
    let objects = claims.list(&ListParams::default()).await.unwrap().items;
    format!(
        "{:#?}\n{:#?}\n{:#?}",
        world.fabric().events(),
        world.ledger().acknowledged(&handle),
        objects
    )
}

#[test]
fn two_runs_tell_the_same_story() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(story())
    };
    assert!(run() == run());
}

#[tokio::test(start_paused = true)]
async fn thirty_applications_come_up_in_an_instant() {
    let world = world_of(|spec| WorldSpec {
        write_every: Duration::ZERO,
        ..spec
    });
    let start = world.clock().now();
    let apps: Vec<Shop> = (0..30)
        .map(|n| Shop::install(&world, "east", App::new(&format!("app-{n}")).volumes(5)))
        .collect();
    for app in &apps {
        app.wait_ready(1).await;
    }
    assert!(world.clock().now().duration_since(start).as_secs() < 2);
    assert_eq!(world.site("east").unwrap().array.images().len(), 150);
}
