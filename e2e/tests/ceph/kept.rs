//! What a resync throws away: how much it is, and an independent copy from which it is read back.

use anyhow::{Context, Result, ensure};
use lifeboat_e2e::{
    ceph::{Force, content, copying::in_step, driver},
    wait,
};
use tonic::Code;

use crate::ground::{Ground, on_ceph};

#[test]
fn what_a_resync_throws_away_is_read_back_from_the_kept_copy() -> Result<()> {
    on_ceph(|ground| Box::pin(read_back(ground)))
}

async fn read_back(ground: &Ground) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let image = ground.mirrored().await?;
    let here = ground.caller("dr1", &image).await?;
    content::write(&dr1.rbd(), &image, 0, b"arrived").await?;
    dr1.rbd().snapshot(&image).await?;
    in_step(dr1, dr2, &image).await?;
    content::write(&dr1.rbd(), &image, 7, b", never arrived").await?;
    content::write(&dr1.rbd(), &image, 1 << 20, &[7; 8192]).await?;
    dr2.rbd().promote(&image, Force::Yes).await?;
    here.demote().await?;

    ensure!(here.divergence().await? == 3 * 4096, "one block and two");
    let kept = here.keep("salvage-1").await?;
    let again = here.keep("salvage-1").await?;
    ensure!(kept == again, "{kept} and {again}");
    anew(ground, &image).await?;
    let now = content::beginning(&dr1.rbd(), &image, 4096).await?;
    ensure!(now == "arrived", "{now}");

    let copy = driver::Handle::parse(&kept).context("no handle")?.image();
    let found = content::beginning(&dr1.rbd(), &copy, 4096).await?;
    ensure!(found == "arrived, never arrived", "{found}");
    let info = dr1.rbd().info(&copy).await?;
    ensure!(info.mirroring.is_none(), "it is replicated: {info:?}");
    here.drop_copy(&kept).await?;
    here.drop_copy(&kept).await?;
    let gone = dr1.rbd().info(&copy).await.err().context("it is there")?;
    ensure!(gone.code() == Some(2), "{gone}");
    Ok(())
}

/// Has the copy on dr1 made anew, and waits until it holds what dr2 has.
async fn anew(ground: &Ground, image: &str) -> Result<()> {
    let (dr1, dr2) = (&ground.pair.dr1, &ground.pair.dr2);
    let here = ground.caller("dr1", image).await?;
    wait::until_answer("the copy follows", || async {
        match here.resync(true).await {
            Ok(_) => Ok(Some(())),
            Err(status) if status.code() == Code::InvalidArgument => Err(status.into()),
            Err(_) => Ok(None),
        }
    })
    .await?;
    dr2.rbd().snapshot(image).await?;
    in_step(dr2, dr1, image).await
}
