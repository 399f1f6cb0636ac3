//! How much one driver is given to do at once. Who finds no slot stands in line and holds up nobody else: a driver that hangs with
//! a thousand volumes must not keep those of another waiting.
//!
//! There are two lines. Questions come after changes of roles, for nobody waits for them as for a promotion; but not never.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;

use crate::cache::Work;

/// While both lines are full, so many changes are called for each question.
const CHANGES: usize = 7;

/// The slots of one driver.
pub(crate) struct Slots {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    busy: usize,
    changes: Line,
    questions: Line,
    /// Changes that were called since the last question.
    called: usize,
    /// Questions that were called and have not come yet: they do not stand in line again behind the changes.
    invited: BTreeSet<Work>,
}

/// What a slot is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Something is to become different.
    Change,
    /// Something is to be known.
    Question,
}

/// One slot, given back when dropped.
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::default(),
        }
    }

    /// A slot, or a place in the line.
    pub(crate) fn enter(&self, work: &Work, errand: Errand) -> Option<Slot<'_>> {
        let mut state = self.state.lock();
        let invited = state.invited.remove(work);
        let turn = errand == Errand::Change || invited || state.changes.is_empty();
        if turn && state.busy < self.most {
            state.busy += 1;
            return Some(Slot(self));
        }
        match errand {
            Errand::Change => state.changes.join(work),
            Errand::Question => state.questions.join(work),
        }
        None
    }

    /// Who may come now, if there is a slot; it leaves the line. To be asked after every pass: whoever is called may not need its
    /// slot any more, and then the end of that pass calls the next.
    pub(crate) fn call(&self) -> Option<Work> {
        let mut state = self.state.lock();
        if state.busy >= self.most {
            return None;
        }
        if state.called < CHANGES
            && let Some(next) = state.changes.next()
        {
            state.called += 1;
            return Some(next);
        }
        state.called = 0;
        let Some(next) = state.questions.next() else {
            // Who has not come by now needs no invitation.
            state.invited.clear();
            return state.changes.next();
        };
        state.invited.insert(next.clone());
        Some(next)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy = state.busy.saturating_sub(1);
    }
}

#[derive(Default)]
struct Line {
    order: VecDeque<Work>,
    /// Who is in line: nobody stands there twice.
    waits: BTreeSet<Work>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn join(&mut self, work: &Work) {
        if self.waits.insert(work.clone()) {
            self.order.push_back(work.clone());
        }
    }

    fn next(&mut self) -> Option<Work> {
        let next = self.order.pop_front()?;
        self.waits.remove(&next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(name: &str) -> Work {
        Work::Fence(name.to_owned())
    }

    #[test]
    fn who_finds_no_slot_is_called_once_in_the_order_of_coming() {
        let slots = Slots::new(1);
        let first = slots.enter(&work("a"), Errand::Change);
        assert!(first.is_some());
        for name in ["b", "c", "b"] {
            assert!(slots.enter(&work(name), Errand::Change).is_none());
        }
        assert_eq!(slots.call(), None, "nothing is free");
        drop(first);
        assert_eq!(slots.call(), Some(work("b")));
        // It did not need the slot: the next is called.
        assert_eq!(slots.call(), Some(work("c")));
        assert_eq!(slots.call(), None);
    }

    #[test]
    fn questions_come_after_changes_but_not_never() {
        let slots = Slots::new(1);
        let first = slots.enter(&work("first"), Errand::Change);
        let changes: Vec<Work> = (0..10).map(|n| work(&format!("change-{n}"))).collect();
        assert!(slots.enter(&work("asks"), Errand::Question).is_none());
        for change in &changes {
            assert!(slots.enter(change, Errand::Change).is_none());
        }
        drop(first);
        // What has just been changed has a question too, and a slot was free.
        let next = slots.enter(&work("first"), Errand::Question);
        assert!(next.is_none(), "before those that wait for a change");
        let called: Vec<Work> = std::iter::from_fn(|| {
            let who = slots.call()?;
            let errand = if changes.contains(&who) {
                Errand::Change
            } else {
                Errand::Question
            };
            let slot = slots.enter(&who, errand);
            assert!(slot.is_some(), "{who:?} was called");
            Some(who)
        })
        .collect();
        let (early, late) = changes.split_at(CHANGES);
        let order = [early, &[work("asks")], late, &[work("first")]].concat();
        assert_eq!(called, order);
    }
}
