//! Subresources that are more than a part of the object: scale, binding, eviction, tokens, finalize.

use serde_json::{Value, json};

use super::error::{ApiError, Cause, Result};
use super::managed::{self, Applier};
use super::patch::{self, Format};
use super::resource::{Resource, ScalePaths, Scope};
use super::store::{Key, State};
use super::tree::{meta, meta_mut, meta_text, number, object, slot_at, text_at};
use super::write::{Part, WriteOptions};

/// The `Scale` of an object.
pub(crate) fn scale_of(res: &Resource, paths: &ScalePaths, obj: &Value) -> Value {
    let count = |pointer: &str| obj.pointer(pointer).and_then(number).unwrap_or_default();
    let mut status = json!({"replicas": count(&paths.status)});
    if let Some(selector) = paths.selector.as_deref().and_then(|p| obj.pointer(p)) {
        object(&mut status).insert("selector".into(), selector_text(selector).into());
    }
    let m = meta(obj);
    let replicas = if obj.pointer(&paths.spec).is_some() {
        count(&paths.spec)
    } else {
        default_replicas(res)
    };
    // Zero is left out of the spec, as it is by the real API server.
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": m["name"], "namespace": m["namespace"], "uid": m["uid"],
            "resourceVersion": m["resourceVersion"], "creationTimestamp": m["creationTimestamp"]},
        "spec": spec,
        "status": status,
    })
}

fn default_replicas(res: &Resource) -> i64 {
    i64::from(res.custom.is_none())
}

fn selector_text(selector: &Value) -> String {
    match selector {
        Value::String(s) => s.clone(),
        other => {
            let labels = other.get("matchLabels").and_then(Value::as_object);
            let pairs = labels
                .into_iter()
                .flatten()
                .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(",")
        }
    }
}

/// How a new scale is given.
pub(crate) enum ScaleChange {
    Put(Value),
    Patch(Format, Value),
}

impl State {
    /// Sets the replicas of an object through its scale; returns the new scale.
    pub(crate) fn rescale(
        &mut self,
        res: &Resource,
        key: &Key,
        change: ScaleChange,
        opts: &WriteOptions,
    ) -> Result<Value> {
        let paths = res.scale.clone().ok_or_else(ApiError::no_such_path)?;
        let steps: Vec<&str> = paths.spec.split('/').filter(|s| !s.is_empty()).collect();
        if let ScaleChange::Patch(Format::Apply, scale) = &change {
            let replicas = scale.pointer("/spec/replicas");
            let mut config = json!({"metadata": {"name": key.1}});
            res.stamp_kind(&mut config);
            *slot_at(&mut config, &steps) = replicas.cloned().unwrap_or_default();
            let now = self.clock.stamp();
            let by = Applier {
                manager: &opts.manager,
                subresource: opts.part.name(),
                conflicts: opts.conflicts,
                now: &now,
            };
            let applied = |live: &Value| managed::apply(res, live, &config, by);
            let stored = self.update_applied(res, key, opts, applied)?;
            return Ok(scale_of(res, &paths, &stored));
        }
        let stored = self.update(res, key, opts, |live| {
            let current = scale_of(res, &paths, live);
            let wanted = match change {
                ScaleChange::Put(v) => v,
                ScaleChange::Patch(Format::Apply | Format::Strategic, v) => {
                    let mut out = current.clone();
                    json_patch::merge(&mut out, &v);
                    out
                }
                ScaleChange::Patch(format, v) => patch::apply(res, format, &current, &v)?,
            };
            let rv = meta_text(&wanted, "resourceVersion");
            if !rv.is_empty() && rv != meta_text(live, "resourceVersion") {
                return Err(ApiError::stale(res, &key.1));
            }
            let replicas = wanted
                .pointer("/spec/replicas")
                .and_then(number)
                .unwrap_or_default();
            if replicas < 0 {
                let gv = ("autoscaling", "v1");
                let scale = Resource::builtin(gv, "scales", "Scale", Scope::Namespaced);
                let why = format!("{replicas}: must be greater than or equal to 0");
                let cause = Cause::invalid("spec.replicas", why);
                return Err(ApiError::invalid(&scale, &key.1, &[cause]));
            }
            let mut next = live.clone();
            *slot_at(&mut next, &steps) = replicas.into();
            Ok(next)
        })?;
        Ok(scale_of(res, &paths, &stored))
    }

    /// Puts a pod on a node.
    pub(crate) fn bind(&mut self, res: &Resource, key: &Key, body: &Value) -> Result<()> {
        let node = text_at(body, "/target/name").to_owned();
        let live = self.get(res, key)?;
        let current = text_at(&live, "/spec/nodeName");
        if node.is_empty() {
            return Err(ApiError::bad("target.name: Required value"));
        }
        if !current.is_empty() {
            let why = format!("pod {} is already assigned to node \"{current}\"", key.1);
            let binding = Resource {
                plural: "pods/binding".to_owned(),
                ..res.clone()
            };
            return Err(ApiError::conflict(&binding, &key.1, &why));
        }
        let now = self.clock.stamp();
        // The rules for pods refuse a change of node, which only a binding may make.
        let mut next = (*live).clone();
        *slot_at(&mut next, &["spec", "nodeName"]) = node.into();
        let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
        *slot_at(&mut next, &["status", "conditions"]) = json!([condition]);
        self.commit(res, next, Some(&live)).map(drop)
    }

    /// Replaces the finalizers of a namespace's spec.
    pub(crate) fn finalize(&mut self, res: &Resource, key: &Key, body: &Value) -> Result<Value> {
        let live = self.get(res, key)?;
        let mut next = (*live).clone();
        let finalizers = body
            .pointer("/spec/finalizers")
            .cloned()
            .unwrap_or_else(|| json!([]));
        *slot_at(&mut next, &["spec", "finalizers"]) = finalizers;
        meta_mut(&mut next);
        if super::write::is_finished(res, &next) {
            return self.finish(res, next, &live).map(|v| (*v).clone());
        }
        self.commit(res, next, Some(&live)).map(|v| (*v).clone())
    }
}

/// The parts of a pod, service or node that need a machine behind them.
pub(crate) fn not_simulated(subresource: &str) -> Option<&'static str> {
    Some(match subresource {
        "log" => "container logs",
        "exec" => "exec",
        "attach" => "attach",
        "portforward" => "port forwarding",
        "proxy" => "proxying",
        "ephemeralcontainers" => "ephemeral containers",
        "resize" => "pod resizing",
        _ => return None,
    })
}

/// Which part of an object a plain subresource stands for.
pub(crate) fn part(res: &Resource, subresource: &str) -> Result<Part> {
    match subresource {
        "" => Ok(Part::Main),
        "status" if res.status => Ok(Part::Status),
        "scale" if res.scale.is_some() => Ok(Part::Other("scale")),
        _ => Err(ApiError::no_such_resource()),
    }
}
