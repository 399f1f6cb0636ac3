//! The driver when a site is lost: promotion by force, the copy that is incomplete, and the way back.

use anyhow::{Context, Result, ensure};
use lifeboat_e2e::{
    ceph::{Part, content, copying::in_step, incomplete_copy},
    wait,
};
use lifeboat_proto::fence::{
    Cidr, FenceClusterNetworkRequest, ListClusterFenceRequest, UnfenceClusterNetworkRequest,
    fence_controller_client::FenceControllerClient,
};
use tonic::Code;

use crate::ground::{Ground, on_ceph, secrets};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_lost_site_is_replaced_and_comes_back_as_a_copy() -> Result<()> {
    on_ceph(|ground| Box::pin(lost(ground)))
}

async fn lost(ground: &Ground) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let image = ground.mirrored().await?;
    let here = ground.caller("dr1", &image).await?;
    let there = ground.caller("dr2", &image).await?;
    content::write(&dr1.rbd(), &image, 0, b"shipped").await?;
    dr1.rbd().snapshot(&image).await?;
    in_step(dr1, dr2, &image).await?;
    let shipped = content::sha256(&dr1.rbd(), &image).await?;
    content::write(&dr1.rbd(), &image, 7, b"never shipped").await?;

    dr1.kill().await?;
    let status = here.info().await.err().context("a dead site answers")?;
    ensure!(status.code() == Code::Internal, "{status:?}");
    there.promote(true).await?;
    let got = content::sha256(&dr2.rbd(), &image).await?;
    ensure!(got == shipped, "it is not the last copy");
    content::write(&dr2.rbd(), &image, 7, b" by the other").await?;
    dr2.rbd().snapshot(&image).await?;

    dr1.start().await?;
    ensure!(dr1.rbd().info(&image).await?.is_primary(), "two primaries");
    let status = here.resync(true).await.err().context("a primary")?;
    ensure!(status.code() == Code::InvalidArgument, "{status:?}");
    here.demote().await?;
    wait::until_answer("the split brain is seen", || async {
        let status = here.resync(false).await.err().context("it is in step")?;
        ensure!(status.code() == Code::Internal, "{status:?}");
        Ok(status.message().contains("split-brain").then_some(()))
    })
    .await?;
    anew_once(ground, &image).await?;
    let one = content::sha256(&dr1.rbd(), &image).await?;
    let two = content::sha256(&dr2.rbd(), &image).await?;
    ensure!(one == two, "the copy that was made anew differs");
    ensure!(
        !here.resync(true).await?,
        "its peer is primary: not drained"
    );

    there.demote().await?;
    wait::until_answer("both have stepped down", || async {
        Ok(here.resync(false).await?.then_some(()))
    })
    .await?;
    wait::until_answer("it goes home", || async {
        Ok(Some(here.promote(false).await?))
    })
    .await?;
    let home = content::sha256(&dr1.rbd(), &image).await?;
    ensure!(home == two, "it came home with other data");
    Ok(())
}

/// Asks for a resync by force until the copy follows again, as an agent does, and sees that it was made anew one time only.
async fn anew_once(ground: &Ground, image: &str) -> Result<()> {
    let rbd = ground.pair.dr1.rbd();
    let here = ground.caller("dr1", image).await?;
    let old = rbd.info(image).await?.create_timestamp;
    let seen = tokio::sync::Mutex::new(vec![old]);
    wait::until_answer("the copy follows", || async {
        let ready = here.resync(true).await;
        if let Ok(info) = rbd.info(image).await {
            let mut seen = seen.lock().await;
            if seen.last() != Some(&info.create_timestamp) {
                seen.push(info.create_timestamp);
            }
        }
        Ok(ready.is_ok().then_some(()))
    })
    .await?;
    let seen = seen.into_inner();
    ensure!(seen.len() == 2, "made anew more than once: {seen:?}");
    Ok(())
}

#[test]
fn an_incomplete_copy_is_not_promoted() -> Result<()> {
    on_ceph(|ground| Box::pin(incomplete(ground)))
}

