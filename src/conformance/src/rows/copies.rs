//! What a driver may say of its copies, and keep of them: before a promotion by force, and before a copy is thrown away.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::{DROwnership, Divergence, KeptCopy};
use lifeboat_proto::copies::Capability;
use serde_json::json;
use tonic::Code;

use crate::driver::{Answer, DIVERGED, SIZE};
use crate::on::On;
use crate::world::{DRIVER, SECRET, World};

const PROMOTED: &str = "Primary | volume is marked primary | Completed=True/Promoted";
const FAILED: &str = "Completed=False/FailedToPromote";
/// The name of what is kept by the second epoch's first request.
const NAME: &str = "uid.NS.db.2.1";

/// A volume whose driver offers this, and a record of whose it is; the agent knows it.
async fn world(on: &On, offered: &[Capability], owner: &str) -> World {
    let mut world = World::cold(on).await;
    world.driver.offers_copies(offered);
    world.claim("db").await;
    world.grant(owner, 2, Some(2)).await;
    world.start();
    world
        .until("the driver is known", async |w| {
            w.driver_annotation().await.contains(r#""state":"Ready""#)
        })
        .await;
    world
}

fn refuse_plain(world: &World) {
    let refused = Answer::Fail(Code::FailedPrecondition, "peer is primary");
    world.driver.always("P", refused);
}

async fn divergence(world: &World) -> Vec<Divergence> {
    world
        .ownership()
        .await
        .status
        .unwrap_or_default()
        .divergence
}

async fn kept(world: &World) -> Option<KeptCopy> {
    let mut all = divergence(world).await;
    assert!(all.len() < 2, "{all:?}");
    all.pop()?.kept
}

async fn until_kept(world: &World) -> KeptCopy {
    world
        .until("a copy is recorded", async |w| kept(w).await.is_some())
        .await;
    kept(world).await.unwrap()
}

async fn until_sent(world: &World, times: usize) {
    let what = format!("sent {times} times");
    world
        .until(&what, async |w| w.driver.count("Rf") == times)
        .await;
}

pub(crate) async fn a_driver_that_offers_nothing_for_its_copies_is_asked_nothing_about_them(
    on: &On,
) {
    for hub in [false, true] {
        let world = world(on, &[], "east").await;
        refuse_plain(&world);
        if hub {
            world.ask_as_hub("db", "primary", 2).await;
        } else {
            world.ask("db", "primary").await;
        }
        world.until_status("db", PROMOTED).await;
        assert_eq!(world.driver.trace("h-db"), "E P Pf");
        assert!(!world.driver_annotation().await.contains("CopyState"));
    }
    let world = world(on, &[], "west").await;
    world.order_salvage("db", 2, 1, None).await;
    until_sent(&world, 1).await;
    assert_eq!(world.driver.trace("h-db"), "E Rf");
    assert_eq!(divergence(&world).await, []);
}

pub(crate) async fn a_whole_copy_is_promoted_by_force_and_half_a_one_is_not_until_it_is_whole(
    on: &On,
) {
    for hub in [false, true] {
        let world = world(on, &[Capability::CopyState], "east").await;
        assert!(world.driver_annotation().await.contains("CopyState"));
        refuse_plain(&world);
        world.driver.always("C", Answer::NotReady);
        if hub {
            world.ask_as_hub("db", "primary", 2).await;
        } else {
            world.ask("db", "primary").await;
        }
        world.until_status("db", FAILED).await;
        let why = world.volume("db").await.status.unwrap().message.unwrap();
        for words in [
            "the copy of db (h-db) has not arrived whole (half of it is here)",
            "older than its last good copy",
            "Bring the source back",
        ] {
            assert!(why.contains(words), "{why}");
        }
        world.until_told("CopyIncomplete").await;
        world.pass(60).await;
        assert_eq!(world.driver.count("Pf"), 0);
        let tried = world.driver.count("C");
        assert!(tried > 3, "asked again and again: {tried}");
        world.driver.always("C", Answer::Ok);
        world.until_status("db", PROMOTED).await;
        assert!(world.driver.trace("h-db").ends_with("E P C Pf"));
    }
}

pub(crate) async fn half_a_copy_is_promoted_as_soon_as_that_needs_no_force(on: &On) {
    let world = world(on, &[Capability::CopyState], "east").await;
    refuse_plain(&world);
    world.driver.always("C", Answer::NotReady);
    world.ask_as_hub("db", "primary", 2).await;
    world.until_status("db", FAILED).await;
    world.driver.always("P", Answer::Ok);
    world.until_status("db", PROMOTED).await;
    assert_eq!(world.driver.count("Pf"), 0);
}

pub(crate) async fn a_copy_whose_state_the_driver_does_not_say_is_not_promoted_by_force(on: &On) {
    for code in [Code::Internal, Code::Unimplemented, Code::NotFound] {
        let world = world(on, &[Capability::CopyState], "east").await;
        refuse_plain(&world);
        world.driver.always("C", Answer::Fail(code, "no idea"));
        world.ask_as_hub("db", "primary", 2).await;
        world.until_status("db", FAILED).await;
        let why = world.volume("db").await.status.unwrap().message.unwrap();
        assert!(why.contains("does not say whether"), "{why}");
        assert!(why.ends_with("no idea"), "{why}");
        world.pass(60).await;
        assert_eq!(world.driver.count("Pf"), 0, "{code}");
        world.driver.always("C", Answer::Ok);
        world.until_status("db", PROMOTED).await;
        assert!(world.driver.trace("h-db").ends_with("E P C Pf"));
    }
}

pub(crate) async fn what_never_reached_the_owner_is_recorded_before_it_is_thrown_away(on: &On) {
    let refused = Answer::Fail(Code::FailedPrecondition, "the peer is away");
    let unknown = "rpc error: code = FailedPrecondition desc = the peer is away";
    for (answer, bytes, message) in [
        (Answer::Ok, Some(DIVERGED), None),
        (refused, None, Some(unknown.to_owned())),
    ] {
        let world = world(on, &[Capability::Divergence], "west").await;
        world.driver.always("V", answer);
        let (admin, ns) = (world.admin.clone(), world.ns.clone());
        let said = message.clone();
        *world.driver.before.lock().await = Some(Box::new(move |letter| {
            let (said, admin, ns) = (said.clone(), admin.clone(), ns.clone());
            Box::pin(async move {
                if letter == "Rf" {
                    let api: Api<DROwnership> = Api::namespaced(admin, &ns);
                    let status = api.get("own").await.unwrap().status.unwrap();
                    let entry = &status.divergence[0];
                    assert_eq!((entry.claim.as_str(), entry.epoch), ("db", 2));
                    assert_eq!((entry.bytes, &entry.message), (bytes, &said));
                }
            })
        }));
        world.order_salvage("db", 2, 1, None).await;
        until_sent(&world, 1).await;
        assert_eq!(world.driver.trace("h-db"), "V E Rf");
        let all = divergence(&world).await;
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].kept, None, "nobody asked for that");
        let status = world.ownership().await.status.unwrap();
        assert_eq!(status.observed_epoch, Some(2), "the rest of it stays");
    }
}

