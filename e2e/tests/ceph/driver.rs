//! The driver, held to a table: what there is, what is called, what is answered. The rows are what ceph-csi answers.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use lifeboat_e2e::ceph::{Force, copying::drained};
use lifeboat_proto::{
    identity::{GetCapabilitiesRequest, GetIdentityRequest, identity_client::IdentityClient},
    replication::get_volume_replication_info_response::Status as Health,
    volumegroup::{CreateVolumeGroupRequest, controller_client::ControllerClient as Groups},
};
use tonic::{Code, Status};

use crate::ground::{Caller, Ground, on_ceph};

/// What there is before the call. Calls go to dr1 unless the row says dr2.
#[derive(Clone, Copy, Debug)]
enum Given {
    /// No image.
    Nothing,
    /// An image that is not mirrored.
    Plain,
    /// A clone of one that is not mirrored.
    Clone,
    /// A clone of one that is.
    CloneOfMirrored,
    /// A clone of one that was deleted.
    CloneOfTrash,
    /// Primary on dr1, with a complete copy on dr2.
    Mirrored,
    /// Both sides have stepped down, and hold the same.
    Drained,
    /// As `Mirrored`, one of the row's own: the call changes it.
    OwnMirrored,
    /// As `Drained`, one of the row's own: the call changes it.
    OwnDrained,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Enable,
    Disable,
    Promote,
    PromoteForced,
    Demote,
    Resync,
    ResyncForced,
    Info,
    /// Whether the copy is complete.
    CopyState,
    Divergence,
    /// Under an empty name.
    KeepUnnamed,
    /// Of a kept copy; what is meant is none.
    DropCopy,
}

use Call::{
    CopyState, Demote, Disable, Divergence, DropCopy, Enable, Info, KeepUnnamed, Promote,
    PromoteForced, Resync, ResyncForced,
};

