//! What is looked at again and again: an image's role and states, and which objects a cluster has.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, api::ListParams};
use lifeboat_api::VolumeReplication;
use lifeboat_e2e::{
    ceph::{
        Cluster, Daemon, Word, content,
        copying::{follows, in_step},
        sites::{Site, Sites},
    },
    wait,
};

/// The size of the volume.
pub(crate) const SIZE: &str = "1Gi";

/// A file of the application's, as far as a volume is concerned: bytes at an offset.
pub(crate) async fn write(sites: &Sites, on: &str, image: &str, text: &str) -> Result<String> {
    let rbd = sites.pair.site(on).rbd();
    content::write(&rbd, image, 4096, text.as_bytes()).await?;
    Ok(content::sha256(&rbd, image).await?)
}

/// The SHA-256 of an image.
pub(crate) async fn sha256(sites: &Sites, on: &str, image: &str) -> Result<String> {
    Ok(content::sha256(&sites.pair.site(on).rbd(), image).await?)
}

/// Takes a snapshot now, for the schedule does so every minute only, and waits until the other side has it.
pub(crate) async fn ship(from: &Cluster, to: &Cluster, image: &str) -> Result<()> {
    from.rbd().snapshot(image).await?;
    in_step(from, to, image).await
}

/// The image is primary here, and the other side follows.
pub(crate) async fn mirrors(from: &Cluster, to: &Cluster, image: &str) -> Result<()> {
    ensure!(from.rbd().info(image).await?.is_primary(), "not primary");
    follows(from, to, image).await?;
    ensure!(!to.rbd().info(image).await?.is_primary(), "two primaries");
    wait::until_answer("the primary says up+stopped", || async {
        let state = from.rbd().status(image).await?.state;
        Ok((state.daemon == Daemon::Up && state.word == Word::Stopped).then_some(()))
    })
    .await
}

/// A write to the image is refused because it is a copy.
pub(crate) async fn read_only(on: &Cluster, image: &str) -> Result<()> {
    let written = content::write(&on.rbd(), image, 0, b"x").await;
    let error = written.err().context("it was written to")?;
    ensure!(error.code() == Some(30), "{error}");
    Ok(())
}

/// How many VolumeReplications and claims a namespace of a cluster has, and volumes for its claims.
pub(crate) async fn objects(site: &Site, namespace: &str) -> Result<[usize; 3]> {
    let (client, all) = (site.client.clone(), ListParams::default());
    let roles = Api::<VolumeReplication>::namespaced(client.clone(), namespace);
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let volumes = Api::<PersistentVolume>::all(client).list(&all).await?;
    let of = |v: &PersistentVolume| v.spec.as_ref()?.claim_ref.as_ref()?.namespace.clone();
    let volumes = volumes
        .iter()
        .filter(|v| of(v).as_deref() == Some(namespace));
    Ok([
        roles.list(&all).await?.items.len(),
        claims.list(&all).await?.items.len(),
        volumes.count(),
    ])
}

/// The namespace of a cluster has this many of each.
pub(crate) async fn has(site: &Site, namespace: &str, want: [usize; 3]) -> Result<()> {
    let [roles, claims, volumes] = objects(site, namespace).await?;
    ensure!(
        [roles, claims, volumes] == want,
        "{roles} VolumeReplications, {claims} claims, {volumes} volumes"
    );
    Ok(())
}
