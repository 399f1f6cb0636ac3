//! The clusters themselves: they can be lost in every way that a test needs, and come back.

use std::path::Path;

use anyhow::{Result, ensure};
use lifeboat_e2e::{
    ceph::{Pair, Part, content, copying::in_step},
    wait,
};

use crate::ground::{Ground, on_ceph};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_copy_has_what_was_written() -> Result<()> {
    on_ceph(|ground| {
        Box::pin(async {
            let image = ground.mirrored().await?;
            let (one, two) = (ground.pair.dr1.rbd(), ground.pair.dr2.rbd());
            let empty = content::sha256(&two, &image).await?;
            content::write(&one, &image, 0, b"first record\n").await?;
            let written = content::sha256(&one, &image).await?;
            ensure!(written != empty, "nothing was written");
            one.snapshot(&image).await?;
            in_step(&ground.pair.dr1, &ground.pair.dr2, &image).await?;
            ensure!(content::sha256(&two, &image).await? == written, "not equal");
            let text = content::beginning(&two, &image, 64).await?;
            ensure!(text == "first record\n", "the copy holds {text:?}");
            let refused = content::write(&two, &image, 0, b"x").await;
            ensure!(
                refused.as_ref().is_err_and(|e| e.code() == Some(30)),
                "a copy was written to: {refused:?}"
            );
            Ok(())
        })
    })
}

#[test]
fn a_cluster_is_lost_and_comes_back_with_its_data() -> Result<()> {
    on_ceph(|ground| Box::pin(lost(ground)))
}

async fn lost(ground: &Ground) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let image = ground.mirrored().await?;
    content::write(&dr1.rbd(), &image, 0, b"kept").await?;

    dr1.freeze().await?;
    ensure!(
        dr1.rbd().info(&image).await.is_err(),
        "a frozen cluster answers"
    );
    dr1.thaw().await?;
    ensure!(
        dr1.rbd().info(&image).await?.is_primary(),
        "it is as before"
    );

    dr1.kill_part(Part::Disk).await?;
    let read = content::beginning(&dr1.rbd(), &image, 4).await;
    ensure!(read.is_err(), "read without a disk: {read:?}");
    dr1.start().await?;

    dr2.kill_part(Part::Mirror).await?;
    dr1.rbd().snapshot(&image).await?;
    ensure!(
        dr2.rbd().info(&image).await.is_ok(),
        "only the copying stops"
    );
    dr2.start().await?;
    in_step(dr1, dr2, &image).await?;

    dr1.kill().await?;
    let gone = dr1.rbd().info(&image).await;
    ensure!(gone.is_err(), "a dead cluster answers: {gone:?}");
    ensure!(dr2.rbd().info(&image).await.is_ok(), "the other one lives");
    dr1.start().await?;
    let kept = content::beginning(&dr1.rbd(), &image, 4).await?;
    ensure!(kept == "kept", "it came back with {kept:?}");
    Ok(())
}

#[test]
fn a_full_pool_takes_no_more_writes() -> Result<()> {
    on_ceph(|ground| Box::pin(full(ground)))
}

async fn full(ground: &Ground) -> Result<()> {
    let dr1 = &ground.pair.dr1;
    let image = ground.mirrored().await?;
    let some = vec![7; 4 * MEBIBYTE];
    content::write(&dr1.rbd(), &image, 0, &some).await?;
    dr1.quota(Some(MEBIBYTE as u64)).await?;
    // Ceph looks every few seconds. A write that comes too early is done; one that comes later hangs, and is given up.
    let mut at = 0;
    let refused = wait::until_answer("the pool is full", || {
        at += some.len() as u64;
        let (rbd, image, some) = (dr1.rbd(), &image, &some);
        async move {
            Ok(content::write(&rbd, image, at % (64 << 20), some)
                .await
                .err())
        }
    })
    .await;
    dr1.quota(None).await?;
    refused?;
    wait::until_answer("there is room again", || async {
        content::write(&dr1.rbd(), &image, 0, b"room").await?;
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn two_pairs_share_a_machine_and_leave_nothing_behind() -> Result<()> {
    let (one, two) = tokio::try_join!(Pair::start(), Pair::start())?;
    ensure!(one.dr1.conf() != two.dr1.conf(), "two places");
    let conf = one.dr1.conf().to_owned();
    one.dr1.rbd().create("only-here", "1M").await?;
    let other = two.dr1.rbd().info("only-here").await;
    ensure!(other.is_err(), "they are one cluster");
    let running = daemons(&conf)?;
    ensure!(running.len() == 4, "not four daemons: {running:?}");
    drop(one);
    let ended = || async { Ok(daemons(&conf)?.is_empty().then_some(())) };
    wait::until_answer("the daemons end", ended).await?;
    ensure!(!conf.exists(), "data is left");
    two.dr1.rbd().create("still-works", "1M").await?;
    Ok(())
}

/// The command lines of all processes that were given this configuration, but for zombies, which have none.
fn daemons(conf: &Path) -> Result<Vec<String>> {
    let conf = conf.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let line = std::fs::read_to_string(entry?.path().join("cmdline")).unwrap_or_default();
        if line.split('\0').any(|arg| arg == conf) && !line.starts_with("rbd\0") {
            found.push(line.replace('\0', " "));
        }
    }
    Ok(found)
}