/// Where the agent dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// While the driver measures.
    Measuring,
    /// While it makes the copy.
    Keeping,
    /// As soon as the copy is recorded.
    Recorded,
    /// While the resync is under way.
    Sent,
}

pub(crate) async fn what_is_thrown_away_is_kept_once_across_a_crash_at_each_point(on: &On) {
    for death in [
        Death::Measuring,
        Death::Keeping,
        Death::Recorded,
        Death::Sent,
    ] {
        let all = [Capability::Divergence, Capability::Keep];
        let mut world = world(on, &all, "west").await;
        world.driver.always("R", Answer::NotReady);
        let slow = match death {
            Death::Measuring => Some("V"),
            Death::Keeping => Some("K"),
            Death::Recorded => None,
            Death::Sent => Some("Rf"),
        };
        if let Some(letter) = slow {
            world
                .driver
                .next(letter, Answer::Slow(Duration::from_secs(3_600)));
        }
        world.order_salvage("db", 2, 1, Some("86400")).await;
        match slow {
            Some(letter) => {
                world
                    .until(letter, async |w| w.driver.count(letter) == 1)
                    .await;
            }
            None => drop(until_kept(&world).await),
        }
        world.kill();
        let recorded = kept(&world).await;
        world.pass(1).await;
        world.start();
        world
            .until("sent, or in doubt", async |w| {
                let annotations = w.volume("db").await.metadata.annotations;
                let doubted = annotations
                    .unwrap()
                    .contains_key("lifeboat.dev/resync-failed");
                w.driver.count("Rf") > 0 && death != Death::Sent || doubted
            })
            .await;
        let copy = until_kept(&world).await;
        assert!(
            recorded.is_none_or(|recorded| recorded == copy),
            "{death:?}"
        );
        let name = NAME.replace("NS", &world.ns);
        assert_eq!(copy.volume_handle, format!("kept-{name}"));
        assert_eq!((copy.driver.as_str(), copy.bytes), (DRIVER, SIZE));
        let time = copy.keep_until.0.duration_since(copy.kept_at.0);
        assert_eq!(time.as_secs(), 86_400);
        let seen = world.driver.seen();
        let names: Vec<_> = seen.iter().filter(|s| s.letter == "K").collect();
        let often = if death == Death::Keeping { 2 } else { 1 };
        assert_eq!(names.len(), often, "{death:?}");
        assert!(names.iter().all(|s| s.members == [name.as_str()]));
        assert!(names.iter().all(|s| s.secrets["userKey"] == SECRET));
        // The copy that the first request had made is there for the next one of the epoch too.
        let sent = world.driver.count("Rf");
        world.order_salvage("db", 2, 2, Some("86400")).await;
        until_sent(&world, sent + 1).await;
        assert_eq!(world.driver.count("K"), often, "{death:?}");
        assert_eq!(kept(&world).await, Some(copy));
    }
}

