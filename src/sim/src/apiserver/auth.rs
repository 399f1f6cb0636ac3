//! Who is calling: identities, bearer tokens, and the review APIs that answer questions about them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::error::{ApiError, Cause, Result};
use super::rbac::Access;
use super::resource::{Resource, Scope};
use super::store::State;
use super::tree::{meta_text, number, object, set_default, slot, strings_at, text_at};

/// A user and the groups they are in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The user name, such as `jane` or `system:serviceaccount:ns:name`.
    pub user: String,
    /// The groups, `system:authenticated` included.
    pub groups: Vec<String>,
}

impl Identity {
    /// A user in these groups and in `system:authenticated`.
    pub fn user(name: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|&g| g.to_owned()).collect();
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            user: name.to_owned(),
            groups,
        }
    }

    /// The administrator: in `system:masters`, allowed everything.
    pub fn admin() -> Self {
        Self::user("kubernetes-admin", &[MASTERS])
    }

    /// A service account of the cluster.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let all = format!("system:serviceaccounts:{namespace}");
        Self::user(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &all],
        )
    }

    /// Somebody who said nothing about themselves.
    pub(crate) fn anonymous() -> Self {
        Self {
            user: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == MASTERS)
    }

    /// The identity as reviews show it.
    pub(crate) fn info(&self) -> Value {
        json!({"username": self.user, "groups": self.groups})
    }
}

const AUTHENTICATED: &str = "system:authenticated";
const MASTERS: &str = "system:masters";

#[derive(Debug, Clone)]
struct Token {
    identity: Identity,
    /// The service account it is bound to; deleting that revokes the token.
    account: Option<String>,
    expires: Option<Timestamp>,
}

/// The bearer tokens a server knows.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: BTreeMap<String, Token>,
}

impl Tokens {
    pub(crate) fn add_static(&mut self, token: &str, identity: Identity) {
        self.known.insert(
            token.to_owned(),
            Token {
                identity,
                account: None,
                expires: None,
            },
        );
    }

    pub(crate) fn revoke(&mut self, account_uid: &str) {
        self.known
            .retain(|_, t| t.account.as_deref() != Some(account_uid));
    }

    pub(crate) fn identity(&self, token: &str, now: Timestamp) -> Option<Identity> {
        let t = self.known.get(token)?;
        t.expires
            .is_none_or(|end| now < end)
            .then(|| t.identity.clone())
    }
}

impl State {
    /// Who a bearer token stands for.
    pub(crate) fn authenticate(&self, token: &str) -> Option<Identity> {
        self.tokens.identity(token, self.clock.now())
    }

    /// Answers a `TokenRequest` for a service account.
    pub(crate) fn request_token(&mut self, ns: &str, name: &str, body: Value) -> Result<Value> {
        let res = self.resource("", "serviceaccounts")?;
        let account = self.get(&res, &(ns.to_owned(), name.to_owned()))?;
        let seconds = body
            .pointer("/spec/expirationSeconds")
            .and_then(number)
            .unwrap_or(3600);
        if seconds < 600 {
            let gv = ("authentication.k8s.io", "v1");
            let request = Resource::builtin(gv, "tokenrequests", "TokenRequest", Scope::Namespaced);
            let why = format!("{seconds}: may not specify a duration less than 10 minutes");
            let cause = Cause::invalid("spec.expirationSeconds", why);
            return Err(ApiError::invalid(&request, "", &[cause]));
        }
        let expires = self
            .clock
            .now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX);
        let token = format!(
            "sim.{ns}.{name}.{}{}",
            self.next_uid().replace('-', ""),
            self.next_suffix()
        );
        let uid = meta_text(&account, "uid").to_owned();
        let known = Token {
            identity: Identity::service_account(ns, name),
            account: Some(uid),
            expires: Some(expires),
        };
        self.tokens.known.insert(token.clone(), known);
        let mut out = body;
        let m = object(&mut out);
        m.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
        m.insert("kind".into(), "TokenRequest".into());
        let at = self.clock.stamp();
        m.insert(
            "metadata".into(),
            json!({"name": name, "namespace": ns, "creationTimestamp": at}),
        );
        let spec = object(slot(&mut out, "spec"));
        set_default(spec, "audiences", json!(["https://kubernetes.default.svc"]));
        spec.entry("boundObjectRef").or_insert(Value::Null);
        *slot(&mut out, "status") =
            json!({"token": token, "expirationTimestamp": crate::clock::stamp(expires)});
        Ok(out)
    }

    /// Answers the review kinds; `None` if `plural` is not one of them.
    pub(crate) fn review(
        &self,
        who: &Identity,
        group: &str,
        plural: &str,
        body: &Value,
    ) -> Option<Value> {
        let status = match (group, plural) {
            ("authentication.k8s.io", "tokenreviews") => self.token_review(body),
            ("authentication.k8s.io", "selfsubjectreviews") => json!({"userInfo": who.info()}),
            ("authorization.k8s.io", "selfsubjectaccessreviews") => self.access_review(who, body),
            ("authorization.k8s.io", "subjectaccessreviews") => {
                let groups = strings_at(body, "/spec/groups");
                let subject = Identity {
                    user: text_at(body, "/spec/user").to_owned(),
                    groups,
                };
                self.access_review(&subject, body)
            }
            ("authorization.k8s.io", "selfsubjectrulesreviews") => {
                let rules = self.rules_for(who, text_at(body, "/spec/namespace"));
                json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false})
            }
            _ => return None,
        };
        let mut out = body.clone();
        let m = object(&mut out);
        set_default(m, "apiVersion", format!("{group}/v1"));
        set_default(m, "kind", super::discovery::review_kind(group, plural)?);
        if plural == "selfsubjectreviews" {
            *slot(&mut out, "metadata") = json!({"creationTimestamp": self.clock.stamp()});
        }
        *slot(&mut out, "status") = status;
        Some(out)
    }

    fn token_review(&self, body: &Value) -> Value {
        match self.authenticate(text_at(body, "/spec/token")) {
            Some(who) => {
                json!({"authenticated": true, "user": who.info(), "audiences": ["https://kubernetes.default.svc"]})
            }
            None => json!({"authenticated": false, "error": "the token is unknown or has expired"}),
        }
    }

    fn access_review(&self, who: &Identity, body: &Value) -> Value {
        let at = |key: &str| text_at(body, &format!("/spec/resourceAttributes/{key}"));
        let non_resource = text_at(body, "/spec/nonResourceAttributes/path");
        let access = if non_resource.is_empty() {
            Access {
                verb: at("verb"),
                group: at("group"),
                resource: at("resource"),
                subresource: at("subresource"),
                namespace: at("namespace"),
                name: at("name"),
                path: "",
            }
        } else {
            Access {
                path: non_resource,
                verb: text_at(body, "/spec/nonResourceAttributes/verb"),
                ..Access::default()
            }
        };
        if self.allows(who, &access) {
            json!({"allowed": true, "reason": "RBAC: allowed by the simulated API server"})
        } else {
            json!({"allowed": false})
        }
    }
}
