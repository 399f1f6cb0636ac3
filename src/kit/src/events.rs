//! Kubernetes Events about an object: news for people who run `kubectl describe`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tracing::{debug, warn};

use crate::clock::SharedClock;
use crate::error::{CallError, deadline};
use crate::hash::fnv;

/// How long the same news about the same object is one Event with a count.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// How often the count of a series is written at most.
const RECOUNT: SignedDuration = SignedDuration::from_secs(30);
/// An Event is never worth waiting longer for.
const DEADLINE: Duration = Duration::from_secs(5);
/// The API server refuses longer notes.
const NOTE_LIMIT: usize = 1000;

/// Whether an event calls for attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Something went as it should.
    Normal,
    /// Something needs, or may soon need, a person.
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One piece of news.
#[derive(Debug, Clone)]
pub struct News {
    /// Whether it calls for attention.
    pub kind: EventKind,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// What was being done, in one CamelCase word.
    pub action: &'static str,
    /// What, why, and what to do, for people.
    pub note: String,
}

/// Writes Events in the name of one program. Failures are logged once and never matter. Clones share one memory.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    clock: SharedClock,
    controller: String,
    instance: String,
    series: Mutex<Told>,
    complained: AtomicBool,
}

/// What was told lately, by object, reason and note.
struct Told {
    series: BTreeMap<String, Series>,
    /// When the old ones were last taken out.
    swept: Timestamp,
}

#[derive(Clone)]
struct Series {
    name: String,
    count: i32,
    last: Timestamp,
    written: Timestamp,
}

enum Turn {
    Create(String),
    Recount(Series),
    Silent,
}

impl Recorder {
    /// A recorder for `controller`, such as `lifeboat-agent`, running as `instance`.
    pub fn new(client: Client, controller: &str, instance: &str, clock: SharedClock) -> Self {
        let (controller, instance) = (controller.to_owned(), instance.to_owned());
        let told = Told {
            series: BTreeMap::new(),
            swept: clock.now(),
        };
        let (series, complained) = (Mutex::new(told), AtomicBool::new(false));
        Self {
            inner: Arc::new(Inner {
                client,
                clock,
                controller,
                instance,
                series,
                complained,
            }),
        }
    }

    /// Tells news about an object. The same news about the same object within six minutes is counted, not repeated.
    pub async fn tell(&self, about: &ObjectReference, news: News) {
        let now = self.inner.clock.now();
        let namespace = about
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let result = match self.turn(about, &news, now) {
            Turn::Silent => return,
            Turn::Create(name) => self.create(&namespace, name, about, news, now).await,
            Turn::Recount(series) => self.recount(&namespace, &series).await,
        };
        match result {
            Ok(()) => self.inner.complained.store(false, Ordering::Relaxed),
            Err(error) if self.inner.complained.swap(true, Ordering::Relaxed) => {
                debug!(error = %error.full(), "event not written");
            }
            Err(error) => warn!(error = %error.full(), "events cannot be written; saying so once"),
        }
    }

    fn turn(&self, about: &ObjectReference, news: &News, now: Timestamp) -> Turn {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let object = [
            text(&about.namespace),
            text(&about.kind),
            text(&about.name),
            text(&about.uid),
        ]
        .join("/");
        let key = [object.as_str(), news.reason, &news.note].join("|");
        let mut told = self.inner.series.lock();
        let lives = |series: &Series| now.duration_since(series.last) < SERIES;
        // Not for every piece of news: in a storm there are thousands.
        if now.duration_since(told.swept) >= RECOUNT {
            told.series.retain(|_, series| lives(series));
            told.swept = now;
        }
        if let Some(series) = told.series.get_mut(&key).filter(|s| lives(s)) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            if now.duration_since(series.written) < RECOUNT {
                return Turn::Silent;
            }
            series.written = now;
            return Turn::Recount(series.clone());
        }
        let stem: String = text(&about.name).chars().take(200).collect();
        let name = format!(
            "{stem}.{:016x}",
            fnv(&format!("{key}|{}|{now}", self.inner.instance))
        );
        told.series.insert(
            key,
            Series {
                name: name.clone(),
                count: 1,
                last: now,
                written: now,
            },
        );
        Turn::Create(name)
    }

    async fn create(
        &self,
        namespace: &str,
        name: String,
        about: &ObjectReference,
        news: News,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let event = Event {
            action: Some(news.action.to_owned()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            note: Some(clip(news.note)),
            reason: Some(news.reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(self.inner.controller.clone()),
            reporting_instance: Some(self.inner.instance.clone()),
            type_: Some(news.kind.as_str().to_owned()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.inner.client.clone(), namespace);
        deadline(
            "create event",
            DEADLINE,
            api.create(&PostParams::default(), &event),
        )
        .await
        .map(|_| ())
    }

    async fn recount(&self, namespace: &str, series: &Series) -> Result<(), CallError> {
        let api: Api<Event> = Api::namespaced(self.inner.client.clone(), namespace);
        let body = json!({ "series": { "count": series.count, "lastObservedTime": MicroTime(series.last) } });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&body));
        deadline(
            "count event",
            DEADLINE,
            api.patch(&series.name, &params, &patch),
        )
        .await
        .map(|_| ())
    }
}

fn clip(note: String) -> String {
    if note.len() <= NOTE_LIMIT {
        return note;
    }
    let mut end = NOTE_LIMIT - 3;
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", note.get(..end).unwrap_or_default())
}