/// How the call is spoiled, or what it says besides.
#[derive(Clone, Copy, Debug)]
enum With {
    Nothing,
    Handle(&'static str),
    NoSecret,
    WrongKey,
    Parameter(&'static str, &'static str),
}

use With::{Handle, NoSecret, Parameter, WrongKey};

/// What is answered.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    /// Done, and then the image is so on both sides: whether it is primary, none if it is not mirrored or not there.
    Then(Option<bool>, Option<bool>),
    Ready(bool),
    Synced,
    No(Code, &'static str),
}

use Answer::{Done, No, Ready, Synced, Then};

type Row = (Given, &'static str, Call, With, Answer);

const INVALID: Code = Code::InvalidArgument;
const PRECONDITION: Code = Code::FailedPrecondition;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // What is meant, and who asks.
    (Given::Nothing, "dr1", Info, Handle(""), No(INVALID, "empty volume id")),
    (Given::Nothing, "dr1", Promote, Handle("group-7"), No(Code::NotFound, "no volume group-7")),
    (Given::Nothing, "dr1", Enable, Handle("0001-0005-other-0000000000000001-9a558698-8db1-406b-a79b-8e3d71bd5545"), No(Code::NotFound, "no volume")),
    (Given::Nothing, "dr1", Enable, Handle("0001-0009-rook-ceph-00000000000000ff-9a558698-8db1-406b-a79b-8e3d71bd5545"), No(Code::NotFound, "no volume")),
    (Given::Nothing, "dr1", Enable, With::Nothing, No(Code::NotFound, "No such file")),
    (Given::Plain, "dr1", Enable, NoSecret, No(Code::Internal, "missing userID")),
    (Given::Plain, "dr1", Enable, WrongKey, No(Code::Internal, "connect to the cluster")),
    // Enable.
    (Given::Plain, "dr1", Enable, With::Nothing, Then(Some(true), Some(false))),
    (Given::Plain, "dr1", Enable, Parameter("schedulingInterval", "1m"), Then(Some(true), Some(false))),
    (Given::Plain, "dr1", Enable, Parameter("mirroringMode", "pool"), No(INVALID, "mirroringMode")),
    (Given::Plain, "dr1", Enable, Parameter("schedulingInterval", "1s"), No(INVALID, "schedulingInterval")),
    (Given::Plain, "dr1", Enable, Parameter("schedulingStartTime", "14:00"), No(INVALID, "without schedulingInterval")),
    (Given::Plain, "dr1", Enable, Parameter("flattenMode", "often"), No(INVALID, "flattenMode")),
    (Given::Mirrored, "dr1", Enable, With::Nothing, Done),
    (Given::Mirrored, "dr2", Enable, With::Nothing, Then(Some(true), Some(false))),
    (Given::Clone, "dr1", Enable, With::Nothing, No(PRECONDITION, "not enabled on the parent")),
    (Given::Clone, "dr1", Enable, Parameter("flattenMode", "force"), Then(Some(true), Some(false))),
    (Given::CloneOfMirrored, "dr1", Enable, With::Nothing, Then(Some(true), Some(false))),
    (Given::CloneOfTrash, "dr1", Enable, With::Nothing, No(PRECONDITION, "in the trash")),
    // Promote.
    (Given::Plain, "dr1", Promote, With::Nothing, No(INVALID, "not enabled")),
    (Given::Mirrored, "dr1", Promote, With::Nothing, Then(Some(true), Some(false))),
    (Given::Mirrored, "dr1", Promote, Parameter("schedulingInterval", "5m"), Done),
    (Given::Mirrored, "dr2", Promote, With::Nothing, No(PRECONDITION, "error promoting image to primary (16)")),
    (Given::OwnDrained, "dr2", Promote, With::Nothing, Then(Some(false), Some(true))),
    (Given::OwnDrained, "dr1", Promote, With::Nothing, Then(Some(true), Some(false))),
    (Given::Mirrored, "dr1", PromoteForced, With::Nothing, Then(Some(true), Some(false))),
    // Demote.
    (Given::Plain, "dr1", Demote, With::Nothing, No(INVALID, "not enabled")),
    (Given::OwnMirrored, "dr1", Demote, With::Nothing, Then(Some(false), Some(false))),
    (Given::Mirrored, "dr2", Demote, With::Nothing, Then(Some(true), Some(false))),
    (Given::Drained, "dr1", Demote, With::Nothing, Done),
    // Resync.
    (Given::Nothing, "dr1", Resync, With::Nothing, No(Code::Aborted, "could not read")),
    (Given::Plain, "dr1", Resync, With::Nothing, No(INVALID, "not enabled")),
    (Given::Mirrored, "dr1", Resync, With::Nothing, No(INVALID, "is primary")),
    (Given::Mirrored, "dr1", ResyncForced, With::Nothing, No(INVALID, "is primary")),
    (Given::Mirrored, "dr2", Resync, With::Nothing, Ready(false)),
    (Given::Mirrored, "dr2", ResyncForced, With::Nothing, Ready(false)),
    (Given::Drained, "dr1", Resync, With::Nothing, Ready(true)),
    (Given::Drained, "dr2", Resync, With::Nothing, Ready(true)),
    (Given::Drained, "dr2", ResyncForced, With::Nothing, Ready(true)),
    // Info.
    (Given::Plain, "dr1", Info, With::Nothing, No(INVALID, "not enabled")),
    (Given::Mirrored, "dr1", Info, With::Nothing, Synced),
    (Given::Mirrored, "dr2", Info, With::Nothing, No(INVALID, "not primary")),
    (Given::Drained, "dr1", Info, With::Nothing, No(INVALID, "not primary")),
    // What our own contract says of copies.
    (Given::Plain, "dr1", CopyState, With::Nothing, No(INVALID, "not enabled")),
    (Given::Mirrored, "dr1", CopyState, With::Nothing, No(INVALID, "is primary")),
    (Given::Mirrored, "dr2", CopyState, With::Nothing, Ready(true)),
    (Given::Mirrored, "dr1", Divergence, With::Nothing, No(PRECONDITION, "is primary")),
    (Given::Mirrored, "dr2", Divergence, With::Nothing, No(PRECONDITION, "no snapshot is left")),
    (Given::Mirrored, "dr1", KeepUnnamed, With::Nothing, No(INVALID, "empty name")),
    (Given::Mirrored, "dr1", DropCopy, With::Nothing, No(INVALID, "not a copy that was kept")),
    (Given::Nothing, "dr1", DropCopy, With::Nothing, Done),
    // Disable.
    (Given::Plain, "dr1", Disable, With::Nothing, Done),
    (Given::OwnMirrored, "dr1", Disable, With::Nothing, Then(None, None)),
    (Given::Mirrored, "dr2", Disable, With::Nothing, Then(Some(true), Some(false))),
    (Given::Drained, "dr1", Disable, With::Nothing, No(INVALID, "does not follow a primary")),
];

#[test]
fn answers_as_the_table_says() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            // Many at once: most of the time goes into waiting until an rbd-mirror has told of a new image. Rows that share an
            // image come one after the other: of two calls at once for one volume the second is refused.
            let own = |row: &&Row| !matches!(row.0, Given::Mirrored | Given::Drained);
            let alone = futures::stream::iter(TABLE.iter().filter(own));
            let alone = alone.map(|row| run(ground, row)).buffered(6).collect();
            let shared = async {
                let prepared = tokio::try_join!(
                    prepare(ground, Given::OwnMirrored),
                    prepare(ground, Given::OwnDrained)
                );
                let (mirrored, drained) = prepared?;
                let mut ended = Vec::new();
                for row in TABLE {
                    match row.0 {
                        Given::Mirrored => ended.push(call(ground, row, &mirrored).await),
                        Given::Drained => ended.push(call(ground, row, &drained).await),
                        _ => {}
                    }
                }
                Ok::<_, anyhow::Error>(ended)
            };
            let (mut ended, shared): (Vec<Result<()>>, _) = tokio::join!(alone, shared);
            ended.extend(shared?);
            ensure!(ended.len() == TABLE.len(), "a row was left out");
            let failed: Vec<String> = ended
                .into_iter()
                .filter_map(|e| e.err().map(|e| format!("{e:#}")))
                .collect();
            ensure!(failed.is_empty(), "rows:\n{}", failed.join("\n"));
            Ok(())
        })
    })
}

