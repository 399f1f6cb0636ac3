//! An API server that knows nothing but Secrets of one namespace, and fails when told to.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Method, Request, Response};
use kube::client::Body;
use lifeboat_capture::Capture;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::{Archive, SecretsArchive};

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Fault {
    /// It never arrives.
    Lost,
    /// It is executed, but the answer is lost.
    ReplyLost,
    /// Nobody ever answers.
    Silence,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Value>,
    served: usize,
    fault: Option<(usize, Fault)>,
    /// After the fault, nothing gets through any more: the hub is dead.
    dead: bool,
    /// Written by another hub from beginning to end, just before the nth request is served.
    meanwhile: Option<(usize, Capture)>,
}

/// An API server that knows nothing but Secrets of one namespace.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<State>>);

impl Server {
    pub(super) fn archive(&self) -> SecretsArchive {
        let server = self.clone();
        let service =
            tower::service_fn(move |request: Request<Body>| server.clone().serve(request));
        SecretsArchive::new(kube::Client::new(service, "dr"), "dr")
            .with_chunk_size(NonZeroUsize::new(200).unwrap())
            .with_deadline(Duration::from_secs(5))
    }

    /// Makes the nth request from now fail, and the hub die with it.
    pub(super) fn die_at(&self, nth: usize, fault: Fault) {
        let mut state = self.0.lock();
        state.fault = Some((state.served + nth, fault));
    }

    /// Lets requests through again; says whether the fault had struck.
    pub(super) fn revive(&self) -> bool {
        let mut state = self.0.lock();
        state.fault = None;
        std::mem::take(&mut state.dead)
    }

    pub(super) fn served(&self) -> usize {
        self.0.lock().served
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().secrets.keys().cloned().collect()
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().secrets.remove(name).unwrap();
    }

    /// Changes the bytes that a Secret holds.
    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let data = state.secrets.get_mut(name).unwrap()["data"]
            .as_object_mut()
            .unwrap();
        let value = data.values_mut().next().unwrap();
        let mut bytes = BASE64.decode(value.as_str().unwrap()).unwrap();
        change(&mut bytes);
        *value = json!(BASE64.encode(bytes));
    }

    pub(super) fn metadata(&self, name: &str, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.lock().secrets.get_mut(name).unwrap()["metadata"]);
    }

    /// The Secrets, to look at or to change.
    pub(super) fn secrets<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        look(&mut self.0.lock().secrets)
    }

    /// Whether the other hub still waits for its turn.
    pub(super) fn waiting(&self) -> bool {
        self.0.lock().meanwhile.is_some()
    }

    /// Lets another hub write before the nth request from now.
    pub(super) fn meanwhile_at(&self, nth: usize, capture: Capture) {
        let mut state = self.0.lock();
        state.meanwhile = Some((state.served + nth, capture));
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        let fault = {
            let mut state = self.0.lock();
            if state.dead {
                return Err(std::io::Error::other("dead"));
            }
            state.served += 1;
            let served = state.served;
            let fault = state
                .fault
                .filter(|(at, _)| *at == served)
                .map(|(_, fault)| fault);
            state.dead = fault.is_some();
            fault
        };
        let due = |state: &mut State| {
            state
                .meanwhile
                .take_if(|(at, _)| *at <= state.served)
                .map(|(_, capture)| capture)
        };
        let other = due(&mut self.0.lock());
        if let Some(capture) = other {
            // It may be refused; that is for the test to judge by what the archive says afterwards.
            drop(self.archive().put(&capture).await);
        }
        if fault == Some(Fault::Lost) {
            return Err(std::io::Error::other("lost"));
        }
        if fault == Some(Fault::Silence) {
            std::future::pending::<()>().await;
        }
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let (code, answer) = self.answer(&parts.method, &parts.uri, &body);
        if fault == Some(Fault::ReplyLost) {
            return Err(std::io::Error::other("reply lost"));
        }
        Ok(Response::builder()
            .status(code)
            .body(Body::from(answer.to_string().into_bytes()))
            .unwrap())
    }

    fn answer(&self, method: &Method, uri: &http::Uri, body: &[u8]) -> (u16, Value) {
        let secrets = &mut self.0.lock().secrets;
        let name = uri
            .path()
            .strip_prefix("/api/v1/namespaces/dr/secrets")
            .unwrap()
            .trim_start_matches('/');
        let refuse = |code: u16, reason: &str| {
            (
                code,
                json!({ "kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": code }),
            )
        };
        match *method {
            Method::POST => {
                let secret: Value = serde_json::from_slice(body).unwrap();
                let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
                if secrets.contains_key(&name) {
                    return refuse(409, "AlreadyExists");
                }
                secrets.insert(name, secret.clone());
                (201, secret)
            }
            Method::DELETE => match secrets.remove(name) {
                Some(secret) => (200, secret),
                None => refuse(404, "NotFound"),
            },
            _ => (200, list(secrets, uri.query().unwrap_or_default())),
        }
    }
}

fn list(secrets: &BTreeMap<String, Value>, query: &str) -> Value {
    let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let selects = |secret: &Value| {
        let labels = &secret["metadata"]["labels"];
        let labelled = match query["labelSelector"].split_once('=') {
            Some((label, wanted)) => labels[label] == wanted,
            None => !labels[&query["labelSelector"]].is_null(),
        };
        let kind = query
            .get("fieldSelector")
            .map(|f| f.strip_prefix("type=").unwrap());
        labelled && kind.is_none_or(|kind| secret["type"] == kind)
    };
    let after = query.get("continue").map_or("", String::as_str);
    let limit: usize = query["limit"].parse().unwrap();
    let mut hits: Vec<&Value> = secrets
        .iter()
        .filter(|(name, secret)| name.as_str() > after && selects(secret))
        .map(|(_, secret)| secret)
        .collect();
    let more = hits.len() > limit;
    hits.truncate(limit);
    let token = hits
        .last()
        .filter(|_| more)
        .map_or(json!(""), |secret| secret["metadata"]["name"].clone());
    json!({ "kind": "SecretList", "apiVersion": "v1", "metadata": { "continue": token }, "items": hits })
}
