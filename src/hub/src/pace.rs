//! When a report may be written: news at once, mere progress now and then, and never more of it than an API server has
//! room for, however many placements move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::resolve::PlacementKey;

/// How soon news follow a write: two hubs that both act and see things differently must not write against each other at
/// full speed.
const NEWS: Duration = Duration::from_millis(20);
/// How long mere progress waits for more of it, so that twenty volumes are not twenty writes.
const PROGRESS: Duration = Duration::from_millis(250);
/// Between two writes of mere progress, of whichever placements: with a thousand of them on their way, what is told of
/// it must not take the time of what is done.
const APART: Duration = Duration::from_millis(20);

/// What a report says beyond the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Something that a person, `kubectl wait` or the planner acts on.
    News,
    /// How far things have come.
    Progress,
}

/// Who wrote when, and who is next.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    writers: Mutex<Writers>,
}

#[derive(Debug, Default)]
struct Writers {
    known: BTreeMap<PlacementKey, Writer>,
    /// The first moment that nobody has been given yet.
    free: Option<Instant>,
    /// Earlier moments that were given, and given back: their progress was told with news, or their placement is gone.
    back: BTreeSet<Instant>,
}

#[derive(Debug)]
struct Writer {
    wrote: Instant,
    /// The moment that this one was given for its progress.
    given: Option<Instant>,
}

impl Pace {
    /// How long a report of this placement has to wait; none if it may be written now. Whoever has to wait keeps its
    /// moment, however often it asks.
    pub(crate) fn wait(&self, key: &PlacementKey, weight: Weight) -> Option<Duration> {
        let now = Instant::now();
        let mut writers = self.writers.lock();
        let Writers { known, free, back } = &mut *writers;
        let writer = known.get_mut(key)?;
        let due = match weight {
            Weight::News => writer.wrote + NEWS,
            Weight::Progress => *writer.given.get_or_insert_with(|| {
                *back = back.split_off(&now);
                let soonest = back.range(writer.wrote + PROGRESS..).next().copied();
                if let Some(given) = soonest {
                    back.remove(&given);
                    return given;
                }
                let given = free.unwrap_or(now).max(writer.wrote + PROGRESS);
                *free = Some(given.max(now) + APART);
                given
            }),
        };
        Some(due.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The status of this placement was written.
    pub(crate) fn wrote(&self, key: &PlacementKey) {
        let wrote = Instant::now();
        let writer = Writer { wrote, given: None };
        let mut writers = self.writers.lock();
        let before = writers.known.insert(key.clone(), writer);
        writers.take_back(before, wrote);
    }

    /// The placement is gone.
    pub(crate) fn forget(&self, key: &PlacementKey) {
        let mut writers = self.writers.lock();
        let before = writers.known.remove(key);
        writers.take_back(before, Instant::now());
    }
}

impl Writers {
    /// Takes the moment of one that does not need it any more, unless it has come.
    fn take_back(&mut self, writer: Option<Writer>, now: Instant) {
        let given = writer.and_then(|writer| writer.given);
        self.back.extend(given.filter(|given| *given > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> PlacementKey {
        PlacementKey {
            namespace: "shop".into(),
            name: format!("app-{n}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_follow_at_once_and_progress_waits_for_more() {
        let pace = Pace::default();
        assert_eq!(
            pace.wait(&key(0), Weight::Progress),
            None,
            "nothing was said yet"
        );
        pace.wrote(&key(0));
        assert_eq!(pace.wait(&key(0), Weight::News), Some(NEWS));
        assert_eq!(pace.wait(&key(0), Weight::Progress), Some(PROGRESS));
        let more = PROGRESS.saturating_sub(NEWS);
        tokio::time::advance(NEWS).await;
        assert_eq!(pace.wait(&key(0), Weight::News), None);
        assert_eq!(pace.wait(&key(0), Weight::Progress), Some(more));
        tokio::time::advance(more).await;
        assert_eq!(pace.wait(&key(0), Weight::Progress), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_together_write_their_progress_one_after_the_other() {
        let pace = Pace::default();
        (0..100).for_each(|n| pace.wrote(&key(n)));
        let ask = || (0..100).map(|n| pace.wait(&key(n), Weight::Progress));
        let first: Vec<_> = ask().collect();
        let steps = first.windows(2).map(|pair| pair[1].zip(pair[0]));
        assert!(
            steps
                .flatten()
                .all(|(later, sooner)| later >= sooner + APART),
            "{first:?}"
        );
        assert!(ask().eq(first), "asking again must not move anybody back");
        assert_eq!(
            pace.wait(&key(99), Weight::News),
            Some(NEWS),
            "news wait for nobody"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_was_not_used_is_the_next_ones() {
        let pace = Pace::default();
        (0..100).for_each(|n| pace.wrote(&key(n)));
        let first: Vec<_> = (0..100)
            .map(|n| pace.wait(&key(n), Weight::Progress))
            .collect();
        tokio::time::advance(NEWS).await;
        // News of some, which tell their progress too, and the end of another.
        (0..50).for_each(|n| pace.wrote(&key(n)));
        pace.forget(&key(50));
        (200..250).for_each(|n| pace.wrote(&key(n)));
        let next: Vec<_> = (200..250)
            .map(|n| pace.wait(&key(n), Weight::Progress))
            .collect();
        // The first moment was too early for anybody who wrote just now.
        let now = |then: &Option<Duration>| then.map(|w| w.saturating_sub(NEWS));
        let left = first[1..51].iter().map(now);
        assert!(next.iter().copied().eq(left), "{next:?}");
        let kept = (51..100).map(|n| pace.wait(&key(n), Weight::Progress));
        let before = first[51..].iter().map(now);
        assert!(kept.eq(before), "nobody else is moved");
        let last = pace.wait(&key(0), Weight::Progress);
        assert_eq!(last, now(&first[99]).map(|w| w + APART));
    }

    #[tokio::test(start_paused = true)]
    async fn moments_that_were_given_back_and_have_passed_are_not_owed_to_anybody() {
        let pace = Pace::default();
        (0..4).for_each(|n| pace.wrote(&key(n)));
        for n in 0..2 {
            pace.wait(&key(n), Weight::Progress);
        }
        tokio::time::advance(NEWS).await;
        (0..2).for_each(|n| pace.wrote(&key(n)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.wait(&key(2), Weight::Progress), None);
        assert_eq!(pace.wait(&key(3), Weight::Progress), Some(APART));
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_has_passed_is_not_owed_to_anybody() {
        let pace = Pace::default();
        pace.wrote(&key(0));
        pace.wait(&key(0), Weight::Progress);
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.wrote(&key(1));
        assert_eq!(pace.wait(&key(1), Weight::Progress), Some(PROGRESS));
        pace.forget(&key(1));
        assert_eq!(pace.wait(&key(1), Weight::Progress), None);
    }
}