/// Prepares a row's own image, and calls.
async fn run(ground: &Ground, row: &Row) -> Result<()> {
    let image = prepare(ground, row.0).await;
    let image = image.with_context(|| format!("could not prepare {:?}", row.0))?;
    call(ground, row, &image).await
}

/// Makes the call of a row for an image that is prepared.
async fn call(ground: &Ground, row: &Row, image: &str) -> Result<()> {
    let (given, side, call, with, answer) = row;
    let told = format!("{given:?}, {call:?} on {side} with {with:?}: {answer:?}");
    let mut caller = ground.caller(side, image).await?;
    spoil(&mut caller, *with);
    let checked = check(ground, image, &caller, *call, *answer).await;
    checked.context(told)
}

async fn prepare(ground: &Ground, given: Given) -> Result<String> {
    let rbd = ground.pair.dr1.rbd();
    let image = ground.pair.new_image()?;
    match given {
        Given::Nothing => {}
        Given::Plain => rbd.create(&image, "16M").await?,
        Given::Clone => clone(ground, &image, false).await.map(drop)?,
        Given::CloneOfMirrored => clone(ground, &image, true).await.map(drop)?,
        Given::CloneOfTrash => {
            let parent = clone(ground, &image, false).await?;
            rbd.text(&["snap", "rm", &format!("{}@base", rbd.spec(&parent))])
                .await?;
            rbd.text(&["trash", "mv", &rbd.spec(&parent)]).await?;
        }
        Given::Mirrored | Given::OwnMirrored => {
            let image = ground.mirrored().await?;
            ground.told(&image).await?;
            return Ok(image);
        }
        Given::Drained | Given::OwnDrained => {
            let image = ground.mirrored().await?;
            ground.caller("dr1", &image).await?.demote().await?;
            drained(&ground.pair, &image).await?;
            return Ok(image);
        }
    }
    Ok(image)
}

