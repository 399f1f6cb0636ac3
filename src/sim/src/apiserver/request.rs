//! A request, taken apart: its path, verb, options and body.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::error::{ApiError, Result};
use super::write::{Commit, Conflicts, FieldValidation, Part, VersionCheck, WriteOptions};

/// What the server looks at of an HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) agent: String,
    pub(crate) body: Bytes,
}

/// The form in which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Full,
    MetadataOnly,
    Table,
}

impl Request {
    pub(crate) fn new(parts: &http::request::Parts, path: &str, body: Bytes) -> Self {
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let query = parts.uri.query().unwrap_or_default();
        Self {
            method: parts.method.clone(),
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            accept: header("accept"),
            content_type: header("content-type"),
            agent: header("user-agent"),
            body,
        }
    }

    /// A query parameter, or the empty string.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Whether a query parameter is set to yes.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// The body as JSON, or as YAML if it is that.
    pub(crate) fn value(&self) -> Result<Value> {
        let media = self.content_type.split(';').next().unwrap_or_default();
        if media.contains("protobuf") {
            return Err(ApiError::media_type(
                "the simulated API server does not read protobuf: send application/json (the object was sent as protobuf)",
            ));
        }
        let patch = self.method == Method::PATCH;
        if !patch && !matches!(media, "" | "application/json" | "application/yaml" | "*/*") {
            return Err(ApiError::media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
        let wrong = match serde_json::from_slice(&self.body) {
            Ok(v) => return Ok(v),
            Err(e) => e,
        };
        if media.contains("yaml") {
            let text = std::str::from_utf8(&self.body).map_err(|e| ApiError::bad(e.to_string()))?;
            return serde_saphyr::from_str(text)
                .map_err(|e| ApiError::bad(format!("error parsing YAML: {e}")));
        }
        let wrong = if wrong.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            wrong.to_string()
        };
        Err(ApiError::bad(if patch {
            format!("error decoding patch: {wrong}")
        } else {
            format!("couldn't get version/kind; json parse error: {wrong}")
        }))
    }

    /// The body if there is one.
    pub(crate) fn optional_value(&self) -> Result<Value> {
        if self.body.is_empty() {
            Ok(Value::Null)
        } else {
            self.value()
        }
    }

    /// The first of the forms the client accepts that there is.
    pub(crate) fn form(&self) -> Result<Form> {
        if self.accept.trim().is_empty() {
            return Ok(Form::Full);
        }
        let mut json = false;
        for clause in self.accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(
                media,
                "application/json" | "application/yaml" | "application/*" | "*/*"
            ) {
                continue;
            }
            json = true;
            let parameters: BTreeMap<&str, &str> =
                parts.filter_map(|p| p.split_once('=')).collect();
            let is = |key: &str, wanted: &str| parameters.get(key) == Some(&wanted);
            let ours = is("g", "meta.k8s.io") && (is("v", "v1") || is("v", "v1beta1"));
            match parameters.get("as") {
                None => return Ok(Form::Full),
                Some(&"Table") if ours => return Ok(Form::Table),
                Some(&"PartialObjectMetadata" | &"PartialObjectMetadataList") if ours => {
                    return Ok(Form::MetadataOnly);
                }
                Some(_) => {}
            }
        }
        let all = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let refuse = |message| ApiError::new(406, "NotAcceptable", message);
        Err(if json {
            refuse(format!(
                "only the following media types are accepted: {all}"
            ))
        } else {
            refuse(format!(
                "406: Not Acceptable\n\nAvailable representations: {all}"
            ))
            .with_details(serde_json::json!({}))
        })
    }

    /// Whether the client takes JSON at all.
    pub(crate) fn takes_json(&self) -> bool {
        let any = |t: &str| {
            t.contains("json") || t.contains("*/*") || t.contains("yaml") || t.trim().is_empty()
        };
        self.accept.is_empty() || self.accept.split(',').any(any)
    }

    /// The name under which a write is recorded.
    pub(crate) fn manager(&self) -> String {
        let stated = self.param("fieldManager");
        if !stated.is_empty() {
            return stated.to_owned();
        }
        let agent = self.agent.split('/').next().unwrap_or_default();
        if agent.is_empty() {
            "unknown".to_owned()
        } else {
            agent.to_owned()
        }
    }

    pub(crate) fn write_options(&self, part: Part) -> WriteOptions {
        WriteOptions {
            manager: self.manager(),
            part,
            conflicts: if self.is_set("force") {
                Conflicts::TakeOver
            } else {
                Conflicts::Refuse
            },
            commit: self.commit(),
            validation: match self.param("fieldValidation") {
                "Strict" => FieldValidation::Strict,
                "Ignore" => FieldValidation::Ignore,
                _ => FieldValidation::Warn,
            },
            version: if self.method == Method::PUT {
                VersionCheck::Required
            } else {
                VersionCheck::IfGiven
            },
        }
    }

    pub(crate) fn commit(&self) -> Commit {
        if self.param("dryRun").is_empty() {
            Commit::Store
        } else {
            Commit::DryRun
        }
    }
}

/// A path to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResourcePath<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: &'a str,
}

impl<'a> ResourcePath<'a> {
    /// The resource a path names; `None` if it is the path of something else.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, plural, name, subresource) = match rest {
            ["namespaces", name, sub @ ("status" | "finalize")] => ("", "namespaces", *name, *sub),
            ["namespaces", ns, plural] => (*ns, *plural, "", ""),
            ["namespaces", ns, plural, name] => (*ns, *plural, *name, ""),
            ["namespaces", ns, plural, name, sub, ..] => (*ns, *plural, *name, *sub),
            [plural] => ("", *plural, "", ""),
            [plural, name] => ("", *plural, *name, ""),
            [plural, name, sub, ..] => ("", *plural, *name, *sub),
            [] => return None,
        };
        Some(Self {
            group,
            version,
            namespace,
            plural,
            name,
            subresource,
        })
    }

    /// The verb authorization sees.
    pub(crate) fn verb(&self, request: &Request) -> &'static str {
        let watch = request.is_set("watch");
        match (request.method.as_str(), self.name.is_empty()) {
            ("GET" | "HEAD", true) if watch => "watch",
            ("GET" | "HEAD", true) => "list",
            ("GET" | "HEAD", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources_objects_and_subresources() {
        let of = |path| {
            ResourcePath::parse(path)
                .map(|p| (p.group, p.namespace, p.plural, p.name, p.subresource))
        };
        assert_eq!(of("/api/v1/pods"), Some(("", "", "pods", "", "")));
        assert_eq!(
            of("/api/v1/namespaces/a"),
            Some(("", "", "namespaces", "a", ""))
        );
        assert_eq!(
            of("/api/v1/namespaces/a/finalize"),
            Some(("", "", "namespaces", "a", "finalize"))
        );
        assert_eq!(
            of("/api/v1/namespaces/a/pods/p/binding"),
            Some(("", "a", "pods", "p", "binding"))
        );
        assert_eq!(
            of("/apis/apps/v1/namespaces/a/deployments"),
            Some(("apps", "a", "deployments", "", ""))
        );
        assert_eq!(of("/apis/apps/v1"), None);
        assert_eq!(of("/version"), None);
    }
}
