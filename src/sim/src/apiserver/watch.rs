//! Watches: where one starts, and the stream of lines it becomes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{ApiError, Result};
use super::link::{ConnectionError, Link, Passage};
use super::log::{Change, LogEntry, render};
use super::present::Presenter;
use super::request::{Form, Request, ResourcePath};
use super::resource::Resource;
use super::select::Selector;
use super::store::State;
use super::tree::{meta_mut, slot_at};
use super::{ApiServer, present};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(1800);

/// A watch as the request asked for it, positioned in the log.
#[derive(Debug)]
pub(crate) struct WatchStart {
    stored: Arc<Resource>,
    presenter: Presenter,
    namespace: String,
    selector: Selector,
    position: u64,
    tip: watch::Receiver<u64>,
    lasts: Duration,
    bookmarks: bool,
    /// How many events were rendered: the first table says what its columns are.
    events: usize,
    first: Bytes,
}

impl State {
    /// Opens a watch.
    pub(crate) fn watch(
        &self,
        path: &ResourcePath<'_>,
        stored: &Arc<Resource>,
        request: &Request,
        presenter: Presenter,
    ) -> Result<WatchStart> {
        let named = if path.name.is_empty() {
            String::new()
        } else {
            format!("metadata.name={}", path.name)
        };
        let fields = match (request.param("fieldSelector"), named.as_str()) {
            (asked, "") => asked.to_owned(),
            ("", named) => named.to_owned(),
            (asked, named) => format!("{asked},{named}"),
        };
        let selector = Selector::parse(&presenter.res, request.param("labelSelector"), &fields)?;
        let from = request.param("resourceVersion");
        super::read::parse_version(from)?;
        let table = self.table(stored)?;
        let initial = request.is_set("sendInitialEvents");
        let mut events = 0;
        let (position, first) = if initial || matches!(from, "" | "0") {
            let mut lines = Vec::new();
            let now = self.clock.now();
            for (_, obj) in table.scan(path.namespace, None) {
                if selector.matches_object(stored, obj) {
                    let object = shown(&presenter, obj, now, &mut events);
                    lines.extend_from_slice(&render("ADDED", &object));
                }
            }
            if initial {
                lines.extend_from_slice(&render(
                    "BOOKMARK",
                    &initial_end(&presenter, self.version()),
                ));
            }
            (self.version(), Bytes::from(lines))
        } else {
            (from.parse().unwrap_or_default(), Bytes::new())
        };
        let lasts = request
            .param("timeoutSeconds")
            .parse()
            .map_or(LONGEST, Duration::from_secs);
        Ok(WatchStart {
            stored: stored.clone(),
            presenter,
            namespace: path.namespace.to_owned(),
            selector,
            position,
            tip: table.tip.subscribe(),
            lasts,
            bookmarks: request.is_set("allowWatchBookmarks"),
            events,
            first,
        })
    }

    /// The lines since the watch's position, which moves on; an error line if some of them are lost.
    fn lines_since(&self, w: &mut WatchStart) -> std::result::Result<Bytes, Bytes> {
        let gone = |position: u64| {
            let status = ApiError::new(
                410,
                "Expired",
                format!("too old resource version: {position} ({})", self.version()),
            );
            render("ERROR", &status.status())
        };
        let Ok(table) = self.table(&w.stored) else {
            return Err(gone(w.position));
        };
        if w.position < table.floor && !table.log.is_empty() {
            return Err(gone(w.position));
        }
        let start = table.log.partition_point(|e| e.rv <= w.position);
        let plain = w.selector.is_all() && w.presenter.is_plain();
        let mut lines: Vec<Bytes> = Vec::new();
        for (at, entry) in table.log.iter().enumerate().skip(start) {
            w.position = entry.rv;
            if !w.namespace.is_empty() && entry.facts.key.0 != w.namespace {
                continue;
            }
            if plain {
                lines.push(entry.line.clone());
                continue;
            }
            let was = entry.before.as_ref().is_some_and(|f| w.selector.matches(f));
            let is = entry.change != Change::Deleted && w.selector.matches(&entry.facts);
            let change = match (was, is) {
                (false, true) => Change::Added,
                (true, true) => Change::Modified,
                (true, false) => Change::Deleted,
                (false, false) => continue,
            };
            let left = change == Change::Deleted && entry.change != Change::Deleted;
            let object = if left {
                last_selected(table.log.range(..at), entry)
            } else {
                entry.object()
            };
            let object = shown(&w.presenter, &object, self.clock.now(), &mut w.events);
            lines.push(render(change.as_str(), &object));
        }
        // One line is the common case, and needs no copy.
        match <[Bytes; 1]>::try_from(lines) {
            Ok([one]) => Ok(one),
            Err(many) => Ok(Bytes::from(many.concat())),
        }
    }
}

/// An object as one of the events of a watch shows it.
fn shown(presenter: &Presenter, obj: &Value, now: jiff::Timestamp, events: &mut usize) -> Value {
    let mut v = presenter.one(obj, now);
    if presenter.form == Form::Table && *events > 0 {
        super::tree::object(&mut v).insert("columnDefinitions".into(), Value::Null);
    }
    *events += 1;
    v
}

/// An object that is selected no more, as it was when it still was; the version is that of the change.
fn last_selected<'a>(
    earlier: impl DoubleEndedIterator<Item = &'a LogEntry>,
    entry: &LogEntry,
) -> Value {
    let before = earlier.rev().find(|e| e.facts.key == entry.facts.key);
    let mut object = before.unwrap_or(entry).object();
    meta_mut(&mut object).insert("resourceVersion".into(), entry.rv.to_string().into());
    object
}