/// Makes a clone and returns the name of its parent.
async fn clone(ground: &Ground, image: &str, mirrored: bool) -> Result<String> {
    let rbd = ground.pair.dr1.rbd();
    let parent = ground.pair.new_image()?;
    rbd.create(&parent, "16M").await?;
    if mirrored {
        rbd.enable(&parent, "snapshot").await?;
    }
    let base = format!("{}@base", rbd.spec(&parent));
    rbd.text(&["snap", "create", "--no-progress", &base])
        .await?;
    if mirrored {
        // The copy of the clone needs a copy of what it is a clone of.
        rbd.snapshot(&parent).await?;
    }
    let to = rbd.spec(image);
    // The newer format of clones: the snapshot need not be protected, and may be deleted.
    let args = ["clone", "--rbd-default-clone-format", "2", &base, &to];
    rbd.text(&args).await?;
    Ok(parent)
}

fn spoil(caller: &mut Caller, with: With) {
    match with {
        With::Nothing => {}
        Handle(text) => text.clone_into(&mut caller.handle),
        NoSecret => caller.secrets = HashMap::new(),
        WrongKey => {
            let key = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
            caller.secrets.insert("userKey".to_owned(), key.to_owned());
        }
        Parameter(key, value) => {
            caller.parameters.insert(key.to_owned(), value.to_owned());
        }
    }
}

async fn check(
    ground: &Ground,
    image: &str,
    caller: &Caller,
    call: Call,
    answer: Answer,
) -> Result<()> {
    let given = match call {
        Enable => caller.enable().await.map(|()| None),
        Disable => caller.disable().await.map(|()| None),
        Promote => caller.promote(false).await.map(|()| None),
        PromoteForced => caller.promote(true).await.map(|()| None),
        Demote => caller.demote().await.map(|()| None),
        Resync => caller.resync(false).await.map(Some),
        ResyncForced => caller.resync(true).await.map(Some),
        CopyState => caller.copy_state().await.map(Some),
        Divergence => caller.divergence().await.map(|_| None),
        KeepUnnamed => caller.keep("").await.map(|_| None),
        DropCopy => caller.drop_copy(&caller.handle).await.map(|()| None),
        Info => {
            let info = caller.info().await;
            if matches!(answer, Synced) {
                let info = info?;
                let time = info.last_sync_time.context("no time")?;
                ensure!(time.seconds > 1_700_000_000, "synced at {time:?}");
                ensure!(info.status() == Health::Healthy, "{info:?}");
                return Ok(());
            }
            info.map(|_| None)
        }
    };
    match (answer, given) {
        (Done, Ok(None)) => Ok(()),
        (Then(one, two), Ok(None)) => roles(ground, image, one, two).await,
        (Ready(want), Ok(Some(is))) if want == is => Ok(()),
        (No(code, words), Err(status)) => refused(&status, code, words),
        (_, given) => bail!("answered {given:?}"),
    }
}

fn refused(status: &Status, code: Code, words: &str) -> Result<()> {
    let fits = status.code() == code && status.message().contains(words);
    ensure!(fits, "{:?}: {}", status.code(), status.message());
    Ok(())
}

/// Waits for both sides' roles: a copy comes and goes a moment after the call.
async fn roles(ground: &Ground, image: &str, one: Option<bool>, two: Option<bool>) -> Result<()> {
    lifeboat_e2e::wait::until_answer("the roles", || async {
        let mut found = Vec::new();
        for site in ground.pair.both() {
            found.push(match site.rbd().info(image).await {
                Ok(info) => info.mirrored().map(|m| m.primary),
                Err(e) if e.code() == Some(2) => None,
                Err(e) => return Err(e.into()),
            });
        }
        ensure!(found == [one, two], "{found:?}");
        Ok(Some(()))
    })
    .await
}

