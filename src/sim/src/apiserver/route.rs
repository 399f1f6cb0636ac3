//! From a request to what the state does about it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::Identity;
use super::delete::Deletion;
use super::error::{ApiError, Result};
use super::managed::{self, Applier};
use super::patch::{self, Format};
use super::present::Presenter;
use super::rbac::{self, Access, Right};
use super::request::{Request, ResourcePath};
use super::resource::{Resource, Scope};
use super::store::{Key, State, key_of};
use super::subresource;
use super::table::Rows;
use super::watch::WatchStart;
use super::write::{Part, WriteOptions};
use super::{builtin, discovery, events, openapi, options, read, schema, select, tree};

mod subresources;

/// A finished answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(code: u16, v: &Value) -> Self {
        Self {
            code,
            content_type: "application/json",
            warnings: Vec::new(),
            body: Bytes::from(tree::bytes(v)),
        }
    }

    fn bytes(code: u16, body: Vec<u8>) -> Self {
        Self {
            code,
            content_type: "application/json",
            warnings: Vec::new(),
            body: Bytes::from(body),
        }
    }

    pub(crate) fn text(body: &'static str) -> Self {
        Self {
            code: 200,
            content_type: "text/plain; charset=utf-8",
            warnings: Vec::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }
}

impl From<ApiError> for Reply {
    fn from(e: ApiError) -> Self {
        // What no resource answers is answered by the web server below, which knows no `Status`.
        if e.code == 404 && e.reason.is_empty() {
            let body = Bytes::from(format!(
                "{}
",
                e.message
            ));
            return Self {
                code: 404,
                content_type: "text/plain; charset=utf-8",
                warnings: Vec::new(),
                body,
            };
        }
        Self::json(e.code, &e.status())
    }
}

/// An answer at once, or a stream.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    Watch(Box<WatchStart>),
}

/// Whether stored roles decide what a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorization {
    Rbac,
    AllowAll,
}

/// Whether a caller's requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    Counted,
    Quiet,
}

/// In every refusal of an object that its kind cannot be read as.
const UNDECODABLE: &str = "cannot be handled as a";

/// One request to a resource with everything that was looked up for it.
struct Call<'a> {
    path: ResourcePath<'a>,
    request: &'a Request,
    caller: (&'a Identity, Authorization),
    /// As the client sees it.
    res: Arc<Resource>,
    /// As it is stored.
    stored: Arc<Resource>,
    key: Key,
    presenter: Presenter,
}

impl State {
    /// Answers a request.
    pub(crate) fn handle(
        &mut self,
        who: &Identity,
        request: &Request,
        auth: Authorization,
        counting: Counting,
    ) -> Outcome {
        self.warnings.clear();
        match self.try_handle(who, request, auth, counting) {
            Ok(Outcome::Reply(reply)) => Outcome::Reply(Reply {
                warnings: std::mem::take(&mut self.warnings),
                ..reply
            }),
            Ok(watch @ Outcome::Watch(_)) => watch,
            Err(e) => Outcome::Reply(e.into()),
        }
    }

    fn try_handle(
        &mut self,
        who: &Identity,
        request: &Request,
        auth: Authorization,
        counting: Counting,
    ) -> Result<Outcome> {
        let Some(path) = ResourcePath::parse(&request.path) else {
            let access = Access {
                verb: "get",
                path: &request.path,
                ..Access::default()
            };
            if !self.permits(who, auth, &access) {
                return Err(rbac::path_denial(who, &access));
            }
            return self.other_path(request).map(Outcome::Reply);
        };
        let verb = path.verb(request);
        if counting == Counting::Counted {
            let resource = rbac::full_name(path.plural, path.subresource);
            *self
                .counts
                .entry((who.user.clone(), verb.to_owned(), resource))
                .or_default() += 1;
        }
        if path.name.is_empty()
            && verb == "create"
            && let Some(reply) = self.try_review(who, &path, request, auth)?
        {
            return Ok(Outcome::Reply(reply));
        }
        let res = self.resource_at(&path, who, auth, verb)?;
        // For a namespace itself, the namespace of the access is its own name.
        let namespace = if res.is("", "Namespace") {
            path.name
        } else {
            path.namespace
        };
        // A list or watch of one name, by field, is judged as a request for that name.
        let named = request
            .param("fieldSelector")
            .strip_prefix("metadata.name=");
        let name = match named {
            Some(name) if path.name.is_empty() && !name.contains(',') => name,
            Some(_) | None => path.name,
        };
        let verb_group = path.group;
        let access = Access {
            verb,
            group: verb_group,
            resource: path.plural,
            subresource: path.subresource,
            namespace,
            name,
            path: "",
        };
        if !self.permits(who, auth, &access) {
            return Err(rbac::denial(&res, who, &access));
        }
        options::check(request, verb)?;
        if !self.races.is_empty() && self.races.remove(&Right::of(who, &access)) {
            return Err(ApiError::stale(&res, path.name));
        }
        self.resource_call(path, request, res, (who, auth))
    }

    /// The resource a path names. Who may not ask for it does not hear that it is not there.
    fn resource_at(
        &mut self,
        path: &ResourcePath<'_>,
        who: &Identity,
        auth: Authorization,
        verb: &str,
    ) -> Result<Arc<Resource>> {
        let known = self.resource(path.group, path.plural).ok();
        if let Some(res) = known.filter(|r| r.version == path.version) {
            return Ok(res);
        }
        let access = Access {
            verb,
            group: path.group,
            resource: path.plural,
            subresource: path.subresource,
            namespace: path.namespace,
            name: path.name,
            path: "",
        };
        if !self.permits(who, auth, &access) {
            let gv = (path.group, path.version);
            let asked = Resource::builtin(gv, path.plural, "", Scope::Cluster);
            return Err(rbac::denial(&asked, who, &access));
        }
        let is_builtin = self
            .resources
            .values()
            .any(|r| r.group == path.group && r.custom.is_none());
        Err(if is_builtin {
            ApiError::no_such_resource()
        } else {
            ApiError::no_such_path()
        })
    }

