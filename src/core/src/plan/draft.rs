//! A plan in the making.

use crate::journal::Journal;
use crate::report::{EventReport, GateReport, Severity};
use crate::step::Step;
use crate::wait::Blocker;

use super::view::View;

/// A plan in the making: what to do, without what is told of the state as a whole.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) journal: Option<Journal>,
    pub(super) steps: Vec<Step>,
    pub(super) aside: Vec<Step>,
    pub(super) again_after_ms: Option<u64>,
    pub(super) text: String,
    pub(super) blockers: Vec<Blocker>,
    pub(super) gates: Vec<GateReport>,
    pub(super) events: Vec<EventReport>,
}

impl Draft {
    /// Nothing to do; says why.
    pub(super) fn wait(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
    /// Steps to take; says what for.
    pub(super) fn act(text: impl Into<String>, steps: Vec<Step>) -> Self {
        Self {
            text: text.into(),
            steps,
            ..Self::default()
        }
    }
    /// Something to remember before anything is done.
    pub(super) fn journal(v: &View<'_>, change: impl FnOnce(&mut Journal)) -> Self {
        let mut journal = v.journal.clone();
        change(&mut journal);
        let text = format!("phase {}", journal.phase.as_str());
        Self {
            journal: Some(journal),
            text,
            ..Self::default()
        }
    }
    pub(super) fn blocked(mut self, blocker: Blocker) -> Self {
        self.blockers.push(blocker);
        self
    }
    pub(super) fn blocked_all(mut self, blockers: Vec<Blocker>) -> Self {
        self.blockers.extend(blockers);
        self
    }
    pub(super) fn gated(mut self, gates: Vec<GateReport>) -> Self {
        self.gates = gates;
        self
    }
    pub(super) fn again(mut self, ms: u64) -> Self {
        self.again_after_ms = Some(self.again_after_ms.map_or(ms, |old| old.min(ms)));
        self
    }
    pub(super) fn event(
        mut self,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        self.events.push(EventReport {
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        });
        self
    }
    /// Says it in other words.
    pub(super) fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }
}

/// What became of a request that was not carried out yet.
pub(super) enum Wish {
    /// Nothing is asked for.
    None,
    /// It begins.
    Begin(Draft),
    /// It cannot begin; says why.
    Held(Draft),
}
