//! What must be so.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret},
};
use kube::{Api, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use lifeboat_api::{VolumeReplication, names};
use lifeboat_sim::{
    storage::{Array, Power, Role, RoleChange},
    world::Shape,
};
use serde::de::DeserializeOwned;

use super::{Bound, Fact, Switched, run::face};
use crate::lab::{Lab, LabError, Look};

/// An error, with everything there is to see, if a fact is not so.
pub(super) async fn expect(lab: &Lab, fact: &Fact) -> Result<(), LabError> {
    let report = lab.ledger();
    let placement = lab.placement();
    let p = placement.as_ref();
    match fact {
        Fact::Lost(bound) => count(lab, "records are lost", report.lost, *bound).await,
        Fact::Forked(bound) => count(lab, "records are forked", report.forked, *bound).await,
        Fact::Doubled(bound) => count(lab, "records are doubled", report.doubled, *bound).await,
        Fact::PrimaryOnlyOn(site) => primary_only_on(lab, site).await,
        Fact::OnlyDataOn(site) => only_data_on(lab, site).await,
        Fact::WorkloadOnlyOn(site) => workload_only_on(lab, site).await,
        Fact::Epoch(want) => same(lab, "the epoch", p.map_or(0, Look::epoch), *want).await,
        Fact::Phase(want) => same(lab, "the phase", p.map_or("", Look::phase), want.as_str()).await,
        Fact::Cluster(want) => {
            same(lab, "the owner", p.map_or("", Look::cluster), want.as_str()).await
        }
        Fact::Stays(time) => {
            let before = face(lab);
            tokio::time::sleep(*time).await;
            same(lab, "the placement", face(lab), before).await
        }
        Fact::Reclaim(policy, site) => reclaim(lab, policy, site).await,
        Fact::AllIn {
            namespace,
            class,
            site,
        } => all_in(lab, namespace, class, site).await,
        Fact::Writers(want) => {
            let writers = lab.tap().writers().len();
            same(lab, "the number of hubs that wrote", writers, *want).await
        }
        Fact::NeighbourMoves => lab.neighbour_moves().await,
        Fact::Switched(want) => switched(lab, *want).await,
        Fact::NoMarks(site) => {
            let any = ListParams::default().labels(names::PLACEMENT_UID);
            let left = objects(lab, site, &any).await?;
            none(lab, &format!("marked objects on {site}"), left).await
        }
    }
}

async fn unmet(lab: &Lab, what: String) -> LabError {
    LabError::Unmet {
        what,
        dump: lab.dump().await,
    }
}

async fn count(lab: &Lab, what: &str, n: usize, bound: Bound) -> Result<(), LabError> {
    if bound.holds(n) {
        Ok(())
    } else {
        Err(unmet(lab, format!("{n} {what}, expected {bound:?}")).await)
    }
}

async fn same<T: PartialEq + std::fmt::Debug>(
    lab: &Lab,
    what: &str,
    is: T,
    want: T,
) -> Result<(), LabError> {
    if is == want {
        Ok(())
    } else {
        Err(unmet(lab, format!("{what} is {is:?}, expected {want:?}")).await)
    }
}

async fn none(lab: &Lab, what: &str, found: Vec<String>) -> Result<(), LabError> {
    if found.is_empty() {
        Ok(())
    } else {
        Err(unmet(lab, format!("{what}: {}", found.join(", "))).await)
    }
}

/// The application's images: those that anything was written to, the neighbour's aside.
async fn volumes(lab: &Lab) -> Result<Vec<String>, LabError> {
    let mut all = lab.world().ledger().volumes();
    let others = neighbours(lab).await?;
    all.retain(|v| !others.contains(v));
    Ok(all)
}

/// The neighbour's images. It has shared handles, and is never on a site without power.
async fn neighbours(lab: &Lab) -> Result<BTreeSet<String>, LabError> {
    let mut found = BTreeSet::new();
    let lit = lab.world().sites().filter(|s| s.array.power() == Power::On);
    for site in lit.filter(|_| lab.neighbour().is_some()) {
        let all = Api::<PersistentVolume>::all(site.api.admin());
        let all = all.list(&ListParams::default()).await;
        let all = all.map_err(LabError::call("list volumes"))?;
        let theirs = all
            .into_iter()
            .filter(|pv| is_neighbours(lab, &site.name, pv));
        found.extend(theirs.filter_map(|pv| Some(pv.spec?.csi?.volume_handle)));
    }
    Ok(found)
}

fn is_neighbours(lab: &Lab, site: &str, pv: &PersistentVolume) -> bool {
    let claim = pv.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
    let of = claim.and_then(|c| c.namespace.as_ref());
    lab.neighbour()
        .is_some_and(|other| of == Some(&lab.namespace_on(site, other)))
}

async fn primary_only_on(lab: &Lab, site: &str) -> Result<(), LabError> {
    for volume in volumes(lab).await? {
        let lead = lab.world().fabric().primaries(&volume);
        same(
            lab,
            &format!("the primary of {volume}"),
            lead,
            vec![site.to_owned()],
        )
        .await?;
    }
    Ok(())
}

async fn only_data_on(lab: &Lab, site: &str) -> Result<(), LabError> {
    let any = ListParams::default();
    let mut left = objects(lab, site, &any).await?;
    left.extend(workloads(lab, site).await?);
    none(lab, &format!("objects on {site}"), left).await?;
    let array = &lab.world().site(site)?.array;
    for volume in volumes(lab).await? {
        same(
            lab,
            &format!("the role of {volume} on {site}"),
            role(array, &volume),
            Some(Role::Secondary),
        )
        .await?;
    }
    Ok(())
}

/// The role of a volume's image on one array, whatever its handle there.
fn role(array: &Array, volume: &str) -> Option<Role> {
    let images = array.images();
    let mut handles = images.iter();
    let handle = handles.find(|h| array.volume_name(h).as_deref() == Some(volume))?;
    array.role(handle)
}

async fn workload_only_on(lab: &Lab, site: &str) -> Result<(), LabError> {
    let others = neighbours(lab).await?;
    for one in lab.world().sites() {
        let running = !one.workload.in_use().is_subset(&others);
        same(
            lab,
            &format!("whether pods run on {}", one.name),
            running,
            one.name == site,
        )
        .await?;
    }
    Ok(())
}

async fn reclaim(lab: &Lab, policy: &str, site: &str) -> Result<(), LabError> {
    let api = Api::<PersistentVolume>::all(lab.world().admin(site)?);
    let all = api
        .list(&ListParams::default())
        .await
        .map_err(LabError::call("list volumes"))?;
    for pv in all.into_iter().filter(|pv| !is_neighbours(lab, site, pv)) {
        let name = pv.name_any();
        let is = pv
            .spec
            .and_then(|s| s.persistent_volume_reclaim_policy)
            .unwrap_or_default();
        same(
            lab,
            &format!("the reclaim policy of {name}"),
            is.as_str(),
            policy,
        )
        .await?;
    }
    Ok(())
}

async fn switched(lab: &Lab, want: Switched) -> Result<(), LabError> {
    let mut off = BTreeSet::new();
    for event in lab.world().fabric().events() {
        if event.what == RoleChange::Disabled {
            let array = &lab.world().site(&event.site)?.array;
            off.extend(array.volume_name(&event.handle));
        }
    }
    let all: BTreeSet<String> = volumes(lab).await?.into_iter().collect();
    let want = match want {
        Switched::Never => BTreeSet::new(),
        Switched::Off => all.clone(),
    };
    off.retain(|v| all.contains(v));
    same(lab, "what replication was switched off of", off, want).await
}

/// Claims, volumes and VolumeReplications of the application on a cluster, in whatever namespace.
async fn objects(lab: &Lab, site: &str, which: &ListParams) -> Result<Vec<String>, LabError> {
    let mut found = Vec::new();
    let claims = all_of::<PersistentVolumeClaim>(lab, site, "claims", which).await?;
    found.extend(claims.iter().map(|c| format!("claim {}", c.name_any())));
    let client = lab.world().admin(site)?;
    let volumes = Api::<PersistentVolume>::all(client).list(which).await;
    let volumes = volumes.map_err(LabError::call("list volumes"))?;
    let volumes = volumes.iter().filter(|v| !is_neighbours(lab, site, v));
    found.extend(volumes.map(|v| format!("volume {}", v.name_any())));
    let vrs = all_of::<VolumeReplication>(lab, site, "replications", which).await?;
    found.extend(vrs.iter().map(|v| format!("replication {}", v.name_any())));
    Ok(found)
}

async fn workloads(lab: &Lab, site: &str) -> Result<Vec<String>, LabError> {
    let any = ListParams::default();
    let mut found = Vec::new();
    let pods = all_of::<Pod>(lab, site, "pods", &any).await?;
    found.extend(pods.iter().map(|p| format!("pod {}", p.name_any())));
    let all = all_of::<Deployment>(lab, site, "deployments", &any).await?;
    found.extend(all.iter().map(|d| format!("deployment {}", d.name_any())));
    let all = all_of::<StatefulSet>(lab, site, "stateful sets", &any).await?;
    found.extend(all.iter().map(|s| format!("stateful set {}", s.name_any())));
    Ok(found)
}

/// All objects of a kind on a cluster, in whatever namespace but the neighbour's.
async fn all_of<K>(
    lab: &Lab,
    site: &str,
    kind: &str,
    which: &ListParams,
) -> Result<Vec<K>, LabError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let all = Api::<K>::all(lab.world().admin(site)?).list(which).await;
    let mut all = all.map_err(LabError::call(format!("list {kind}")))?.items;
    let others = lab.neighbour().map(|app| lab.namespace_on(site, app));
    all.retain(|o| others.is_none() || o.namespace() != others);
    Ok(all)
}

