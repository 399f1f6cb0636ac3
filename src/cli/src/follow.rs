//! Following a move to its end, by watching the placement.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::watcher;
use lifeboat_api::DRPlacement;
use lifeboat_kit::task::spawn;
use lifeboat_kit::{Clock, SystemClock, WatchEvent, watch_into};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::client::WATCH_SECONDS;
use crate::failure::Failure;
use crate::output::{Format, answer, say};
use crate::placement::{Subject, Wish};
use crate::verdict::{Verdict, judge, line};
use crate::view::progress::Progress;

/// How long a move must stand still before it counts as blocked: a blocker may be a glimpse of something that passes.
const STUCK: Duration = Duration::from_secs(5);

/// Follows a move that was asked for at `generation`: says what happens, and answers when it is over.
pub(crate) async fn follow(
    subject: &Subject,
    wish: &Wish,
    generation: i64,
    limit: Duration,
    format: Format,
) -> Result<(), Failure> {
    let (send, mut events) = mpsc::unbounded_channel();
    let config = watcher::Config::default()
        .timeout(WATCH_SECONDS)
        .fields(&format!("metadata.name={}", subject.name));
    let stop = CancellationToken::new();
    let sink = move |event| drop(send.send(event));
    let _watch = spawn(
        "follow",
        watch_into(subject.api.clone(), config, sink, stop.clone()),
    );
    let _stops = stop.drop_guard();

    let end = Instant::now() + limit;
    let started = SystemClock.now();
    let mut progress = Progress::new(started);
    let mut blocked: Option<(Instant, String)> = None;
    let mut last: Option<DRPlacement> = None;
    loop {
        let until = blocked
            .as_ref()
            .map_or(end, |(since, _)| (*since + STUCK).min(end));
        let Ok(event) = timeout_at(until, events.recv()).await else {
            return match blocked {
                Some((since, why)) if since + STUCK <= end => Err(Failure::Refused(why)),
                _ => Err(Failure::TimedOut(late(last.as_ref(), limit))),
            };
        };
        let Some(placement) = take(event)? else {
            continue;
        };
        for text in progress.lines(&placement, SystemClock.now()) {
            say(&text);
        }
        match judge(&placement, wish, generation) {
            Verdict::Done => return finish(&placement, started, format),
            Verdict::Over(why) => return Err(Failure::Refused(why)),
            Verdict::Blocked(why) => {
                let since = blocked.take().map_or_else(Instant::now, |(since, _)| since);
                blocked = Some((since, why));
            }
            Verdict::Running => blocked = None,
        }
        last = Some(placement);
    }
}

fn take(event: Option<WatchEvent<DRPlacement>>) -> Result<Option<DRPlacement>, Failure> {
    let gone = || Failure::Refused("the placement was deleted".to_owned());
    match event {
        Some(WatchEvent::Synced(all)) => all.into_iter().next().map(Some).ok_or_else(gone),
        Some(WatchEvent::Apply(placement)) => Ok(Some(placement)),
        Some(WatchEvent::Delete(_)) => Err(gone()),
        Some(WatchEvent::Lost(why)) => {
            say(&format!("lost sight of the hub, trying again: {why}"));
            Ok(None)
        }
        None => Err(Failure::Refused(
            "the watch of the placement ended".to_owned(),
        )),
    }
}

fn finish(placement: &DRPlacement, started: Timestamp, format: Format) -> Result<(), Failure> {
    let words = crate::view::progress::summary(placement, started, SystemClock.now());
    answer(format, placement, &words)
}

fn late(last: Option<&DRPlacement>, limit: Duration) -> String {
    let mut text = format!(
        "not over within {}; it goes on without this command",
        crate::view::text::span(limit)
    );
    if let Some(status) = last.and_then(|p| p.status.as_ref()) {
        if let Some(step) = &status.step {
            text.push_str("\n  now: ");
            text.push_str(step);
        }
        let available = lifeboat_api::common::condition(&status.conditions, "Available");
        if let Some(down) = available.filter(|c| c.status == "False") {
            text.push_str("\n  not available: ");
            text.push_str(&down.message);
        }
        for blocker in &status.blockers {
            text.push_str("\n  ");
            text.push_str(&line(blocker).replace('\n', "\n  "));
        }
    }
    text
}
