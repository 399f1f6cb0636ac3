//! From a request to what the state does about it.

use std::sync::Arc;

use serde_json::Value;

use super::auth::Identity;
use super::error::{ApiError, Result};
use super::present::Presenter;
use super::rbac::{self, Access, Right};
use super::request::{Request, ResourcePath};
use super::resource::{Resource, Scope};
use super::store::{Key, State};
use super::subresource;
use super::table::Rows;
use super::watch::WatchStart;
use super::write::Part;
use super::{discovery, events, openapi, options, read};

mod change;
mod reply;
mod subresources;

pub(crate) use reply::Reply;

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
