//! Create and update: everything between a request's body and a stored object.

use std::sync::Arc;

use serde_json::Value;

use super::error::{ApiError, Cause, Result};
use super::resource::{Generations, Resource};
use super::store::{Key, State};
use super::tree::{copy_key, list_at, meta, meta_mut, meta_text, object};
use super::{builtin, checks, managed, names, schema};

/// What part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
    /// `scale`, `binding`, `finalize`: the caller has put the change in place, nothing else differs.
    Other(&'static str),
}

impl Part {
    /// The subresource as managedFields name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Other(name) => name,
        }
    }
}

/// What to do with fields the schema does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Whether a write is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Store,
    DryRun,
}

/// Whether a write takes fields from other managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflicts {
    Refuse,
    TakeOver,
}

/// Whether a write must say which version it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionCheck {
    /// PUT of a custom resource.
    Required,
    IfGiven,
}

/// Who keeps the books of managedFields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tracking {
    /// The write itself, by what it changed.
    Update,
    /// The apply that made the new object.
    Applied,
}

/// The options of a write.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    pub(crate) manager: String,
    pub(crate) part: Part,
    pub(crate) conflicts: Conflicts,
    pub(crate) commit: Commit,
    pub(crate) validation: FieldValidation,
    pub(crate) version: VersionCheck,
}

impl WriteOptions {
    pub(crate) fn by(manager: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            part: Part::Main,
            conflicts: Conflicts::Refuse,
            commit: Commit::Store,
            validation: FieldValidation::Ignore,
            version: VersionCheck::IfGiven,
        }
    }
}

/// Metadata only the server writes.
const SERVER_OWNED: [&str; 8] = [
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "name",
    "namespace",
];

