//! Requests to subresources.

use super::super::error::{ApiError, Result};
use super::super::patch::Format;
use super::super::request::Form;
use super::super::resource::{Resource, Scope};
use super::super::store::State;
use super::super::subresource::{self, ScaleChange};
use super::super::write::{VersionCheck, WriteOptions};
use super::super::{table, tree};
use super::change::success;
use super::{Call, Reply};

impl State {
    pub(super) fn subresource_call(&mut self, call: &Call<'_>) -> Result<Reply> {
        let (request, stored, key) = (call.request, &call.stored, &call.key);
        match (
            call.path.plural,
            call.path.subresource,
            request.method.as_str(),
        ) {
            (_, "scale", "GET") => {
                let paths = stored
                    .scale
                    .as_ref()
                    .ok_or_else(ApiError::no_such_resource)?;
                let scale = subresource::scale_of(stored, paths, &*self.get(stored, key)?);
                if call.presenter.form != Form::Table {
                    return Ok(Reply::json(200, &scale));
                }
                let gv = ("autoscaling", "v1");
                let res = Resource::builtin(gv, "scales", "Scale", Scope::Namespaced);
                let (rows, now) = (call.presenter.rows, self.clock.now());
                let version = tree::meta(&scale).get("resourceVersion").cloned();
                Ok(Reply::json(
                    200,
                    &table::render(&res, rows, &[&scale], now, version),
                ))
            }
            (_, "scale", "PUT" | "PATCH") => {
                let opts = WriteOptions {
                    version: VersionCheck::IfGiven,
                    ..request.write_options(subresource::part(stored, "scale")?)
                };
                let change = if request.method == http::Method::PUT {
                    ScaleChange::Put(request.value()?)
                } else {
                    ScaleChange::Patch(Format::parse(&request.content_type)?, request.value()?)
                };
                Ok(Reply::json(200, &self.rescale(stored, key, change, &opts)?))
            }
            ("pods", "binding", "POST") => {
                self.bind(stored, key, &request.value()?)?;
                Ok(Reply::json(201, &made()))
            }
            ("pods", "eviction", "POST") => {
                let body = request.value()?;
                self.delete(stored, key, &body["deleteOptions"], request.commit())?;
                Ok(Reply::json(201, &made()))
            }
            ("serviceaccounts", "token", "POST") => Ok(Reply::json(
                201,
                &self.request_token(&key.0, &key.1, request.value()?)?,
            )),
            ("namespaces", "finalize", "PUT") => Ok(Reply::json(
                200,
                &self.finalize(stored, key, &request.value()?)?,
            )),
            ("pods" | "services" | "nodes", sub, _) => match subresource::not_simulated(sub) {
                Some(what) => {
                    self.get(stored, key)?;
                    Err(ApiError::not_simulated(what))
                }
                None => Err(ApiError::no_such_resource()),
            },
            _ if stored.custom.is_some() => Err(ApiError::not_found(stored, &key.1)),
            _ => Err(ApiError::no_such_resource()),
        }
    }
}

/// What is said of something made that is no object.
fn made() -> serde_json::Value {
    let mut v = success(None);
    tree::object(&mut v).insert("code".into(), 201.into());
    v
}
