//! Where a secret could be seen: all that is logged at any level, and all objects but the Secrets themselves.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use http::Request;
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::world::MARK;

/// What must not be seen, and where it was.
#[derive(Clone, Default)]
pub(crate) struct Leaks {
    marks: Arc<Vec<String>>,
    found: Arc<Mutex<Vec<String>>>,
    lines: Arc<Mutex<u64>>,
}

impl Leaks {
    /// Looks for the secrets of the rows, and for `more`.
    pub(crate) fn new(more: Option<String>) -> Self {
        // Three bytes make four letters; what follows the last three has a part in the letters after them.
        let whole = &MARK.as_bytes()[..MARK.len() / 3 * 3];
        let base64 = base64::engine::general_purpose::STANDARD.encode(whole);
        let mut marks = vec![MARK.to_owned(), base64];
        marks.extend(more);
        Self {
            marks: Arc::new(marks),
            ..Self::default()
        }
    }

    /// Takes a text that anybody might read.
    pub(crate) fn look(&self, place: &str, text: &str) {
        *self.lines.lock() += 1;
        if self.marks.iter().any(|mark| text.contains(mark)) {
            self.found.lock().push(format!("{place}: {text}"));
        }
    }

    pub(crate) fn found(&self) -> Vec<String> {
        self.found.lock().clone()
    }

    /// How many texts were looked at: a search that saw nothing proves nothing.
    pub(crate) fn looked(&self) -> u64 {
        *self.lines.lock()
    }

    /// Looks at every object that the server has, but for Secrets.
    pub(crate) async fn sweep(&self, client: &Client) {
        let paths = paths(client).await;
        assert!(paths.len() > 20, "{paths:?}");
        for path in paths {
            // A kind that cannot be listed holds nothing to list.
            if let Ok(list) = ask(client, &path).await {
                for object in list["items"].as_array().into_iter().flatten() {
                    self.look(&path, &object.to_string());
                }
            }
        }
    }
}

/// Every kind that can be listed, as a path over all namespaces.
async fn paths(client: &Client) -> Vec<String> {
    let mut bases = vec!["/api/v1".to_owned()];
    let groups = ask(client, "/apis").await.unwrap();
    for group in groups["groups"].as_array().unwrap() {
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
        bases.push(format!("/apis/{version}"));
    }
    let mut paths = Vec::new();
    for base in bases {
        let Ok(list) = ask(client, &base).await else {
            continue;
        };
        for resource in list["resources"].as_array().into_iter().flatten() {
            let name = resource["name"].as_str().unwrap_or_default();
            if !name.contains('/') && name != "secrets" {
                paths.push(format!("{base}/{name}"));
            }
        }
    }
    paths
}

async fn ask(client: &Client, path: &str) -> kube::Result<Value> {
    let request = Request::get(path).body(Vec::new()).unwrap();
    client.request(request).await
}

/// The text of the fields of one event or span.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.extend([" ", field.name(), "=", &text]);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.extend([" ", field.name(), "=", value]);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut error = Some(value);
        while let Some(cause) = error {
            let text = format!("{cause} {cause:?}");
            self.0.extend([" ", field.name(), "=", &text]);
            error = cause.source();
        }
    }
}

impl Leaks {
    fn said(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(String::new());
        record(&mut fields);
        self.look(metadata.target(), &fields.0);
    }
}

/// Sees every event and every field of a span, at every level.
impl<S: Subscriber> Layer<S> for Leaks {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.said(span.metadata(), |fields| span.record(fields));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.look("span", &fields.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.said(event.metadata(), |fields| event.record(fields));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::world::SECRET;

    #[test]
    fn a_secret_is_found_wherever_it_is_said() {
        let (leaks, harmless) = (Leaks::new(Some("to.ken".to_owned())), "nothing".to_owned());
        let all = tracing_subscriber::registry().with(leaks.clone());
        tracing::subscriber::with_default(all, || {
            tracing::trace!(value = ?Some(SECRET), "a field");
            tracing::info!("a message with {SECRET}");
            tracing::info_span!("a span", key = SECRET).in_scope(|| ());
            tracing::debug!(harmless);
            tracing::error!(token = "Bearer to.ken");
        });
        let base64 = base64::engine::general_purpose::STANDARD.encode(SECRET);
        leaks.look("an object", &base64);
        assert_eq!((leaks.found().len(), leaks.looked()), (5, 6));
    }
}