impl State {
    /// Creates an object.
    pub(crate) fn create(
        &mut self,
        res: &Resource,
        ns: &str,
        mut obj: Value,
        opts: &WriteOptions,
    ) -> Result<Arc<Value>> {
        checks::kind(res, &obj)?;
        let name = self.settle_name(res, &mut obj)?;
        names::check(res, &name, &obj)?;
        self.check_namespace(res, ns, &name, &obj)?;
        let key: Key = (
            if res.is_namespaced() {
                ns.to_owned()
            } else {
                String::new()
            },
            name.clone(),
        );
        if self.table(res)?.objects.contains_key(&key) {
            return Err(ApiError::already_exists(res, &name));
        }
        if !meta_text(&obj, "resourceVersion").is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(500, "", why));
        }
        let (uid, now) = (self.next_uid(), self.clock.stamp());
        let m = meta_mut(&mut obj);
        for gone in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
        ] {
            m.remove(gone);
        }
        m.insert("uid".into(), uid.into());
        m.insert("creationTimestamp".into(), now.into());
        if res.is_namespaced() {
            m.insert("namespace".into(), ns.into());
        } else {
            m.remove("namespace");
        }
        if res.generations == Generations::Counted {
            m.insert("generation".into(), 1.into());
        }
        if res.status && !builtin::keeps_status_on_create(res) {
            object(&mut obj).remove("status");
        }
        res.stamp_kind(&mut obj);
        let dropped = schema::shape(res, &mut obj);
        self.warnings
            .extend(checks::unknown_fields(res, opts, &dropped)?);
        self.warnings
            .extend(names::doubtful_finalizers(res, &obj, &Value::Null));
        schema::admit(res, &obj, None)?;
        builtin::on_create(res, &mut obj);
        builtin::validate(res, &obj, None)?;
        if meta(&obj).get("managedFields").is_none() {
            managed::track(
                res,
                &Value::Null,
                &mut obj,
                &opts.manager,
                opts.part.name(),
                &self.clock.stamp(),
            );
        }
        builtin::on_admission(res, &mut obj);
        builtin::no_rules(res, &mut obj);
        builtin::stamp_phase(res, None, &mut obj, &self.clock.stamp());
        self.before_store(res, &mut obj, None)?;
        if opts.commit == Commit::DryRun {
            return Ok(Arc::new(obj));
        }
        let stored = self.commit(res, obj, None)?;
        self.after_store(res, &stored);
        self.settle(res, &stored)?;
        Ok(stored)
    }

    /// Replaces an object by what `change` makes of the live one: PUT, and the end of every PATCH.
    pub(crate) fn update(
        &mut self,
        res: &Resource,
        key: &Key,
        opts: &WriteOptions,
        change: impl FnOnce(&Value) -> Result<Value>,
    ) -> Result<Arc<Value>> {
        self.update_by(res, key, (opts, Tracking::Update), change)
    }

    /// As `update`, by a change that is a server-side apply and has kept the books of managedFields itself.
    pub(crate) fn update_applied(
        &mut self,
        res: &Resource,
        key: &Key,
        opts: &WriteOptions,
        change: impl FnOnce(&Value) -> Result<Value>,
    ) -> Result<Arc<Value>> {
        self.update_by(res, key, (opts, Tracking::Applied), change)
    }

    fn update_by(
        &mut self,
        res: &Resource,
        key: &Key,
        (opts, tracking): (&WriteOptions, Tracking),
        change: impl FnOnce(&Value) -> Result<Value>,
    ) -> Result<Arc<Value>> {
        let live = self.get(res, key)?;
        let mut want = change(&live)?;
        checks::kind(res, &want)?;
        checks::identity(res, &key.1, &live, &want, opts.version)?;
        narrow(res, opts.part, &live, &mut want);
        for owned in SERVER_OWNED {
            copy_key(meta(&live), meta_mut(&mut want), owned);
        }
        res.stamp_kind(&mut want);
        checks::finalizers(res, &live, &want)?;
        if meta(&live) != meta(&want) {
            names::check_metadata(res, &want)?;
        }
        let dropped = schema::shape(res, &mut want);
        self.warnings
            .extend(checks::unknown_fields(res, opts, &dropped)?);
        self.warnings
            .extend(names::doubtful_finalizers(res, &want, &live));
        schema::admit(res, &want, Some(&live))?;
        builtin::on_update(res, &live, &mut want);
        if opts.part == Part::Main {
            builtin::validate(res, &want, Some(&live))?;
        }
        if res.generations == Generations::Counted && spec_differs(res, &live, &want) {
            let next = meta(&live)
                .get("generation")
                .and_then(Value::as_i64)
                .unwrap_or_default()
                + 1;
            meta_mut(&mut want).insert("generation".into(), next.into());
        }
        let managed = meta(&want).get("managedFields");
        let untouched = managed.is_none_or(|m| Some(m) == meta(&live).get("managedFields"));
        if managed.is_some_and(asks_reset) {
            meta_mut(&mut want).remove("managedFields");
        } else if untouched && tracking == Tracking::Update {
            copy_key(meta(&live), meta_mut(&mut want), "managedFields");
            managed::track(
                res,
                &live,
                &mut want,
                &opts.manager,
                opts.part.name(),
                &self.clock.stamp(),
            );
        }
        builtin::no_rules(res, &mut want);
        builtin::stamp_phase(res, Some(&live), &mut want, &self.clock.stamp());
        self.before_store(res, &mut want, Some(&live))?;
        if same_object(&live, &want) {
            return Ok(live);
        }
        if opts.commit == Commit::DryRun {
            return Ok(Arc::new(want));
        }
        if is_finished(res, &want) {
            let gone = self.finish(res, want, &live)?;
            // The answer is what the write made, which was never stored.
            let mut last = (*gone).clone();
            copy_key(meta(&live), meta_mut(&mut last), "resourceVersion");
            return Ok(Arc::new(last));
        }
        let stored = self.commit(res, want, Some(&live))?;
        self.after_store(res, &stored);
        self.settle(res, &stored)?;
        Ok(stored)
    }

    fn settle_name(&mut self, res: &Resource, obj: &mut Value) -> Result<String> {
        let name = meta_text(obj, "name").to_owned();
        if !name.is_empty() {
            return Ok(name);
        }
        let prefix = meta_text(obj, "generateName").to_owned();
        if prefix.is_empty() {
            let message = "Required value: name or generateName is required".to_owned();
            let cause = Cause {
                message,
                ..Cause::required("metadata.name")
            };
            return Err(ApiError::invalid(res, "", &[cause]));
        }
        let name = format!("{prefix}{}", self.next_suffix());
        meta_mut(obj).insert("name".into(), name.clone().into());
        Ok(name)
    }

    fn check_namespace(&self, res: &Resource, ns: &str, name: &str, obj: &Value) -> Result<()> {
        if !res.is_namespaced() {
            return Ok(());
        }
        let stated = meta_text(obj, "namespace");
        if !stated.is_empty() && stated != ns {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad(why));
        }
        let Some(namespace) = self.find("", "namespaces", "", ns) else {
            return Err(ApiError::not_found(&*self.resource("", "namespaces")?, ns));
        };
        if meta(namespace).get("deletionTimestamp").is_none() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {ns} because it is being terminated"
        );
        let cause = Cause {
            reason: "NamespaceTerminating",
            field: "metadata.namespace".into(),
            message: format!("namespace {ns} is being terminated"),
        };
        Err(ApiError::forbidden(res, name, &why).with_causes(&[cause]))
    }
}

