//! Requests that change or delete what is there: patch, apply, delete, delete a collection.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::delete::Deletion;
use super::super::error::{ApiError, Result};
use super::super::log::Facts;
use super::super::managed::{self, Applier};
use super::super::patch::{self, Format};
use super::super::rbac::{self, Access};
use super::super::store::{State, key_of};
use super::super::write::{Commit, Part, WriteOptions};
use super::super::{builtin, events, options, schema, select, tree};
use super::{Call, Reply};

/// In every refusal of an object that its kind cannot be read as.
const UNDECODABLE: &str = "cannot be handled as a";

impl State {
    pub(super) fn patch_call(&mut self, call: &Call<'_>, part: Part) -> Result<Reply> {
        let opts = call.request.write_options(part);
        let format = Format::parse(&call.request.content_type)?;
        let body = call.request.value()?;
        if format == Format::Apply {
            return self.apply_call(call, &opts, body);
        }
        let (res, stored) = (&call.res, &call.stored);
        let patched = |live: &Value| {
            let mut seen = events::shown(res, live.clone());
            // A patch is against whatever is there, unless it names a version itself.
            if format != Format::Json {
                tree::meta_mut(&mut seen).remove("resourceVersion");
            }
            patch::apply(res, format, &seen, &body)
        };
        let written = self.update(stored, &call.key, &opts, |live| {
            Ok(events::stored(res, stored, patched(live)?))
        });
        let out = match written {
            Err(e) if e.code == 400 && e.message.contains(UNDECODABLE) => {
                let live = self.get(stored, &call.key)?;
                let why = e.message.split(": ").skip(1).collect::<Vec<_>>().join(": ");
                return Err(ApiError::unpatchable(&patched(&live)?, &why));
            }
            other => other?,
        };
        Ok(self.written(call, 200, &out))
    }

    fn apply_call(&mut self, call: &Call<'_>, opts: &WriteOptions, body: Value) -> Result<Reply> {
        let (stored, name) = (&call.stored, &call.key.1);
        let config = events::stored(&call.res, stored, body);
        let stated = tree::meta_text(&config, "name");
        if !stated.is_empty() && stated != name {
            return Err(ApiError::bad(format!(
                "the name of the object ({stated}) does not match the name on the URL ({name})"
            )));
        }
        if let Some(unknown) = schema::shape(stored, &mut config.clone()).first() {
            let (ns, version, kind) = (
                tree::meta_text(&config, "namespace"),
                &stored.version,
                &stored.kind,
            );
            let group = &stored.group;
            return Err(ApiError::new(
                500,
                "",
                format!(
                    "failed to create typed patch object ({ns}/{stated}; {group}/{version}, Kind={kind}): .{unknown}: \
                     field not declared in schema"
                ),
            ));
        }
        let now = self.clock.stamp();
        let by = Applier {
            manager: &opts.manager,
            subresource: opts.part.name(),
            conflicts: opts.conflicts,
            now: &now,
        };
        let missing = self.get(stored, &call.key).is_err();
        if missing && opts.part == Part::Main {
            if tree::meta_text(&config, "name").is_empty() {
                return Err(ApiError::bad(format!(
                    "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                )));
            }
            let uid = tree::meta_text(&config, "uid");
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::conflict(stored, name, &why));
            }
            self.may_create(call)?;
            let mut empty = json!({"metadata": {"name": name}});
            if stored.is_namespaced() {
                tree::meta_mut(&mut empty).insert("namespace".into(), call.key.0.clone().into());
            }
            let want = managed::apply(stored, &empty, &config, by)?;
            let obj = self.create(stored, &call.key.0, want, opts)?;
            return Ok(self.written(call, 201, &obj));
        }
        let obj = self.update_applied(stored, &call.key, opts, |live| {
            managed::apply(stored, live, &config, by)
        })?;
        Ok(self.written(call, 200, &obj))
    }

    /// Who applies what is not there must be allowed to create it, besides to patch it.
    fn may_create(&mut self, call: &Call<'_>) -> Result<()> {
        let (path, (who, auth)) = (call.path, call.caller);
        let access = Access {
            verb: "create",
            group: path.group,
            resource: path.plural,
            subresource: path.subresource,
            namespace: path.namespace,
            name: path.name,
            path: "",
        };
        if self.permits(who, auth, &access) {
            return Ok(());
        }
        Err(rbac::denial(&call.res, who, &access))
    }

    pub(super) fn delete_call(&mut self, call: &Call<'_>, named: bool) -> Result<Reply> {
        let mut options = call.request.optional_value()?;
        for key in ["propagationPolicy", "gracePeriodSeconds"] {
            let asked = call.request.param(key);
            if !asked.is_empty() {
                tree::object(&mut options).insert(key.to_owned(), asked.into());
            }
        }
        options::check_deletion(&options)?;
        let commit = call.request.commit();
        let dry = options
            .get("dryRun")
            .is_some_and(|d| d.as_array().is_some_and(|a| !a.is_empty()));
        let commit = if dry { Commit::DryRun } else { commit };
        if !named {
            return self.delete_collection(call, &options, commit);
        }
        match self.delete(&call.stored, &call.key, &options, commit)? {
            Deletion::Pending(obj) => Ok(self.written(call, 200, &obj)),
            Deletion::Gone(obj) if builtin::is_shown_when_gone(&call.stored) => {
                Ok(self.written(call, 200, &obj))
            }
            Deletion::Gone(obj) => {
                let mut details = json!({"name": call.key.1, "kind": call.res.plural,
                    "uid": tree::meta_text(&obj, "uid")});
                if !call.res.group.is_empty() {
                    tree::object(&mut details)
                        .insert("group".into(), call.res.group.clone().into());
                }
                Ok(Reply::json(200, &success(Some(details))))
            }
        }
    }

    fn delete_collection(
        &mut self,
        call: &Call<'_>,
        options: &Value,
        commit: Commit,
    ) -> Result<Reply> {
        let (labels, fields) = (
            call.request.param("labelSelector"),
            call.request.param("fieldSelector"),
        );
        let selector = select::Selector::parse(&call.res, labels, fields)?;
        let hit = |o: &Value| selector.matches(&Facts::of(&call.stored, o));
        let all = self.table(&call.stored)?.scan(&call.key.0, None);
        let hits: Vec<Arc<Value>> = all
            .filter(|(_, o)| hit(o))
            .map(|(_, o)| o.clone())
            .collect();
        for obj in &hits {
            match self.delete(&call.stored, &key_of(obj), options, commit) {
                Err(e) if e.code != 404 => return Err(e),
                _ => {}
            }
        }
        let list_meta = json!({"resourceVersion": self.version().to_string()});
        Ok(Reply::bytes(
            200,
            call.presenter
                .list_bytes(&hits, &list_meta, self.clock.now()),
        ))
    }
}

pub(super) fn success(details: Option<Value>) -> Value {
    let mut v = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        tree::object(&mut v).insert("details".into(), details);
    }
    v
}
