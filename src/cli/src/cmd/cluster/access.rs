//! Credentials for the hub: a token of its account, in a kubeconfig that needs nothing else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::config::{Cluster, Kubeconfig};
use kube::{Api, Client};
use lifeboat_api::names;
use lifeboat_kit::deadline;
use serde_json::{Value, json};

use super::install::{PART_OF, object};
use crate::client::READ_DEADLINE;
use crate::failure::Failure;

/// The Secret that the cluster fills with a token for the hub.
const TOKEN_SECRET: &str = "lifeboat-hub-token";
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);
/// How long a token is asked for that cannot be had for ever. The cluster may give less.
const YEAR: i64 = 365 * 24 * 3600;

/// A token.
pub(super) struct Token {
    /// The secret itself.
    pub(super) text: String,
    /// When it ends, if it does.
    pub(super) expires: Option<Timestamp>,
}

/// A token for the hub's account that lasts; if the cluster gives none within `patience`, one that ends.
pub(super) async fn token(client: &Client, patience: Duration) -> Result<Token, Failure> {
    let (account, namespace) = (names::HUB_MANAGER, names::SYSTEM_NAMESPACE);
    object(
        client,
        &json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": TOKEN_SECRET, "namespace": namespace,
                "labels": { PART_OF: "lifeboat" },
                "annotations": { "kubernetes.io/service-account.name": account },
            },
        }),
    )
    .await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Ok(found) = tokio::time::timeout(patience, filled(&secrets)).await {
        return Ok(Token {
            text: found?,
            expires: None,
        });
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec {
        expiration_seconds: Some(YEAR),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest {
        spec,
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let call = accounts.create_token_request(account, &params, &request);
    let answer = deadline(
        format!("request a token for {account}"),
        READ_DEADLINE,
        call,
    )
    .await?;
    let status = answer
        .status
        .ok_or_else(|| Failure::Refused("the cluster gave no token".to_owned()))?;
    Ok(Token {
        text: status.token,
        expires: Some(status.expiration_timestamp.0),
    })
}

async fn filled(secrets: &Api<Secret>) -> Result<String, Failure> {
    loop {
        let secret = deadline(
            format!("get Secret {TOKEN_SECRET}"),
            READ_DEADLINE,
            secrets.get(TOKEN_SECRET),
        )
        .await?;
        let token = secret
            .data
            .and_then(|mut d| d.remove("token"))
            .filter(|t| !t.0.is_empty());
        if let Some(token) = token {
            let text = String::from_utf8(token.0);
            return text.map_err(|_| {
                Failure::Refused(format!("Secret {TOKEN_SECRET} holds no readable token"))
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How a cluster is reached: the part of a kubeconfig that is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its URL.
    pub(super) server: String,
    /// Its certificate authority, PEM in base64; absent if any public one will do.
    pub(super) ca: Option<String>,
    /// The name its certificate carries, when that is not the host of the URL.
    pub(super) tls_name: Option<String>,
}

impl Place {
    /// What a context of the user's kubeconfig says. Whatever the hub would refuse is refused here, with the same reason.
    pub(super) fn of(kubeconfig: &Kubeconfig, context: &str) -> Result<Self, Failure> {
        let wrong =
            |why: &str| Failure::Refused(format!("context {context} of the kubeconfig {why}"));
        let found = kubeconfig.contexts.iter().find(|c| c.name == context);
        let named = found
            .and_then(|c| c.context.as_ref())
            .ok_or_else(|| wrong("does not exist"))?;
        let cluster = kubeconfig.clusters.iter().find(|c| c.name == named.cluster);
        let cluster = cluster
            .and_then(|c| c.cluster.as_ref())
            .ok_or_else(|| wrong("names no cluster"))?;
        if cluster.insecure_skip_tls_verify == Some(true) {
            return Err(wrong(
                "does not verify the server's certificate (insecure-skip-tls-verify); the hub always does",
            ));
        }
        if cluster.proxy_url.is_some() {
            return Err(wrong("goes through a proxy, which the hub does not"));
        }
        let server = cluster
            .server
            .clone()
            .ok_or_else(|| wrong("names no server"))?;
        Ok(Self {
            server,
            ca: authority(cluster)?,
            tls_name: cluster.tls_server_name.clone(),
        })
    }

    /// Whether only this machine finds it there.
    pub(super) fn is_local(&self) -> bool {
        let host = self
            .server
            .split_once("://")
            .map_or(self.server.as_str(), |(_, rest)| rest);
        ["localhost", "127.", "[::1]", "0.0.0.0"]
            .iter()
            .any(|local| host.starts_with(local))
    }

    /// A kubeconfig with everything inline.
    pub(super) fn kubeconfig(&self, name: &str, token: &str) -> Result<String, Failure> {
        let mut cluster = json!({ "server": self.server });
        let mut set = |key: &str, value: &Option<String>| {
            if let (Some(fields), Some(value)) = (cluster.as_object_mut(), value) {
                fields.insert(key.to_owned(), Value::String(value.clone()));
            }
        };
        set("certificate-authority-data", &self.ca);
        set("tls-server-name", &self.tls_name);
        let user = names::HUB_MANAGER;
        let whole = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{ "name": name, "cluster": cluster }],
            "users": [{ "name": user, "user": { "token": token } }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": user } }],
        });
        // JSON is YAML, and needs no care about what a token may contain.
        serde_json::to_string_pretty(&whole)
            .map_err(|e| Failure::Refused(format!("could not write a kubeconfig: {e}")))
    }
}

fn authority(cluster: &Cluster) -> Result<Option<String>, Failure> {
    if let Some(data) = &cluster.certificate_authority_data {
        return Ok(Some(data.clone()));
    }
    let Some(path) = &cluster.certificate_authority else {
        return Ok(None);
    };
    let pem = std::fs::read(path);
    let pem = pem.map_err(|source| Failure::Io {
        what: "read the certificate authority of the cluster",
        source,
    })?;
    Ok(Some(STANDARD.encode(pem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(cluster: &str) -> Kubeconfig {
        Kubeconfig::from_yaml(&format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {cluster}\nusers:\n- name: u\n  user: {{}}\n\
             contexts:\n- name: east\n  context: {{cluster: c, user: u}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_kubeconfig_carries_everything_the_hub_needs_and_nothing_of_the_user() {
        let place =
            Place::of(&user("{server: 'https://e:6443', certificate-authority-data: Q0E=, tls-server-name: e.local}"), "east").unwrap();
        let made = Kubeconfig::from_yaml(&place.kubeconfig("east", "t0k\"en").unwrap()).unwrap();
        assert_eq!(made.current_context.as_deref(), Some("east"));
        assert_eq!(Place::of(&made, "east").unwrap(), place);
        let cluster = made.clusters[0].cluster.clone().unwrap();
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("Q0E="));
        assert_eq!(cluster.tls_server_name.as_deref(), Some("e.local"));
        assert_eq!(made.auth_infos.len(), 1);
    }

    #[test]
    fn what_the_hub_would_refuse_is_refused() {
        for (cluster, word) in [
            (
                "{server: 'https://e', insecure-skip-tls-verify: true}",
                "verify",
            ),
            ("{server: 'https://e', proxy-url: 'http://p'}", "proxy"),
            ("{certificate-authority-data: Q0E=}", "no server"),
        ] {
            let error = Place::of(&user(cluster), "east").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(
            Place::of(&user("{server: 'https://e'}"), "west")
                .unwrap_err()
                .to_string()
                .contains("does not exist")
        );
    }

    #[test]
    fn addresses_of_this_machine_are_noticed() {
        let at = |server: &str| {
            Place {
                server: server.to_owned(),
                ca: None,
                tls_name: None,
            }
            .is_local()
        };
        assert!(
            at("https://127.0.0.1:6443") && at("https://localhost") && at("https://[::1]:6443")
        );
        assert!(!at("https://east.example.com:6443") && !at("https://10.0.0.1"));
    }
}