/// An empty list of managers, or one empty manager: the caller wants nobody to be recorded any more.
fn asks_reset(managed: &Value) -> bool {
    let void = |m: &Value| m.as_object().is_some_and(serde_json::Map::is_empty);
    managed.as_array().is_some_and(|all| all.iter().all(void))
}

/// Leaves of the wanted object only what this part of the API may change.
fn narrow(res: &Resource, part: Part, live: &Value, want: &mut Value) {
    match part {
        Part::Status => {
            let managed = meta(want).get("managedFields").cloned();
            let mut narrowed = live.clone();
            copy_key(want, object(&mut narrowed), "status");
            if let Some(managed) = managed {
                meta_mut(&mut narrowed).insert("managedFields".into(), managed);
            }
            *want = narrowed;
        }
        Part::Main if res.status => copy_key(live, object(want), "status"),
        Part::Main | Part::Other(_) => {}
    }
}

/// Whether an object that is being deleted has nothing left that holds it.
pub(crate) fn is_finished(res: &Resource, obj: &Value) -> bool {
    let grace = meta(obj)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let held = !list_at(obj, "/metadata/finalizers").is_empty()
        || (res.is("", "Namespace") && !list_at(obj, "/spec/finalizers").is_empty());
    meta(obj).get("deletionTimestamp").is_some() && grace == 0 && !held
}

/// Whether anything but metadata (and status, where that is a part of its own) differs.
fn spec_differs(res: &Resource, a: &Value, b: &Value) -> bool {
    let counts = |key: &str| key != "metadata" && !(res.status && key == "status");
    let keys = |v: &Value| {
        v.as_object()
            .map(|m| m.keys().filter(|k| counts(k)).count())
            .unwrap_or_default()
    };
    let mut said = a
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| counts(k));
    keys(a) != keys(b) || said.any(|(k, v)| b.get(k) != Some(v))
}

/// Equality that does not look at the times in managedFields: a repeated apply must not make a new version.
fn same_object(live: &Value, want: &Value) -> bool {
    let (Some(old), Some(new)) = (live.as_object(), want.as_object()) else {
        return live == want;
    };
    let same = |(key, v): (&String, &Value)| match (key.as_str(), new.get(key)) {
        ("metadata", Some(other)) => same_metadata(v, other),
        (_, Some(other)) => v == other,
        (_, None) => false,
    };
    old.len() == new.len() && old.iter().all(same)
}

fn same_metadata(live: &Value, want: &Value) -> bool {
    let (Some(old), Some(new)) = (live.as_object(), want.as_object()) else {
        return live == want;
    };
    let said = |m: &serde_json::Map<String, Value>| {
        m.iter()
            .filter(|(k, v)| *k != "managedFields" && !is_void(v))
            .count()
    };
    let same =
        |(k, v): (&String, &Value)| k == "managedFields" || is_void(v) || new.get(k) == Some(v);
    said(old) == said(new)
        && old.iter().all(same)
        && managed::same(old.get("managedFields"), new.get("managedFields"))
}

/// null, `{}` and `[]` in metadata say nothing.
fn is_void(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(m) => m.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