    fn resource_call(
        &mut self,
        path: ResourcePath<'_>,
        request: &Request,
        res: Arc<Resource>,
        caller: (&Identity, Authorization),
    ) -> Result<Outcome> {
        if (res.scope == Scope::Cluster) != path.namespace.is_empty()
            && !(path.namespace.is_empty() && path.name.is_empty())
        {
            return Err(ApiError::no_such_path());
        }
        let stored = self.table(&res)?.resource.clone();
        let presenter = Presenter {
            res: res.clone(),
            form: request.form()?,
            rows: Rows::parse(request.param("includeObject")),
        };
        let key = (path.namespace.to_owned(), path.name.to_owned());
        let call = Call {
            path,
            request,
            caller,
            res,
            stored,
            key,
            presenter,
        };
        if request.is_set("watch")
            && request.method == http::Method::GET
            && path.subresource.is_empty()
            && path.name.is_empty()
        {
            let watch = self.watch(&path, &call.stored, request, call.presenter)?;
            return Ok(Outcome::Watch(Box::new(watch)));
        }
        if !path.subresource.is_empty() && path.subresource != "status" {
            return self.subresource_call(&call).map(Outcome::Reply);
        }
        let part = subresource::part(&call.stored, path.subresource)?;
        self.object_call(&call, part).map(Outcome::Reply)
    }

    fn object_call(&mut self, call: &Call<'_>, part: Part) -> Result<Reply> {
        let (request, named) = (call.request, !call.path.name.is_empty());
        match request.method.as_str() {
            "GET" | "HEAD" if named => {
                read::parse_version(request.param("resourceVersion"))?;
                let obj = self.get(&call.stored, &call.key)?;
                Ok(Reply::bytes(
                    200,
                    call.presenter.one_bytes(&obj, self.clock.now()),
                ))
            }
            "GET" | "HEAD" if part == Part::Main => {
                let list = self.list(&call.path, &call.stored, request, &call.presenter)?;
                Ok(Reply::bytes(200, list))
            }
            "POST" if !named => {
                if call.stored.is_namespaced() && call.key.0.is_empty() {
                    return Err(ApiError::method());
                }
                let body = events::stored(&call.res, &call.stored, request.value()?);
                let obj = self.create(
                    &call.stored,
                    &call.key.0,
                    body,
                    &request.write_options(part),
                )?;
                Ok(self.written(call, 201, &obj))
            }
            "PUT" if named => {
                let body = events::stored(&call.res, &call.stored, request.value()?);
                let obj = self.update(
                    &call.stored,
                    &call.key,
                    &request.write_options(part),
                    |_| Ok(body),
                )?;
                Ok(self.written(call, 200, &obj))
            }
            "PATCH" if named => self.patch_call(call, part),
            "DELETE" if part == Part::Main => self.delete_call(call, named),
            _ => Err(ApiError::method()),
        }
    }

    fn written(&self, call: &Call<'_>, code: u16, obj: &Value) -> Reply {
        Reply::bytes(code, call.presenter.one_bytes(obj, self.clock.now()))
    }

    fn patch_call(&mut self, call: &Call<'_>, part: Part) -> Result<Reply> {
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

    fn delete_call(&mut self, call: &Call<'_>, named: bool) -> Result<Reply> {
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
        let commit = if dry {
            super::write::Commit::DryRun
        } else {
            commit
        };
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
        commit: super::write::Commit,
    ) -> Result<Reply> {
        let (labels, fields) = (
            call.request.param("labelSelector"),
            call.request.param("fieldSelector"),
        );
        let selector = select::Selector::parse(&call.res, labels, fields)?;
        let hit = |o: &Value| selector.matches(&super::log::Facts::of(&call.stored, o));
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

    fn try_review(
        &mut self,
        who: &Identity,
        path: &ResourcePath<'_>,
        request: &Request,
        auth: Authorization,
    ) -> Result<Option<Reply>> {
        let Some(kind) = discovery::review_kind(path.group, path.plural) else {
            return Ok(None);
        };
        let access = Access {
            verb: "create",
            group: path.group,
            resource: path.plural,
            ..Access::default()
        };
        if !self.permits(who, auth, &access) {
            let res = Resource::builtin(
                (path.group, path.version),
                path.plural,
                kind,
                Scope::Cluster,
            );
            return Err(rbac::denial(&res, who, &access));
        }
        let body = request.value()?;
        Ok(self
            .review(who, path.group, path.plural, &body)
            .map(|v| Reply::json(201, &v)))
    }

    fn other_path(&self, request: &Request) -> Result<Reply> {
        let path = request.path.trim_end_matches('/');
        match path {
            "/healthz" | "/readyz" | "/livez" => Ok(Reply::text("ok")),
            "/version" => Ok(Reply::json(200, &discovery::version())),
            _ if path.starts_with("/openapi") => openapi::answer(self, request, path),
            "/api" | "/apis" if discovery::wants_all(&request.accept) => Ok(Reply {
                content_type: discovery::ALL,
                ..Reply::json(200, &discovery::all(self, path == "/api"))
            }),
            _ => discovery::answer(self, path)
                .map(|v| Reply::json(200, &v))
                .ok_or_else(ApiError::no_such_path),
        }
    }
}

fn success(details: Option<Value>) -> Value {
    let mut v = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        tree::object(&mut v).insert("details".into(), details);
    }
    v
}
