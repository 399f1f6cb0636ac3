//! The parameters of a class: those for the driver, and those that name its Secret. Pure.

use std::collections::BTreeMap;

use lifeboat_api::names;

use crate::view::Key;

/// What a class reserves for the controller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved {
    prefix: &'static str,
    name: &'static str,
    namespace: &'static str,
    /// Keys of another kind of class: accepted and not read.
    others: [&'static str; 2],
}

/// Of a `VolumeReplicationClass`.
pub(crate) const VOLUME: Reserved = Reserved {
    prefix: names::RESERVED_PREFIX,
    name: names::SECRET_NAME,
    namespace: names::SECRET_NAMESPACE,
    others: [names::GROUP_SECRET_NAME, names::GROUP_SECRET_NAMESPACE],
};

/// Of a `VolumeGroupReplicationClass`.
pub(crate) const GROUP: Reserved = Reserved {
    prefix: names::RESERVED_PREFIX,
    name: names::GROUP_SECRET_NAME,
    namespace: names::GROUP_SECRET_NAMESPACE,
    others: [names::SECRET_NAME, names::SECRET_NAMESPACE],
};

/// Of a `NetworkFenceClass`.
pub(crate) const FENCE: Reserved = Reserved {
    prefix: names::FENCE_PREFIX,
    name: names::FENCE_SECRET_NAME,
    namespace: names::FENCE_SECRET_NAMESPACE,
    others: ["", ""],
};

/// The parameters of a class, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// For the driver.
    pub(crate) rest: BTreeMap<String, String>,
    /// The Secret.
    pub(crate) secret: Option<Key>,
    /// Whether the class names a Secret by keys of another kind of class only.
    pub(crate) misplaced: Option<String>,
}

/// Splits a class's parameters into those for the driver and those for us.
pub(crate) fn split(
    parameters: Option<&BTreeMap<String, String>>,
    reserved: Reserved,
) -> Result<Parameters, String> {
    let (mut rest, mut name, mut namespace) = (BTreeMap::new(), None, None);
    let mut misplaced = None;
    for (key, value) in parameters.into_iter().flatten() {
        let known = [reserved.name, reserved.namespace];
        if !known.contains(&key.as_str()) && !reserved.others.contains(&key.as_str()) {
            if key.starts_with(reserved.prefix) {
                return Err(format!(
                    "parameter {key:?} of the class is reserved and not known"
                ));
            }
            rest.insert(key.clone(), value.clone());
            continue;
        }
        if value.is_empty() {
            let which = if key.ends_with("-namespace") {
                "namespace"
            } else {
                "name"
            };
            return Err(format!("secret {which} cannot be empty"));
        }
        if key == reserved.name {
            name = Some(value.clone());
        } else if key == reserved.namespace {
            namespace = Some(value.clone());
        } else {
            misplaced = Some(key.clone());
        }
    }
    let none = name.is_none() && namespace.is_none();
    // Half a pair names no Secret.
    let secret = namespace
        .zip(name)
        .map(|(namespace, name)| Key::new(&namespace, &name));
    Ok(Parameters {
        rest,
        secret,
        misplaced: misplaced.filter(|_| none),
    })
}
