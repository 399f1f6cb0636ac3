//! The same moves by hand: nothing but the storage's own verbs, on an image that nobody uses.

use anyhow::Result;
use lifeboat_e2e::{
    ceph::{
        Fleet, Force, content,
        copying::{follows, in_step},
    },
    wait,
};
use tokio::time::Instant;

use crate::row;

const WHO: &str = "storage";

/// A mirrored image on dr1 of the size of a volume of the application, with some data.
pub(crate) async fn image(fleet: &Fleet) -> Result<String> {
    let (dr1, dr2) = (&fleet.pair().dr1, &fleet.pair().dr2);
    let image = fleet.sites.provision("dr1", "64Mi").await?;
    let rbd = dr1.rbd();
    content::write(&rbd, &image, 0, &vec![1; 8 << 20]).await?;
    rbd.enable(&image, "snapshot").await?;
    in_step(dr1, dr2, &image).await?;
    follows(dr1, dr2, &image).await?;
    Ok(image)
}

/// Demotes it here and promotes it there as soon as that is accepted.
pub(crate) async fn relocate(fleet: &Fleet, image: &str, from: &str, to: &str) -> Result<()> {
    let (old, new) = (fleet.pair().site(from), fleet.pair().site(to));
    let start = Instant::now();
    old.rbd().demote(image).await?;
    row(WHO, "demote", "done", start.elapsed());
    wait::until_answer("it can be promoted", || async {
        Ok(Some(new.rbd().promote(image, Force::No).await?))
    })
    .await?;
    row(WHO, "demote", &format!("promoted on {to}"), start.elapsed());
    in_step(new, old, image).await?;
    follows(new, old, image).await
}

/// Promotes it on dr2 by force.
pub(crate) async fn fail_over(fleet: &Fleet, image: &str) -> Result<()> {
    let start = Instant::now();
    fleet.pair().dr2.rbd().promote(image, Force::Yes).await?;
    row(WHO, "promote by force", "done", start.elapsed());
    Ok(())
}

/// Has dr1 step down and copy it anew.
pub(crate) async fn resync(fleet: &Fleet, image: &str) -> Result<()> {
    let (dr1, dr2) = (&fleet.pair().dr1, &fleet.pair().dr2);
    let start = Instant::now();
    dr1.rbd().demote(image).await?;
    dr1.rbd().resync(image).await?;
    row(WHO, "demote and resync", "accepted", start.elapsed());
    dr2.rbd().snapshot(image).await?;
    in_step(dr2, dr1, image).await?;
    row(WHO, "demote and resync", "copied", start.elapsed());
    follows(dr2, dr1, image).await?;
    row(
        WHO,
        "demote and resync",
        "says that it follows",
        start.elapsed(),
    );
    Ok(())
}
