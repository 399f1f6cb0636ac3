//! Deletion and everything it sets off: finalizers, grace, owners and dependents, namespaces, custom resources.
//!
//! What real clusters leave to controllers (garbage collection, emptying a namespace) happens here within the request
//! that causes it, so that a test need not wait for it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::Result;
use super::resource::Resource;
use super::store::{Key, State, key_of};
use super::tree::{
    array, flag_at, list_at, meta, meta_mut, meta_text, number, slot_at, strings_at, text,
};
use super::write::{Commit, is_finished};
use super::{builtin, checks, crd, managed};

const FOREGROUND: &str = "foregroundDeletion";

/// What became of a deletion.
#[derive(Debug)]
pub(crate) enum Deletion {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// The object waits for its finalizers, its grace period or its contents.
    Pending(Arc<Value>),
}

impl State {
    /// Deletes an object as `options` (a `DeleteOptions`) say.
    pub(crate) fn delete(
        &mut self,
        res: &Resource,
        key: &Key,
        options: &Value,
        commit: Commit,
    ) -> Result<Deletion> {
        let live = self.get(res, key)?;
        checks::preconditions(res, &key.1, &live, options)?;
        if commit == Commit::DryRun {
            return Ok(Deletion::Gone(live));
        }
        let policy = text(options, "propagationPolicy");
        if policy == "Orphan" || options.get("orphanDependents") == Some(&Value::Bool(true)) {
            self.orphan_dependents(meta_text(&live, "uid"))?;
        }
        // Orphaning does not touch the object itself, but one of its dependents may have been its namespace's last.
        let live = self.get(res, key)?;
        let mut want = (*live).clone();
        let first = meta(&live).get("deletionTimestamp").is_none();
        let grace = grace_of(res, &live, options);
        if policy == "Foreground" && first && self.blocking(meta_text(&live, "uid")) > 0 {
            add_finalizer(&mut want, FOREGROUND);
        }
        if res.is("apiextensions.k8s.io", "CustomResourceDefinition")
            && first
            && self.has_instances(&live)
        {
            add_finalizer(&mut want, crd::CLEANUP);
        }
        self.mark_deleted(res, &mut want, grace, first);
        if is_finished(res, &want) {
            // What goes at once was never marked, except pods, which are always given a time to end.
            let last = if first && !res.is("", "Pod") {
                (*live).clone()
            } else {
                want
            };
            return self.finish(res, last, &live).map(Deletion::Gone);
        }
        if !first
            && meta(&want).get("deletionGracePeriodSeconds")
                == meta(&live).get("deletionGracePeriodSeconds")
        {
            return Ok(Deletion::Pending(live));
        }
        let pending = self.commit(res, want, Some(&live))?;
        self.delete_contents(res, &pending, policy == "Foreground")?;
        match self.get(res, key) {
            Ok(now) if meta_text(&now, "uid") == meta_text(&pending, "uid") => {
                Ok(Deletion::Pending(now))
            }
            Ok(_) | Err(_) => Ok(Deletion::Gone(pending)),
        }
    }

    fn mark_deleted(&self, res: &Resource, want: &mut Value, grace: i64, first: bool) {
        if first {
            let at = self
                .clock
                .now()
                .checked_add(jiff::SignedDuration::from_secs(grace))
                .unwrap_or(self.clock.now());
            let generation = meta(want).get("generation").and_then(Value::as_i64);
            let m = meta_mut(want);
            m.insert("deletionTimestamp".into(), crate::clock::stamp(at).into());
            if !ends_by_contents(res) {
                m.insert("deletionGracePeriodSeconds".into(), grace.into());
            }
            if let Some(generation) = generation
                && !ends_by_contents(res)
            {
                m.insert("generation".into(), (generation + 1).into());
            }
        } else if !ends_by_contents(res) {
            let left = meta(want)
                .get("deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            meta_mut(want).insert("deletionGracePeriodSeconds".into(), left.min(grace).into());
        }
        if res.is("", "Namespace") {
            *slot_at(want, &["status", "phase"]) = "Terminating".into();
        }
    }

    /// Takes a finished object away and lets its owners, dependents and namespace know.
    pub(crate) fn finish(
        &mut self,
        res: &Resource,
        last: Value,
        live: &Arc<Value>,
    ) -> Result<Arc<Value>> {
        let gone = self.remove(res, last, live)?;
        if res.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            self.unregister(&crd::table_key(&gone));
        }
        if res.is("", "ServiceAccount") {
            self.tokens.revoke(meta_text(&gone, "uid"));
        }
        self.collect(meta_text(&gone, "uid"))?;
        for owner in list_at(&gone, "/metadata/ownerReferences") {
            self.release_foreground(text(owner, "uid"))?;
        }
        self.release_namespace(meta_text(&gone, "namespace"))?;
        self.release_definition(res)?;
        Ok(gone)
    }