pub(crate) async fn what_cannot_be_kept_is_not_thrown_away(on: &On) {
    let refused = Answer::Fail(Code::ResourceExhausted, "the pool is full");
    for (offered, salvage, answer, words) in [
        (
            Capability::Divergence,
            "600",
            Answer::Ok,
            "does not offer that",
        ),
        (
            Capability::Keep,
            "soon",
            Answer::Ok,
            "is no number of seconds",
        ),
        (Capability::Keep, "600", refused, "the pool is full"),
    ] {
        let world = world(on, &[offered], "west").await;
        world.driver.always("K", answer);
        world.order_salvage("db", 2, 1, Some(salvage)).await;
        world
            .until_status("db", "Completed=False/FailedToResync")
            .await;
        let why = world.volume("db").await.status.unwrap().message.unwrap();
        assert!(why.contains("this copy is not thrown away"), "{why}");
        assert!(why.contains(words), "{why}");
        world.until_told("SalvageFailed").await;
        world.pass(120).await;
        assert_eq!(world.driver.count("Rf"), 0, "{words}");
        let annotations = world.volume("db").await.metadata.annotations.unwrap();
        assert!(!annotations.contains_key("lifeboat.dev/resync-issued"));
        assert_eq!(
            divergence(&world).await.len(),
            1,
            "what is at stake is said"
        );
        if offered == Capability::Keep {
            world.driver.always("K", Answer::Ok);
            // The next request, of which none was sent before, is the first that throws anything away.
            world.order_salvage("db", 2, 2, Some("600")).await;
            until_sent(&world, 1).await;
            assert!(kept(&world).await.is_some());
        } else {
            world.order_salvage("db", 2, 1, None).await;
            until_sent(&world, 1).await;
        }
    }
}

pub(crate) async fn a_kept_copy_is_dropped_when_its_time_is_over_by_a_restarted_agent_too(on: &On) {
    for restarted in [false, true] {
        let all = [Capability::Divergence, Capability::Keep];
        let mut world = world(on, &all, "west").await;
        world.driver.always("R", Answer::NotReady);
        world.order_salvage("db", 2, 1, Some("1200")).await;
        until_sent(&world, 1).await;
        let copy = until_kept(&world).await;
        world
            .driver
            .always("F", Answer::Fail(Code::Unavailable, "away"));
        if restarted {
            world.stop().await;
            world.pass(1_300).await;
            world.start();
        } else {
            world.pass(1_100).await;
            assert_eq!(world.driver.count("F"), 0, "not before its time");
        }
        world.until_told("KeptCopyNotDropped").await;
        world.pass(60).await;
        assert!(world.driver.count("F") > 1, "tried again");
        assert_eq!(kept(&world).await.unwrap().dropped_at, None);
        world.driver.always("F", Answer::Ok);
        world
            .until("it is dropped", async |w| {
                kept(w).await.unwrap().dropped_at.is_some()
            })
            .await;
        let asked = world.driver.count("F");
        world.pass(600).await;
        assert_eq!(world.driver.count("F"), asked, "once and for all");
        let seen = world.driver.seen();
        let dropped: Vec<_> = seen.iter().filter(|s| s.letter == "F").collect();
        assert!(dropped.iter().all(|s| s.handle == copy.volume_handle));
        assert!(dropped.iter().all(|s| s.secrets["userKey"] == SECRET));
        let now = kept(&world).await.unwrap();
        assert_eq!((now.kept_at, now.bytes), (copy.kept_at, copy.bytes));
    }
}

