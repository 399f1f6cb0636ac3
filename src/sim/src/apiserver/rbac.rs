//! Role-based access control over the stored roles and bindings, so that a verb missing from a deploy file fails a test.

use std::sync::Arc;

use serde_json::{Value, json};

use super::auth::Identity;
use super::error::ApiError;
use super::resource::Resource;
use super::route::Authorization;
use super::store::State;
use super::tree::{list_at, text, text_at};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// A path that is no resource; then the fields above, but the verb, are empty.
    pub(crate) path: &'a str,
}

/// What somebody asked for, in the words in which a role allows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Who asked.
    pub user: String,
    /// The verb.
    pub verb: String,
    /// The API group of the resource.
    pub group: String,
    /// The resource (`pods`, `pods/status`), or a path that is none.
    pub resource: String,
}

impl Right {
    pub(crate) fn of(who: &Identity, access: &Access<'_>) -> Self {
        Self {
            user: who.user.clone(),
            verb: access.verb.to_owned(),
            group: access.group.to_owned(),
            resource: if access.path.is_empty() {
                full_name(access.resource, access.subresource)
            } else {
                access.path.to_owned()
            },
        }
    }
}

/// Whether roles let somebody do what they asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Each time.
    Allowed,
    /// At least once not.
    Refused,
}

/// Paths every client may read: health, version, discovery.
const OPEN_PATHS: [&str; 8] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/api",
    "/apis",
    "/openapi",
    "/.well-known",
];

impl State {
    /// Whether `who` is let, of which notes are taken.
    pub(crate) fn permits(
        &mut self,
        who: &Identity,
        auth: Authorization,
        access: &Access<'_>,
    ) -> bool {
        if auth == Authorization::AllowAll || who.is_master() {
            return true;
        }
        let allowed = self.allows(who, access);
        let right = Right::of(who, access);
        let verdict = if allowed {
            Verdict::Allowed
        } else {
            Verdict::Refused
        };
        let noted = self.asked.entry(right).or_insert(verdict);
        *noted = (*noted).max(verdict);
        allowed
    }

    /// Whether the stored roles let `who` do this.
    pub(crate) fn allows(&self, who: &Identity, access: &Access<'_>) -> bool {
        if who.is_master() {
            return true;
        }
        if !access.path.is_empty() {
            let open = OPEN_PATHS
                .iter()
                .any(|p| access.path == *p || access.path.starts_with(&format!("{p}/")));
            return open
                || self
                    .cluster_rules(who)
                    .any(|rule| grants_path(rule, access));
        }
        let own_reviews = access.resource.starts_with("selfsubject") && access.verb == "create";
        own_reviews
            || self.cluster_rules(who).any(|rule| grants(rule, access))
            || (!access.namespace.is_empty()
                && self
                    .namespace_rules(who, access.namespace)
                    .any(|rule| grants(rule, access)))
    }

    /// The rules that hold for `who` in a namespace, as a rules review lists them.
    pub(crate) fn rules_for(&self, who: &Identity, namespace: &str) -> Value {
        if who.is_master() {
            return json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        }
        self.cluster_rules(who)
            .chain(self.namespace_rules(who, namespace))
            .cloned()
            .collect()
    }

    fn cluster_rules(&self, who: &Identity) -> impl Iterator<Item = &Value> {
        let bindings = self
            .all(GROUP, "clusterrolebindings", "")
            .filter(move |b| binds(b, who, ""));
        bindings
            .filter_map(|b| self.role(b, ""))
            .flat_map(|role| list_at(role, "/rules"))
    }

    fn namespace_rules<'a>(
        &'a self,
        who: &'a Identity,
        ns: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        let bindings = self
            .all(GROUP, "rolebindings", ns)
            .filter(move |b| binds(b, who, ns));
        bindings
            .filter_map(move |b| self.role(b, ns))
            .flat_map(|role| list_at(role, "/rules"))
    }

    fn role(&self, binding: &Arc<Value>, ns: &str) -> Option<&Arc<Value>> {
        let name = text_at(binding, "/roleRef/name");
        match text_at(binding, "/roleRef/kind") {
            "ClusterRole" => self.find(GROUP, "clusterroles", "", name),
            "Role" if !ns.is_empty() => self.find(GROUP, "roles", ns, name),
            _ => None,
        }
    }
}

fn binds(binding: &Value, who: &Identity, ns: &str) -> bool {
    list_at(binding, "/subjects")
        .iter()
        .any(|s| match text(s, "kind") {
            "User" => text(s, "name") == who.user,
            "Group" => who.groups.iter().any(|g| g == text(s, "name")),
            "ServiceAccount" => {
                let own = text(s, "namespace");
                let own = if own.is_empty() { ns } else { own };
                who.user == format!("system:serviceaccount:{own}:{}", text(s, "name"))
            }
            _ => false,
        })
}

fn has(rule: &Value, key: &str, want: &str) -> bool {
    list_at(rule, key)
        .iter()
        .filter_map(Value::as_str)
        .any(|x| x == "*" || x == want)
}

fn grants(rule: &Value, access: &Access<'_>) -> bool {
    let names = list_at(rule, "/resourceNames");
    has(rule, "/verbs", access.verb)
        && has(rule, "/apiGroups", access.group)
        && grants_resource(rule, access)
        && (names.is_empty() || (!access.name.is_empty() && names.iter().any(|n| n == access.name)))
}

fn grants_resource(rule: &Value, access: &Access<'_>) -> bool {
    let full = full_name(access.resource, access.subresource);
    let any_parent = format!("*/{}", access.subresource);
    list_at(rule, "/resources")
        .iter()
        .filter_map(Value::as_str)
        .any(|r| r == "*" || r == full || (!access.subresource.is_empty() && r == any_parent))
}

fn grants_path(rule: &Value, access: &Access<'_>) -> bool {
    let urls = list_at(rule, "/nonResourceURLs")
        .iter()
        .filter_map(Value::as_str);
    let matches = |url: &str| match url.strip_suffix('*') {
        Some(prefix) => access.path.starts_with(prefix),
        None => url == access.path,
    };
    has(rule, "/verbs", access.verb) && urls.into_iter().any(matches)
}

/// `pods`, or `pods/log`.
pub(crate) fn full_name(resource: &str, subresource: &str) -> String {
    if subresource.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}/{subresource}")
    }
}

/// The refusal of an access to a resource, in the API server's words.
pub(crate) fn denial(res: &Resource, who: &Identity, access: &Access<'_>) -> ApiError {
    let place = if access.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", access.namespace)
    };
    let resource = full_name(access.resource, access.subresource);
    let why = format!(
        "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        who.user, access.verb, access.group
    );
    ApiError::forbidden(res, access.name, &why)
}

/// The refusal of an access to a path.
pub(crate) fn path_denial(who: &Identity, access: &Access<'_>) -> ApiError {
    let message = format!(
        "forbidden: User \"{}\" cannot {} path \"{}\"",
        who.user, access.verb, access.path
    );
    ApiError::new(403, "Forbidden", message).with_details(serde_json::json!({}))
}
