//! The hub, its agents and applications that write through a real file system, on two Ceph clusters: nothing here is simulated but
//! the machines that pods run on.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use lifeboat_api::DRPlacement;
use lifeboat_e2e::{
    Kept, Story,
    ceph::{App, FileSystem, Fleet, Part, Volume, content, copying::in_step, incomplete_copy},
    wait,
};

mod cut_off;
mod faults;
mod lost;
mod relocate;

/// Runs a test on the fleet, alone. It is made once for all tests, and anew after a test that failed.
fn on_fleet(test: impl (for<'a> FnOnce(&'a mut Fleet) -> Story<'a>) + 'static) -> Result<()> {
    static FLEET: Kept<Fleet> = Kept::new();
    FLEET.lend(Fleet::start, |fleet| {
        Box::pin(async move {
            let ended = test(fleet).await.and_then(|()| refused(fleet));
            if ended.is_err() {
                show(fleet).await;
            } else {
                fleet.went_well();
            }
            ended
        })
    })
}

/// No test may leave behind that something was refused to a program for want of a right.
fn refused(fleet: &Fleet) -> Result<()> {
    let mut refused = fleet.hub.forbidden()?;
    refused.extend(fleet.sites.forbidden()?);
    ensure!(refused.is_empty(), "a right is missing: {refused:?}");
    Ok(())
}

/// Prints what the hub believes, and what went wrong on the machines.
async fn show(fleet: &Fleet) {
    let all = kube::Api::<DRPlacement>::all(fleet.hub.client.clone());
    for p in all
        .list(&kube::api::ListParams::default())
        .await
        .into_iter()
        .flatten()
    {
        let text = serde_saphyr::to_string(&p).unwrap_or_default();
        eprintln!("--- DRPlacement\n{text}");
    }
    for name in ["dr1", "dr2"] {
        let notes = fleet.machine(name).notes();
        eprintln!("--- {name}: {notes:#?}");
    }
}

/// Applications on dr1, each of so many volumes, protected and at rest.
async fn settled(fleet: &Fleet, apps: &[(&str, usize)]) -> Result<Vec<App>> {
    let apps = apps.iter().map(|(name, volumes)| async move {
        let app = fleet.deploy(name, *volumes).await?;
        fleet.until_settled(&app, "dr1").await?;
        Ok::<_, anyhow::Error>(app)
    });
    try_join_all(apps).await
}