fn initial_end(presenter: &Presenter, rv: u64) -> Value {
    let mut v = presenter.bookmark(rv);
    if presenter.form == Form::Table {
        let object = present::partial(&initial_end_marker(rv));
        *slot_at(&mut v, &["rows"]) = serde_json::json!([{"cells": [], "object": object}]);
    } else {
        let (version, kind) = (presenter.res.api_version(), &presenter.res.kind);
        let empty = format!(
            "{{\"kind\":\"{kind}List\",\"apiVersion\":\"{version}\",\"metadata\":{{}},\"items\":null}}\n"
        );
        meta_mut(&mut v).insert(
            "annotations".into(),
            serde_json::json!({"k8s.io/initial-events-end": "true",
                "kubernetes.io/initial-events-list-blueprint": STANDARD.encode(empty)}),
        );
    }
    v
}

fn initial_end_marker(rv: u64) -> Value {
    serde_json::json!({"metadata": {"resourceVersion": rv.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}})
}

/// The next bookmark: once a minute, and shortly before the end.
fn bookmark_after(now: Instant, end: Instant) -> Instant {
    let regular = now + BOOKMARK_EVERY;
    match end.checked_sub(LAST_BOOKMARK) {
        Some(last) if last > now => regular.min(last),
        _ => regular,
    }
}

/// A watch being served on a link.
struct Served {
    server: Arc<ApiServer>,
    link: Link,
    passage: watch::Receiver<Passage>,
    power: watch::Receiver<Passage>,
    drops: watch::Receiver<u64>,
    start: WatchStart,
    end: Instant,
    bookmark_at: Option<Instant>,
    /// Lines on their way, and when they arrive.
    travelling: Option<(Instant, Bytes)>,
    ended: bool,
}

/// The stream of lines of a watch.
pub(crate) fn stream(
    server: Arc<ApiServer>,
    link: Link,
    mut start: WatchStart,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let now = Instant::now();
    let first = std::mem::take(&mut start.first);
    let watch = Served {
        passage: link.passage(),
        power: server.power(),
        drops: link.drops(),
        end: now + start.lasts,
        bookmark_at: start
            .bookmarks
            .then(|| bookmark_after(now, now + start.lasts)),
        travelling: (!first.is_empty()).then(|| (now + link.one_way(), first)),
        ended: false,
        server,
        link,
        start,
    };
    futures::stream::unfold(watch, Served::next)
}

/// What is to be done next.
enum Step {
    Deliver(Bytes),
    End,
    Break,
    WaitUntil(Instant),
    WaitForPassage,
}

impl Served {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            match self.step() {
                Step::Deliver(lines) => return Some((Ok(lines), self)),
                Step::End => return None,
                Step::Break => {
                    self.ended = true;
                    return Some((Err(ConnectionError::Reset.into()), self));
                }
                Step::WaitUntil(at) => self.wait(Some(at)).await,
                Step::WaitForPassage => self.wait(None).await,
            }
        }
    }

    fn step(&mut self) -> Step {
        if self.ended || self.drops.has_changed().unwrap_or(true) {
            return Step::End;
        }
        match (
            *self.passage.borrow_and_update(),
            *self.power.borrow_and_update(),
        ) {
            (Passage::Open, Passage::Open) => {}
            (Passage::Refused, _) | (_, Passage::Refused) => return Step::Break,
            _ => return Step::WaitForPassage,
        }
        let now = Instant::now();
        if let Some((at, lines)) = self.travelling.take() {
            if at <= now {
                return Step::Deliver(lines);
            }
            self.travelling = Some((at, lines));
            return Step::WaitUntil(at);
        }
        self.start.tip.borrow_and_update();
        match self.server.read(|state| state.lines_since(&mut self.start)) {
            Err(expired) => {
                self.ended = true;
                return Step::Deliver(expired);
            }
            Ok(lines) if !lines.is_empty() => return self.send(now, lines),
            Ok(_) => {}
        }
        if now >= self.end {
            return Step::End;
        }
        if self.bookmark_at.is_some_and(|at| at <= now) {
            self.bookmark_at = Some(bookmark_after(now, self.end));
            return self.send(
                now,
                render(
                    "BOOKMARK",
                    &self.start.presenter.bookmark(self.start.position),
                ),
            );
        }
        Step::WaitUntil(self.bookmark_at.map_or(self.end, |b| b.min(self.end)))
    }

    fn send(&mut self, now: Instant, lines: Bytes) -> Step {
        let delay = self.link.one_way();
        if delay.is_zero() {
            return Step::Deliver(lines);
        }
        self.travelling = Some((now + delay, lines));
        Step::WaitUntil(now + delay)
    }

    /// Waits for anything that may change what to do: the path, the server, the table (not while lines travel), time.
    async fn wait(&mut self, until: Option<Instant>) {
        let listening = until.is_some() && self.travelling.is_none();
        let timer = async {
            match until {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let closed = tokio::select! {
            biased;
            r = self.passage.changed() => r.is_err(),
            r = self.power.changed() => r.is_err(),
            r = self.drops.changed() => { self.ended = true; r.is_err() }
            r = self.start.tip.changed(), if listening => r.is_err(),
            () = timer => false,
        };
        self.ended = self.ended || closed;
    }
}
