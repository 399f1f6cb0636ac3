//! The script: requests as data, one file a story, each in a namespace of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use http::Request;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;

/// One request, and what to do with its answer. `$name` stands for a variable: see [`Variables`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// `VERB PATH`. A verb is a method, the kind of a patch (MERGE, JSON, STRATEGIC, APPLY), or WATCH.
    pub(crate) ask: String,
    /// The status code both must give.
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) body: Value,
    /// A body that is no JSON.
    pub(crate) text: Option<String>,
    /// The content type, where it is not that of the verb.
    #[serde(rename = "type")]
    pub(crate) content_type: Option<String>,
    /// `table`, `partial`, or a whole Accept header.
    pub(crate) accept: Option<String>,
    /// The user, and their groups.
    #[serde(default, rename = "as")]
    pub(crate) user: Vec<String>,
    /// Variables to take from the answer, by JSON pointer.
    #[serde(default)]
    pub(crate) save: BTreeMap<String, String>,
    /// Ask again until the code is as wanted: a controller of the real server is at work.
    #[serde(default)]
    pub(crate) until: bool,
    /// Of each list in the answer only the elements with these names are compared.
    #[serde(default)]
    pub(crate) of: Vec<String>,
    /// Known and stated differences.
    #[serde(default)]
    pub(crate) differs: Vec<Difference>,
}

/// A part of the answer in which the simulated server differs, and why it may.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// A JSON pointer into the answer as it is compared (`/body/...`); empty for all of it.
    pub(crate) at: String,
    pub(crate) why: String,
}

/// What a side has learnt: `$ns` and the paths in it, and what steps saved.
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(crate) fn new(namespace: &str) -> Self {
        let within = |version: &str| format!("/{version}/namespaces/{namespace}");
        let known = [
            ("ns", namespace.to_owned()),
            ("core", within("api/v1")),
            ("apps", within("apis/apps/v1")),
            ("leases", within("apis/coordination.k8s.io/v1") + "/leases"),
            ("roles", within("apis/rbac.authorization.k8s.io/v1")),
            ("boats", within("apis/diff.lifeboat.dev/v1") + "/boats"),
            ("rbac", "/apis/rbac.authorization.k8s.io/v1".to_owned()),
            ("storage", "/apis/storage.k8s.io/v1".to_owned()),
            ("lifeboat", "/apis/lifeboat.dev/v1alpha1".to_owned()),
            (
                "crds",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
            ),
        ];
        Self(known.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    /// Takes what the step wants from an answer.
    pub(crate) fn save(&mut self, step: &Step, answer: &Value) -> Result<()> {
        for (name, pointer) in &step.save {
            let found = answer.pointer(pointer).and_then(Value::as_str);
            let found = found.with_context(|| format!("nothing to save at {pointer}"))?;
            self.0.insert(name.clone(), found.to_owned());
        }
        Ok(())
    }

    /// The text with every known variable replaced, the longest name first.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut out = text.to_owned();
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort_by_key(|n| std::cmp::Reverse(n.len()));
        for name in names {
            out = out.replace(&format!("${name}"), &self.0[name]);
        }
        out
    }
}

impl Step {
    /// Whether it asks for custom resources.
    pub(crate) fn is_custom(&self) -> bool {
        self.ask.contains("$boats") || self.ask.contains("$lifeboat")
    }

    /// The request of this step.
    pub(crate) fn request(&self, variables: &Variables) -> Result<Request<Body>> {
        let (verb, path) = self.ask.split_once(' ').context("a step asks VERB PATH")?;
        let (method, content_type) = match verb {
            "MERGE" => ("PATCH", "application/merge-patch+json"),
            "JSON" => ("PATCH", "application/json-patch+json"),
            "STRATEGIC" => ("PATCH", "application/strategic-merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            "WATCH" => ("GET", ""),
            method => (method, "application/json"),
        };
        let mut path = variables.fill(path);
        if verb == "WATCH" {
            let join = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{join}watch=true");
            if !path.contains("timeoutSeconds") {
                path.push_str("&timeoutSeconds=1");
            }
        }
        let body = match (&self.text, &self.body) {
            (Some(text), _) => variables.fill(text),
            (None, Value::Null) => String::new(),
            (None, body) => variables.fill(&body.to_string()),
        };
        let accept = match self.accept.as_deref() {
            None => "application/json",
            Some("table") => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Some("partial") => {
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
            }
            Some("partials") => {
                "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
            }
            Some(other) => other,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .header("user-agent", "script/1");
        let content_type = self.content_type.as_deref().unwrap_or(content_type);
        if !body.is_empty() {
            request = request.header("content-type", content_type);
        }
        if let Some((user, groups)) = self.user.split_first() {
            request = request.header("impersonate-user", variables.fill(user));
            for group in groups {
                request = request.header("impersonate-group", group);
            }
        }
        Ok(request.body(Body::from(body.into_bytes()))?)
    }
}