pub(crate) async fn a_copy_is_kept_until_its_resync_was_sent_and_from_then_on_for_its_time(
    on: &On,
) {
    let world = world(on, &[Capability::Keep], "west").await;
    world.driver.always("R", Answer::NotReady);
    let refused = Answer::Fail(Code::InvalidArgument, "not now");
    world.driver.always("Rf", refused);
    world.order_salvage("db", 2, 1, Some("600")).await;
    let first = until_kept(&world).await;
    world.pass(700).await;
    assert_eq!(world.driver.count("F"), 0, "it is still wanted");
    let tried = world.driver.count("Rf");
    assert!(tried > 100, "{tried}");
    let asked = world.driver.count("K");
    assert!(
        (2..=4).contains(&asked),
        "made sure of now and then: {asked}"
    );
    world.driver.always("Rf", Answer::NotReady);
    until_sent(&world, world.driver.count("Rf") + 1).await;
    let last = until_kept(&world).await;
    assert_eq!(last.volume_handle, first.volume_handle);
    world.pass(290).await;
    assert_eq!(world.driver.count("F"), 0, "for most of its time");
    world.pass(200).await;
    world
        .until("it is dropped", async |w| {
            kept(w).await.unwrap().dropped_at.is_some()
        })
        .await;
}

/// Sends the first request, which keeps a copy, and has it answered that the driver is busy: nothing was done.
async fn busy_at_the_first_request(on: &On, salvage: Option<&str>) -> World {
    let world = world(on, &[Capability::Keep], "west").await;
    let busy = Answer::Fail(Code::Aborted, "busy with another operation");
    world.driver.always("R", busy.clone());
    world.driver.always("Rf", busy);
    world.order_salvage("db", 2, 1, salvage).await;
    until_sent(&world, 1).await;
    world
}

pub(crate) async fn a_copy_stays_while_the_driver_did_not_carry_out_the_resync_it_was_made_for(
    on: &On,
) {
    let world = busy_at_the_first_request(on, Some("600")).await;
    let first = until_kept(&world).await;
    world.pass(900).await;
    assert_eq!(world.driver.count("F"), 0, "nothing was thrown away yet");
    // A later request makes sure of it for the time that is asked for.
    let asked = world.driver.count("K");
    world.order_salvage("db", 2, 2, Some("600")).await;
    until_sent(&world, 2).await;
    assert_eq!(world.driver.count("K"), asked + 1);
    let renewed = until_kept(&world).await;
    assert_eq!(renewed.volume_handle, first.volume_handle);
    assert!(renewed.keep_until.0 > first.keep_until.0);
    world.driver.always("R", Answer::NotReady);
    world.pass(600).await;
    world
        .until("it is dropped", async |w| {
            kept(w).await.unwrap().dropped_at.is_some()
        })
        .await;
}

pub(crate) async fn a_later_request_keeps_what_no_earlier_one_did(on: &On) {
    // The policy was given salvage after the first request.
    let world = busy_at_the_first_request(on, None).await;
    assert_eq!(divergence(&world).await, []);
    world.order_salvage("db", 2, 2, Some("600")).await;
    until_sent(&world, 2).await;
    let copy = until_kept(&world).await;
    assert_eq!(copy.volume_handle, format!("kept-uid.{}.db.2.2", world.ns));
    // It is dropped in its time, and for the third request there is none again.
    world.driver.always("R", Answer::NotReady);
    world.pass(600).await;
    world
        .until("it is dropped", async |w| {
            kept(w).await.unwrap().dropped_at.is_some()
        })
        .await;
    world.order_salvage("db", 2, 3, Some("600")).await;
    until_sent(&world, 3).await;
    let next = until_kept(&world).await;
    assert_eq!(next.dropped_at, None);
    let name = format!("kept-uid.{}.db.2.3.", world.ns);
    assert!(next.volume_handle.starts_with(&name), "{next:?}");
}

pub(crate) async fn a_copy_that_is_being_dropped_is_not_counted_on_again(on: &On) {
    let world = world(on, &[Capability::Keep], "west").await;
    world.driver.always("R", Answer::NotReady);
    world.order_salvage("db", 2, 1, Some("600")).await;
    until_sent(&world, 1).await;
    let first = until_kept(&world).await;
    let stuck = Answer::Fail(Code::Unavailable, "away");
    world.driver.always("F", stuck);
    world.pass(600).await;
    world
        .until("the drop has begun", async |w| w.driver.count("F") > 0)
        .await;
    assert!(kept(&world).await.unwrap().dropping_since.is_some());
    world.order_salvage("db", 2, 2, Some("600")).await;
    until_sent(&world, 2).await;
    let second = until_kept(&world).await;
    assert_ne!(second.volume_handle, first.volume_handle);
    assert_eq!(second.dropping_since, None);
    assert_eq!(divergence(&world).await[0].replaced.len(), 1);
    world.driver.always("F", Answer::Ok);
    world
        .until("the first is dropped", async |w| {
            divergence(w).await[0].replaced.is_empty()
        })
        .await;
    assert_eq!(kept(&world).await.unwrap(), second);
    let seen = world.driver.seen();
    let mut dropped = seen.iter().filter(|s| s.letter == "F");
    assert!(dropped.all(|s| s.handle == first.volume_handle));
}