    /// After a write: an object whose owners are all gone is garbage from the start.
    pub(crate) fn settle(&mut self, res: &Resource, stored: &Arc<Value>) -> Result<()> {
        let owners = list_at(stored, "/metadata/ownerReferences");
        if owners.is_empty() || owners.iter().any(|o| !self.is_absent(stored, o)) {
            return Ok(());
        }
        self.delete(res, &key_of(stored), &Value::Null, Commit::Store)
            .map(drop)
    }

    /// An owner of a kind this server has, which is not there (or is in another namespace).
    fn is_absent(&self, dependent: &Value, owner: &Value) -> bool {
        let (version, kind) = (text(owner, "apiVersion"), text(owner, "kind"));
        let known = self
            .resources
            .values()
            .any(|r| r.kind == kind && r.api_version() == version);
        let ns = meta_text(dependent, "namespace");
        let live = self.by_uid(text(owner, "uid"));
        let reachable =
            live.is_some_and(|(r, o)| !r.is_namespaced() || meta_text(&o, "namespace") == ns);
        known && !reachable
    }

    /// Background garbage collection of what the object with this uid owned.
    fn collect(&mut self, uid: &str) -> Result<()> {
        for (res, dependent) in self.dependents_of(uid) {
            let owners = list_at(&dependent, "/metadata/ownerReferences");
            let others = owners
                .iter()
                .any(|o| text(o, "uid") != uid && self.by_uid(text(o, "uid")).is_some());
            if others {
                self.disown(&res, &dependent, uid)?;
            } else if meta(&dependent).get("deletionTimestamp").is_none() {
                self.delete_quietly(&res, &dependent, &Value::Null)?;
            }
        }
        Ok(())
    }

    fn orphan_dependents(&mut self, uid: &str) -> Result<()> {
        for (res, dependent) in self.dependents_of(uid) {
            self.disown(&res, &dependent, uid)?;
        }
        Ok(())
    }

    /// Removes one owner from an object.
    fn disown(&mut self, res: &Resource, dependent: &Arc<Value>, uid: &str) -> Result<()> {
        let mut want = (**dependent).clone();
        let owners = array(slot_at(&mut want, &["metadata", "ownerReferences"]));
        owners.retain(|o| text(o, "uid") != uid);
        if owners.is_empty() {
            meta_mut(&mut want).remove("ownerReferences");
        }
        let now = self.clock.stamp();
        managed::track(res, dependent, &mut want, "garbage-collector", "", &now);
        self.commit(res, want, Some(dependent)).map(drop)
    }

