//! Events on their way: told without waiting, written by a task of its own. Nobody waits for an Event; what finds no
//! room is lost, and counted.

use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use lifeboat_kit::events::News;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tracing::warn;

/// How many Events may wait to be written.
const WAITING: usize = 1024;

/// News about an object.
pub(crate) type Told = (ObjectReference, News);

/// Where news are handed in.
pub(crate) struct Desk {
    waiting: mpsc::Sender<Told>,
    dropped: Counter,
    /// Whether news are being lost; it ends when half of the room is free again.
    flooded: AtomicBool,
}

impl Desk {
    /// A desk, and where its news come out. `dropped` counts what is lost.
    pub(crate) fn new(dropped: Counter) -> (Self, mpsc::Receiver<Told>) {
        Self::with_room(WAITING, dropped)
    }

    fn with_room(room: usize, dropped: Counter) -> (Self, mpsc::Receiver<Told>) {
        let (waiting, told) = mpsc::channel(room);
        let flooded = AtomicBool::new(false);
        let desk = Self {
            waiting,
            dropped,
            flooded,
        };
        (desk, told)
    }

    /// Hands in news. Never waits.
    pub(crate) fn tell(&self, about: ObjectReference, news: News) {
        if self.waiting.capacity() * 2 >= self.waiting.max_capacity() {
            self.flooded.store(false, Ordering::Relaxed);
        }
        let Err(mpsc::error::TrySendError::Full(_)) = self.waiting.try_send((about, news)) else {
            return; // once nobody writes any more the hub is ending
        };
        self.dropped.inc();
        if !self.flooded.swap(true, Ordering::Relaxed) {
            let waiting = self.waiting.max_capacity();
            warn!(
                waiting,
                "Events are lost, for they come faster than they can be written; saying so once"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use lifeboat_kit::events::EventKind;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Counts log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            if event.metadata().target() == module_path!().trim_end_matches("::tests") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said_once_per_burst() {
        let (lines, dropped) = (Lines::default(), Counter::default());
        let (desk, mut told) = Desk::with_room(4, dropped.clone());
        let tell = |times: usize| {
            for _ in 0..times {
                let news = News {
                    kind: EventKind::Normal,
                    reason: "Moved",
                    action: "Reconcile",
                    note: String::new(),
                };
                desk.tell(ObjectReference::default(), news);
            }
        };
        let seen = || (dropped.get(), lines.0.load(Ordering::Relaxed));
        tracing::subscriber::with_default(lines.clone(), || {
            tell(4);
            assert_eq!(seen(), (0, 0));
            tell(3);
            assert_eq!(seen(), (3, 1));
            // One place that becomes free is not the end of it.
            told.try_recv().unwrap();
            tell(2);
            assert_eq!(seen(), (4, 1));
            for _ in 0..3 {
                told.try_recv().unwrap();
            }
            tell(4);
            assert_eq!(seen(), (5, 2));
            drop(told);
            tell(1);
            assert_eq!(seen(), (5, 2));
        });
    }
}