/// The application under the names that a cluster has for its namespace and its storage class.
async fn all_in(lab: &Lab, namespace: &str, class: &str, site: &str) -> Result<(), LabError> {
    let app = lab.app();
    let ours = ListParams::default().labels(&format!("app={}", app.name));
    let claims = all_of::<PersistentVolumeClaim>(lab, site, "claims", &ours).await?;
    let claimed = claims.iter().map(|c| {
        let class = c.spec.as_ref().and_then(|s| s.storage_class_name.clone());
        (c.namespace(), c.name_any(), class)
    });
    let there = |name: String| (Some(namespace.to_owned()), name, Some(class.to_owned()));
    let mut wanted: Vec<_> = app.claims().into_iter().map(there).collect();
    wanted.sort();
    let mut claimed: Vec<_> = claimed.collect();
    claimed.sort();
    same(lab, "what is claimed", claimed, wanted.clone()).await?;
    let volumes = Api::<PersistentVolume>::all(lab.world().admin(site)?);
    let volumes = volumes.list(&ListParams::default()).await;
    let volumes = volumes.map_err(LabError::call("list volumes"))?.items;
    let volumes = volumes.into_iter().filter(|v| !is_neighbours(lab, site, v));
    let mut bound: Vec<_> = volumes
        .filter_map(|v| {
            let spec = v.spec?;
            let claim = spec.claim_ref?;
            Some((claim.namespace, claim.name?, spec.storage_class_name))
        })
        .collect();
    bound.sort();
    same(lab, "what is bound", bound, wanted).await?;
    let sets = all_of::<StatefulSet>(lab, site, "stateful sets", &ours).await?;
    let asked = sets.iter().flat_map(|s| {
        let spec = s.spec.iter();
        let templates = spec.flat_map(|s| s.volume_claim_templates.iter().flatten());
        templates.filter_map(|t| t.spec.as_ref()?.storage_class_name.clone())
    });
    let others: Vec<String> = asked.filter(|c| c != class).collect();
    none(lab, "claim templates of another class", others).await?;
    let mut homes: Vec<_> = sets.iter().map(ResourceExt::namespace).collect();
    let deployments = all_of::<Deployment>(lab, site, "deployments", &ours).await?;
    homes.extend(deployments.iter().map(ResourceExt::namespace));
    // What a pod of the Deployment reads; those of a StatefulSet read nothing.
    if app.shape == Shape::Deployment {
        let maps = all_of::<ConfigMap>(lab, site, "config maps", &ours).await?;
        homes.extend(maps.iter().map(ResourceExt::namespace));
        let secrets = all_of::<Secret>(lab, site, "secrets", &ours).await?;
        homes.extend(secrets.iter().map(ResourceExt::namespace));
    }
    let want = match app.shape {
        Shape::Deployment => 3,
        Shape::StatefulSet => 1,
    };
    let want = vec![Some(namespace.to_owned()); want];
    same(lab, "where the workload and what it reads is", homes, want).await
}