/// Waits until so many more records of each volume have been acknowledged on a cluster.
async fn written(fleet: &Fleet, app: &App, on: &str, more: u64) -> Result<()> {
    let machine = fleet.machine(on);
    for volume in &app.volumes {
        let before = machine.told(&volume.of)?.last();
        let what = format!("{more} records more of {} on {on}", volume.of);
        wait::until_answer(&what, || async {
            let last = machine.told(&volume.of)?.last();
            ensure!(last >= before + more, "{last}; {:?}", machine.notes());
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

/// What is on each volume where it is mounted is whole, and all is there, word for word, that was acknowledged on these clusters.
async fn nothing_lost(fleet: &Fleet, app: &App, on: &str, told_on: &[&str]) -> Result<()> {
    for volume in &app.volumes {
        let of = &volume.of;
        for site in told_on {
            // In this order: what is told is safe already.
            let told = fleet.machine(site).told(of)?;
            let found = fleet.machine(on).records(of).await?;
            ensure!(!told.all.is_empty(), "{of}: nothing was told on {site}");
            let twice = &told.doubled;
            ensure!(twice.is_empty(), "{of}: told twice on {site}: {twice:?}");
            let (gaps, doubled) = (&found.gaps, &found.doubled);
            let damaged = &found.damaged;
            ensure!(
                found.is_whole(),
                "{of}: gaps {gaps:?}, doubled {doubled:?}, damaged {damaged:?}"
            );
            let lost = found.lacks(&told);
            ensure!(lost.is_empty(), "{of}: lost on {on} of {site}: {lost:?}");
        }
    }
    Ok(())
}

/// Before it was mounted on a cluster each volume had been unmounted in order.
fn clean(fleet: &Fleet, app: &App, on: &str) -> Result<()> {
    for volume in &app.volumes {
        let found = fleet.machine(on).found(&volume.of).context("not mounted")?;
        let is = found.file_system;
        ensure!(is == FileSystem::Clean, "{} was {is:?}", volume.of);
    }
    Ok(())
}

/// A volume as it was when a snapshot of it was taken.
struct Mark {
    volume: Volume,
    sha256: String,
    /// The number of the snapshot on the primary.
    snapshot: u64,
    /// When it was taken.
    time: Timestamp,
    /// The last record that had been acknowledged.
    last: u64,
}

/// Takes a snapshot of each volume on dr1 at a moment of which all is known, has it arrive on dr2, and lets more be written. No other
/// snapshot is taken on dr1 from then on: its manager stands still.
async fn mark(fleet: &Fleet, app: &App) -> Result<Vec<Mark>> {
    let (dr1, dr2) = (&fleet.pair().dr1, &fleet.pair().dr2);
    dr1.freeze_part(Part::Manager).await?;
    let mut marks = Vec::new();
    for volume in &app.volumes {
        let (rbd, image) = (dr1.rbd(), &volume.image);
        let machine = fleet.machine("dr1");
        let mark = machine.held(&volume.of, async || {
            let time = now();
            rbd.snapshot(image).await?;
            let snapshots = rbd.snapshots(image).await?;
            let newest = snapshots.iter().map(|s| s.id).max();
            Ok(Mark {
                volume: volume.clone(),
                sha256: content::sha256(&rbd, image).await?,
                snapshot: newest.context("no snapshot")?,
                time,
                last: machine.told(&volume.of)?.last(),
            })
        });
        marks.push(mark.await?);
        in_step(dr1, dr2, image).await?;
    }
    written(fleet, app, "dr1", 40).await?;
    Ok(marks)
}

/// With dr1 gone, the newest copy that dr2 has of each volume is complete, and of the marked snapshot.
async fn holds(fleet: &Fleet, marks: &[Mark]) -> Result<()> {
    for mark in marks {
        let copies = fleet.pair().dr2.rbd().snapshots(&mark.volume.image).await?;
        let of = &mark.volume.of;
        ensure!(incomplete_copy(&copies).is_none(), "{of}: {copies:?}");
        let newest = copies
            .iter()
            .filter_map(|s| s.namespace.primary_snap_id)
            .max();
        let wanted = mark.snapshot;
        ensure!(
            newest == Some(wanted),
            "{of}: the newest copy is of {newest:?}, not of {wanted}"
        );
    }
    Ok(())
}

/// What dr2 mounted is the marked snapshot of each volume, byte for byte, and its records are those of the mark.
async fn came_from(fleet: &Fleet, marks: &[Mark]) -> Result<()> {
    for mark in marks {
        let of = &mark.volume.of;
        let found = fleet.machine("dr2").found(of).context("not mounted")?;
        ensure!(found.sha256 == mark.sha256, "{of} is not the last copy");
        let is = found.file_system;
        ensure!(is == FileSystem::Clean, "{of} was {is:?}");
        let records = fleet.machine("dr2").records(of).await?;
        let last = records.last_of("dr1").map_or(0, |r| r.number);
        // One may have been written and not been acknowledged yet.
        ensure!(
            last == mark.last || last == mark.last + 1,
            "{of}: the last record of dr1 is {last}, and {} was the mark",
            mark.last
        );
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with what a real hub tells"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Both sides hold the same: writers wait, a snapshot is taken and arrives, and all bytes are compared.
async fn same_on_both(fleet: &Fleet, app: &App, primary: &str, copy: &str) -> Result<()> {
    let (from, to) = (fleet.pair().site(primary), fleet.pair().site(copy));
    for volume in &app.volumes {
        let image = &volume.image;
        let machine = fleet.machine(primary);
        let written = machine.held(&volume.of, async || {
            from.rbd().snapshot(image).await?;
            in_step(from, to, image).await?;
            // Only now: the next snapshot of the schedule holds the same.
            let copied = content::sha256(&to.rbd(), image).await?;
            let written = content::sha256(&from.rbd(), image).await?;
            ensure!(written == copied, "{image} differs on {copy}");
            Ok(())
        });
        written.await?;
    }
    Ok(())
}
