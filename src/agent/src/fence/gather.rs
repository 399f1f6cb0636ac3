//! From the caches to the view of one fence.

use lifeboat_api::fence::NetworkFenceSpec;
use lifeboat_api::{NetworkFence, names};
use lifeboat_drivers::Secrets;
use lifeboat_kit::hash::fnv;

use super::view::{By, FenceView, Means};
use crate::agent::Agent;
use crate::cache::{Caches, Kind, Work};
use crate::gather::has_finalizer;
use crate::parameters;
use crate::view::{DriverView, Key, Life, Mark, SecretView};

/// Everything that bears on one fence now; `None` if it does not exist.
pub(super) async fn gather(agent: &Agent, name: &str) -> Option<FenceView> {
    let fence = agent.caches.fence(name)?;
    let by = by(&agent.caches, &fence.spec, |driver| {
        agent.fleet.serves(driver)
    });
    let (driver, secret) = match &by {
        By::Ours(means) => {
            let secret = match &means.secret {
                Some(secret) => agent.secrets.read(secret).await,
                None => SecretView::Present(Secrets::default()),
            };
            (agent.fleet.view(&means.driver), secret)
        }
        By::Foreign | By::Unread | By::Unreadable { .. } | By::Unknown { .. } => {
            (DriverView::Unknown, SecretView::Present(Secrets::default()))
        }
    };
    let fingerprint = fingerprint(&fence, &by);
    Some(FenceView {
        name: name.to_owned(),
        generation: fence.metadata.generation.unwrap_or_default(),
        life: if fence.metadata.deletion_timestamp.is_some() {
            Life::Ending
        } else {
            Life::Living
        },
        finalizer: Mark::of(has_finalizer(
            fence.metadata.finalizers.as_deref(),
            names::FENCE_FINALIZER,
        )),
        wanted: fence.spec.fence_state,
        cidrs: fence.spec.cidrs.clone(),
        by,
        secret,
        driver,
        status: fence.status.clone().unwrap_or_default(),
        tries: agent.tries(&Work::Fence(name.to_owned()), fingerprint),
    })
}

fn fingerprint(fence: &NetworkFence, by: &By) -> u64 {
    let meta = &fence.metadata;
    fnv(&format!("{:?}|{:?}|{by:?}", meta.uid, meta.generation))
}

fn by(caches: &Caches, spec: &NetworkFenceSpec, serves: impl Fn(&str) -> bool) -> By {
    let unknown = |why: String| By::Unknown { why };
    let own = spec.parameters.clone().unwrap_or_default();
    let own_secret = spec.secret.as_ref().and_then(|secret| {
        let (namespace, name) = (secret.namespace.as_deref()?, secret.name.as_deref()?);
        Some(Key::new(namespace, name))
    });
    let Some(class) = &spec.network_fence_class_name else {
        return match &spec.driver {
            None => unknown("neither networkFenceClassName nor driver is set".to_owned()),
            Some(driver) if !serves(driver) => By::Foreign,
            Some(driver) => By::Ours(Means {
                driver: driver.clone(),
                parameters: own,
                secret: own_secret,
            }),
        };
    };
    if !caches.is_synced(Kind::FenceClasses) {
        let anothers = spec.driver.as_ref().is_some_and(|driver| !serves(driver));
        return match caches.no_fence_classes() {
            None => By::Unread,
            Some(_) if anothers => By::Foreign,
            Some(why) => By::Unreadable {
                why: format!(
                    "NetworkFenceClass {class:?} cannot be read, install its kind if it is not there (crds/csi-addons): {why}"
                ),
            },
        };
    }
    let Some(class) = caches.fence_class(class) else {
        return match &spec.driver {
            Some(driver) if !serves(driver) => By::Foreign,
            Some(_) | None => unknown(format!(
                "NetworkFenceClass {class:?} does not exist; create it"
            )),
        };
    };
    if !serves(&class.spec.provisioner) {
        return By::Foreign;
    }
    match parameters::split(class.spec.parameters.as_ref(), parameters::FENCE) {
        Err(why) => unknown(why),
        Ok(split) => {
            let mut all = own;
            all.extend(split.rest);
            By::Ours(Means {
                driver: class.spec.provisioner.clone(),
                parameters: all,
                secret: split.secret.or(own_secret),
            })
        }
    }
}
