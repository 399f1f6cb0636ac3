//! How much one driver is given to do at once. Who finds no slot stands in line and holds up nobody else: a driver that hangs with
//! a thousand volumes must not keep those of another waiting.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;

use crate::cache::Work;

/// The slots of one driver.
pub(crate) struct Slots {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    busy: usize,
    line: VecDeque<Work>,
    /// Who is in line: nobody stands there twice.
    waits: BTreeSet<Work>,
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
    pub(crate) fn enter(&self, work: &Work) -> Option<Slot<'_>> {
        let mut state = self.state.lock();
        if state.busy < self.most {
            state.busy += 1;
            return Some(Slot(self));
        }
        if state.waits.insert(work.clone()) {
            state.line.push_back(work.clone());
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
        let next = state.line.pop_front()?;
        state.waits.remove(&next);
        Some(next)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy = state.busy.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_slot_is_called_once_in_the_order_of_coming() {
        let fence = |name: &str| Work::Fence(name.to_owned());
        let slots = Slots::new(1);
        let first = slots.enter(&fence("a"));
        assert!(first.is_some());
        for name in ["b", "c", "b"] {
            assert!(slots.enter(&fence(name)).is_none());
        }
        assert_eq!(slots.call(), None, "nothing is free");
        drop(first);
        assert_eq!(slots.call(), Some(fence("b")));
        // It did not need the slot: the next is called.
        assert_eq!(slots.call(), Some(fence("c")));
        assert_eq!(slots.call(), None);
    }
}
