//! What the server has, for clients that ask.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::resource::Resource;
use super::store::State;
use super::tree::object;

/// Kinds that are only ever posted, and answered at once.
const REVIEWS: [(&str, &str, &str); 5] = [
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
];

/// The kind of a review resource.
pub(crate) fn review_kind(group: &str, plural: &str) -> Option<&'static str> {
    REVIEWS
        .iter()
        .find(|(g, p, _)| *g == group && *p == plural)
        .map(|(_, _, kind)| *kind)
}

/// The version of Kubernetes this server behaves like.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0-sim", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// The answer to a discovery path.
pub(crate) fn answer(state: &State, path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match segments.as_slice() {
        [] => Some(
            json!({"paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        ),
        ["api"] => Some(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] => Some(groups(state)),
        ["apis", group] => group_of(state, group),
        ["api", version] => resources(state, "", version),
        ["apis", group, version] => resources(state, group, version),
        _ => None,
    }
}

/// Every group and its versions.
pub(crate) fn group_versions(state: &State) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let reviews = REVIEWS
        .iter()
        .map(|(group, _, _)| ((*group).to_owned(), "v1".to_owned()));
    for (group, version) in state
        .resources
        .values()
        .map(|r| (r.group.clone(), r.version.clone()))
        .chain(reviews)
    {
        let versions = out.entry(group).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    out
}

fn group(name: &str, versions: &[String]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}

fn groups(state: &State) -> Value {
    let named = group_versions(state);
    let all: Vec<Value> = named
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, v)| group(name, v))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})
}

fn group_of(state: &State, name: &str) -> Option<Value> {
    let versions = group_versions(state).remove(name)?;
    let mut v = group(name, &versions);
    object(&mut v).insert("kind".into(), "APIGroup".into());
    object(&mut v).insert("apiVersion".into(), "v1".into());
    Some(v)
}

fn resources(state: &State, group: &str, version: &str) -> Option<Value> {
    let mut all: Vec<Value> = Vec::new();
    for res in state
        .resources
        .values()
        .filter(|r| r.group == group && r.version == version)
    {
        describe(res, &mut all);
    }
    for (_, plural, kind) in REVIEWS
        .iter()
        .filter(|(g, _, _)| *g == group && version == "v1")
    {
        all.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"]}));
    }
    if all.is_empty() {
        return None;
    }
    let gv = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": all}),
    )
}

fn describe(res: &Resource, out: &mut Vec<Value>) {
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let namespaced = res.is_namespaced();
    let mut main = json!({"name": res.plural, "singularName": res.singular, "namespaced": namespaced, "kind": res.kind, "verbs": verbs});
    if !res.short.is_empty() {
        object(&mut main).insert("shortNames".into(), json!(res.short));
    }
    if !res.categories.is_empty() {
        object(&mut main).insert("categories".into(), json!(res.categories));
    }
    out.push(main);
    let sub = |name: &str| format!("{}/{name}", res.plural);
    if res.status {
        out.push(json!({"name": sub("status"), "singularName": "", "namespaced": namespaced, "kind": res.kind,
            "verbs": ["get", "patch", "update"]}));
    }
    if res.scale.is_some() {
        out.push(json!({"name": sub("scale"), "singularName": "", "namespaced": namespaced, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}));
    }
    match (res.group.as_str(), res.plural.as_str()) {
        ("", "pods") => {
            out.push(json!({"name": sub("binding"), "singularName": "", "namespaced": true, "kind": "Binding", "verbs": ["create"]}));
            out.push(json!({"name": sub("eviction"), "singularName": "", "namespaced": true, "group": "policy",
                "version": "v1", "kind": "Eviction", "verbs": ["create"]}));
        }
        ("", "serviceaccounts") => out.push(json!({"name": sub("token"), "singularName": "", "namespaced": true,
            "group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"]})),
        _ => {}
    }
}
