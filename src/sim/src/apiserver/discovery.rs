//! What the server has, for clients that ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::resource::Resource;
use super::store::State;
use super::tree::{copy_key, list_at, object, text};

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
    all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    if group.is_empty() {
        return Some(json!({"kind": "APIResourceList", "groupVersion": version, "resources": all}));
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/{version}"),
        "resources": all}),
    )
}

/// The media type of discovery in one answer.
pub(crate) const ALL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether a client takes discovery in one answer.
pub(crate) fn wants_all(accept: &str) -> bool {
    let ours = |clause: &str| {
        clause.contains("as=APIGroupDiscoveryList") && clause.split(';').any(|p| p.trim() == "v=v2")
    };
    accept.split(',').any(ours)
}

/// Everything there is in the core group, or in the others, in one answer.
pub(crate) fn all(state: &State, core: bool) -> Value {
    let group = |(name, versions): (String, Vec<String>)| {
        let version = |v: &String| {
            let list = resources(state, &name, v).unwrap_or_default();
            let all = list_at(&list, "/resources");
            let main = |r: &&Value| !text(r, "name").contains('/');
            let custom = |r: &&Arc<Resource>| r.custom.is_some() && r.group == name;
            let own = state.resources.values().find(custom);
            let gv = own.map_or(("", ""), |r| (r.group.as_str(), r.version.as_str()));
            let main = all.iter().filter(main);
            let described: Vec<Value> = main.map(|r| in_one(r, all, gv)).collect();
            json!({"version": v, "freshness": "Current", "resources": described})
        };
        let versions: Vec<Value> = versions.iter().map(version).collect();
        let mut metadata = json!({"creationTimestamp": null});
        if !name.is_empty() {
            object(&mut metadata).insert("name".into(), name.into());
        }
        json!({"metadata": metadata, "versions": versions})
    };
    let named = group_versions(state).into_iter();
    let items: Vec<Value> = named
        .filter(|(name, _)| name.is_empty() == core)
        .map(group)
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

/// A resource and its subresources.
fn in_one(main: &Value, all: &[Value], (group, version): (&str, &str)) -> Value {
    let or = |said: &str, known: &str| if said.is_empty() { known } else { said }.to_owned();
    // Only the server of custom resources repeats the group of what is in it.
    let kind = |r: &Value| json!({"group": or(text(r, "group"), group), "version": or(text(r, "version"), version), "kind": r["kind"]});
    let prefix = format!("{}/", text(main, "name"));
    let sub = |r: &Value| {
        let name = text(r, "name").strip_prefix(&prefix)?;
        Some(json!({"subresource": name, "responseKind": kind(r), "verbs": r["verbs"]}))
    };
    let subresources: Vec<Value> = all.iter().filter_map(sub).collect();
    let scope = if main["namespaced"] == json!(true) {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut out = json!({"resource": main["name"], "responseKind": kind(main), "scope": scope,
        "singularResource": main["singularName"], "verbs": main["verbs"]});
    let m = object(&mut out);
    for key in ["shortNames", "categories"] {
        copy_key(main, m, key);
    }
    if !subresources.is_empty() {
        m.insert("subresources".into(), subresources.into());
    }
    out
}

fn describe(res: &Resource, out: &mut Vec<Value>) {
    let mut verbs = vec![
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    if res.is("", "Namespace") {
        verbs.retain(|v| *v != "deletecollection");
    }
    if res.custom.is_some() {
        // Their server has an order of its own.
        verbs = vec![
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ];
    }
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