#[test]
fn a_promotion_sets_the_schedule_of_its_class() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            let image = ground.mirrored().await?;
            let mut caller = ground.caller("dr1", &image).await?;
            spoil(&mut caller, Parameter("schedulingInterval", "7m"));
            caller.enable().await?;
            ensure!(
                !schedules(ground, &image).await?.contains("7m"),
                "too early"
            );
            caller.promote(false).await?;
            let set = schedules(ground, &image).await?;
            ensure!(set.contains("7m"), "the schedule is {set}");
            Ok(())
        })
    })
}

async fn schedules(ground: &Ground, image: &str) -> Result<String> {
    let rbd = ground.pair.dr1.rbd();
    let args = ["mirror", "snapshot", "schedule", "ls", "--pool", rbd.pool()];
    let all = [&args[..], &["--image", image]].concat();
    match rbd.text(&all).await {
        Err(e) if e.code() == Some(2) => Ok(String::new()), // none
        listed => Ok(listed?),
    }
}

#[test]
fn says_who_it_is_and_does_not_offer_groups() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            let channel = ground.channel("dr1").await?;
            let mut who = IdentityClient::new(channel.clone());
            let name = who.get_identity(GetIdentityRequest {}).await?;
            ensure!(name.into_inner().name == lifeboat_e2e::ceph::driver::NAME);
            let can = who.get_capabilities(GetCapabilitiesRequest {}).await?;
            let can = format!("{:?}", can.into_inner().capabilities);
            for word in ["ControllerService", "VolumeReplication(", "NetworkFence("] {
                ensure!(can.contains(word), "no {word} in {can}");
            }
            ensure!(!can.contains("VolumeGroup("), "it offers groups: {can}");
            let mut groups = Groups::new(channel);
            let made = groups.create_volume_group(CreateVolumeGroupRequest::default());
            let refused = made.await.err().context("a group was made")?;
            ensure!(refused.code() == Code::Unimplemented, "{refused:?}");
            Ok(())
        })
    })
}

#[test]
fn one_call_at_a_time_per_volume() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            let image = ground.mirrored().await?;
            let other = ground.mirrored().await?;
            ground.told(&other).await?;
            ground.told(&image).await?;
            let busy = ground.caller("dr1", &image).await?;
            let free = ground.caller("dr1", &other).await?;
            // All at once: the first has the volume, and the calls behind it are told so.
            let calls = (0..6).map(|_| busy.info());
            let mine = free.info();
            let (ended, mine) = tokio::join!(futures::future::join_all(calls), mine);
            mine?;
            let done = ended.iter().filter(|e| e.is_ok()).count();
            let mut refused = ended.iter().filter_map(|e| e.as_ref().err());
            ensure!(done >= 1, "{ended:?}");
            ensure!(done < 6, "six calls at once for one volume");
            ensure!(refused.all(|e| e.code() == Code::Aborted), "{ended:?}");
            Ok(())
        })
    })
}

#[test]
fn a_primary_without_a_copy_has_no_last_sync() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            let image = ground.pair.new_image()?;
            let mirror = lifeboat_e2e::ceph::Part::Mirror;
            ground.pair.dr2.kill_part(mirror).await?;
            let rbd = ground.pair.dr1.rbd();
            rbd.create(&image, "16M").await?;
            let caller = ground.caller("dr1", &image).await?;
            caller.enable().await?;
            let refused = caller.info().await.err().context("a copy is told of")?;
            let code = refused.code();
            let known = [Code::NotFound, PRECONDITION];
            ensure!(known.contains(&code), "{refused:?}");
            ground.pair.dr2.start().await?;
            ground.told(&image).await?;
            caller.info().await?;
            rbd.disable(&image, Force::No).await?;
            Ok(())
        })
    })
}
