//! Objects that are not ours, put in the way and taken away again.

use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Plant;
use crate::lab::{Lab, LabError};

/// Name of the pod that belongs to nobody.
const INTRUDER: &str = "intruder";
/// Name of the claim that cannot be protected, and of its volume.
const EXTRA: &str = "shop-extra";
/// What keeps a namespace from going.
const ANCHOR: &str = "anchor";

fn first_claim(lab: &Lab) -> String {
    lab.app().claims().first().cloned().unwrap_or_default()
}

/// Name of the volume of the application's first claim, wherever that is.
async fn first_volume(lab: &Lab) -> Result<String, LabError> {
    let claim = first_claim(lab);
    for site in lab.world().sites() {
        let api = Api::<PersistentVolume>::all(site.api.admin());
        let all = api
            .list(&ListParams::default())
            .await
            .map_err(LabError::call("list volumes"))?;
        for pv in all {
            let of = pv
                .spec
                .as_ref()
                .and_then(|s| s.claim_ref.as_ref()?.name.clone());
            if of.as_deref() == Some(claim.as_str()) {
                return Ok(pv.name_any());
            }
        }
    }
    Err(LabError::Unmet {
        what: format!("claim {claim} has no volume anywhere"),
        dump: String::new(),
    })
}

/// Makes one.
pub(super) async fn plant(lab: &Lab, what: Plant, site: &str) -> Result<(), LabError> {
    let ns = lab.namespace_on(site, lab.app());
    let claim = |name: &str, class: &str, labels: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": ns, "labels": labels},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}});
    lab.say(format!("plant {what:?} on {site}"));
    let world = lab.world();
    match what {
        Plant::Claim => {
            world.install(site, &space.to_string())?;
            world.install(
                site,
                &claim(&first_claim(lab), "slow", json!({})).to_string(),
            )?;
        }
        Plant::Unbound => {
            let mine = claim(EXTRA, "slow", json!({"app": lab.app().name}));
            world.install(site, &mine.to_string())?;
        }
        Plant::Local | Plant::Foreign => {
            let mut pv = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": EXTRA},
                "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
                    "claimRef": {"namespace": ns, "name": EXTRA}}});
            let (kind, source) = match what {
                Plant::Local => ("hostPath", json!({"path": "/data"})),
                _ => (
                    "csi",
                    json!({"driver": "other.example.org", "volumeHandle": "someone-elses"}),
                ),
            };
            pv["spec"][kind] = source;
            world.install(site, &pv.to_string())?;
            let mut mine = claim(EXTRA, "fast", json!({"app": lab.app().name}));
            mine["spec"]["volumeName"] = json!(EXTRA);
            world.install(site, &mine.to_string())?;
        }
        Plant::Volume => {
            let name = first_volume(lab).await?;
            let pv = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "other",
                    "csi": {"driver": "other.example.org", "volumeHandle": "someone-elses"}}});
            world.install(site, &pv.to_string())?;
        }
        Plant::Pod => {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": INTRUDER, "namespace": ns},
                "spec": {"containers": [{"name": "shell", "image": "example.org/shell:1"}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": first_claim(lab)}}]}});
            world.install(site, &pod.to_string())?;
        }
        Plant::Terminating => {
            world.install(site, &space.to_string())?;
            let anchor = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": ANCHOR, "namespace": ns, "finalizers": ["example.org/anchor"]}});
            world.install(site, &anchor.to_string())?;
            let api = Api::<Namespace>::all(world.admin(site)?);
            delete(&api, &ns).await?;
        }
    }
    Ok(())
}

/// Takes one away.
pub(super) async fn clear(lab: &Lab, what: Plant, site: &str) -> Result<(), LabError> {
    let (client, ns) = (lab.world().admin(site)?, lab.namespace_on(site, lab.app()));
    let ns = ns.as_str();
    lab.say(format!("clear {what:?} on {site}"));
    match what {
        Plant::Claim => {
            delete(
                &Api::<PersistentVolumeClaim>::namespaced(client, ns),
                &first_claim(lab),
            )
            .await
        }
        Plant::Unbound => {
            delete(&Api::<PersistentVolumeClaim>::namespaced(client, ns), EXTRA).await
        }
        Plant::Local | Plant::Foreign => {
            delete(
                &Api::<PersistentVolumeClaim>::namespaced(client.clone(), ns),
                EXTRA,
            )
            .await?;
            delete(&Api::<PersistentVolume>::all(client), EXTRA).await
        }
        Plant::Volume => {
            let name = first_volume(lab).await?;
            delete(&Api::<PersistentVolume>::all(client), &name).await
        }
        Plant::Pod => delete(&Api::<Pod>::namespaced(client, ns), INTRUDER).await,
        Plant::Terminating => {
            let api = Api::<ConfigMap>::namespaced(client, ns);
            let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let done = api.patch(ANCHOR, &PatchParams::default(), &none).await;
            done.map(drop)
                .map_err(LabError::call("let the namespace go"))
        }
    }
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), LabError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let done = api.delete(name, &DeleteParams::default()).await;
    done.map(drop)
        .map_err(LabError::call(format!("delete {name}")))
}