pub(crate) async fn the_name_of_a_copy_is_on_record_before_the_driver_is_asked_for_it(on: &On) {
    let mut world = world(on, &[Capability::Keep], "west").await;
    let slow = Answer::Slow(Duration::from_secs(3_600));
    world.driver.next("K", slow);
    world.order_salvage("db", 2, 1, Some("600")).await;
    world
        .until("asked", async |w| w.driver.count("K") == 1)
        .await;
    world.kill();
    let all = divergence(&world).await;
    let name = NAME.replace("NS", &world.ns);
    assert_eq!(
        (all[0].copy_name.as_ref(), &all[0].kept),
        (Some(&name), &None)
    );
}

pub(crate) async fn a_record_that_cannot_be_written_holds_a_resync_back_only_where_a_copy_is_wanted(
    on: &On,
) {
    let all = [Capability::Divergence, Capability::Keep];
    let world = world(on, &all, "west").await;
    world.older_ownership_kind().await;
    world.order_salvage("db", 2, 1, Some("600")).await;
    world
        .until_status("db", "Completed=False/FailedToResync")
        .await;
    let why = world.volume("db").await.status.unwrap().message.unwrap();
    for words in [
        "this copy is not thrown away",
        "does not take down what is known of it",
        "bring that kind and the agent's rights up to date",
    ] {
        assert!(why.contains(words), "{why}");
    }
    world.until_told("SalvageFailed").await;
    world.pass(120).await;
    assert_eq!(world.driver.count("Rf"), 0);
    assert_eq!(world.driver.count("K"), 0, "it would be in no record");
    world.order_salvage("db", 2, 1, None).await;
    until_sent(&world, 1).await;
}

pub(crate) async fn a_copy_that_takes_its_time_keeps_no_promotion_waiting(on: &On) {
    let mut world = world(on, &[Capability::Keep], "west").await;
    world.stop().await;
    world.claim("web").await;
    world.start_with(|config| {
        config.concurrency = 1;
        // So that no deadline frees a slot in between.
        config.rpc_timeout = Duration::from_secs(7_200);
    });
    let slow = Answer::Slow(Duration::from_secs(3_600));
    world.driver.always("K", slow);
    world.order_salvage("db", 2, 1, Some("600")).await;
    world
        .until("asked", async |w| w.driver.count("K") == 1)
        .await;
    world.ask("web", "primary").await;
    world.until_status("web", PROMOTED).await;
    let seen = world.driver.seen();
    let last = seen.iter().rfind(|s| s.letter == "K");
    assert!(last.is_some_and(|s| s.said.is_none()), "it is still at it");
    assert_eq!(world.driver.count("K"), 1);
}

pub(crate) async fn an_agent_that_knows_nothing_of_kept_copies_leaves_them_on_record(on: &On) {
    let world = world(on, &[Capability::Keep], "west").await;
    world.driver.always("R", Answer::NotReady);
    world.order_salvage("db", 2, 1, Some("86400")).await;
    let copy = until_kept(&world).await;
    // What an older one applies: the whole status that it knows.
    let status = world.ownership().await.status.unwrap();
    let older = json!({
        "apiVersion": "lifeboat.dev/v1alpha1", "kind": "DROwnership", "metadata": {"name": "own"},
        "status": {"observedEpoch": 2, "conditions": status.conditions},
    });
    let api: Api<DROwnership> = Api::namespaced(world.admin.clone(), &world.ns);
    let params = PatchParams::apply("lifeboat-agent").force();
    let older = Patch::Apply(&older);
    let written = api.patch_status("own", &params, &older).await.unwrap();
    let written = written.status.unwrap();
    assert_eq!(written.observed_generation, None, "it took its own away");
    assert_eq!(kept(&world).await, Some(copy.clone()));
    // Nor does this one, when it stores an epoch; nor is the epoch lost by what is written of copies.
    world.grant("west", 3, None).await;
    world
        .until("the epoch is stored", async |w| {
            let status = w.ownership().await.status.unwrap();
            status.observed_epoch == Some(3)
        })
        .await;
    assert_eq!(kept(&world).await, Some(copy));
}
