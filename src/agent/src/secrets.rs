//! Credentials for drivers, read when needed. Secrets are not watched: that would take the right to read all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use lifeboat_drivers::Secrets;
use lifeboat_kit::deadline;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::view::{Key, SecretView};

/// How long what was read is used again.
const KEPT: Duration = Duration::from_secs(30);
/// How long "there is none" is believed.
const MISSED: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(10);

/// What was read of one Secret, and how long it is used.
type Kept = Arc<Mutex<Option<(Instant, SecretView)>>>;

pub(crate) struct SecretReader {
    client: Client,
    kept: DashMap<Key, Kept>,
}

impl SecretReader {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kept: DashMap::default(),
        }
    }

    /// The credentials in a Secret. Volumes that share one share the reading.
    pub(crate) async fn read(&self, key: &Key) -> SecretView {
        let kept = Kept::clone(&self.kept.entry(key.clone()).or_default());
        // Held while reading: a hundred volumes that start together read their Secret once. Nobody waits for another one.
        let mut kept = kept.lock().await;
        if let Some((until, view)) = &*kept
            && *until > Instant::now()
        {
            return view.clone();
        }
        let view = self.fetch(key).await;
        let lasts = match &view {
            SecretView::Present(_) => KEPT,
            SecretView::Unusable { .. } => MISSED,
        };
        *kept = Some((Instant::now() + lasts, view.clone()));
        view
    }

    /// Forgets one that the driver did not accept: it may have been rotated.
    pub(crate) async fn distrust(&self, key: &Key) {
        let kept = self.kept.get(key).map(|kept| Kept::clone(&kept));
        // A reading that is under way may be older than the refusal: it is waited for, and forgotten too.
        if let Some(kept) = kept {
            *kept.lock().await = None;
        }
    }

    async fn fetch(&self, key: &Key) -> SecretView {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let answer = deadline(
            format!("get secret {key}"),
            DEADLINE,
            api.get_opt(&key.name),
        )
        .await;
        let secret = match answer {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                return SecretView::Unusable {
                    why: format!("Secret {key} does not exist; create it"),
                };
            }
            Err(error) => return SecretView::Unusable { why: error.full() },
        };
        let mut values = BTreeMap::new();
        for (name, bytes) in secret.data.unwrap_or_default() {
            match String::from_utf8(bytes.0) {
                Ok(text) => values.insert(name, text),
                Err(_) => {
                    return SecretView::Unusable {
                        why: format!("Secret {key}: value of {name} is not text"),
                    };
                }
            };
        }
        SecretView::Present(Secrets::new(values))
    }
}