async fn incomplete(ground: &Ground) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let image = ground.mirrored().await?;
    let there = ground.caller("dr2", &image).await?;
    content::write(&dr1.rbd(), &image, 0, b"shipped").await?;
    dr1.rbd().snapshot(&image).await?;
    in_step(dr1, dr2, &image).await?;

    caught_in_the_middle(ground, &image).await?;
    let status = there.promote(true).await.err().context("promoted")?;
    ensure!(status.code() == Code::FailedPrecondition, "{status:?}");
    ensure!(status.message().contains("is incomplete"), "{status:?}");
    ensure!(!dr2.rbd().info(&image).await?.is_primary(), "promoted");

    // What the refusal asks for: the source comes back, and completes the copy.
    dr1.start().await?;
    in_step(dr1, dr2, &image).await?;
    let source = content::sha256(&dr1.rbd(), &image).await?;
    dr1.kill().await?;
    there.promote(true).await?;
    ensure!(content::sha256(&dr2.rbd(), &image).await? == source);
    dr1.start().await
}

/// Kills dr1 while dr2 copies from it.
async fn caught_in_the_middle(ground: &Ground, image: &str) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let mut fill = 0_u8;
    wait::until_answer("a copy is caught in the middle", || {
        fill += 1;
        async move {
            let much = vec![fill; 192 * MEBIBYTE];
            content::write(&dr1.rbd(), image, 0, &much).await?;
            dr1.rbd().snapshot(image).await?;
            loop {
                let snapshots = dr2.rbd().snapshots(image).await?;
                if incomplete_copy(&snapshots).is_some() {
                    // A disk that stands still gives nothing more.
                    dr1.freeze_part(Part::Disk).await?;
                    break;
                }
                let newest = dr1.rbd().snapshots(image).await?;
                let newest = newest.iter().map(|s| s.id).max();
                let copied = snapshots.iter().map(|s| &s.namespace);
                if copied
                    .clone()
                    .any(|n| n.complete && n.primary_snap_id == newest)
                {
                    return Ok(None);
                }
            }
            dr1.kill().await?;
            let left = dr2.rbd().snapshots(image).await?;
            let caught = incomplete_copy(&left).is_some();
            if !caught {
                dr1.start().await?;
            }
            Ok(caught.then_some(()))
        }
    })
    .await
}

#[test]
fn a_fence_cuts_clients_off_until_it_is_lifted() -> Result<()> {
    on_ceph(|ground| Box::pin(fenced(ground)))
}

async fn fenced(ground: &Ground) -> Result<()> {
    let dr1 = &ground.pair.dr1;
    let image = ground.mirrored().await?;
    let mut fences = FenceControllerClient::new(ground.channel("dr1").await?);
    let cidr = |text: &str| Cidr {
        cidr: text.to_owned(),
    };
    let wrong = FenceClusterNetworkRequest {
        secrets: secrets(dr1),
        cidrs: vec![cidr("everybody")],
        ..Default::default()
    };
    let refused = fences.fence_cluster_network(wrong).await.err();
    let refused = refused.context("a word is no network")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");

    let networks = vec![cidr("127.0.0.1/32"), cidr("10.0.0.0/8")];
    let all = FenceClusterNetworkRequest {
        secrets: secrets(dr1),
        cidrs: networks.clone(),
        ..Default::default()
    };
    fences.fence_cluster_network(all).await?;
    let list = || ListClusterFenceRequest {
        secrets: secrets(dr1),
        ..Default::default()
    };
    let listed = fences.list_cluster_fence(list()).await?;
    let mut listed = listed.into_inner().cidrs;
    listed.sort_by(|a, b| b.cidr.cmp(&a.cidr));
    ensure!(listed == networks, "{listed:?}");
    let written = content::write(&dr1.rbd(), &image, 0, b"x").await;
    ensure!(
        written.as_ref().is_err_and(|e| e.code() == Some(108)),
        "a fenced client got: {written:?}"
    );

    let unfence = UnfenceClusterNetworkRequest {
        secrets: secrets(dr1),
        cidrs: networks,
        ..Default::default()
    };
    fences.unfence_cluster_network(unfence).await?;
    let listed = fences.list_cluster_fence(list()).await?.into_inner();
    ensure!(listed.cidrs.is_empty(), "{listed:?}");
    content::write(&dr1.rbd(), &image, 0, b"x").await?;
    // Those that were connected stay cut off: the rbd-mirrors of both sides read from this cluster.
    for site in ground.pair.both() {
        site.kill_part(Part::Mirror).await?;
        site.start_part(Part::Mirror).await?;
    }
    dr1.kill_part(Part::Manager).await?;
    dr1.start().await?;
    dr1.rbd().snapshot(&image).await?;
    in_step(dr1, &ground.pair.dr2, &image).await
}