    /// What an object that waits to be deleted contains: dependents in the foreground, a namespace's objects, a
    /// definition's custom resources.
    fn delete_contents(
        &mut self,
        res: &Resource,
        pending: &Arc<Value>,
        foreground: bool,
    ) -> Result<()> {
        if foreground {
            let options = json!({"propagationPolicy": "Foreground"});
            for (res, dependent) in self.dependents_of(meta_text(pending, "uid")) {
                self.delete_quietly(&res, &dependent, &options)?;
            }
            self.release_foreground(meta_text(pending, "uid"))?;
        }
        if res.is("", "Namespace") {
            let name = meta_text(pending, "name").to_owned();
            for (res, obj) in self.in_namespace(&name) {
                self.delete_quietly(&res, &obj, &Value::Null)?;
            }
            self.release_namespace(&name)?;
        }
        if res.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            let (group, plural) = crd::table_key(pending);
            let all: Vec<Arc<Value>> = self.all(&group, &plural, "").cloned().collect();
            let Ok(custom) = self.resource(&group, &plural) else {
                return Ok(());
            };
            for obj in all {
                self.delete_quietly(&custom, &obj, &Value::Null)?;
            }
        }
        Ok(())
    }

    /// Deletes an object that an earlier step may already have taken away.
    fn delete_quietly(&mut self, res: &Resource, obj: &Value, options: &Value) -> Result<()> {
        match self.delete(res, &key_of(obj), options, Commit::Store) {
            Err(e) if e.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    fn in_namespace(&self, ns: &str) -> Vec<(Arc<Resource>, Arc<Value>)> {
        let tables = self.tables().filter(|t| t.resource.is_namespaced());
        tables
            .flat_map(|t| {
                t.scan(ns, None)
                    .map(|(_, o)| (t.resource.clone(), o.clone()))
            })
            .collect()
    }

    /// How many dependents an owner that is deleted in the foreground waits for.
    fn blocking(&self, uid: &str) -> usize {
        let blocks = |o: &Value| {
            let owners = list_at(o, "/metadata/ownerReferences");
            owners
                .iter()
                .any(|r| text(r, "uid") == uid && flag_at(r, "/blockOwnerDeletion"))
        };
        self.dependents_of(uid)
            .iter()
            .filter(|(_, o)| blocks(o))
            .count()
    }

    fn release_foreground(&mut self, uid: &str) -> Result<()> {
        let Some((res, owner)) = self.by_uid(uid) else {
            return Ok(());
        };
        let waits = strings_at(&owner, "/metadata/finalizers")
            .iter()
            .any(|f| f == FOREGROUND);
        if !waits || meta(&owner).get("deletionTimestamp").is_none() || self.blocking(uid) > 0 {
            return Ok(());
        }
        self.drop_finalizer(&res, &owner, FOREGROUND)
    }

    fn drop_finalizer(&mut self, res: &Resource, live: &Arc<Value>, finalizer: &str) -> Result<()> {
        let mut want = (**live).clone();
        let list = array(slot_at(&mut want, &["metadata", "finalizers"]));
        list.retain(|f| f != finalizer);
        if list.is_empty() {
            meta_mut(&mut want).remove("finalizers");
        }
        if is_finished(res, &want) {
            return self.finish(res, want, live).map(drop);
        }
        self.commit(res, want, Some(live)).map(drop)
    }

    /// A terminating namespace goes when its last object has gone.
    fn release_namespace(&mut self, name: &str) -> Result<()> {
        let Some(ns) = self.find("", "namespaces", "", name).cloned() else {
            return Ok(());
        };
        if meta(&ns).get("deletionTimestamp").is_none() || !self.in_namespace(name).is_empty() {
            return Ok(());
        }
        let res = self.resource("", "namespaces")?;
        let mut want = (*ns).clone();
        *slot_at(&mut want, &["spec", "finalizers"]) = json!([]);
        if is_finished(&res, &want) {
            return self.finish(&res, want, &ns).map(drop);
        }
        Ok(())
    }

    /// A definition that is being deleted goes when its last custom resource has gone.
    fn release_definition(&mut self, res: &Resource) -> Result<()> {
        if res.custom.is_none() {
            return Ok(());
        }
        let Some(definition) = self
            .find(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                &res.qualified(),
            )
            .cloned()
        else {
            return Ok(());
        };
        if meta(&definition).get("deletionTimestamp").is_none() || self.has_instances(&definition) {
            return Ok(());
        }
        let definitions = self.resource("apiextensions.k8s.io", "customresourcedefinitions")?;
        self.drop_finalizer(&definitions, &definition, crd::CLEANUP)
    }

    fn has_instances(&self, definition: &Value) -> bool {
        let (group, plural) = crd::table_key(definition);
        self.all(&group, &plural, "").next().is_some()
    }
}

fn add_finalizer(obj: &mut Value, finalizer: &str) {
    let list = array(slot_at(obj, &["metadata", "finalizers"]));
    if !list.iter().any(|f| f == finalizer) {
        list.push(finalizer.into());
    }
}

/// Kinds that end when what they hold has gone: no grace period says when.
fn ends_by_contents(res: &Resource) -> bool {
    res.is("", "Namespace") || res.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Seconds an object may take to end: only a pod on a node takes any, until its node says it has ended.
fn grace_of(res: &Resource, live: &Value, options: &Value) -> i64 {
    if !builtin::ends_gracefully(res, live) {
        return 0;
    }
    let asked = options.get("gracePeriodSeconds").and_then(number);
    let own = live
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(number);
    asked.or(own).unwrap_or(30).max(0)
}
